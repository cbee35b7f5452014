"""The security section of `upm validate`: who else could change what runs here, read a secret, or reach a server."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from upm_cli.errors import UpmError
from upm_cli.ops import listening
from upm_cli.ops.checks import Check, Subject
from upm_cli.ops.live_checks import result

_SET_BY_OTHERS = "who could make themselves admin"


def security(subject: Subject) -> Check:
    """Check modes of upm.yaml and of secrets, where servers listen, and the umask."""
    wrong = [*_configuration(subject.project), *_secrets(subject), *_links(subject.home)]
    servers = listening.servers()
    open_ones = [f"pid {each.pid} ({each.program}) listens on {each.host}:{each.port}" for each in servers if each.open]
    mask = listening.umask()
    if mask & 0o700:
        wrong.append(f"umask {mask:04o} takes rights from the owner")
    good = f"upm.yaml and secrets are the owner's alone; {len(servers)} servers, this machine only; umask {mask:04o}"
    hint = "chmod 600 what is secret; chmod go-w upm.yaml and its folder"
    if not wrong:
        hint = "serve on 127.0.0.1, or keep it behind a firewall"
    return result("security", wrong, open_ones, good, hint)


def _configuration(project: Path) -> Iterator[str]:
    """Yield what lets others change upm.yaml: policy.actors in it says who is an admin."""
    for path in (project / "upm.yaml", project):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if found.st_uid not in (0, os.getuid()):
            yield f"{path} belongs to user {found.st_uid}, {_SET_BY_OTHERS}"
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            yield f"everybody may write {path}, {_SET_BY_OTHERS}"


def _secrets(subject: Subject) -> Iterator[str]:
    """Yield files with secrets that others may read, or that are not there."""
    for path in secret_files(subject):
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            yield f"there is no {path}"
            continue
        if mode & 0o077:
            yield f"others may read {path} (mode {stat.S_IMODE(mode):04o})"


def secret_files(subject: Subject) -> list[Path]:
    """Return every file with a key, a token or a secret that this project names."""
    from upm_cli.store import adapters, layout
    from upm_cli.store.session import Store

    found = {path for path in (subject.home / layout.KEYS).glob("*") if path.is_file()}
    if subject.settings is not None:
        webhooks = subject.settings.notify.webhooks
        named = [webhook.secret_file for webhook in webhooks if webhook.secret_file is not None]
        found |= {subject.project / Path(name).expanduser() for name in named}
    store = Store(subject.home, subject.clock, command="upm validate")
    try:
        with store.read() as reader:
            tokens = [row.metadata.get("token_file") for row in adapters.list_all(reader)]
        found |= {Path(token) for token in tokens if token}
    except UpmError:
        pass  # state_tables says so; what upm.yaml names is known without it
    finally:
        store.close()
    return sorted(found)


def _links(home: Path) -> Iterator[str]:
    """Yield links in .upm that lead into a folder somebody else owns."""
    for path in home.glob("*") if home.is_dir() else ():
        if path.is_symlink() and path.exists() and path.stat().st_uid not in (0, os.getuid()):
            yield f"{path} leads into a folder of user {path.stat().st_uid}"
