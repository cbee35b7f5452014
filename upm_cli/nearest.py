"""Did you mean …? One way to guess the name that a person meant, for everything that has names."""

from collections.abc import Iterable

CUTOFF = 0.6  # how alike two words have to be, 0 to 1


def nearest(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> str | None:
    """Return the one of `known` that is most like `word`, whatever the case; None when none is like it."""
    from difflib import get_close_matches

    names = {str(name).lower(): str(name) for name in known}  # of an enum too
    found = get_close_matches(word.lower(), list(names), 1, cutoff)
    return names[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> str:
    """Return "did you mean 'x'?" for the nearest of `known`, or nothing."""
    found = nearest(word, known, cutoff)
    return f"did you mean {found!r}?" if found is not None else ""


def hint_for(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean 'x'? …" with what to do `otherwise`; that alone when nothing is like `word`."""
    guess = did_you_mean(word, known)
    return f"{guess} {otherwise}" if guess else otherwise


def choices(word: str, known: Iterable[str]) -> str:
    """Return the hint for a word that is none of a few: the nearest, and all of them."""
    names = list(known)
    return hint_for(word, names, "one of " + ", ".join(names))
