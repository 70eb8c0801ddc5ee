"""The one error that crosses the harness: the experiment could not be done."""


class HarnessError(Exception):
    """The experiment, or the judging of it, could not be done.

    Its text is one line for the user: what was wrong, where, and what to do about it. It never says anything
    about TCP: a wrong capture is a verdict, not an error.
    """


class LoginRefusedError(HarnessError):
    """A host lets nobody in with the keys, or the password, that were there; another password may help."""


class LostError(HarnessError):
    """A host cannot be reached, or not any more."""


def one_line(text: str, limit: int = 300) -> str:
    """Fold any text (a tool's stderr, a foreign exception) into one printable line of at most *limit* characters."""
    folded = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
