"""Canvas's "Download Submissions" (canvas-lms, lib/content_zipper.rb).

Flat files, `doejane_12345_67890_capture.pcap`: the sortable name without blanks and marks, LATE if it is so, the user's
number, the attachment's, and the file's name. A text or a link has no attachment: `doejane_12345_text.html`. Anonymous
students are `anon_Ab1cD`, behind the mark LATE. A file that the student uploaded again has the suffix -1, -2 ...
"""

import re
from collections.abc import Iterable

from harness.errors import one_line
from harness.intake.bulk import Entry
from harness.intake.names import printable, student_name
from harness.intake.submission import Submission

EXAMPLE = "doejane_12345_67890_capture.pcap"
_NAMES = (
    re.compile(r"(?P<late>LATE_)?(?P<name>anon_(?P<user>[0-9A-Za-z]+))_(?:(?P<id>\d+)_(?P<file>.+)|(?P<page>text|link)\.html)"),
    re.compile(r"(?P<name>.+?)(?P<late>_LATE)?_(?P<user>\d+)_(?:(?P<id>\d+)_(?P<file>.+)|(?P<page>text|link)\.html)"),
)  # fmt: skip
_AGAIN = re.compile(r"-\d{1,2}(?=\.[^.]+(\.gz)?$|$)")


def _match(name: str) -> re.Match[str] | None:
    return next((found for pattern in _NAMES if (found := pattern.fullmatch(name))), None)


def fits(entry: Entry) -> bool:
    """Whether it is named as Canvas names what it puts at the top."""
    return not entry.folder and _match(entry.name) is not None


def submissions(entries: Iterable[Entry]) -> tuple[list[Submission], list[Entry]]:
    """One submission for each student; of a file uploaded again, the attachment with the highest number counts.

    Returns:
        The submissions, and the entries that are not named as Canvas names them.
    """
    of_student: dict[str, list[tuple[re.Match[str], Entry]]] = {}
    rest = []
    for entry in sorted(entries, key=lambda entry: entry.name):
        if not entry.folder and (found := _match(entry.name)):
            of_student.setdefault(found["user"], []).append((found, entry))
        else:
            rest.append(entry)
    return [_submission(user, files) for user, files in of_student.items()], rest


def _submission(user: str, files: list[tuple[re.Match[str], Entry]]) -> Submission:
    latest: dict[str, tuple[int, Entry]] = {}
    problems = []
    for found, entry in files:
        name = _AGAIN.sub("", found["file"]) if found["file"] else f"{found['page']}.html"
        number, earlier = int((found["id"] or "0")[:20]), latest.get(name)
        if earlier is None or number > earlier[0]:
            latest[name] = (number, entry)
        if earlier is not None:
            newer, older = (entry, earlier[1]) if number > earlier[0] else (earlier[1], entry)
            problems.append(one_line(f"{older.name}: set aside for the newer {newer.name}"))
    first = next(iter(latest.values()))[1]
    times = [time for _, entry in latest.values() if (time := entry.time()) is not None]
    return Submission(
        student=student_name(files[0][0]["name"]),
        source=printable(first.name),
        path=first.path,
        time=max(times, default=None),
        late=any(found["late"] for found, _ in files),
        problems=tuple(problems),
        known_as=user,
        pieces=tuple(entry.piece(name) for name, (_, entry) in latest.items()),
    )
