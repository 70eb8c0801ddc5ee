"""The timeline: segments and both kernels' states on one clock, and no order claimed that the clocks do not give."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from harness.captures.text import is_listing
from harness.kernel_states import Clock, HostStates, SocketState
from harness.reports.timeline import timeline
from harness.runs import RunRecord
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse

START = 1_700_000_000.0
INITIATOR, RESPONDER = "192.168.1.63:40000", "192.168.1.64:22"
SCRIPT = """
+0       > S  0:0(0) win 64240 <mss 1460>
+.000100 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.000100 > .  1:1(0) ack 1
+.001    > P. 1:22(21) ack 1
"""
EXACT = Clock(5.0, 8e-6)
ACTIVE: Mapping[float, str] = {-50: "SYN-SENT", 120: "ESTABLISHED"}  # microseconds → state
PASSIVE: Mapping[float, str] = {210: "SYN-RECEIVED", 220: "ESTABLISHED"}


def states(at: Mapping[float, str], local: str = INITIATOR, remote: str = RESPONDER) -> tuple[SocketState, ...]:
    return tuple(SocketState(round(START + time / 1e6, 6), local, remote, state) for time, state in at.items())


def traced(at: Mapping[float, str], *ends: str, clock: Clock | None = EXACT) -> HostStates:
    return HostStates(None, states(at, *ends), None, clock)


def sampled(at: Mapping[float, str], *ends: str) -> HostStates:
    return HostStates(states(at, *ends), None, ())


SERVER, CLIENT = traced(ACTIVE), traced(PASSIVE, RESPONDER, INITIATOR)


def record(server: HostStates = SERVER, client: HostStates = CLIENT, **more: Any) -> RunRecord:
    document = {
        "lab": "handshake",
        "provider": "embedded",
        "four_tuple": {"initiator": INITIATOR, "responder": RESPONDER},
        "hosts": {"server": {"address": "192.168.1.63"}, "client": {"address": "192.168.1.64"}},
        **more,
    }
    return RunRecord(document, {"server": server, "client": client})


def script(text: str = SCRIPT, **ends: Any) -> list[Conversation]:
    return conversations(parse(text, start=START, **ends))


def shown(run: RunRecord, found: list[Conversation] | None = None) -> list[str]:
    return list(timeline(script() if found is None else found, run))


def rows(lines: list[str]) -> list[str]:
    """The lines with a time, each with single blanks."""
    return [" ".join(line.split()) for line in lines if re.match(r" *-?\d+\.\d{3} ", line)]


def sources(lines: list[str]) -> list[str]:
    """What is said of either end's source."""
    return [line.partition(": ")[2] for line in lines if re.match(r"(initiator|responder) \S+:\d+: ", line)]


def test_all_on_one_clock() -> None:
    """Every segment and every state, in order of time, in milliseconds since the first segment."""
    lines = shown(record())
    assert rows(lines) == [
        "-0.050 SYN-SENT",
        "0.000 1 ─▶ [S] seq 0",
        "0.100 2 ◀─ [S.] seq 0 ack 1",
        "0.120 ESTABLISHED",
        "0.200 3 ─▶ [.] ack 1",
        "0.210 SYN-RECEIVED",
        "0.220 ESTABLISHED",
        "1.200 4 ─▶ [P.] seq 1:22 ack 1 len 21",
    ]
    assert sources(lines) == ["the kernel's trace, its clock matched within 8.0 µs"] * 2


def test_columns() -> None:
    """Time, the initiator's state, the segment, the responder's state."""
    lines = shown(record())
    (head,) = [line for line in lines if line.split() == ["ms", "initiator", "segment", "responder"]]
    column = {name: head.index(name) for name in ("initiator", "segment", "responder")}
    places = {"SYN-SENT": "initiator", "SYN-RECEIVED": "responder", "1 ─▶": "segment", "4 ─▶": "segment"}
    for text, name in places.items():
        (line,) = [line for line in lines if text in line and line.startswith("   ")]
        assert line.index(text) == column[name]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(
    ("at", "is_near"),
    # 8 µs of the clock, and 1 µs that a capture leaves out.
    [(-10, False), (-9, True), (-1, True), (0, True), (9, True), (10, False), (90, False), (92, True), (208, True)],
)
def test_an_order_that_is_not_known(at: float, is_near: bool) -> None:
    """A state nearer to a segment than the clocks are matched is marked, on either side; no other is."""
    lines = shown(record(server=traced({at: "SYN-SENT"}), client=traced({})))
    (row,) = [row for row in rows(lines) if "SYN-SENT" in row]
    assert row == f"{at / 1000:.3f} {'≈' if is_near else ''}SYN-SENT"


