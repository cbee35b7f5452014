"""Where processes of upm listen, and with which umask this one runs, as the Linux kernel tells it."""

import ipaddress
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One socket that a process of this user waits on. `open`: other machines can reach it."""

    pid: int
    program: str
    host: str
    port: int

    @property
    def open(self) -> bool:
        return not ipaddress.ip_address(self.host).is_loopback


def servers(proc: Path = _PROC) -> list[Listener]:
    """Return the listening sockets of this user's upm processes; none where the system has no /proc."""
    return [
        Listener(pid=pid, program=program, host=host, port=port)
        for pid, program in _processes(proc)
        for host, port in _sockets(proc / str(pid))
    ]


def umask() -> int:
    """Return the umask of this process. It can only be asked for by setting it, so the kernel is asked first."""
    try:
        for line in (_PROC / "self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _processes(proc: Path) -> Iterator[tuple[int, str]]:
    for folder in proc.glob("[0-9]*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # ended since it was listed
        if _is_upm(words):
            yield int(folder.name), " ".join(word for word in words if word)[:60]


def _is_upm(words: list[str]) -> bool:
    head = words[:4]  # the interpreter, its options, and the program or module
    return any(word.partition(".")[0] == "upm_cli" or Path(word).name == "upm" for word in head)


def _sockets(process: Path) -> Iterator[tuple[str, int]]:
    inodes = set()
    try:
        for fd in (process / "fd").iterdir():
            target = str(fd.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return
    for table in ("tcp", "tcp6") if inodes else ():
        try:
            lines = (process / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == _LISTEN and fields[9] in inodes:
                yield _address(fields[1])


def _address(text: str) -> tuple[str, int]:
    """Return host and port of "0100007F:1F90": words of four bytes in the order of this machine."""
    host, _, port = text.partition(":")
    words = [int(host[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(host), 8)]
    return str(ipaddress.ip_address(b"".join(words))), int(port, 16)
