"""Run a lab from inventory to verdict, and check a capture by a lab's rubric: what the tasks call."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli import ROOT, complain, print_styled, progress, say, width
from harness.errors import HarnessError
from harness.interrupts import between_steps, stop_if_asked
from harness.language import TAGS, _, spoken
from harness.runs import CAPTURE, RunFolder, dump_json, lost_packets, new_run_folder

if TYPE_CHECKING:
    from harness.evidence import Evidence
    from harness.experiment import Experiment
    from harness.grading.judging import JudgeInWaiting
    from harness.grading.nonces import Assignment
    from harness.grading.results import Results
    from harness.inventory import Inventory
    from harness.reports.both import BothViews
    from harness.reports.ladder import StyledLine


BOTH = "both.txt"  # two captures as one ladder
FILE_WIDTH = 100  # columns of what is written into files
HANDSHAKE = "handshake"  # the lab whose experiment is an ssh session


def _called_in(lab: str) -> "Future[JudgeInWaiting]":
    """A judge in waiting; even importing pytest is done in the background."""
    judge: Future[JudgeInWaiting] = Future()

    def call_in() -> None:
        try:
            import harness.reports.annotated
            import harness.reports.junit  # noqa: F401
            from harness.grading.judging import JudgeInWaiting

            waiting = JudgeInWaiting(lab)
            waiting.call_in()  # before anybody has it, who would else begin to judge on his own
            judge.set_result(waiting)
        except BaseException as error:  # noqa: BLE001 - it is raised where the judge is asked for
            judge.set_exception(error)
        from harness.reports.pages import get_ready  # the slowest to come, and the last that is asked for

        get_ready()

    sys.setswitchinterval(0.0005)  # the experiment's threads are not to wait 5 ms for each import's turn
    threading.Thread(target=call_in, daemon=True).start()
    return judge


def _not_judged(lab: str, provider: str | None, cause: str) -> "Results":
    from harness.grading.results import Results

    return Results(lab, provider, None, (), cause)


def _write_results(folder: RunFolder, results: "Results", evidence: "Evidence") -> None:
    from harness.grading.results import results_json
    from harness.reports.annotated import annotated
    from harness.reports.junit import junit
    from harness.reports.pages import REPORT, run_page
    from harness.reports.timeline import timeline

    folder.write("results.json", results_json(results))
    folder.write("junit.xml", junit(results))
    capture = (folder.path / CAPTURE).read_bytes()
    folder.write("annotated.pcapng", annotated(capture, CAPTURE, evidence.conversations, results, evidence.run).data)
    if evidence.run:
        folder.write("timeline.txt", "".join(f"{line}\n" for line in timeline(evidence.conversations, evidence.run)))
        if lines := list(_own_report(results.lab, evidence, FILE_WIDTH)):
            folder.write("report.txt", "".join(f"{line.rstrip()}\n" for line, _style in lines))
    folder.write(REPORT, run_page(results, evidence, folder.path, _write_both(folder, evidence)))


def _write_both(folder: RunFolder, evidence: "Evidence") -> "BothViews | None":
    """What two captures of the lab's connection say together, where the client host captured, too."""
    from harness.evidence import seen_by_client
    from harness.reports.both import BothViews

    try:
        far = seen_by_client(folder.path, evidence.run)
    except HarnessError as error:  # the verdict is the server host's
        folder.write(BOTH, f"{error}\n")
        return None
    if not evidence.run or not far:
        return None
    views = BothViews(evidence.conversation, far)
    doubt = lost_packets(evidence.run.document["client_capture"]["tcpdump_counters"])
    folder.write(BOTH, "".join(f"{line.rstrip()}\n" for line, _style in views.lines(FILE_WIDTH, doubt)))
    folder.write("vantage.json", dump_json(views.document()))
    return views


@contextmanager
def _told_as_json(lab: str, provider: str | None, as_json: bool) -> Iterator[None]:
    """With --json, what goes wrong is told on standard output too: results that could not be judged, with the cause."""
    try:
        yield
    except HarnessError as error:
        if as_json:
            from harness.grading.results import results_json

            say(results_json(_not_judged(lab, provider, str(error))).rstrip())
        raise


def _show(
    results: "Results", evidence: "Evidence", *, as_json: bool, absolute: bool, instead: Path | None = None
) -> None:
    """Print the verdict, after the ladder or what a file has *instead*."""
    if as_json:
        from harness.grading.results import results_json

        say(results_json(results).rstrip())
    else:
        from harness.reports.text import report, scene_lines

        scenes = evidence.run.document.get("connections") if evidence.run else None
        if instead:
            print_styled((line, "") for line in (*instead.read_text(encoding="utf-8").splitlines(), ""))
        if scenes:
            print_styled(scene_lines(scenes, evidence.conversations, width=width(), absolute=absolute))
        print_styled(_own_report(results.lab, evidence, width()))
        drawn = None if scenes or instead else evidence.conversation
        print_styled(report(results, drawn, width=width(), absolute=absolute))


def _own_report(lab: str, evidence: "Evidence", columns: int) -> "Iterator[StyledLine]":
    """What a lab itself has to show of a live run."""
    from harness.grading.judging import rubric_folder
    from harness.scenes import own

    if evidence.run and (report := own(rubric_folder(lab), "report")):
        yield from report(evidence.conversation, evidence.run, width=columns)


