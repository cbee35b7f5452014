"""A token is only taken from a file that nobody else could read."""

from pathlib import Path

import pytest

from upm_cli.errors import InvalidError, NotFoundError, StorageError
from upm_cli.ops.tokens import read_token

GOOD = "0123456789abcdef0123456789abcdef"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_white_space_around_it_does_not_count(tmp_path: Path) -> None:
    assert read_token(write(tmp_path / "token", f" {GOOD}\n")) == GOOD.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InvalidError, match="others may read the token") as caught:
        read_token(write(tmp_path / "token", GOOD, mode))
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("text", ["", GOOD[1:], GOOD + " " + GOOD, "ä" * 40, GOOD + "\x00"])
def test_what_is_no_long_word_is_no_token_and_is_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidError, match="holds no token of 32 characters or more") as caught:
        read_token(write(tmp_path / "token", text))
    assert GOOD[:8] not in caught.value.message + caught.value.hint


def test_a_missing_file_and_a_folder_are_errors_of_ours(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no token file") as caught:
        read_token(tmp_path / "none")
    assert "openssl rand -hex 32" in caught.value.hint
    with pytest.raises(StorageError):
        read_token(tmp_path)
