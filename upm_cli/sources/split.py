"""Bytes → lines with their offsets."""


def split_lines(data: bytes, offset: int) -> list[tuple[int, bytes]]:
    """Return the lines of `data` that are not blank, each with its offset and without its line end."""
    lines = []
    for line in data.split(b"\n"):
        if line and not line.isspace():
            lines.append((offset, line.removesuffix(b"\r")))
        offset += len(line) + 1
    return lines
