"""Run a lab's rubric on evidence, inside pytest, in this process."""

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Generic, TypeVar

import pytest

from harness import pytest_plugin
from harness.errors import HarnessError
from harness.evidence import Evidence
from harness.grading.results import Check, Results, describe_connection
from harness.pytest_plugin import Meaning, id_of, is_to_be_judged, judge_check, meaning_of
from harness.tcp.conversation import Conversation

LABS = Path(__file__).resolve().parents[2] / "labs"
GIVEN = frozenset({"conversation", "conversations", "run", "answer"})

Checks = tuple[Check, ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """A check that asks the student something.

    Attributes:
        id: its name in answers.yaml.
        text: what the student reads.
        points: what the right answer is worth.
    """

    id: str
    text: str
    points: int


class Judge:
    """A rubric, collected; only valid while its pytest session runs."""

    def __init__(self, items: list[pytest.Function]) -> None:
        self._asked = [meaning_of(item) for item in items]

    def __call__(self, evidence: Evidence) -> Checks:
        """Judge one piece of evidence: every check that asks for what it holds."""
        view = evidence.conversation.fresh_view()
        return tuple(_check(one, evidence, view) for one in self._asked if is_to_be_judged(one, evidence))

    def not_judged(self, why: str) -> Checks:
        """All that a submission is judged by, if it could not be judged, and why."""
        asked = [one for one in self._asked if not one.live_only]
        return tuple(Check(one.id, one.title, one.points, None, "not-judged", (), why) for one in asked)

    @property
    def questions(self) -> tuple[Question, ...]:
        """What the rubric asks the student."""
        return tuple(Question(one.id, one.title, one.points) for one in self._asked if one.question)


def _check(meaning: Meaning, evidence: Evidence, view: Conversation) -> Check:
    outcome, points, title, frames, message = judge_check(meaning, evidence, view)
    score = points if outcome == "passed" else None if outcome == "not-judged" else 0
    return Check(meaning.id, title, points, score, outcome, frames, message)


class _JudgingItem(pytest.Item):
    """The one pytest item of a session: does all its work."""

    work: Callable[[], None]

    def runtest(self) -> None:
        self.work()


class _Session(Generic[T]):
    """The pytest plugin of one session: turns the collected rubric into one item."""

    def __init__(self, work: Callable[[Judge], T]) -> None:
        self._work = work
        self.result: list[T] = []
        self.raised: BaseException | None = None
        self.error: str | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}"
        elif report.skipped:
            self.error = f"{report.nodeid}: it skips itself; a rubric is judged whole or not at all"

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        checks = [item for item in items if isinstance(item, pytest.Function)]
        self.error = self.error or next((said for item in items if (said := _not_a_check(item))), None)
        twice = [name for name, count in Counter(map(id_of, checks)).items() if count > 1]
        if twice and not self.error:
            self.error = f"two checks have one name: {', '.join(sorted(twice))}"
        judging: _JudgingItem = _JudgingItem.from_parent(session, name="judging")
        judging.work = lambda: self._run(Judge(checks))
        items[:] = [] if self.error or not checks else [judging]

    def _run(self, judge: Judge) -> None:
        try:
            self.result.append(self._work(judge))
        except BaseException as error:  # noqa: BLE001 - it is raised again outside pytest
            self.raised = error


def _not_a_check(item: pytest.Item) -> str | None:
    """Why a test cannot be judged as a check of a rubric, if so."""
    if not isinstance(item, pytest.Function):
        return f"{item.nodeid} is no plain test function"
    asked = set(item._fixtureinfo.argnames)  # noqa: SLF001 - its parameters
    unknown = asked - GIVEN - set(getattr(getattr(item, "callspec", None), "params", ()))
    if unknown:
        return f"{item.nodeid} asks for {', '.join(sorted(unknown))}; a check is given {sorted(GIVEN)}"
    for mark in ("skip", "skipif", "xfail", "usefixtures"):
        if item.get_closest_marker(mark):
            return f"{item.nodeid} is marked {mark!r}; a rubric is judged whole or not at all"
    return None


def rubric_folder(lab: str) -> Path:
    """Where a lab's rubric stands.

    Raises:
        HarnessError: there is no such lab; names those there are.
    """
    known = labs()
    if lab not in known:
        raise HarnessError(f"no lab {lab!r}; there are: {', '.join(known)}")
    return known[lab]


