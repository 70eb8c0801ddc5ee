"""`./invoke report`: the report page of any capture, or of a run folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.captures.reading import load_capture, no_tcp, read_file
from harness.cli import complain, say
from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_run, lab_conversation, seen_by_client
from harness.grading.judging import judge
from harness.grading.results import Results, describe_connection
from harness.intake.answers import read_answers_file
from harness.language import _
from harness.messages import translated
from harness.reports.both import BothViews, in_order
from harness.reports.pages import REPORT, Subject, report_page, run_page
from harness.runs import lost_packets
from harness.tcp.conversation import Conversation, conversations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.answers import Scalar


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is to be of.

    Attributes:
        capture: a capture file; of one that is damaged, what stands before the damage is shown.
        other: the same connection, as the other host captured it.
        run: a run folder, instead.
        lab: whose rubric judges; None: that of the run, or none.
        answers: the student's answers to the lab's questions.
    """

    capture: Path | None = None
    other: Path | None = None
    run: Path | None = None
    lab: str | None = None
    answers: Path | None = None


def report(of: Asked, out: Path | None) -> int:
    """Write the page, say where; returns 0 whatever the checks found.

    Args:
        of: what.
        out: where the page is written; None: into the run folder.

    Raises:
        HarnessError: it cannot be read, judged or written; then nothing is written.
    """
    if (of.capture is None) == (of.run is None):
        raise HarnessError("of what? ./invoke report --capture FILE --out FILE.html, or ./invoke report --run DIR")
    if of.other and of.run:
        raise HarnessError("--other FILE is the other host's capture beside --capture FILE; a run folder has its own")
    place = out or (of.run / REPORT if of.run else None)
    if place is None:
        raise HarnessError("where to? --out FILE.html")
    for given in (of.capture, of.other, of.answers):
        if given and given.exists() and place.exists() and place.samefile(given):
            raise HarnessError(f"--out {place}: that is what is read; name another file")
    answers = read_answers_file(of.answers) if of.answers else None
    if of.run:
        page = _of_run(of.run, of.lab, answers)
    elif of.capture:
        page = _of_capture(of.capture, of.other, of.lab, answers)
    try:
        place.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise HarnessError(f"{place}: cannot write the page: {error.strerror}") from None
    say(f"{place}: {len(page.encode(errors='replace')) // 1000} kB")
    return 0


def _of_run(folder: Path, lab: str | None, answers: "Mapping[str, Scalar] | None") -> str:
    evidence = replace(evidence_of_run(folder), answers=answers)
    record = evidence.run.document if evidence.run else {}
    results = judge(lab or str(record.get("lab", "")), evidence, record.get("provider"))
    if cause := lost_packets(record.get("tcpdump_counters", {})):
        results = results.not_judged(cause)
    try:
        far = seen_by_client(folder, evidence.run)
    except HarnessError as error:  # the verdict is the server host's
        complain(translated(str(error)))
        far = None
    return run_page(results, evidence, folder, BothViews(evidence.conversation, far) if far else None)


def _of_capture(path: Path, other: Path | None, lab: str | None, answers: "Mapping[str, Scalar] | None") -> str:
    capture = read_file(path)
    if not len(capture.segments):
        raise HarnessError(f"{path}: {capture.damage}" if capture.damage else no_tcp(str(path), capture))
    found = tuple(conversations(capture.segments))
    main = lab_conversation(list(found), str(path))
    results, problems = None, list[str]()
    if capture.damage:
        problems.append(_("damaged: {damage}; what stands before it is shown").format(damage=capture.damage))
    if lab and capture.damage:
        results = Results(lab, None, describe_connection(main), (), capture.damage)
    elif lab:
        results = judge(lab, Evidence(main, None, answers, found))
    both = _both(main, other) if other else None
    return report_page(
        Subject(lab or path.name, results, main, found, lines=(path.name,), problems=problems, both=both)
    )


def _both(main: Conversation, path: Path) -> BothViews:
    """The lab's conversation, as another capture has it too: the other host's, whichever that is."""
    for one in conversations(load_capture(path).segments):
        if {one.initiator, one.responder} == {main.initiator, main.responder}:
            return in_order(main, one)
    raise HarnessError(
        f"{path}: the connection {main.initiator} → {main.responder} is not in it; "
        "is it the other host's capture of the same session?"
    )
