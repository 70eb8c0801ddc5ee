"""The report page: a capture, what its checks found, and what a run recorded, as one HTML file that loads nothing.

Everything from a capture, a run or a student is text, escaped where it is put in: see `harness.reports.page.rendering`.
The rooms are in `harness.reports.page`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.evidence import Evidence
from harness.grading.graded import Graded
from harness.grading.results import Results
from harness.kernel_states import SAMPLE_SECONDS
from harness.language import _
from harness.messages import translated
from harness.reports.feedback import lateness_line
from harness.reports.gradebook import number, printable
from harness.reports.page.classroom import Classroom
from harness.reports.page.connections import Scene, chosen, drawn, facts_of, markings
from harness.reports.page.diagram import diagram_svg
from harness.reports.page.drawing import Ladder, Marking, ladder_svg
from harness.reports.page.equations import end_word
from harness.reports.page.findings import MARKS, Finding, findings, first_to_show
from harness.reports.page.plot import Strip, inferred, plot_svg, strips_svg
from harness.reports.page.rendering import environment, render
from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, NotShown

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
    main = of.conversation
    others = [one for one in of.conversations if not any(one in lives for _name, lives in scenes)]
    return render(
        "report.html",
        head=_head(of),
        findings=found,
        first=_first(first, by_frame, marked) if first else None,
        scenes=shown,
        drawn=set() if of.one_of_several else {f for scene in shown for life in scene.lives for f in life.frames},
        both_ends=any(life.both_ends for scene in shown for life in scene.lives),
        drawings=_drawings(main, of.run) if main else None,
        others=[f"{one.initiator} → {one.responder}: {facts_of(one)}" for one in others[:_MOST_OTHERS]],
        others_count=len(others),
        hosts=_hosts(of.run) if of.run else None,
    )


def run_page(results: Results, evidence: Evidence, folder: Path) -> str:
    """The page of a run folder, with tcpdump's own listing if it holds one."""
    listing = folder / _LISTING
    printed = listing.read_text(encoding="utf-8", errors="replace").splitlines() if listing.is_file() else ()
    return report_page(
        Subject(results.lab, results, evidence.conversation, evidence.conversations, evidence.run, printed)
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


# -- states and times --------------------------------------------------------------------------------------------------


def _drawings(conversation: Conversation, run: RunRecord | None) -> dict[str, Any]:
    times = conversation.column("time")
    strips, table, sources = list[Strip](), list[tuple[int, str, str]](), list[str]()
    for side, end in enumerate(ENDS):
        name = end_word(end)
        strips.append(Strip(_("{end}, by the packets").format(end=name), inferred(conversation, side)))
        if run is None:
            continue
        spans, source = _kernels(conversation, run, side)
        sources.append(f"{name}: {source}")
        if spans:
            strips.append(Strip(_("{end}, by its kernel").format(end=name), spans))
            table += [(time, name, state) for time, state in spans]
    ends = end_word("initiator"), end_word("responder")
    return {
        "diagram": diagram_svg(conversation),
        "plots": [
            {"caption": f"{ends[side]} → {ends[1 - side]}", "drawing": plot_svg(conversation, side)} for side in (0, 1)
        ],
        "strips": strips_svg(strips, max(times) - times[0]),
        "states": [(f"{time / 1e6:.3f}", name, state) for time, name, state in sorted(table)],
        "sources": sources,
    }


def _kernels(conversation: Conversation, run: RunRecord, side: int) -> tuple[tuple[tuple[int, str], ...], str]:
    """An end's states as its kernel told them, since the first segment; and how exact that is, or why none are."""
    of = run.of(conversation.initiator, conversation.responder)
    try:
        rows, clock = of.timed_states(ENDS[side])
    except NotShown as error:
        return (), translated(str(error))
    except (StopIteration, KeyError):  # the run knows no host of that address
        return (), _("nobody looked")
    if clock is None:
        source = _("ss every {ms} ms: a state stands where it was first seen").format(ms=f"{SAMPLE_SECONDS * 1e3:.0f}")
    else:
        source = _("the kernel's trace, its clock matched within {within} µs").format(
            within=f"{clock.within * 1e6:.1f}"
        )
    if not of.on_the_captures_clock(ENDS[side]):
        source += _("; by its own host's clock, which was not compared with the capture's")
    began = conversation.column("time")[0]
    return tuple((round(row.time * 1e6) * 1000 - began, row.state) for row in rows), source


# -- the hosts ---------------------------------------------------------------------------------------------------------


def _hosts(run: RunRecord) -> dict[str, Any] | None:
    """What the hosts said of themselves; anything that a run.json may hold is text."""
    document = run.document
    hosts = {name: said for name, said in document["hosts"].items() if isinstance(said, dict)}
    names = (
        ("address", _("address")),
        ("system", _("system")),
        ("kernel", _("kernel")),
        ("ssh", "ssh"),
        ("tcpdump", "tcpdump"),
        ("interface", _("interface")),
    )
    rows = [(word, [_text(said.get(key)) for said in hosts.values()]) for key, word in names]
    return {
        "names": [_text(name) for name in hosts],
        "rows": [row for row in rows if any(row[1])],
        "facts": list(_facts(document)),
    }


def _facts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, word in (("run_id", _("run")), ("began", _("began")), ("provider", _("provider"))):
        if document.get(key):
            yield word, _text(document[key])
    counters = document.get("tcpdump_counters")
    if isinstance(counters, dict):
        yield _("tcpdump's counters"), _text(", ".join(f"{name} {count}" for name, count in counters.items()))
    commands = document.get("commands")
    if isinstance(commands, dict):
        for name, argv in commands.items():
            yield _text(name), _text(" ".join(map(str, argv)) if isinstance(argv, list) else argv)
    if document.get("capture_sha256"):
        yield "SHA-256", _text(document["capture_sha256"])


def _text(value: object) -> str:
    return "" if value is None else printable(str(value), _LONGEST)
