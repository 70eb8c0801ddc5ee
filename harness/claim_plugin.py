"""The pytest plugin under an article's claims: cases whose asserts decide between confirmed, qualified and refuted.

`pytest labs/article/test_claims.py --runs DIR` decides claims on the run folders in DIR, one a lab. A case is a test
named `test_c04_qualified`: a claim's id, and the verdict if its asserts hold; its docstring is what then is to be said.
A claim's cases are tried in the order of the file, and the first that holds decides. A case that asks for what the runs
do not show (`NotShown`) leaves the claim *not shown*, and so does a claim of which no case holds: nothing is guessed.
"""

import re
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.errors import HarnessError, one_line

if TYPE_CHECKING:
    from harness.evidence import Evidence
    from harness.runs import RunRecord
    from harness.tcp.conversation import Conversation, Segment

VERDICTS = ("confirmed", "qualified", "refuted")
NOT_RUN = "not-run.txt"  # in place of a run folder's files: why there is no run
_CASE = re.compile(r"test_(c\d+)_(" + "|".join(VERDICTS) + r")$")


class Exhibit(NamedTuple):
    """A piece of evidence.

    Attributes:
        run: the lab whose run it is from.
        frames: of that run's capture.
        says: what they show.
    """

    run: str
    frames: tuple[int, ...]
    says: str


class Decision(NamedTuple):
    """What became of a claim.

    Attributes:
        claim: its id.
        verdict: one of `VERDICTS`, or "not-shown".
        note: what is to be said of it: the case's docstring; if not shown, why.
        evidence: what decided.
        against: why the cases before did not hold.
    """

    claim: str
    verdict: str
    note: str
    evidence: tuple[Exhibit, ...]
    against: tuple[str, ...]


class LabRun:
    """A run of one lab, as evidence for claims."""

    def __init__(self, lab: str, evidence: "Evidence", record: "RunRecord") -> None:
        self.lab = lab
        self._evidence = evidence
        self.record = record

    @property
    def conversation(self) -> "Conversation":
        """The lab's connection."""
        return self._evidence.conversation

    @property
    def conversations(self) -> "tuple[Conversation, ...]":
        """All of the capture."""
        return self._evidence.conversations

    def scene(self, name: str) -> "tuple[Conversation, ...]":
        """The connections of one of its scenes, in order: several lives of one 4-tuple are several.

        Raises:
            NotShown: there was no such scene, or the capture does not hold it.
        """
        from harness.tcp.conversation import NotShown

        ends = self.record.document.get("connections", {}).get(name)
        if ends is None:
            raise NotShown(f"the run of {self.lab} has no scene {name!r}")
        wanted = {ends["initiator"], ends["responder"]}
        found = tuple(one for one in self.conversations if {one.initiator, one.responder} == wanted)
        if not found:
            raise NotShown(f"the capture of {self.lab} does not hold the scene {name!r}")
        return found

    def of_scene(self, name: str) -> "RunRecord":
        """The run's record, of the connection of one of its scenes."""
        ends = self.record.document["connections"][name]
        return self.record.of(ends["initiator"], ends["responder"])

    def listed(self, name: str) -> "list[Conversation]":
        """The conversations of what tcpdump listed on a terminal.

        Raises:
            NotShown: there is no such listing.
        """
        from harness.captures.reading import read_capture
        from harness.tcp.conversation import NotShown, conversations

        if name not in self.record.listings:
            raise NotShown(f"the run of {self.lab} has no listing {name!r}")
        return conversations(read_capture(self.record.listings[name].encode(), f"{name}.txt").segments)