def run_lab(  # noqa: PLR0913 - one for each switch of the task
    lab: str,
    *,
    inventory: Path,
    provider: str | None,
    close: str | None,
    out: Path | None,
    absolute: bool,
    as_json: bool,
    assignment: Path | None = None,
    slow: bool = False,
    keep: bool = False,
    own_key: bool = True,
    both: bool = False,
) -> int:
    """Run the experiment, judge it, write the run folder, print the verdict; returns the exit status.

    Raises:
        HarnessError: the experiment could not be done.
    """
    with between_steps():
        from harness.inventory import load_inventory
        from harness.session import CLOSES

        with _told_as_json(lab, provider, as_json):
            assigned = _assignment_for(lab, assignment) if assignment else None
            loaded = load_inventory(inventory)
            chosen = provider or loaded.provider
            if close is not None and close not in CLOSES:
                raise HarnessError(f"--close {close}: known are {', '.join(CLOSES)}")
            experiment_of_lab = experiment_of(
                lab, loaded, chosen, close, assigned, slow=slow, own_key=own_key, both=both
            )
            with new_run_folder(out, ROOT / "runs", lab) as (folder, final), progress(quiet=as_json) as announce:
                if keep:
                    from harness.keeping import keep_up

                    keep_up(loaded, chosen, announce)
                experiment, results, evidence = run_into(folder, lab, chosen, experiment_of_lab, announce)
                stop_if_asked()
        instead = final[0] / BOTH if both else None
        _show(results, evidence, as_json=as_json, absolute=absolute, instead=instead)
        if not as_json:
            if assigned and lab == HANDSHAKE and not experiment.nonce_is_on_the_wire:
                words = _("the nonce of {student} is in run.json only: it was not in the sshd's banner ({provider})")
                complain(words.format(student=assigned.student, provider=chosen))
            say(_("run folder: {folder}").format(folder=final[0]))
    return results.exit_status


def run_into(
    folder: RunFolder,
    lab: str,
    provider: str,
    experiment_of_lab: "Callable[[Callable[[str], None]], Experiment]",
    announce: "Callable[[str], None]",
) -> "tuple[Experiment, Results, Evidence]":
    """Run a lab's experiment (`experiment_of`), judge it, and write both into a run folder.

    Raises:
        HarnessError: the experiment could not be done.
    """
    judge = _called_in(lab)
    experiment = experiment_of_lab(announce)
    announce("judge it")
    experiment.write(folder)
    results, evidence = _judged(judge, provider, folder.path, experiment.captured.disagreement())
    _write_results(folder, results, evidence)
    return experiment, results, evidence


def experiment_of(  # noqa: PLR0913 - the switches that concern it
    lab: str,
    inventory: "Inventory",
    provider: str,
    close: str | None = None,
    assignment: "Assignment | None" = None,
    *,
    slow: bool = False,
    own_key: bool = True,
    both: bool = False,
) -> "Callable[[Callable[[str], None]], Experiment]":
    """A lab's experiment, to be run with what announces its steps.

    Raises:
        HarnessError: there is no such lab, or it has no experiment.
    """
    from harness.experiment import run_experiment

    if lab == HANDSHAKE:
        return lambda announce: run_experiment(
            inventory, provider, close, announce, assignment, own_key=own_key, both=both
        )
    from harness.grading.judging import rubric_folder
    from harness.scenes import own, run_scenes, scenes_of

    if close is not None:
        raise HarnessError(f"--close is for the lab {HANDSHAKE}: the lab {lab} closes its connections in its own way")
    if both or not own_key:
        raise HarnessError(f"--both and --no-key are for the lab {HANDSHAKE}, not for {lab}")
    folder = rubric_folder(lab)
    if experiment := own(folder, "run"):
        return lambda announce: experiment(lab, inventory, provider, announce, assignment)
    scenes = scenes_of(folder, slow=slow)
    return lambda announce: run_scenes(lab, scenes, inventory, provider, announce, assignment)


def _assignment_for(lab: str, path: Path) -> "Assignment":
    """The assignment of a file, which must be for this lab."""
    from harness.grading.nonces import read_assignment

    assignment = read_assignment(path)
    if assignment.lab != lab:
        raise HarnessError(f"{path}: this assignment is for the lab {assignment.lab}, not for {lab}")
    return assignment


def _judged(
    judge: "Future[JudgeInWaiting]", provider: str, folder: Path, cause: str | None
) -> "tuple[Results, Evidence]":
    from harness.evidence import evidence_of_run

    evidence = evidence_of_run(folder)
    results = judge.result().judge(evidence, provider)
    if cause:
        results = results.not_judged(cause)
    return results, evidence


def check_capture(lab: str, capture: Path, *, as_json: bool, absolute: bool) -> int:
    """Judge a capture by a lab's rubric, print the verdict; returns the exit status.

    Raises:
        HarnessError: the capture cannot be judged: damaged, empty, or without TCP.
    """
    from harness.evidence import evidence_of_capture
    from harness.grading.judging import judge

    with _told_as_json(lab, None, as_json):
        evidence = evidence_of_capture(capture)
        results = judge(lab, evidence)
    _show(results, evidence, as_json=as_json, absolute=absolute)
    return results.exit_status


def list_labs() -> int:
    """Print each lab's name, and the title of its handout; returns 0."""
    from harness.grading.judging import labs

    known = labs()
    for name, folder in known.items():
        handouts = (folder / name for name in (f"README.{TAGS[spoken()]}.md", "README.md"))
        handout = next((path for path in handouts if path.is_file()), None)
        title = handout.read_text(encoding="utf-8").splitlines()[0] if handout else _("(no handout)")
        say(f"{name:<{max(map(len, known))}}  {title.removeprefix('# ').removeprefix(_('Lab: '))}")
    return 0
