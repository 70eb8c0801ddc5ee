"""`./invoke report`: the report page of any capture, or of a run folder."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.captures.reading import no_tcp, read_file
from harness.cli import say
from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_run, lab_conversation
from harness.grading.judging import judge
from harness.grading.results import Results, describe_connection
from harness.intake.answers import read_answers_file
from harness.language import _
from harness.reports.pages import REPORT, Subject, report_page, run_page
from harness.runs import lost_packets
from harness.tcp.conversation import conversations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.answers import Scalar


def report(*, capture: Path | None, run: Path | None, lab: str | None, answers: Path | None, out: Path | None) -> int:
    """Write the page, say where; returns 0 whatever the checks found.

    Args:
        capture: a capture file; of one that is damaged, what stands before the damage is shown.
        run: a run folder, instead.
        lab: whose rubric judges; None: that of the run, or none.
        answers: the student's answers to the lab's questions.
        out: where the page is written; None: into the run folder.

    Raises:
        HarnessError: it cannot be read, judged or written; then nothing is written.
    """
    if (capture is None) == (run is None):
        raise HarnessError("of what? ./invoke report --capture FILE --out FILE.html, or ./invoke report --run DIR")
    place = out or (run / REPORT if run else None)
    if place is None:
        raise HarnessError("where to? --out FILE.html")
    for given in (capture, answers):
        if given and given.exists() and place.exists() and place.samefile(given):
            raise HarnessError(f"--out {place}: that is what is read; name another file")
    answered = read_answers_file(answers) if answers else None
    page = _of_run(run, lab, answered) if run else _of_capture(capture, lab, answered) if capture else ""
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
    return run_page(results, evidence, folder)


def _of_capture(path: Path, lab: str | None, answers: "Mapping[str, Scalar] | None") -> str:
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
    return report_page(Subject(lab or path.name, results, main, found, lines=(path.name,), problems=problems))
