"""Taking secrets out of text that leaves the machine: by what they are, and by what they look like."""

import base64
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

GONE: Final = "[redacted]"
_SHORTEST: Final = 8  # of what is taken out by value: shorter words are words
_WORD: Final = re.compile(r"[A-Za-z0-9+/=_.~-]{8,}")
_LOOKS: Final = (
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9+/=_.~-]{8,}"), rf"\1{GONE}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), GONE),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), GONE),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s\"'@]+@"), rf"\1{GONE}@"),
    (re.compile(r"(?i)(https?://[^\s\"'?]+\?)[^\s\"']+"), rf"\1{GONE}"),
    (
        re.compile(
            r"(?i)([\"']?\b(?:[a-z0-9_-]*(?:password|passwd|secret|token|api_?key|private))[\"']?\s*[:=]\s*[\"']?)(?![\[{])([^\s\"',}]{8,})"
        ),
        rf"\1{GONE}",
    ),
)


class Redactor:
    """Knows the secrets of one project. `files` are those that hold secrets, `urls` those whose paths are secret."""

    def __init__(self, files: Iterable[Path], urls: Iterable[str] = (), values: Iterable[str] = ()) -> None:
        found = {value for value in values if len(value) >= _SHORTEST}
        for path in files:
            found |= _values(path)
        self._values = sorted(found, key=len, reverse=True)
        self._urls = {url: _bare(url) for url in urls if url}

    def __call__(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        for url, bare in self._urls.items():
            text = text.replace(url, bare)
        for value in self._values:
            text = text.replace(value, GONE)
        for pattern, instead in _LOOKS:
            text = pattern.sub(instead, text)
        return text


def _bare(url: str) -> str:
    """Return where a URL leads without its path: chat webhooks have their secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}/{GONE}"


def _values(path: Path) -> set[str]:
    """Return what of a secret file could turn up elsewhere: its words, and its bytes in hex and base64."""
    try:
        data = path.read_bytes()[: 64 << 10]
    except OSError:
        return set()
    stripped = data.strip()
    forms = {data.hex(), stripped.hex(), base64.b64encode(data).decode(), base64.b64encode(stripped).decode()}
    forms |= set(_WORD.findall(data.decode("utf-8", "replace")))
    return {form for form in forms if len(form) >= _SHORTEST}
