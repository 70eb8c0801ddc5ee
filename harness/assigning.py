"""Give each student of a roster an assignment for a lab: what the task `assign` calls."""

from pathlib import Path

from harness.cli import say
from harness.errors import HarnessError
from harness.grading.judging import rubric_folder
from harness.grading.nonces import Assignment, nonce, read_secret
from harness.grading.roster import read_roster
from harness.language import _
from harness.runs import write_private

FILE = "assignment.yaml"


def assign(lab: str, *, roster: Path, secret_file: Path, out: Path, course: str) -> int:
    """Write *out*/STUDENT/assignment.yaml for each student; the same input gives the same files. Returns 0.

    Raises:
        HarnessError: no such lab, something is wrong with the roster or the secret, or a file cannot be written.
    """
    rubric_folder(lab)
    if not course.isprintable() or course != course.strip() or not 1 <= len(course) <= 100:
        raise HarnessError("--course: expected a name of 1 to 100 printable characters")
    students = read_roster(roster)
    secret = read_secret(secret_file)
    written = [_write(out, Assignment(course, lab, s.id, nonce(secret, course, lab, s.id))) for s in students]
    names = {"new": _("{count} new"), "changed": _("{count} changed"), "as before": _("{count} as before")}
    counts = [name.format(count=written.count(what)) for what, name in names.items() if what in written]
    words = _("{out}: {count} assignments of the lab {lab} in the course {course} ({counts})")
    say(words.format(out=out, count=len(students), lab=lab, course=course, counts=", ".join(counts)))
    return 0


def _write(out: Path, assignment: Assignment) -> str:
    """Write one student's file; what became of it."""
    path, text = out / assignment.student / FILE, assignment.to_yaml().encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.is_file()
        if there and path.read_bytes() == text:
            path.chmod(0o600)
            return "as before"
    except OSError as error:
        raise HarnessError(f"{error.filename or path}: cannot write the assignments: {error.strerror}") from None
    write_private(path, text)
    return "changed" if there else "new"
