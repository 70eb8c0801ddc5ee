"""The report page: a capture, what its checks found, and what a run recorded, as one HTML file that loads nothing.

Everything from a capture, a run or a student is text, escaped where it is put in: see `harness.reports.page.rendering`.
The rooms are in `harness.reports.page`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.evidence import Evidence
from harness.grading.graded import Graded
from harness.grading.results import Results
from harness.language import _
from harness.messages import translated
from harness.reports.both import BothViews
from harness.reports.feedback import lateness_line
from harness.reports.gradebook import number, printable
from harness.reports.page.classroom import Classroom
from harness.reports.page.connections import Scene, chosen, drawn, facts_of, markings
from harness.reports.page.crossings import crossings_svg
from harness.reports.page.drawing import Ladder, Marking, ladder_svg
from harness.reports.page.findings import MARKS, Finding, findings, first_to_show
from harness.reports.page.hosts import hosts_of
from harness.reports.page.rendering import environment, render
from harness.reports.page.times import drawings_of
from harness.runs import RunRecord, lost_packets
from harness.tcp.conversation import Conversation

REPORT = "report.html"  # its name in a run folder, and beside a student's feedback
_LISTING = "listing.txt"  # a run folder's
_LONGEST = 1000
_MOST_OTHERS = 200  # connections that are listed
_FEW = 40  # frames of a failed check that are drawn, wherever they stand
_ROWS_BESIDE = 4  # of the drawing beside the first failure


@dataclass(frozen=True, slots=True)
class Subject:
    """What a page is about.

    Attributes:
        title: the lab's name, or the file's.
        results: what the checks found; None where there are none.
        conversation: the lab's; None if there is none.
        conversations: all of the capture.
        run: what a live run recorded.
        printed: tcpdump's own listing of the capture, a line a frame; empty if there is none.
        lines: what else is to be said at the top: who handed it in.
        problems: what could not be read, likewise.
        score: points, where these are not what the results say: less for lateness.
        one_of_several: whether the results are of other captures too: then frames they name are not looked for here.
        both: the lab's connection as both hosts captured it; None if one did.
    """

    title: str
    results: Results | None = None
    conversation: Conversation | None = None
    conversations: Sequence[Conversation] = ()
    run: RunRecord | None = None
    printed: Sequence[str] = ()
    lines: Sequence[str] = field(default=())
    problems: Sequence[str] = field(default=())
    score: float | None = None
    one_of_several: bool = False
    both: BothViews | None = None


def get_ready() -> None:
    """Have the report's templates compiled, while there is nothing else to do."""
    environment().get_template("report.html")


def report_page(of: Subject) -> str:
    """The page."""
    found, scenes, by_frame = _found(of)
    marked = markings(found)
    titles = {one.anchor: one.title for one in found}
    wanted = {frame for one in found for frame in _pointed_at(one)}
    shown = [
        Scene(printable(name), tuple(drawn(one, marked, wanted, titles, of.printed) for one in lives))
        for name, lives in scenes
    ]
    first = first_to_show(found)
    others = [one for one in of.conversations if not any(one in lives for _name, lives in scenes)]
    return render(
        "report.html",
        head=_head(of),
        findings=found,
        first=_first(first, by_frame, marked) if first else None,
        scenes=shown,
        drawn=set() if of.one_of_several else {f for scene in shown for life in scene.lives for f in life.frames},
        both_ends=any(life.both_ends for scene in shown for life in scene.lives),
        both=_both(of.both, of.run) if of.both else None,
        drawings=[{"name": printable(name), **drawings_of(one, of.run)} for name, lives in scenes for one in lives],
        others=[f"{one.initiator} → {one.responder}: {facts_of(one)}" for one in others[:_MOST_OTHERS]],
        others_count=len(others),
        hosts=hosts_of(of.run) if of.run else None,
    )


def run_page(results: Results, evidence: Evidence, folder: Path, both: BothViews | None) -> str:
    """The page of a run folder, with tcpdump's own listing if it holds one.

    Args:
        results: what the rubric found.
        evidence: what it judged.
        folder: the run's.
        both: the lab's connection as both hosts captured it; None if one did.
    """
    listing = folder / _LISTING
    printed = listing.read_text(encoding="utf-8", errors="replace").splitlines() if listing.is_file() else ()
    return report_page(
        Subject(results.lab, results, evidence.conversation, evidence.conversations, evidence.run, printed, both=both)
    )


def student_pages(graded: Graded, parts: Sequence[tuple[Conversation, Sequence[Conversation]]]) -> dict[str, str]:
    """A student's pages by their names, one a capture that was handed in.

    Args:
        graded: the outcome.
        parts: for each capture the lab's conversation, and all; empty if nothing could be read.
    """
    who = _("Student {student}, handed in {source}.").format(student=graded.student, source=graded.source)
    subject = Subject(
        graded.results.lab,
        graded.results,
        lines=[who, *filter(None, [lateness_line(graded)])],
        problems=graded.problems,
        score=graded.score,
        one_of_several=len(parts) > 1,
    )
    if not parts:
        return {REPORT: report_page(subject)}
    return {
        REPORT if number == 1 else f"{Path(REPORT).stem}-{number}.html": report_page(
            replace(subject, conversation=conversation, conversations=found)
        )
        for number, (conversation, found) in enumerate(parts, 1)
    }


