"""What each scenario in tests/data/scenarios amounts to, and what arrives in each of the eleven states.

A scenario is a sentence, `// key: value` lines, an empty line, and a script (`harness.tcp.notation`). A line
`// differs: KEY, KEY: why` says what the code gets wrong today. In `states/` a script brings an end into a state; each
`== WHAT ARRIVES: STATE` after it has the segment, and the answer that tells of it.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse
from harness.tcp.segments import Segments
from harness.tcp.states import State
from tests.pcaps import encode, frames_of

SCENARIOS = Path(__file__).resolve().parents[1] / "data" / "scenarios"
NAMES = sorted(path.stem for path in SCENARIOS.glob("*.pkt"))
FIRST_PORT = 40000
ENDS = {"initiator": "192.168.1.63", "responder": "192.168.1.64"}
ASK: dict[str, Callable[[Conversation], object]] = {
    "open": lambda c: c.open,
    "close": lambda c: c.close,
    "closer": lambda c: c.closer or "none",
    "initiator": lambda c: " ".join(c.states("initiator")),
    "responder": lambda c: " ".join(c.states("responder")),
    "conn_state": lambda c: c.conn_state,
    "history": lambda c: c.history,
    "completeness": lambda c: c.completeness,
    "illegal": lambda c: " ".join(str(step.illegal) for step in c.illegal) or "none",
}
ARRIVING = {"SYN", "SYN-ACK", "ACK of new data", "ACK of the FIN", "FIN", "data"} | {
    *("RST exact", "RST in window", "RST outside"),
}


class Script(NamedTuple):
    """A file: what its header states, why the code differs today (by key), and the script."""

    stated: dict[str, str]
    differs: dict[str, str]
    text: str

    def segments(self, more: str = "", port: int = FIRST_PORT) -> Segments:
        """The script's segments, and some more."""
        first, second = map(int, self.stated.get("isns", "1000 5000").split())
        return parse(self.text + more, isns=(first, second), initiator=f"{ENDS['initiator']}:{port}")


def read(text: str, must: set[str], may: set[str]) -> Script:
    """Take a file apart.

    Raises:
        ValueError: no sentence that names an RFC; or a key is unknown, stated twice, or not stated.
    """
    head, _, script = re.sub(r"\n//  +", " ", text).partition("\n\n")
    sentence, *lines = head.splitlines()
    pairs = [line.removeprefix("// ").partition(": ")[::2] for line in lines]
    reasons = [value.partition(": ")[::2] for key, value in pairs if key == "differs"]
    stated = {key: value for key, value in pairs if key != "differs"}
    differs = {key: why for keys, why in reasons for key in keys.split(", ")}
    if not re.fullmatch(r"// [A-Z].*\bRFC \d+.*\.", sentence):
        raise ValueError(f"no sentence that names an RFC: {sentence}")
    if not must <= stated.keys() <= must | may or len(stated) + len(reasons) < len(pairs):
        raise ValueError(f"unknown, stated twice, or not stated: {lines}")
    return Script(stated, differs, script)


@cache
def scenario(name: str) -> tuple[Script, list[Conversation]]:
    """One scenario, with what it need not state filled in, and its conversations."""
    text = (SCENARIOS / f"{name}.pkt").read_text("utf-8")
    script = read(text, {"open", "close", "initiator", "responder"}, {"isns", "conversations", *ASK})
    count = int(script.stated.setdefault("conversations", "1"))
    script.stated.setdefault("illegal", " | ".join(["none"] * count))
    values = {key: script.stated[key].split(" | ") for key in ASK.keys() & script.stated.keys()}
    assert {len(value) for value in values.values()} == {count}, name
    assert script.differs.keys() <= script.stated.keys(), name
    assert {word for end in ENDS for value in values[end] for word in value.split()} <= set(State), name
    return script, conversations(script.segments())


def marks(why: str) -> list[pytest.MarkDecorator]:
    """What the code gets wrong today must be wrong."""
    return [pytest.mark.xfail(reason=why, raises=AssertionError, strict=True)] if why else []


def cases() -> Iterator[object]:
    """Every scenario, and apart from it every key that the code gets wrong today."""
    for name in NAMES:
        stated, differs, _ = scenario(name)[0]
        yield pytest.param(name, stated.keys() - differs.keys() - {"isns"}, id=name)
        for key, why in differs.items():
            yield pytest.param(name, {key}, marks=marks(why), id=f"{name}-{key}")


