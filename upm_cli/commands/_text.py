"""Text that came from data, made safe to show."""

import unicodedata

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, invisible formatting (bidi overrides), lone surrogates, separators


def visible(text: str, *, keep: str = "") -> str:
    """Return `text` with everything that could steer a terminal or hide itself shown as an escape.

    Characters in `keep` pass as they are. A backslash is left alone here; `cell` doubles it.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char in keep or unicodedata.category(char) not in _HIDDEN else _escape(char) for char in text
    )


def cell(text: str) -> str:
    r"""Return `text` as one field of a TSV line: tab, newline, backslash and controls as \t, \n, \\, \xNN."""
    return visible(text.replace("\\", "\\\\"))


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
