"""Canvas: the gradebook's CSV, for Gradebook → Import.

https://community.canvaslms.com/t5/Instructor-Guide/How-do-I-import-grades-in-the-Gradebook/ta-p/807: a header row with
Student, ID, SIS User ID, SIS Login ID and Section, then a column an assignment; a row "Points Possible"; then a row a
student. What Canvas does with each column can be read in its lib/gradebook_importer.rb: where ID and SIS User ID are
empty it looks the student up by SIS Login ID, and then by name; it matches the assignment by its title. An empty grade
is "no score", shown as a dash: never 0.
"""

from collections.abc import Iterable, Iterator

from harness.grading.exports.naming import file_name
from harness.grading.graded import Graded
from harness.reports.gradebook import cell, number

HEADER = "Student,ID,SIS User ID,SIS Login ID,Section"


def canvas(lab: str, graded: Iterable[Graded]) -> Iterator[tuple[str, bytes]]:
    """`canvas/<lab>.csv`, for the whole class; the assignment's title is the lab's name."""
    rows = bytearray()
    most = 0
    for one in graded:
        student = cell(one.student)
        # A student whose name says so would be taken for the row that tells the maximum.
        name = student.replace("Points Possible", "Points-Possible")
        rows += f"{name},,,{student},,{number(one.score)}\n".encode()
        most = max(most, one.results.max_score)
    head = f"{HEADER},{cell(lab)}\n    Points Possible,,,,,{most}\n"
    yield f"canvas/{file_name(lab)}.csv", head.encode() + bytes(rows)