@pytest.mark.parametrize(("name", "keys"), list(cases()))
def test_a_scenario_is_what_its_header_states(name: str, keys: set[str]) -> None:
    """Of each conversation, in order."""
    script, found = scenario(name)
    values = {key: " | ".join(str(ask(conversation)) for conversation in found) for key, ask in ASK.items()}
    values["conversations"] = str(len(found))
    assert {key: values[key] for key in keys} == {key: script.stated[key] for key in keys}


@pytest.fixture(scope="session")
def wireshark(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Scenario → stream → completeness: all scenarios in one capture, each at a port of its own."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed: no second opinion")
    numbered = [scenario(name)[0].segments(port=port) for port, name in enumerate(NAMES, FIRST_PORT)]
    path = tmp_path_factory.mktemp("scenarios") / "all.pcap"
    path.write_bytes(encode([frame for segments in numbered for frame in frames_of(segments)]))
    fields = [word for name in ("srcport", "dstport", "stream", "completeness") for word in ("-e", f"tcp.{name}")]
    command = ["tshark", "-2", "-r", str(path), "-T", "fields", *fields]
    said: dict[str, dict[str, str]] = {}
    for line in subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines():
        source, target, stream, completeness = line.split("\t")
        said.setdefault(NAMES[max(int(source), int(target)) - FIRST_PORT], {})[stream] = completeness
    return said


@pytest.mark.parametrize("name", NAMES)
def test_the_completeness_stated_is_wiresharks(name: str, wireshark: dict[str, dict[str, str]]) -> None:
    """It may go unstated only where Wireshark sees several conversations."""
    streams = wireshark[name].values()
    assert scenario(name)[0].stated.get("completeness") in (" | ".join(streams), None if len(streams) > 1 else "")


class Cell(NamedTuple):
    """What arrives in a state, with the answer, and the state after both."""

    before: Script
    lines: str
    after: str
    differs: str


def cells() -> Iterator[tuple[tuple[str, str], Cell]]:
    """(File, what arrives) → the cell."""
    for path in sorted((SCENARIOS / "states").glob("*.pkt")):
        prefix, *sections = re.sub(r"\n//  +", " ", path.read_text("utf-8")).split("\n== ")
        before = read(prefix, {"end", "state"}, {"isns"})
        for head, _, lines in (section.partition("\n") for section in sections):
            arriving, _, after = head.partition(": ")
            why = lines.partition("\n")[0].partition("// differs: ")[2]
            yield (path.stem, arriving), Cell(before, lines, after, why)


CELLS = dict(cells())


def last_state(before: Script, lines: str) -> str:
    """The state of the end in question after these lines, in the latest conversation of the 4-tuple."""
    last = conversations(before.segments("\n" + lines))[-1]
    return last.states_by_row[-1][0 if last.initiator.startswith(ENDS[before.stated["end"]]) else 1]


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=marks(cell.differs), id="-".join(name)) for name, cell in CELLS.items()]
)
def test_what_arrives_in_a_state_leads_where_the_rfc_says(cell: Cell) -> None:
    """As far as the wire can show it."""
    assert last_state(cell.before, "") == cell.before.stated["state"]
    assert last_state(cell.before, cell.lines) == cell.after


def test_the_matrix_is_whole() -> None:
    """Each of the eleven states meets each kind of segment."""
    met = {(cell.before.stated["state"], arriving) for (_, arriving), cell in CELLS.items()}
    assert met >= {(state, arriving) for state in State for arriving in ARRIVING}
    assert {cell.after for cell in CELLS.values()} <= set(State)


@pytest.mark.parametrize(
    "header", ["Open.\n// open: x", "A (RFC 1).\n// opem: x", "A (RFC 1).", "A (RFC 1).\n// open:"]
)
def test_a_header_that_states_too_little_or_the_unknown_is_an_error(header: str) -> None:
    """A misspelt key must not pass unseen."""
    with pytest.raises(ValueError, match=r"no sentence|unknown"):
        read(f"// {header}\n\n+0 > S 0:0(0)\n", {"open"}, {"isns"})
