"""A plain folder of submissions: for each student a folder, an archive, or loose files, named by the student."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from harness.intake.bulk import Entry, begin_of
from harness.intake.kinds import ARCHIVE, BESIDE, CAPTURE, DOCUMENT, PART, may_be_capture
from harness.intake.names import printable, student_name
from harness.intake.submission import Submission, newest

_NOBODY = re.compile(r"(read[ _-]?me|licen[cs]e|roster|grades)\b.*", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class _Found:
    """What stands there of one student: each folder and archive is a submission, loose files together are one."""

    whole: list[Entry] = field(default_factory=list)
    loose: list[tuple[str, Entry]] = field(default_factory=list)


def submissions(entries: Iterable[Entry], nobody: str) -> tuple[list[Submission], list[Entry]]:
    """One submission for each student; of several the newest counts, and answers beside it belong to it.

    Args:
        entries: what stands at the top.
        nobody: whom loose parts belong to that are named by no student, as when the folder is one submission.

    Returns:
        The submissions, and the entries that are nobody's.
    """
    of_student: dict[str, _Found] = {}
    rest = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        name = entry.name
        part = None if entry.folder else PART.fullmatch(name)
        archive = None if entry.folder else ARCHIVE.fullmatch(name)
        if part:
            _of(of_student, part["stem"] or nobody).loose.append((part["part"], entry))
        elif entry.folder or archive:
            _of(of_student, archive["stem"] if archive else name).whole.append(entry)
        elif _is_a_submission(entry):
            found = CAPTURE.fullmatch(name) or DOCUMENT.fullmatch(name)
            _of(of_student, (found["stem"] if found else name.partition(".")[0]) or name).loose.append((name, entry))
        else:
            rest.append(entry)
    return [_submission(student, found) for student, found in of_student.items()], rest


def _of(of_student: dict[str, _Found], name: str) -> _Found:
    return of_student.setdefault(unicodedata.normalize("NFC", name), _Found())


def _is_a_submission(entry: Entry) -> bool:
    if _NOBODY.fullmatch(entry.name):
        return False
    if CAPTURE.fullmatch(entry.name) or DOCUMENT.fullmatch(entry.name):
        return True
    begin = begin_of(entry, 4)
    return begin is None or may_be_capture(begin)  # what cannot be read is somebody's, and is told of when opened


def _submission(student: str, found: _Found) -> Submission:
    several = [_made(student, entry, [("", entry)]) for entry in found.whole]
    if not several:
        return _made(student, found.loose[0][1], found.loose)
    if not found.loose:
        return newest(several)
    if any(CAPTURE.fullmatch(name) and name.casefold() not in BESIDE for name, _ in found.loose):
        return newest([*several, _made(student, found.loose[0][1], found.loose)])
    last = newest(several)
    return replace(last, pieces=(*last.pieces, *(entry.piece(name) for name, entry in found.loose)))


def _made(student: str, first: Entry, parts: list[tuple[str, Entry]]) -> Submission:
    return Submission(
        student=student_name(student),
        source=printable(first.name),
        path=first.path,
        time=max((time for _, entry in parts if (time := entry.time()) is not None), default=None),
        pieces=tuple(entry.piece(name) for name, entry in parts),
    )
