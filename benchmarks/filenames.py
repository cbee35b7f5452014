"""What the generated files are called."""


def file_stem(shape: str, rows: int) -> str:
    """Return narrow_1m for a million narrow windows, wide_200k for 200,000 wide ones."""
    for unit, letter in ((1_000_000, "m"), (1_000, "k")):
        if rows % unit == 0:
            return f"{shape}_{rows // unit}{letter}"
    return f"{shape}_{rows}"
