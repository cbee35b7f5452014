"""Who is acting: the user the kernel runs this process as."""

import os
import pwd


def current() -> str:
    """Return the name of the process's user. USER, LOGNAME, SUDO_USER and the like are never asked."""
    return name_of(os.getuid())


def name_of(uid: int) -> str:
    """Return the name of the user `uid`, or "uid:<n>" when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