def labs() -> dict[str, Path]:
    """Every lab's name and folder; a folder has underscores where the name has hyphens."""
    folders = sorted({path.parent for path in LABS.glob("*/test_*.py")})
    return {folder.name.replace("_", "-"): folder for folder in folders}


def digest_of_sources(lab: str) -> str:
    """A digest of all that judges: the harness and the lab."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).resolve().parents[1], rubric_folder(lab)):
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _quiet_arguments() -> list[str]:
    """The command line of a pytest session within this process, which shows nothing and leaves nothing behind."""
    unneeded = (
        *("terminal", "cacheprovider", "capture", "logging", "warnings", "faulthandler", "tmpdir", "unittest"),
        # These cost most: they import much, or collect all garbage of the process twice a session.
        *("unraisableexception", "threadexception", "legacypath", "doctest", "pastebin", "junitxml"),
    )
    return [
        "--config-file=/dev/null",
        "--disable-plugin-autoload",
        f"--rootdir={LABS.parent}",
        "--strict-markers",
        "--import-mode=importlib",  # a teacher's test_x.py may have the name of another
        *(f"-pno:{name}" for name in unneeded),
    ]


def run_quietly(arguments: list[str], plugins: list[object]) -> int:
    """A pytest session within this process; its status. What PYTEST_ADDOPTS asks of others' sessions is not for it."""
    others = os.environ.pop("PYTEST_ADDOPTS", None)
    try:
        return int(pytest.main([*arguments, *_quiet_arguments()], plugins=plugins))
    finally:
        if others is not None:
            os.environ["PYTEST_ADDOPTS"] = others


def with_judge(lab: str, work: Callable[[Judge], T], private: Path | None = None) -> T:
    """Call *work* with a judge, inside a pytest session, and return what it returns.

    Args:
        lab: the lab's name.
        work: what is to be done with the judge.
        private: a folder of more `test_*.py`, a teacher's own.

    Raises:
        HarnessError: the rubric itself cannot be run; that is never a mark.
    """
    folders = [rubric_folder(lab)]
    if private is not None:
        if not any(private.glob("**/test_*.py")):
            raise HarnessError(f"--private {private}: there is no test_*.py in it")
        folders.append(private.resolve())
    session = _Session(work)
    arguments = [*map(str, folders), "--ignore-glob=*/test_claims.py"]  # which are no checks
    status = run_quietly(arguments, [pytest_plugin, session])
    if session.raised is not None:
        raise session.raised
    if session.error or status != pytest.ExitCode.OK or not session.result:
        why = session.error or f"pytest ended with status {status}"
        raise HarnessError(f"the rubric of lab {lab!r} cannot be run: {why}")
    return session.result[0]


def judge_many(lab: str, evidence: Iterable[Evidence], private: Path | None = None) -> list[Checks]:
    """Judge many pieces of evidence by a lab's rubric, in one pytest session; returns each one's checks.

    Raises:
        HarnessError: the rubric itself cannot be run; that is never a mark.
    """
    return with_judge(lab, lambda judge: [judge(piece) for piece in evidence], private)


def combined(parts: list[Checks]) -> Checks:
    """One rubric's checks on several captures of one experiment, such as its begin and its end, taken together.

    A check holds if it holds on one of them and fails on none: what one does not show, another may.
    """
    if len(parts) == 1:
        return parts[0]
    found = []
    for outcomes in zip(*parts, strict=True):
        by_outcome = {check.outcome: check for check in reversed(outcomes)}
        worst = next(name for name in ("not-judged", "failed", "passed", "not-shown") if name in by_outcome)
        frames = tuple(sorted({frame for check in outcomes for frame in check.frames if check.outcome == worst}))
        found.append(by_outcome[worst]._replace(frames=frames))
    return tuple(found)


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
        self._judged: Future[Checks] = Future()
        self._called = False

    def call_in(self) -> None:
        """Start collecting the rubric in the background."""
        self._called = True
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            self._judged.set_result(with_judge(self._lab, lambda judge: judge(self._evidence.get())))
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
        return Results(self._lab, provider, describe_connection(evidence.conversation), self._judged.result())