def test_the_order_of_both_ends_states() -> None:
    """Both clocks count between two hosts' states; those of one host are in the order of its trace."""
    run = record(server=traced({600: "A", 601: "B"}), client=traced({616: "C", 618: "D"}, RESPONDER, INITIATOR))
    assert rows(shown(run))[3:-1] == ["0.600 ≈A", "0.601 ≈B", "0.616 ≈C", "0.618 D"]


def test_samples() -> None:
    """Without a trace: where ss first saw it, and nothing is claimed of the order."""
    run = record(server=sampled({30_000: "ESTABLISHED", 80_000: "ESTABLISHED", 130_000: "TIME-WAIT"}))
    lines = shown(run)
    assert rows(lines)[-2:] == ["30.000 ≈ESTABLISHED", "130.000 ≈TIME-WAIT"]
    assert "0.210 SYN-RECEIVED" in rows(lines)
    assert sources(lines)[0].startswith("ss every 50 ms: a state stands where it was first seen")
    assert "matched within 8.0 µs" in sources(lines)[1]


def test_a_trace_on_a_clock_that_nobody_measured() -> None:
    """It cannot stand beside segments: samples do, if there are any."""
    unplaced = traced(ACTIVE, clock=None)
    assert "no ss on the initiator's host, and no trace" in sources(shown(record(server=unplaced)))[0]
    assert [row for row in rows(shown(record(server=unplaced))) if "SYN-SENT" in row] == []


def test_nobody_looked() -> None:
    """It is said, and the segments stand alone."""
    silent = HostStates(None, None, None)
    lines = shown(record(silent, silent))
    assert len(rows(lines)) == 4
    assert [text.partition("'s host")[0] for text in sources(lines)] == [
        f"there is no ss on the {end}" for end in ("initiator", "responder")
    ]
    assert not any("smaller sockets" in line for line in lines)
    assert any("smaller sockets" in line for line in shown(record()))


def test_two_machines() -> None:
    """The capture has the server host's clock: of another machine's states no order is claimed, however exact."""
    lines = shown(record(provider="hosts"))
    assert [row for row in rows(lines) if "≈" in row] == ["0.210 ≈SYN-RECEIVED", "0.220 ≈ESTABLISHED"]
    assert ["not compared with the capture's" in text for text in sources(lines)] == [False, True]


def test_a_block_for_each_scene() -> None:
    """With its name and its own connection only; one that the capture does not show is said to be missing."""
    other = {"initiator": "192.168.1.63:40001", "responder": "192.168.1.64:50001"}
    missing = {"initiator": "192.168.1.63:40002", "responder": "192.168.1.64:50002"}
    four_tuple = {"initiator": INITIATOR, "responder": RESPONDER}
    server = HostStates(None, states(ACTIVE) + states({-70: "SYN-SENT"}, *other.values()), None, EXACT)
    run = record(server=server, connections={"one": four_tuple, "two": other, "three": missing})
    text = "\n".join(shown(run, script() + script(**other)))
    _, *blocks = re.split(r"(?m)^── ", text)
    assert [block.split()[0] for block in blocks] == ["one", "two", "three"]
    assert "-0.050" in blocks[0]
    assert "-0.070" not in blocks[0]
    assert next(iter(rows(blocks[1].splitlines()))) == "-0.070 SYN-SENT"
    assert blocks[2].splitlines()[1:] == ["not in the capture"]


def test_two_lives_on_the_same_ports() -> None:
    """One block, one clock: the second has numbers of its own, and who opened it may be the other end."""
    later = """
    2.0      < S  0:0(0) win 64240 <mss 1460>
    +.000100 > R. 0:0(0) ack 1 win 0
    """
    again = conversations(parse(later, start=START, isns=(7, 9)))
    lines = shown(record(), script() + again)
    assert len([line for line in lines if line.startswith("── ")]) == 1
    assert [row.split()[1:4] for row in rows(lines)[-2:]] == [["1", "◀─", "[S]"], ["2", "─▶", "[R.]"]]


def test_it_is_not_taken_for_a_capture() -> None:
    """A run folder that is handed in holds it beside its capture."""
    assert not is_listing("\n".join(shown(record())).encode())
