"""The systems that marks can be exported to."""

from collections.abc import Callable, Iterable, Iterator

from harness.errors import HarnessError, one_line
from harness.grading.exports.autolab import autolab
from harness.grading.exports.canvas import canvas
from harness.grading.exports.gradescope import gradescope
from harness.grading.exports.moodle import moodle
from harness.grading.graded import Graded

Exporter = Callable[[str, Iterable[Graded]], Iterator[tuple[str, bytes]]]
EXPORTS: dict[str, Exporter] = {"autolab": autolab, "canvas": canvas, "gradescope": gradescope, "moodle": moodle}


def _each_once(graded: Iterable[Graded]) -> Iterator[Graded]:
    # Two marks for one student: the system would keep whichever it reads last.
    seen: set[str] = set()
    for one in graded:
        if one.student in seen:
            raise HarnessError(
                f"the student {one_line(repr(one.student), 80)} stands there twice; an export needs one mark a student"
            )
        seen.add(one.student)
        yield one


def export(system: str, lab: str, graded: Iterable[Graded]) -> Iterator[tuple[str, bytes]]:
    """The files that a system imports, each as (path, content); a class-wide file comes last.

    Paths are relative, begin with the system's name, have "/" between their parts, and are safe on every file system.
    Who could not be judged has no mark in any of them: never 0.

    Args:
        system: one of `EXPORTS`.
        lab: the lab's name, for the assignment's.
        graded: one a student; taken as they come, none is kept.

    Raises:
        HarnessError: there is no such system; or, while the files come, a student is there twice.
    """
    if system not in EXPORTS:
        raise HarnessError(f"no export for {one_line(repr(system), 60)}; there are: {', '.join(sorted(EXPORTS))}")
    return EXPORTS[system](lab, _each_once(graded))
