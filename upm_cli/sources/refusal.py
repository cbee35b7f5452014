"""Why one record is not a window; told to whoever wrote it, in one sentence."""


class Refusal(Exception):  # noqa: N818 - an outcome for one record, never an error of the program
    """Raised and caught inside the decoders only; its text becomes the reason of a Reject."""
