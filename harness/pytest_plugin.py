"""The pytest plugin under the rubrics: the fixture `conversation`, points, outcomes, and messages that name frames.

Installed as a pytest plugin, so that `pytest labs/handshake --capture FILE` needs nothing but pytest. It adds

- `--capture FILE`: judge this capture (see `pytest_capture_option.py` for how that lives with pytest's own option).
- `--run DIR`: judge a run folder: its capture, and what only a live run can know.
- the marker `points(n)`, and the fixtures `conversation` and `run`.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError, one_line

if TYPE_CHECKING:
    from harness.evidence import Evidence
    from harness.runs import RunRecord
    from harness.tcp.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Verdict:
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
_MEANS = pytest.StashKey[tuple[int, str]]()  # points and title: asked for with every submission
_OUTCOME = "lab_outcome"  # on a report: what pytest_report_teststatus names


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --run DIR."""
    group = parser.getgroup("lab", "TCP lab")
    group.addoption("--run", dest="lab_run", metavar="DIR", help="the run folder to judge")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "points(n): what this check is worth")
    config.stash[_FAILING] = set()


def _load(config: pytest.Config) -> "Evidence | None":
    """The evidence that the command line names."""
    from harness.evidence import evidence_of_capture, evidence_of_run  # numpy: only where a rubric is judged

    if run := getattr(config.option, "lab_run", None):
        return evidence_of_run(Path(run))
    if capture := getattr(config.option, "lab_capture", None):
        return evidence_of_capture(Path(capture))
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Load the evidence before the first check; leave out what only a live run can know where there is none."""
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
    if config.stash[EVIDENCE].run is None:
        live_only = [item for item in checks if is_live_only(item)]
        config.hook.pytest_deselected(items=live_only)
        items[:] = [item for item in items if item not in live_only]


@pytest.fixture
def conversation(request: pytest.FixtureRequest) -> "Conversation":
    """The lab's conversation; remembers the frames that this check looks at."""
    view = request.config.stash[EVIDENCE].conversation.fresh_view()
    request.node.stash[_VIEW] = view
    return view


@pytest.fixture
def run(request: pytest.FixtureRequest) -> "RunRecord":
    """What the live run recorded beside the capture."""
    record = request.config.stash[EVIDENCE].run
    if record is None:
        pytest.skip("only a live run can know")
    return record


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed comparison by where its numbers stood on the wire."""
    frames = {frame for side in (left, right) for frame in getattr(side, "frames", ())}
    if not frames:
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
    """Whether a test is a check of a rubric: it asks for the conversation or the run."""
    return _asks_for(item, "conversation") or _asks_for(item, "run")


def is_live_only(item: pytest.Item) -> bool:
    """Whether only a live run can know what a check asserts."""
    return _asks_for(item, "run")


def points_of(item: pytest.Item) -> int:
    """What a check is worth."""
    marker = item.get_closest_marker("points")
    return int(marker.args[0]) if marker else 0


def title_of(item: pytest.Item) -> str:
    """The first line of a check's docstring, and its parameter."""
    doc = (getattr(getattr(item, "function", None), "__doc__", None) or item.name).strip().splitlines()[0]
    callspec = getattr(item, "callspec", None)
    return f"{doc} ({callspec.id})" if callspec else doc


def _reason(error: BaseException) -> str:
    """A failed assertion's text, without pytest's own words."""
    text = str(error).strip()
    said = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line.removeprefix("assert ") for line in said if not line.startswith(("+  where", "+    where"))]
    return one_line(" ".join(kept[:3]), 400)


def classify(item: pytest.Item, error: BaseException | None, view: "Conversation | None") -> Verdict:
    """The outcome of a check: what its function raised, and the frames that it looked at or failed on."""
    from harness.tcp.conversation import NotShown

    failing = item.config.stash[_FAILING]
    frames = failing if isinstance(error, AssertionError) and failing else view.looked_at if view else set()
    match error:
        case None:
            outcome, message = "passed", ""
        case NotShown():
            outcome, message = "not-shown", f"not shown: {error}"
        case AssertionError():
            outcome, message = "failed", _reason(error)
        case _:
            outcome, message = "not-judged", f"could not be judged: {type(error).__name__}: {one_line(str(error))}"
    if _MEANS not in item.stash:
        item.stash[_MEANS] = points_of(item), title_of(item)
    points, title = item.stash[_MEANS]
    verdict = Verdict(outcome, points, title, tuple(sorted(frames)), message)
    failing.clear()
    return verdict


def judge_check(item: pytest.Function, evidence: "Evidence") -> Verdict:
    """Run one check's function on evidence, without pytest's machinery for an item.

    Must be called inside a running pytest item, which makes plain asserts explain themselves.
    """
    view = evidence.conversation.fresh_view()
    given = {"conversation": view, "run": evidence.run, **(item.callspec.params if hasattr(item, "callspec") else {})}
    error: BaseException | None = None
    try:
        item.obj(**{name: given[name] for name in item._fixtureinfo.argnames})  # noqa: SLF001 - its parameters
    except Exception as raised:  # noqa: BLE001 - whatever a rubric raises is an outcome
        error = raised
    return classify(item, error, view)


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
        verdict = classify(item, error, item.stash.get(_VIEW, None))
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
