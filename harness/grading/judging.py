"""Run a lab's rubric on evidence, inside pytest, in this process."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

import pytest

from harness import pytest_plugin
from harness.errors import HarnessError
from harness.evidence import Evidence
from harness.grading.results import Check, Results, describe_connection
from harness.pytest_plugin import Verdict, is_live_only, judge_check

LABS = Path(__file__).resolve().parents[2] / "labs"


GIVEN = frozenset({"conversation", "run"})


class _JudgingItem(pytest.Item):
    """The one pytest item of a judging: calls every check on every piece of evidence."""

    checks: list[pytest.Function]
    evidence: Iterable[Evidence]
    judged: list[tuple[Check, ...]]

    def runtest(self) -> None:
        for piece in self.evidence:
            checks = [item for item in self.checks if piece.run is not None or not is_live_only(item)]
            self.judged.append(tuple(_check(item, judge_check(item, piece)) for item in checks))


def _check(item: pytest.Function, verdict: Verdict) -> Check:
    return Check(
        id=item.name.removeprefix("test_"),
        title=verdict.title,
        points=verdict.points,
        score={"passed": verdict.points, "not-judged": None}.get(verdict.outcome, 0),
        outcome=verdict.outcome,
        frames=verdict.frames,
        message=verdict.message,
    )


class _Judging:
    """The pytest plugin of one judging: turns the collected rubric into one item."""

    def __init__(self, evidence: Iterable[Evidence]) -> None:
        self._evidence = evidence
        self.judged: list[tuple[Check, ...]] = []
        self.error: str | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        checks = [item for item in items if isinstance(item, pytest.Function)]
        for item in checks:
            asked = set(item._fixtureinfo.argnames)  # noqa: SLF001 - its parameters
            if asked - GIVEN - set(getattr(getattr(item, "callspec", None), "params", ())):
                self.error = (
                    f"{item.nodeid} asks for {', '.join(sorted(asked - GIVEN))}; a check is given {sorted(GIVEN)}"
                )
        judging: _JudgingItem = _JudgingItem.from_parent(session, name="judging")
        judging.checks = checks
        judging.evidence, judging.judged = self._evidence, self.judged
        items[:] = [] if self.error or not checks else [judging]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.error = str(report.longrepr).strip().splitlines()[-1]


def rubric_folder(lab: str) -> Path:
    """Where a lab's rubric stands.

    Raises:
        HarnessError: there is no such lab; names those there are.
    """
    known = sorted(path.parent.name for path in LABS.glob("*/test_*.py"))
    if lab not in known:
        raise HarnessError(f"no lab {lab!r}; there are: {', '.join(sorted(set(known)))}")
    return LABS / lab


def judge_many(lab: str, evidence: Iterable[Evidence]) -> list[tuple[Check, ...]]:
    """Judge many pieces of evidence by a lab's rubric, in one pytest session; returns each one's checks.

    Raises:
        HarnessError: the rubric itself cannot be run; that is never a mark.
    """
    judging = _Judging(evidence)
    unneeded = ("terminal", "cacheprovider", "capture", "logging", "warnings", "faulthandler", "tmpdir", "unittest")
    arguments = [
        str(rubric_folder(lab)),
        "--config-file=/dev/null",
        "--disable-plugin-autoload",
        f"--rootdir={LABS.parent}",
        "--strict-markers",
        *(f"-pno:{name}" for name in unneeded),
    ]
    status = pytest.main(arguments, plugins=[pytest_plugin, judging])
    if judging.error or status != pytest.ExitCode.OK:
        why = judging.error or f"pytest ended with status {int(status)}"
        raise HarnessError(f"the rubric of lab {lab!r} cannot be run: {why}")
    return judging.judged


def judge(lab: str, evidence: Evidence, provider: str | None = None) -> Results:
    """Judge one piece of evidence by a lab's rubric.

    Raises:
        HarnessError: as `judge_many`.
    """
    return JudgeInWaiting(lab).judge(evidence, provider)


class JudgeInWaiting:
    """A judge for one piece of evidence that is still to come.

    Collecting a rubric takes as long as judging it; `call_in` has it done in the background, while the experiment that
    brings the evidence mostly waits for other processes.
    """

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._evidence: SimpleQueue[Evidence] = SimpleQueue()
        self._judged: Future[list[tuple[Check, ...]]] = Future()
        self._called = False

    def call_in(self) -> None:
        """Start collecting the rubric in the background."""
        self._called = True
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            self._judged.set_result(judge_many(self._lab, (self._evidence.get() for _ in range(1))))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._judged.set_exception(error)

    def judge(self, evidence: Evidence, provider: str | None = None) -> Results:
        """Judge the evidence.

        Raises:
            HarnessError: the rubric cannot be run.
        """
        self._evidence.put(evidence)
        if not self._called:
            self._work()
        (checks,) = self._judged.result()
        return Results(self._lab, provider, describe_connection(evidence.conversation), checks)
