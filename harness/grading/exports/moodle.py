"""Moodle: a CSV for the gradebook, for Grades → Import → CSV file.

https://docs.moodle.org/en/Grade_import: any column may tell the student (map it to username, ID number or email), and
grade and feedback are columns to map to the grade item; the documentation says to import both together. The other
documented way, the assignment's offline grading worksheet
(https://docs.moodle.org/en/Assignment_settings#Feedback_types), needs Moodle's own "Participant 123" and the time of
the last change in every row, which nobody outside that Moodle knows: it must be downloaded and filled in there.

Moodle takes an empty grade for "no grade" (grade/import/csv/classes/load_data.php); a grade that is no number, or a
student it does not know, stops the whole import. Feedback may be shown as HTML, so it is escaped.
"""

from collections.abc import Iterable, Iterator
from html import escape

from harness.grading.exports.naming import file_name
from harness.grading.graded import Graded
from harness.reports.feedback import missed_lines, summary_lines
from harness.reports.gradebook import cell, number, printable

_FEEDBACK = 4000  # characters a row


def moodle(lab: str, graded: Iterable[Graded]) -> Iterator[tuple[str, bytes]]:
    """`moodle/<lab>.csv`, for the whole class: username, grade and feedback."""
    title = printable(lab)
    rows = bytearray(f"Username,{cell(title)},{cell(f'{title} (feedback)')}\n".encode())
    for one in graded:
        feedback = escape(printable(" | ".join([*summary_lines(one), *missed_lines(one)]), _FEEDBACK), quote=False)
        rows += f"{cell(one.student)},{number(one.score)},{cell(feedback, 6 * _FEEDBACK)}\n".encode()
    yield f"moodle/{file_name(lab)}.csv", bytes(rows)