class Runs:
    """The runs that claims are decided on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, LabRun] = {}

    def __getitem__(self, lab: str) -> LabRun:
        """The run of a lab.

        Raises:
            NotShown: there is none, or its capture is no evidence; says why.
        """
        from harness.evidence import evidence_of_run
        from harness.runs import lost_packets
        from harness.tcp.conversation import NotShown

        if lab not in self._read:
            folder = self._folder / lab
            why = folder / NOT_RUN
            if not folder.is_dir() or why.is_file():
                said = why.read_text(encoding="utf-8").strip() if why.is_file() else "there is no run of it"
                raise NotShown(f"the lab {lab}: {said}")
            try:
                evidence = evidence_of_run(folder)
            except HarnessError as error:
                raise NotShown(f"the lab {lab}: {error}") from None
            if evidence.run is None:
                raise NotShown(f"the lab {lab}: there is no record of its run")
            if lost := lost_packets(evidence.run.document.get("tcpdump_counters", {})):
                raise NotShown(f"the lab {lab}: {lost}")
            self._read[lab] = LabRun(lab, evidence, evidence.run)
        return self._read[lab]


class Evidences:
    """Where a case puts what it rests on."""

    def __init__(self) -> None:
        self.found: list[Exhibit] = []

    def __call__(self, run: LabRun, segments: "Iterable[Segment]", says: str) -> None:
        """Name the segments of a run that a case rests on, and what they show."""
        self.found.append(Exhibit(run.lab, tuple(sorted({segment.frame for segment in segments})), says))


class _State:
    """What is known so far; one a pytest session."""

    def __init__(self) -> None:
        self.runs: Runs | None = None
        self.decided: dict[str, Decision] = {}
        self.against: dict[str, list[str]] = {}
        self.last: dict[str, pytest.Item] = {}


STATE = pytest.StashKey[_State]()
_EVIDENCE = pytest.StashKey[Evidences]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --runs DIR and --claims IDS."""
    group = parser.getgroup("lab", "TCP lab")
    group.addoption("--runs", dest="lab_runs", metavar="DIR", help="the folder of run folders to decide claims on")
    group.addoption("--claims", dest="lab_claims", metavar="IDS", default="", help="only these claims: C10,C16")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing decided."""
    config.stash[STATE] = _State()


def _case_of(item: pytest.Item) -> tuple[str, str] | None:
    """The claim and the verdict of a case; None if it is none."""
    found = _CASE.match(item.name)
    return (found[1].upper(), found[2]) if found and item.path.name == "test_claims.py" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Leave out the cases where there are no runs, or of claims that are not asked for; put the others in order.

    The order of the file decides: a plugin that shuffles tests was here before.
    """
    yield
    state = config.stash[STATE]
    folder, only = config.option.lab_runs, {name for name in config.option.lab_claims.upper().split(",") if name}
    state.runs = Runs(Path(folder)) if folder else None
    left_out = []
    items.sort(key=lambda item: (item.path, item.location[1] or 0) if _case_of(item) else (Path(), 0))
    for item in items:
        case = _case_of(item)
        if case and (state.runs is None or (only and case[0] not in only)):
            left_out.append(item)
        elif case:
            state.last[case[0]] = item
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def runs(request: pytest.FixtureRequest) -> Runs:
    """The runs that claims are decided on: runs["article"]."""
    found = request.config.stash[STATE].runs
    if found is None:
        pytest.skip("no runs to decide on: --runs DIR")
    return found


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidences:
    """Where a case puts what it rests on: `evidence(run, segments, "what they show")` does it."""
    made = request.node.stash[_EVIDENCE] = Evidences()
    return made


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the cases of a claim that is decided."""
    case = _case_of(item)
    if case and (decided := item.config.stash[STATE].decided.get(case[0])):
        pytest.skip(f"{case[0]} is {decided.verdict}")


def _first_line(error: AssertionError) -> str:
    """What the case says of a failed assert; pytest's explanation follows in further lines."""
    return one_line(str(error).strip().split("\n")[0].removeprefix("assert "), 400)


def _note(item: pytest.Item) -> str:
    return " ".join((getattr(item, "function", item).__doc__ or "").split())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what a case decides; one that does not hold is no failure, as long as another of its claim may."""
    from harness.tcp.conversation import NotShown

    report = yield
    case = _case_of(item)
    if not case or call.when != "call":
        return report
    claim, verdict = case
    state = item.config.stash[STATE]
    against = state.against.setdefault(claim, [])
    error = call.excinfo.value if call.excinfo else None
    if error is None:
        found = item.stash.get(_EVIDENCE, Evidences()).found
        state.decided[claim] = Decision(claim, verdict, _note(item), tuple(found), tuple(against))
    elif isinstance(error, NotShown):
        state.decided[claim] = Decision(claim, "not-shown", str(error), (), tuple(against))
        report.longrepr = f"not shown: {error}"
    elif isinstance(error, AssertionError):
        against.append(f"not {verdict}: {_first_line(error)}")
        if state.last[claim] is item:
            note = f"none of its cases holds: {'; '.join(against)}"
            state.decided[claim] = Decision(claim, "not-shown", note, (), tuple(against))
        else:
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, against[-1])
    else:
        note = f"it could not be decided: {type(error).__name__}: {one_line(str(error))}"
        state.decided[claim] = Decision(claim, "not-shown", note, (), tuple(against))
    return report