def class_page(lab: str, room: Classroom) -> str:
    """A class's page: gradebook.html."""
    words = {"passed": _("passed all"), "failed": _("did not pass all"), "not-judged": _("could not be judged")}
    outcomes = [(words[outcome], room.outcomes[outcome]) for outcome in words if room.outcomes[outcome]]
    return render("class.html", title=_("Lab {lab}").format(lab=printable(lab)), room=room, outcomes=outcomes)


_Scenes = list[tuple[str, tuple[Conversation, ...]]]
_ByFrame = dict[int, tuple[Conversation, int]]


def _found(of: Subject) -> tuple[tuple[Finding, ...], _Scenes, _ByFrame]:
    """The findings, what is to be drawn, and where each frame of that is."""
    if of.conversation is None:
        return (findings(of.results, {}) if of.results else ()), [], {}
    failed = [check for check in of.results.checks if check.outcome == "failed"] if of.results else []
    frames = {frame for check in failed if len(check.frames) <= _FEW for frame in check.frames}
    scenes = chosen(
        of.conversation,
        of.conversations or (of.conversation,),
        of.run,
        lambda one: not frames.isdisjoint(one.column("frame")),
    )
    by_frame = {
        frame: (one, row) for _name, lives in scenes for one in lives for row, frame in enumerate(one.column("frame"))
    }
    named = {} if of.one_of_several else by_frame
    return (findings(of.results, named) if of.results else ()), scenes, named


def _pointed_at(one: Finding) -> tuple[int, ...]:
    """The frames of a finding that must not be folded away."""
    if one.check.outcome == "passed" or one.frame_count > _FEW:
        return one.blames
    return one.check.frames


# -- the top -----------------------------------------------------------------------------------------------------------


def _head(of: Subject) -> dict[str, Any]:
    results = of.results
    lines = [printable(line, _LONGEST) for line in of.lines]
    if of.conversation is not None:
        lines.append(f"{of.conversation.initiator} → {of.conversation.responder}")
        lines.append(facts_of(of.conversation))
    head: dict[str, Any] = {
        "title": printable(of.title),
        "eyebrow": _("TCP lab"),
        "lines": lines,
        "problems": [printable(translated(problem), _LONGEST) for problem in of.problems],
        "outcome": "none",
        "mark": "",
        "verdict": _("what its packets show"),
    }
    if results is None:
        return head
    head["outcome"], head["mark"] = results.outcome, MARKS[results.outcome]
    if results.outcome == "not-judged":
        head["verdict"] = _("could not be judged")
        if results.cause and not any(results.cause in problem for problem in of.problems):  # said once is enough
            head["problems"].insert(
                0, printable(translated(results.cause.removeprefix("could not be judged: ")), _LONGEST)
            )
    else:
        score = number(results.score if of.score is None else of.score)
        head["verdict"] = _("{score} of {most} points").format(score=score, most=results.max_score)
    return head


def _first(one: Finding, by_frame: _ByFrame, marked: dict[int, Marking]) -> dict[str, Any]:
    """What a reader sees first: the first failure, with its frames drawn beside it."""
    frames = [frame for frame in (*one.blames, *(one.wrong.because if one.wrong else ())) if frame in by_frame]
    if one.blames and frames:
        heading = (
            _("Frame {frame} is wrong").format(frame=one.blames[0])
            if len(one.blames) == 1
            else _("Frames {frames} are wrong").format(frames=", ".join(map(str, one.blames)))
        )
    elif one.check.outcome == "failed":
        heading = _("This does not hold")
    elif one.check.outcome == "not-shown":
        heading = _("The capture does not show this")
    else:
        heading = _("This could not be judged")
    return {"finding": one, "heading": heading, "ladder": _beside(frames, by_frame, marked) if frames else None}


def _beside(frames: list[int], by_frame: _ByFrame, marked: dict[int, Marking]) -> Markup:
    conversation, _row = by_frame[frames[0]]
    rows = sorted({row for whose, row in map(by_frame.__getitem__, frames) if whose is conversation})[:_ROWS_BESIDE]
    numbers = conversation.column("frame")
    return ladder_svg(
        Ladder(
            conversation,
            rows,
            "",
            _("The frames in question"),
            _("The wrong frame is marked ✗; what it should say stands below it."),
            {numbers[row]: marked[numbers[row]] for row in rows if numbers[row] in marked},
            states=False,
        )
    )


# -- both hosts' captures ----------------------------------------------------------------------------------------------


def _both(views: BothViews, run: RunRecord | None) -> dict[str, Any]:
    counters = run.document.get("client_capture", {}).get("tcpdump_counters", {}) if run else {}
    return {"told": [*views.told(lost_packets(counters)), *views.summary()], "drawing": crossings_svg(views)}
