"""Signs where an encoding has none."""

import pytest

from upm_cli.signs import instead


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("ascii", "─● main ≥ 0.2 …", "-* main > 0.2 ."),
        ("ascii", "Grüße ✓", "Gr\\xfc\\xdfe v"),
        ("latin-1", "Grüße ✓ 日", "Grüße v \\u65e5"),
        ("ascii", "\udce9", "\\udce9"),
    ],
)
def test_signs_become_plain_ones_and_letters_are_escaped(encoding: str, text: str, written: str) -> None:
    made, at = "", 0
    while at < len(text):
        try:
            text[at:].encode(encoding)
        except UnicodeEncodeError as exc:
            moved = UnicodeEncodeError(encoding, text, at + exc.start, at + exc.end, exc.reason)
            plain, end = instead(moved)
            made, at = made + text[at : at + exc.start] + plain, end
        else:
            made, at = made + text[at:], len(text)
    assert made == written


def test_what_can_not_be_read_is_not_for_it() -> None:
    with pytest.raises(UnicodeDecodeError):
        instead(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
