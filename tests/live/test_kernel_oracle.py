"""The states inferred from captures are those that Linux says its sockets were in."""

import re
import secrets
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.hosts.embedded import embedded
from harness.hosts.host import Testbed
from harness.inventory import Inventory
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.wireshark import notes
from harness.traffic.shapes import RESPONDERS, Connection, Shape, Side
from tests.live import kernel_paths, second_opinions
from tests.live.traffic import FIRST_PORT, Traffic, make
from tests.live.traffic_shapes import DISAGREEMENTS, SHAPES
from tests.live.watching import Watch, trace_instances

_NAMES = {
    "CL": "CLOSED",
    "LI": "LISTEN",
    "SS": "SYN-SENT",
    "SR": "SYN-RECEIVED",
    "ES": "ESTABLISHED",
    "F1": "FIN-WAIT-1",
    "F2": "FIN-WAIT-2",
    "CW": "CLOSE-WAIT",
    "CG": "CLOSING",
    "LA": "LAST-ACK",
    "TW": "TIME-WAIT",
}


class DisagreementError(AssertionError):
    """The capture was read in another way than the kernel told."""


@pytest.fixture(scope="session")
def inventory(inventory: Inventory) -> Inventory:
    """The shipped one with other addresses: the kernel's trace is of the whole machine, other testbeds' sockets too."""
    network = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}"
    server, client = inventory.server, inventory.client
    return replace(
        inventory, server=replace(server, address=f"{network}.1"), client=replace(client, address=f"{network}.2")
    )


def need_an_oracle(testbed: Testbed) -> None:
    """Skip where the kernel's trace may not be read, or what the traffic needs is not there."""
    if trace_instances() is None:
        pytest.skip("the kernel's trace (tracefs) may not be read here; only root may")
    for host in testbed.hosts:
        for tool in ("nft", "python3", "tcpdump"):
            if host.shell('PATH=$PATH:/usr/sbin:/sbin; command -v "$1"', tool, check=False).status:
                pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="module")
def misread(inventory: Inventory, namespaces: None) -> dict[tuple[str, str], list[str]]:
    """The disagreements in the traffic that is known to be read in another way; it did happen."""
    assert namespaces is None
    shapes = [shape for _, shapes in DISAGREEMENTS for shape in shapes]
    watch = Watch()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", watch.path)
            with embedded(inventory) as testbed:
                watch.look()
                need_an_oracle(testbed)
                traffic = make(testbed, shapes)
        assert not watch.look()
        assert not watch.left_traces()
    finally:
        watch.close()
    assert_it_happened(traffic, shapes)
    return disagreements(traffic)


def told(traffic: Traffic) -> dict[tuple[Connection, Side], list[kernel_paths.Path]]:
    """What the kernel tells of every end."""
    found = {}
    for side, address in traffic.addresses.items():
        changes = kernel_paths.parse(traffic.trace, address)
        for connection in traffic.connections:
            ports = connection.ports(side)
            found[connection, side] = kernel_paths.lives(
                changes.get(ports, ()), traffic.seen[side].get(ports, ()), changes.get((ports[0], 0), ())
            )
    return found


def closes(traffic: Traffic, at: Side) -> dict[int, list[str]]:
    """How each connection was closed, as the capture on one host shows it, by the initiator's port."""
    found: dict[int, list[str]] = {}
    for conversation in conversations(read_capture(traffic.captured[at].pcap, f"at {at}").segments):
        port = min(_port(conversation.initiator), _port(conversation.responder))
        found.setdefault(port, []).append(conversation.close)
    return found


def inferred(traffic: Traffic, at: Side) -> dict[tuple[Connection, Side], list[kernel_paths.Path]]:
    """What the capture on one host shows of every end."""
    by_port = {connection.port: connection for connection in traffic.connections}
    found: dict[tuple[Connection, Side], list[kernel_paths.Path]] = {}
    for conversation in conversations(read_capture(traffic.captured[at].pcap, f"at {at}").segments):
        connection = by_port[min(_port(conversation.initiator), _port(conversation.responder))]
        for side, address in traffic.addresses.items():
            here = f"{address}:{connection.ports(side)[0]}"
            assert here in (conversation.initiator, conversation.responder)
            states = conversation.states("initiator" if conversation.initiator == here else "responder")
            found.setdefault((connection, side), []).append(_as_told(tuple(map(str, states))))
    return found


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def _as_told(path: kernel_paths.Path) -> kernel_paths.Path:
    """Who opens was CLOSED, says the kernel, whether or not another socket listens on the same port."""
    return ("CLOSED", *path[1:]) if path[1:2] == ("SYN-SENT",) else path


