"""`python -m upm_cli` is the same as `upm`."""

from upm_cli.app import entry_point

if __name__ == "__main__":
    entry_point()
