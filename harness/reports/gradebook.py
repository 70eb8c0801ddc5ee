"""The class's gradebook as CSV, and how numbers and foreign text are written in every report on graded submissions."""

from collections.abc import Iterable, Iterator

from harness.errors import one_line
from harness.grading.graded import Graded

COLUMNS = "student,score,max,outcome,provenance,flags"

# A spreadsheet takes a cell that begins so for a formula; the wide ones too, under some input methods.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONGEST = 300


def printable(text: str, limit: int = _LONGEST) -> str:
    """Any text as one printable line of at most *limit* characters; what is printable and short comes back as it is.

    Control characters, ANSI escapes, bidirectional controls and lone surrogates become "?".
    """
    return text if len(text) <= limit and text.isprintable() else one_line(text, limit)


def number(value: float | None) -> str:
    """Points as a person writes them: at most two digits after the point, no 0 at their end; None is empty."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def cell(text: str, limit: int = _LONGEST) -> str:
    """A text as one CSV cell: printable, quoted where it must be, and never a formula to a spreadsheet.

    Quoted are also cells with a semicolon: where the comma is the decimal point, spreadsheets split there.
    """
    safe = printable(text, limit)
    if safe.startswith(_FORMULA):
        safe = "'" + safe
    if any(mark in safe for mark in ',;"'):
        return '"' + safe.replace('"', '""') + '"'
    return safe


def gradebook_csv(graded: Iterable[Graded]) -> Iterator[str]:
    r"""The gradebook: a header, then a line a submission, each as soon as it is graded.

    Lines are UTF-8 without a byte order mark once encoded, quoted as in RFC 4180, and end in "\n": every reader of CSV
    takes that, and so do diff, grep and git. The score is empty where it could not be judged.
    """
    yield COLUMNS + "\n"
    for one in graded:
        results = one.results
        flags = ";".join(dict.fromkeys(flag.kind for flag in one.flags))
        yield (
            f"{cell(one.student)},{number(one.score)},{results.max_score},"
            f"{cell(results.outcome)},{cell(one.provenance)},{cell(flags)}\n"
        )
