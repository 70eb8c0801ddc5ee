"""What one student handed in, and where it stands."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import one_line
from harness.intake.archives import Piece, open_pieces
from harness.intake.contents import Contents, Limits

_SHOWN = 10  # earlier submissions that are named


@dataclass(frozen=True, slots=True)
class Submission:
    """What one student handed in last.

    Attributes:
        student: a name for them, unique among all, that may be a folder's.
        source: its path below the folder or zip that was searched, printable.
        path: where it stands; the zip, if that was not unpacked.
        time: when it was handed in, in seconds since the epoch; None if nothing tells.
        late: whether Canvas marked it as late.
        partners: the others of the group, as `student` names one.
        problems: a line for each thing that was strange about it, such as an earlier submission that was set aside.
        known_as: the number that the platform knows the student by, or "".
        pieces: the files and folders that belong to it.
    """

    student: str
    source: str
    path: Path
    time: float | None = None
    late: bool = False
    partners: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    known_as: str = ""
    pieces: tuple[Piece, ...] = field(default=(), repr=False)

    def open(self, limits: Limits = Limits()) -> Contents:  # noqa: B008 # it is frozen
        """Open it; see `harness.intake.archives.open_submission`. Its own problems are not among the contents'.

        Raises:
            HarnessError: nothing at all could be opened.
        """
        return open_pieces(self.pieces, limits)


def newest(submissions: list[Submission]) -> Submission:
    """The newest of one student's submissions, by time and then by name; its problems name those set aside."""
    *older, last = sorted(
        submissions, key=lambda found: (-math.inf if found.time is None else found.time, found.source)
    )
    lines = (one_line(f"{found.source}: set aside for the newer {last.source}") for found in older[-_SHOWN:])
    return replace(last, problems=(*last.problems, *lines)) if older else last
