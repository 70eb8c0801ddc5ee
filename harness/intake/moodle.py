"""Moodle's "Download all submissions" (mod/assign/classes/downloader.php).

A folder for each student and kind of submission, `Full name_123456_assignsubmission_file`, in older versions with one
more underscore; or, when not downloaded in folders, files, `Full name_123456_assignsubmission_file_capture.pcap`. The
number is the participant's. A group stands in a student's place, and the default group has no number.
"""

import re
from collections.abc import Iterable

from harness.intake.bulk import Entry
from harness.intake.names import printable, student_name
from harness.intake.submission import Submission

EXAMPLE = "Full name_123456_assignsubmission_file_"
_NAME = re.compile(r"(?P<name>.+?)(?:_(?P<number>\d+))?_assignsubmission_(?P<kind>[a-z]+)(?:_(?P<file>.*))?", re.DOTALL)


def fits(entry: Entry) -> bool:
    """Whether it is named as Moodle names what it puts at the top."""
    return _NAME.fullmatch(entry.name) is not None


def submissions(entries: Iterable[Entry]) -> tuple[list[Submission], list[Entry]]:
    """One submission for each student; what is no file, such as the online text, stands in a folder of its kind.

    Returns:
        The submissions, and the entries that are not named as Moodle names them.
    """
    of_student: dict[tuple[str, str], list[tuple[str, str, Entry]]] = {}
    rest = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        if found := _NAME.fullmatch(entry.name):
            key = (found["name"], found["number"] or "")
            of_student.setdefault(key, []).append((found["kind"], found["file"] or "", entry))
        else:
            rest.append(entry)
    return [
        Submission(
            student=student_name(name),
            source=printable(parts[0][2].name),
            path=parts[0][2].path,
            time=max((time for *_, entry in parts if (time := entry.time()) is not None), default=None),
            known_as=number,
            pieces=tuple(entry.piece(_to(kind, file, entry)) for kind, file, entry in parts),
        )
        for (name, number), parts in of_student.items()
    ], rest


def _to(kind: str, file: str, entry: Entry) -> str:
    folder = "" if kind == "file" else kind
    if entry.folder:
        return folder
    return f"{folder}/{file}" if folder and file else file
