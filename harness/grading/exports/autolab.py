"""Autolab: each student's autoresult, and the scores of all for "Bulk import grades".

https://docs.autolabproject.com/lab/#writing-autograders: an autograder prints feedback, and on the last line a JSON
object with the scores by problem and an optional scoreboard. The lab is one problem here, named as the lab: its mark
has the penalty for lateness taken off, which no single check's has.

Autolab answers an autoresult that it cannot read, or that has no problem in it, with 0 for every problem
(`saveAutograde` in its app/helpers/assessment_autograde_core.rb). So who could not be judged has the problem with null,
which is stored as no score. The CSV's form stands on the page where it is uploaded: e-mail, a column a problem, grade
type, no header; an empty cell leaves what is there.
"""

import json
from collections.abc import Iterable, Iterator

from harness.grading.exports.naming import file_name
from harness.grading.graded import Graded
from harness.reports.feedback import missed_lines, summary_lines
from harness.reports.gradebook import cell, number, printable


def _problem(lab: str) -> str:
    # Autolab puts quotes around every word before a colon, wherever that is.
    return printable(lab).replace(":", "-")


def autoresult(lab: str, graded: Graded) -> str:
    """The last line of an autograder's output."""
    if graded.score is None:
        return json.dumps({"scores": {_problem(lab): None}})
    score = round(graded.score, 2)
    return json.dumps({"scores": {_problem(lab): score}, "scoreboard": [score]})


def autolab(lab: str, graded: Iterable[Graded]) -> Iterator[tuple[str, bytes]]:
    """`autolab/<lab>/<student>.txt` for each, then `autolab/<lab>.csv` for the whole class."""
    rows = bytearray()
    folder = f"autolab/{file_name(lab)}"
    for one in graded:
        lines = [*summary_lines(one), *missed_lines(one), autoresult(lab, one)]
        yield f"{folder}/{file_name(one.student)}.txt", ("\n".join(lines) + "\n").encode()
        rows += f"{cell(one.student)},{number(one.score)},\n".encode()
    yield f"{folder}.csv", bytes(rows)
