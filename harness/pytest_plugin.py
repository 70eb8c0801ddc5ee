"""The pytest plugin under the rubrics: the fixture `conversation`, points, outcomes, and messages that name frames.

Installed as a pytest plugin, so that `pytest labs/handshake --capture FILE` needs nothing but pytest. It adds

- `--capture FILE`: judge this capture (see `pytest_capture_option.py` for how that lives with pytest's own option).
- `--run DIR`: judge a run folder: its capture, and what only a live run can know.
- `--answers FILE`: judge the answers to the lab's questions too.
- the marker `points(n)`, and the fixtures `conversation`, `conversations` (all of the capture), `run` and `answer`. A
  check that asks for `answer` is a question: its docstring is what the student reads, its name (without "test_") the
  answer's name in answers.yaml.
"""

import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.answers import Answer, answer_to
from harness.errors import HarnessError, one_line

if TYPE_CHECKING:
    from harness.evidence import Evidence
    from harness.runs import RunRecord
    from harness.tcp.conversation import Conversation


pytest_plugins = ("harness.claim_plugin",)


class Verdict(NamedTuple):
    """The outcome of one check.

    Attributes:
        outcome: "passed", "failed", "not-shown" or "not-judged".
        points: what it is worth.
        title: the first line of its docstring.
        frames: the frames it looked at; for a failure those that it failed on, if they are known.
        message: why it did not pass; empty if it did.
    """

    outcome: str
    points: int
    title: str
    frames: tuple[int, ...]
    message: str


EVIDENCE = pytest.StashKey["Evidence"]()
_FAILING = pytest.StashKey[set[int]]()
_VIEW = pytest.StashKey["Conversation"]()
# What pytest.fail() and its like raise: no Exception, so that no test catches it by accident.
_RAISED = (Exception, pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+\b")  # in memory, as in "<object at 0x7f…>"
_OUTCOME = "lab_outcome"  # on a report: what pytest_report_teststatus names


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --run DIR and --answers FILE."""
    group = parser.getgroup("lab", "TCP lab")
    group.addoption("--run", dest="lab_run", metavar="DIR", help="the run folder to judge")
    group.addoption("--answers", dest="lab_answers", metavar="FILE", help="the answers to the lab's questions")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "points(n): what this check is worth")
    config.stash[_FAILING] = set()


def _load(config: pytest.Config) -> "Evidence | None":
    """The evidence that the command line names."""
    from harness.evidence import evidence_of_capture, evidence_of_run  # numpy: only where a rubric is judged

    if run := getattr(config.option, "lab_run", None):
        evidence = evidence_of_run(Path(run))
    elif capture := getattr(config.option, "lab_capture", None):
        evidence = evidence_of_capture(Path(capture))
    else:
        return None
    if file := getattr(config.option, "lab_answers", None):
        from harness.intake.answers import read_answers_file

        evidence = replace(evidence, answers=read_answers_file(Path(file)))
    return evidence


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Load the evidence before the first check; leave out the checks that ask for what it does not hold."""
    checks = [item for item in items if is_check(item)]
    if not checks:
        return
    if EVIDENCE not in config.stash:
        try:
            evidence = _load(config)
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
        if evidence is None:
            raise pytest.UsageError("no capture to judge: pytest labs/handshake --capture FILE")
        config.stash[EVIDENCE] = evidence
    left_out = [item for item in checks if not is_to_be_judged(meaning_of(item), config.stash[EVIDENCE])]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def conversation(request: pytest.FixtureRequest) -> "Conversation":
    """The lab's conversation; remembers the frames that this check looks at."""
    view = request.config.stash[EVIDENCE].conversation.fresh_view()
    request.node.stash[_VIEW] = view
    return view


@pytest.fixture
def conversations(request: pytest.FixtureRequest, conversation: "Conversation") -> "tuple[Conversation, ...]":
    """All conversations of the capture; the same check remembers what it looks at in any of them."""
    return tuple(one.fresh_view(conversation.looked_at) for one in request.config.stash[EVIDENCE].conversations)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> "RunRecord":
    """What the live run recorded beside the capture."""
    record = request.config.stash[EVIDENCE].run
    if record is None:
        pytest.skip("only a live run can know")
    return record


@pytest.fixture
def answer(request: pytest.FixtureRequest) -> "Answer":
    """The student's answer to the question that asks for it."""
    answers = request.config.stash[EVIDENCE].answers
    if answers is None:
        pytest.skip("nobody was asked")
    return answer_to(id_of(request.node), answers)


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison by where its numbers stood on the wire."""
    frames = {frame for side in (left, right) for frame in getattr(side, "frames", ())}
    if not frames and not isinstance(left, Answer):
        return None
    config.stash[_FAILING] |= frames
    if op != "==" or not hasattr(left, "as_found"):
        return None
    expected = right.as_expected() if hasattr(right, "as_expected") else f"expected {right!r}"
    return [f"{left.as_found()}, but {expected}"]


def _asks_for(item: pytest.Item, name: str) -> bool:
    """Whether a test asks for this plugin's fixture of that name (a test may have its own of the same name)."""
    info = getattr(item, "_fixtureinfo", None)
    found = info.name2fixturedefs.get(name, ()) if info else ()
    return any(definition.func.__module__ == __name__ for definition in found[-1:])


def is_check(item: pytest.Item) -> bool:
    """Whether a test is a check of a rubric: it asks for one of this plugin's fixtures."""
    return any(_asks_for(item, name) for name in ("conversation", "conversations", "run", "answer"))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a check is, whatever it is judged on.

    Attributes:
        id: its name in results.
        title: the first line of its docstring.
        points: what it is worth.
        live_only: whether only a live run can know what it asserts.
        question: whether it asks the student.
        needs: the names of its parameters.
        given: those that it is parametrised with.
        function: what is to be called.
        failing: the frames that a comparison in it has failed on.
    """

    id: str
    title: str
    points: int
    live_only: bool
    question: bool
    needs: tuple[str, ...]
    given: Mapping[str, object]
    function: Callable[..., object]
    failing: set[int]


_MEANING = pytest.StashKey[Meaning]()


def meaning_of(item: pytest.Item) -> Meaning:
    """What a check is; worked out once, since it is asked for with every submission."""
    found = item.stash.get(_MEANING, None)
    if found is None:
        found = item.stash[_MEANING] = Meaning(
            id_of(item),
            title_of(item),
            points_of(item),
            live_only=_asks_for(item, "run"),
            question=_asks_for(item, "answer"),
            needs=tuple(item._fixtureinfo.argnames) if isinstance(item, pytest.Function) else (),  # noqa: SLF001 - its parameters
            given=dict(item.callspec.params) if hasattr(item, "callspec") else {},
            function=getattr(item, "obj", item.runtest),
            failing=item.config.stash[_FAILING],
        )
    return found


def is_to_be_judged(meaning: Meaning, evidence: "Evidence") -> bool:
    """Whether the evidence is of the kind that a check asks for."""
    return (evidence.run is not None or not meaning.live_only) and (
        evidence.answers is not None or not meaning.question
    )


def id_of(item: pytest.Item) -> str:
    """A check's name in results: without "test_"."""
    return item.name.removeprefix("test_")


def points_of(item: pytest.Item) -> int:
    """What a check is worth."""
    marker = item.get_closest_marker("points")
    return int(marker.args[0]) if marker else 0


def title_of(item: pytest.Item) -> str:
    """The first line of a check's docstring, and its parameter."""
    doc = (getattr(getattr(item, "function", None), "__doc__", None) or item.name).strip().splitlines()[0]
    callspec = getattr(item, "callspec", None)
    return f"{doc} ({callspec.id})" if callspec else doc


def reason(error: BaseException) -> str:
    """A failed assertion's text, without pytest's own words, and the same at every run."""
    text = _ADDRESS.sub("", str(error).strip())
    said = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line.removeprefix("assert ") for line in said if not line.startswith(("+  where", "+    where"))]
    return one_line(" ".join(kept[:3]), 400)