def wanted(shape: Shape, side: Side) -> list[list[kernel_paths.Path]]:
    """The lives that an end of this shape may have had."""
    text = shape.initiator if side == "i" else shape.responder
    return [
        [tuple(_NAMES[name] for name in life.split()) for life in alternative.split("/")]
        for alternative in text.split(" or ")
    ]


def segments_of(traffic: Traffic, at: Side, connection: Connection) -> str:
    """One connection's lines of tcpdump's listing."""
    port = re.compile(rf"\.{connection.port}\b")
    return "\n".join(line for line in traffic.captured[at].listing.splitlines() if port.search(line))


def assert_it_happened(traffic: Traffic, shapes: list[Shape]) -> None:
    """All that was wanted did happen: every connection, every loss, and what the kernel says of every shape."""
    statistics = re.findall(r"(?m)^(overrun|commit overrun|dropped events): (\d+)$", traffic.trace_statistics)
    assert len(statistics) >= 3
    assert {number for _, number in statistics} == {"0"}
    for captured in traffic.captured.values():
        assert captured.disagreement() is None
    assert segments_seen(traffic, "i") == segments_seen(traffic, "r")
    for (loss, _), ports in traffic.lost.items():
        planned = {connection.port for connection in traffic.connections if loss in connection.shape.losses}
        assert ports == planned if loss.surely else ports <= planned, loss
    for connection in traffic.connections:
        for number in re.findall(r"isn (\d+)", connection.shape.script):
            assert f"Flags [S], seq {number}," in segments_of(traffic, "i", connection)
    for at in traffic.addresses:
        closed = closes(traffic, at)
        named = {
            connection.port: connection.shape.close for connection in traffic.connections if connection.shape.close
        }
        assert {port: closed[port] for port in named} == {port: [close] for port, close in named.items()}
    paths = told(traffic)
    others: dict[tuple[str, str], list[str]] = {}
    for (connection, side), path in paths.items():
        if path not in wanted(connection.shape, side):
            others.setdefault((connection.shape.name, f"{side}: {_text(path)}"), []).append(
                segments_of(traffic, side, connection)
            )
    assert not others, _told_of(others)
    occurred = Counter(connection.shape.name for connection in traffic.connections)
    assert occurred == {shape.name: shape.times for shape in shapes}


def disagreements(traffic: Traffic) -> dict[tuple[str, str], list[str]]:
    """Where a capture is read in another way than the kernel tells: (shape, difference) → each one's segments."""
    paths = told(traffic)
    wrong: dict[tuple[str, str], list[str]] = {}
    for at in traffic.addresses:
        shown = inferred(traffic, at)
        for (connection, side), path in paths.items():
            seen = shown.get((connection, side), [])
            if seen != path:
                difference = f"{side}, captured at {at}: kernel {_text(path)}, inferred {_text(seen)}"
                listing = segments_of(traffic, at, connection)
                wrong.setdefault((connection.shape.name, difference), []).append(listing)
    return wrong


def segments_seen(traffic: Traffic, at: Side) -> Counter[int]:
    """How many segments of each connection a capture has, but for those that are sent again without end."""
    ports = map(int, re.findall(r"(?m) IP [\d.]+\.(\d+) >", traffic.captured[at].listing))
    seen = Counter(port - RESPONDERS if port >= FIRST_PORT + RESPONDERS else port for port in ports)
    endless = {c.port for c in traffic.connections if any(loss.seen and not loss.times for loss in c.shape.losses)}
    return Counter({port: number for port, number in seen.items() if port not in endless})


def _told_of(found: dict[tuple[str, str], list[str]]) -> str:
    """What was found in which shape, how often, and the segments of one such connection."""
    return "\n".join(f"{name}, {len(all_)} times; {what}\n{all_[0]}\n" for (name, what), all_ in found.items())


def _text(lives: list[kernel_paths.Path]) -> str:
    """Lives, abbreviated."""
    short = {name: abbreviation for abbreviation, name in _NAMES.items()}
    return " / ".join(" ".join(short[state] for state in life) for life in lives)


def _all_segments(capture: Path) -> list[Conversation]:
    return conversations(read_capture(capture.read_bytes(), str(capture)).segments)


