"""The one error that crosses the harness: the experiment could not be done."""


class HarnessError(Exception):
    """The experiment, or the judging of it, could not be done.

    Its text is one line for the user: what was wrong, where, and what to do about it. It never says anything
    about TCP: a wrong capture is a verdict, not an error.
    """


def one_line(text: str, limit: int = 300) -> str:
    """Fold any text (a tool's stderr, a foreign exception) into one printable line of at most *limit* characters."""
    folded = " ".join("".join(c if c.isprintable() or c.isspace() else "?" for c in text).split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