def classify(meaning: Meaning, error: BaseException | None, view: "Conversation | None") -> Verdict:
    """The outcome of a check: what its function raised, and the frames that it looked at or failed on."""
    from harness.tcp.conversation import NotShown

    failing = meaning.failing
    failed = isinstance(error, AssertionError) or type(error) is pytest.fail.Exception  # of which xfail is a kind
    frames = tuple(sorted(failing)) if failed and failing else view.frames_looked_at if view else ()
    match error:
        case None:
            outcome, message = "passed", ""
        case NotShown():
            outcome, message = "not-shown", f"not shown: {error}"
        case _ if failed:
            outcome, message = "failed", reason(error)
        case _:
            outcome, message = "not-judged", f"could not be judged: {type(error).__name__}: {one_line(str(error))}"
    verdict = Verdict(outcome, meaning.points, meaning.title, frames, message)
    failing.clear()
    return verdict


def judge_check(meaning: Meaning, evidence: "Evidence", view: "Conversation") -> Verdict:
    """Run one check's function on evidence, without pytest's machinery for an item.

    Must be called inside a running pytest item, which makes plain asserts explain themselves.

    Args:
        meaning: the check.
        evidence: what it is judged on.
        view: a view of the evidence's conversation, for one check after another: what was looked at is forgotten first.
    """
    given: dict[str, object] = {"conversation": view, "run": evidence.run, **meaning.given}
    if "conversations" in meaning.needs:
        given["conversations"] = tuple(one.fresh_view(view.looked_at) for one in evidence.conversations)
    view.looked_at.clear()
    meaning.failing.clear()
    try:
        if meaning.question and evidence.answers is not None:
            given["answer"] = answer_to(meaning.id, evidence.answers)
        meaning.function(**{name: given[name] for name in meaning.needs})
    except _RAISED as raised:
        return classify(meaning, raised, view)
    return Verdict("passed", meaning.points, meaning.title, view.frames_looked_at, "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell apart: passed, failed, not shown, could not be judged."""
    report = yield
    if not is_check(item) or EVIDENCE not in item.config.stash:
        return report
    error = call.excinfo.value if call.excinfo else None
    if call.when == "call" or error is not None:
        verdict = classify(meaning_of(item), error, item.stash.get(_VIEW, None))
        if verdict.outcome == "not-shown":
            report.longrepr = verdict.message
        setattr(report, _OUTCOME, verdict.outcome)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Name the two outcomes that pytest does not know."""
    outcome = getattr(report, _OUTCOME, None)
    if outcome == "not-shown":
        return "failed", "N", "NOT SHOWN"
    if outcome == "not-judged":
        return "error", "E", "NOT JUDGED"
    return None