def assert_tshark_agrees(capture: Path) -> None:
    """Every frame has tshark's notes, but where tshark cuts a 4-tuple at another place: every new SYN is one to it."""
    said = second_opinions.tshark(capture)
    all_conversations = _all_segments(capture)
    streams = [{said[segment.frame].stream for segment in one.rows_in_order} for one in all_conversations]
    times = Counter(stream for of_one in streams for stream in of_one)
    cut_alike = [
        one
        for one, of_one in zip(all_conversations, streams, strict=True)
        if len(of_one) == 1 and times[min(of_one)] == 1
    ]
    assert len(cut_alike) > 0.95 * len(all_conversations)
    differences = []
    for conversation in cut_alike:
        found = notes(conversation.segments_columns, conversation.rows, reused_ports=conversation.reuses_ports)
        for segment, ours in zip(conversation.rows_in_order, found, strict=True):
            if said[segment.frame].notes != set(ours):
                differences.append((segment, sorted(ours), sorted(said[segment.frame].notes)))
    assert not differences, "\n".join(map(str, differences))


def assert_tcptrace_agrees(capture: Path) -> None:
    """SYNs, FINs, RSTs and packets of each end, and whether a connection is complete, by addresses and ports."""
    theirs: dict[tuple[str, str], Counter[str]] = {}
    for connection in second_opinions.tcptrace(capture):
        for end, other, index in ((0, 1, 0), (1, 0, 1)):
            counts = theirs.setdefault((connection.ends[end], connection.ends[other]), Counter())
            counts["packets"] += connection.packets[index]
            counts["S"] += connection.syns[index]
            counts["F"] += connection.fins[index]
            counts["R"] += connection.resets[index]
    ours: dict[tuple[str, str], Counter[str]] = {}
    for conversation in _all_segments(capture):
        for segment in conversation.rows_in_order:
            pair = (conversation.initiator, conversation.responder)
            counts = ours.setdefault(pair if segment.sender == "initiator" else pair[::-1], Counter())
            counts["packets"] += 1
            counts.update(letter for letter in "SFR" if letter in segment.flags)
    for pair, counts in theirs.items():
        assert +counts == ours.get(pair, Counter()), pair


def test_states_are_the_kernels(testbed: Testbed, tmp_path: Path) -> None:
    """Of hundreds of connections in all shapes, every state that is inferred is the kernel's, and none is missing.

    Where they are installed, tshark agrees on every segment's notes, and tcptrace on what each end sent.
    """
    need_an_oracle(testbed)
    traffic = make(testbed, SHAPES)
    assert len(traffic.connections) >= 300
    assert_it_happened(traffic, SHAPES)
    wrong = disagreements(traffic)
    assert not wrong, _told_of(wrong)
    for side in traffic.addresses:
        capture = tmp_path / f"{side}.pcap"
        capture.write_bytes(traffic.captured[side].pcap)
        for tool, agrees in (("tshark", assert_tshark_agrees), ("tcptrace", assert_tcptrace_agrees)):
            if shutil.which(tool):
                agrees(capture)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(
            shape, id=shape.name, marks=pytest.mark.xfail(reason=reason, raises=DisagreementError, strict=True)
        )
        for reason, shapes in DISAGREEMENTS
        for shape in shapes
    ],
)
def test_states_are_not_the_kernels(misread: dict[tuple[str, str], list[str]], shape: Shape) -> None:
    """What is known to be read in another way, always is, in both captures."""
    wrong = {(name, difference): all_ for (name, difference), all_ in misread.items() if name == shape.name}
    if wrong:
        assert {len(all_) for all_ in wrong.values()} == {shape.times}, _told_of(wrong)
        assert len({difference.replace("at r:", "at i:") for _, difference in wrong}) * 2 == len(wrong), _told_of(wrong)
        raise DisagreementError(_told_of(wrong))


def test_a_step_that_fails(testbed: Testbed) -> None:
    """One line with the step and what was said of it; also if it is the last, and others are still at theirs."""
    need_an_oracle(testbed)
    wrong = Shape("wrong", "i: keep, detour, detour", "CL", "CL", times=1)
    slow = Shape("slow", "r: listen; r: accept", "CL", "CL", times=1)
    with pytest.raises(HarnessError, match=r"^connection 'wrong': .*: ip route add .*File exists; waiting: slow at "):
        make(testbed, [wrong, slow])
