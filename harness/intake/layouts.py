"""Find the submissions in a folder or zip as learning platforms give them out, or in a plain one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import HarnessError, one_line
from harness.intake import canvas, gradescope, moodle, plain
from harness.intake.bulk import Entry, folder_entries, inside, is_zip, zip_top
from harness.intake.folders import is_folder
from harness.intake.kinds import ARCHIVE
from harness.intake.names import printable, shown, student_name, unique_names
from harness.intake.submission import Submission

__all__ = ["LAYOUTS", "Submission", "find_submissions"]

LAYOUTS = ("auto", "plain", "moodle", "canvas", "gradescope")


@dataclass(frozen=True, slots=True)
class _Platform:
    """How a platform names what it gives out; `all_fit` if all names do, else one known file is enough."""

    title: str
    example: str
    all_fit: bool
    fits: Callable[[Entry], bool]
    submissions: Callable[[Sequence[Entry]], tuple[list[Submission], list[Entry]]]


_PLATFORMS = {
    "gradescope": _Platform("Gradescope", gradescope.EXAMPLE, False, gradescope.fits, gradescope.submissions),
    "moodle": _Platform("Moodle", moodle.EXAMPLE, True, moodle.fits, moodle.submissions),
    "canvas": _Platform("Canvas", canvas.EXAMPLE, True, canvas.fits, canvas.submissions),
}


def find_submissions(folder_or_zip: Path, layout: str = "auto") -> list[Submission]:
    """Find every student's submission.

    "auto" takes Gradescope's layout if its metadata is there, Moodle's or Canvas's if more than half of the names at
    the top fit, and else the plain one. A folder that holds all of a platform's download is entered. What does not
    fit is not lost: it is taken as in the plain layout, with a line.

    Args:
        folder_or_zip: the download, unpacked or not.
        layout: one of `LAYOUTS`.

    Returns:
        One submission for each student, sorted by name.

    Raises:
        HarnessError: nothing is there, nothing in it is a submission, or the layout is unknown or does not fit.
    """
    if layout not in LAYOUTS:
        raise HarnessError(f"{shown(layout)!r} is no layout of submissions; known are {', '.join(LAYOUTS)}")
    entries, zipped = _top(folder_or_zip)
    prefix = ""
    if len(entries) == 1 and _detected(entries) == "plain" and (below := inside(entries[0])):
        wrapped = layout if layout != "auto" else _detected(below)
        if _fits(wrapped, below) or (zipped and wrapped == "plain" and _are_submissions(below)):
            prefix, entries = entries[0].name + "/", below
    if layout == "auto":
        layout = _detected(entries)
    found = _found(entries, layout, folder_or_zip)
    if not found:
        raise HarnessError(f"{shown(str(folder_or_zip))}: there is no submission in it")
    found.sort(key=lambda one: (one.student, one.source))
    names = unique_names((one.student, one.known_as) for one in found)
    named = [
        replace(one, student=name, source=printable(prefix) + one.source)
        for one, name in zip(found, names, strict=True)
    ]
    return sorted(named, key=lambda one: one.student)


def _top(path: Path) -> tuple[list[Entry], bool]:
    try:
        path = path.resolve(strict=True)  # a link that the teacher names is followed
    except (OSError, ValueError, RuntimeError):
        raise HarnessError(f"{shown(str(path))}: there is no such folder of submissions") from None
    if is_folder(path):
        return folder_entries(path), False
    if not is_zip(path):
        raise HarnessError(f"{shown(str(path))}: is neither a folder of submissions nor a whole zip of them")
    return zip_top(path), True


def _fits(layout: str, entries: list[Entry]) -> bool:
    """Whether any entry is as the platform names it."""
    return layout in _PLATFORMS and any(map(_PLATFORMS[layout].fits, entries))


def _detected(entries: list[Entry]) -> str:
    for layout, platform in _PLATFORMS.items():
        fitting = sum(map(platform.fits, entries))
        if 2 * fitting > len(entries) or (fitting and not platform.all_fit):
            return layout
    return "plain"


def _are_submissions(entries: list[Entry]) -> bool:
    """Whether a zip's only folder holds students rather than one's files: folders or archives, and no loose file."""
    return len(entries) > 1 and all(entry.folder or ARCHIVE.fullmatch(entry.name) for entry in entries)


def _found(entries: list[Entry], layout: str, path: Path) -> list[Submission]:
    nobody = student_name(path.resolve().name)
    if layout == "plain":
        return plain.submissions(entries, nobody)[0]
    platform = _PLATFORMS[layout]
    if not _fits(layout, entries):
        raise HarnessError(
            f"{shown(str(path))}: is no download of {platform.title}: nothing in it is named like {platform.example!r}"
        )
    found, rest = platform.submissions(entries)
    line = f"was not named by {platform.title}; it is taken as in a plain folder"
    for one in plain.submissions(rest, nobody)[0]:
        found.append(replace(one, problems=(*one.problems, one_line(f"{one.source}: {line}"))))
    return found
