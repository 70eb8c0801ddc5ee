"""Many real connections between a testbed's two hosts, in shapes made to order, and all that was seen of them.

The initiator of every connection is on the testbed's server host, the responder on its client host. What is lost is
dropped by nftables in the hosts, so often as is wanted and no more, by connection and by kind. What is dropped in its
receiver's input hook both hosts' captures show (they tap before); what in its sender's output hook, neither. What is to
cross on the way is held back: while a host does not know its peer's hardware address, its packets wait in its
neighbour table, before the capture, and all leave in order when it is told that.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import Any, Literal

from harness.hosts.host import Host, RemoteProcess, Testbed
from harness.tcpdump import Captured, capturing
from harness.waiting import wait_for
from tests.live import traffic_program

Side = Literal["i", "r"]  # initiator, responder
BOTH_WAYS: tuple[tuple[Side, Side], ...] = (("i", "r"), ("r", "i"))
SECONDS = 40.0  # a deadline for all connections' steps, not an expectation
FIRST_PORT, LAST_PORT = 10000, 29999  # below what the kernel hands out by itself
ROUNDS = 3  # of answers to what has crossed, until there are none
RESPONDERS = 10000  # an initiator's port + this is its responder's

OPEN = "r: listen; i: connect, = ESTABLISHED; r: accept, = ESTABLISHED; "

_KINDS = {
    "syn": "tcp flags & (syn | ack) == syn",
    "syn-ack": "tcp flags & (syn | ack) == (syn | ack)",
    "ack": "tcp flags & (fin | syn | rst | psh | ack) == ack",
    "ack-of-fin": "tcp flags & (fin | syn | rst | psh | ack) == ack",
    "data": "tcp flags & psh == psh",
    "fin": "tcp flags & fin == fin",
    "rst": "tcp flags & rst == rst",
}


@dataclass(frozen=True, order=True)
class Loss:
    """What of a connection is lost.

    Attributes:
        sender: whose segments.
        kind: "syn", "syn-ack", "ack" (nothing but an ACK), "ack-of-fin" (the same, when the peer has sent a FIN),
            "data" (what carries PSH), "fin" or "rst".
        times: the first so many; 0: all.
        seen: whether the captures show it (lost at its receiver) or not (it never left its sender).
        surely: whether it must have happened; otherwise it is a net under what otherwise would hang on time.
    """

    sender: Side
    kind: str
    times: int = 1
    seen: bool = True
    surely: bool = True

    @property
    def place(self) -> tuple[Side, str]:
        """The host and the hook where it is dropped."""
        other: Side = "r" if self.sender == "i" else "i"
        return (other, "input") if self.seen else (self.sender, "output")

    @property
    def name(self) -> str:
        """As part of a set's name."""
        place = f"{'seen' if self.seen else 'unseen'}_{'sure' if self.surely else 'unsure'}"
        return f"{self.sender}_{self.kind.replace('-', '_')}_{self.times}_{place}"


@dataclass(frozen=True)
class Shape:
    """How a connection goes.

    Attributes:
        name: of the shape.
        script: what either end does, in order: "i: VERB ARGUMENT, VERB ARGUMENT; r: …"; the verbs stand in
            `traffic_program`. Where *released_first* is set it has four parts, divided by "|": before the network is
            held, while it is, when what one side has sent has arrived, and when all has.
        initiator: the states that the kernel must have gone through for the shape to have occurred, abbreviated;
            several lives of one 4-tuple are divided by "/", alternatives by "or".
        responder: likewise.
        losses: what is lost.
        times: how many connections.
        released_first: whose packets arrive first, in the shapes whose packets cross.
        close: how the capture must name its close (`Conversation.close`), where the shape is about that.
    """

    name: str
    script: str
    initiator: str
    responder: str
    losses: tuple[Loss, ...] = ()
    times: int = 4
    released_first: Side | None = None
    close: str | None = None

    def part(self, number: int) -> list[tuple[Side, list[list[Any]]]]:
        """The steps of one part: who, and what, as `traffic_program` is told."""
        found: list[tuple[Side, list[list[Any]]]] = []
        for turn in filter(None, map(str.strip, self.script.split("|")[number].split(";"))):
            side, _, steps = turn.partition(":")
            assert side in ("i", "r"), turn
            found.append(("i" if side == "i" else "r", [_step(step.split()) for step in steps.split(",")]))
        grouped = groupby(found, lambda turn: turn[0])
        return [(side, [step for _, steps in turns for step in steps]) for side, turns in grouped]


def _step(words: list[str]) -> list[Any]:
    verb, argument = words[0], words[1] if len(words) > 1 else None
    return [verb, int(argument) if argument and argument.isdigit() else argument]


@dataclass(frozen=True)
class Connection:
    """One connection, or several lives of one 4-tuple."""

    shape: Shape
    port: int

    def ports(self, side: Side) -> tuple[int, int]:
        """Its local and its remote port, seen from that side."""
        both = (self.port, self.port + RESPONDERS)
        return both if side == "i" else both[::-1]


@dataclass(frozen=True)
class Traffic:
    """All that was seen.

    Attributes:
        connections: that were made.
        addresses: of the two sides.
        captured: what tcpdump on each side's host captured.
        trace: the kernel's trace, and what it says of itself (how much of it was lost).
        seen: what each side saw in /proc/net/tcp: (local port, remote port) → (CLOCK_MONOTONIC, state or None).
        lost: the ports of the connections of which something was lost: by loss, and which time (counted from 1).
    """

    connections: tuple[Connection, ...]
    addresses: dict[Side, str]
    captured: dict[Side, Captured]
    trace: str
    trace_statistics: str
    seen: dict[Side, dict[tuple[int, int], list[tuple[float, str | None]]]]
    lost: dict[tuple[Loss, int], set[int]]


# -- the network -----------------------------------------------------------------------------------------------------

_SETTINGS = """
PATH=$PATH:/usr/sbin:/sbin
set -e
sysctl -q -w net.ipv4.conf.$1.arp_ignore=8 net.ipv4.neigh.$1.mcast_solicit=100 \\
    net.ipv4.neigh.$1.unres_qlen_bytes=16777216 net.ipv4.tcp_fastopen=519 net.ipv4.tcp_tw_reuse=1
cat /sys/class/net/$1/address
"""
_KNOW = 'PATH=$PATH:/usr/sbin:/sbin; ip neigh replace "$1" dev "$2" lladdr "$3" nud permanent'
_FORGET = 'PATH=$PATH:/usr/sbin:/sbin; ip neigh del "$1" dev "$2"'
# While packets are held back nothing is to be sent again, for that would overtake them (ip-route(8), rto_min).
_PATIENCE = """
PATH=$PATH:/usr/sbin:/sbin
exec ip route replace "$(ip -o -4 route show dev "$1" scope link | cut -d' ' -f1)" dev "$1" src "$2" rto_min 1500ms
"""
_RULES = "PATH=$PATH:/usr/sbin:/sbin; exec nft -f -"
_LOST = "PATH=$PATH:/usr/sbin:/sbin; exec nft -j list ruleset"


def _port(side: Side, hook: str) -> str:
    """The expression for the initiator's port in a hook of that side's host."""
    return "tcp sport" if (side == "i") == (hook == "output") else "tcp dport"


def ruleset(side: Side, losses: dict[Loss, list[int]]) -> str:
    """The nftables rules of one side's host."""
    sets = ["set fin_input { type inet_service; flags dynamic; size 65535; }"]
    sets += ["set fin_output { type inet_service; flags dynamic; size 65535; }"]
    rules: dict[str, list[str]] = {"input": [], "output": []}
    for loss, ports in sorted(losses.items()):
        at, hook = loss.place
        if at != side:
            continue
        port = _port(side, hook)
        sets.append(f"set {loss.name} {{ type inet_service; elements = {{ {', '.join(map(str, ports))} }}; }}")
        match = f"{port} @{loss.name} {_KINDS[loss.kind]}"
        if loss.kind == "ack-of-fin":
            match += f" {port} @fin_{'output' if hook == 'input' else 'input'}"
        for number in range(1, (loss.times or 1) + 1):
            lost = f"{loss.name}_lost_{number}"
            sets.append(f"set {lost} {{ type inet_service; flags dynamic; size 65535; }}")
            once = f" {port} != @{lost}" if loss.times else ""
            rules[hook].append(f"{match}{once} add @{lost} {{ {port} }} drop")
    for hook, lines in rules.items():
        lines.append(f"tcp flags & fin == fin add @fin_{hook} {{ {_port(side, hook)} }}")
    chains = [
        "\n".join((f"chain {hook} {{ type filter hook {hook} priority 0;", *lines, "}"))
        for hook, lines in rules.items()
    ]
    return "\n".join(("table ip losses {", *sets, *chains, "}"))


@dataclass
class Network:
    """The lab link: what is lost on it, and whether its packets are held back."""

    hosts: dict[Side, Host]
    losses: dict[Loss, list[int]]
    hardware: dict[Side, str] = field(default_factory=dict)

    def set_up(self) -> None:
        """Settings, addresses and rules."""
        for side, host in self.hosts.items():
            self.hardware[side] = host.shell(_SETTINGS, host.entry.interface).text.strip()
        for side, host in self.hosts.items():
            self.release(side)
            host.shell(_RULES, stdin=ruleset(side, self.losses))

    def _peer(self, side: Side) -> tuple[str, str, str]:
        other: Side = "r" if side == "i" else "i"
        return self.hosts[other].entry.address, self.hosts[side].entry.interface, self.hardware[other]

    def be_patient(self) -> None:
        """Let new connections wait longer before they send again."""
        for host in self.hosts.values():
            host.shell(_PATIENCE, host.entry.interface, host.entry.address)

    def hold(self, side: Side) -> None:
        """Keep back what that side sends."""
        address, interface, _ = self._peer(side)
        self.hosts[side].shell(_FORGET, address, interface)

    def let_go(self, side: Side) -> None:
        """Let go what that side has sent so far; what it sends from now on is held back again."""
        self.hosts[side].shell(f"{_KNOW} && {_FORGET}", *self._peer(side))

    def release(self, side: Side) -> None:
        """Let go what that side has sent, and hold back nothing more."""
        self.hosts[side].shell(_KNOW, *self._peer(side))

    def lost(self) -> dict[tuple[Loss, int], set[int]]:
        """What was dropped."""
        found: dict[str, set[int]] = {}
        for host in self.hosts.values():
            for entry in json.loads(host.shell(_LOST).text)["nftables"]:
                if "set" in entry:
                    found[entry["set"]["name"]] = set(entry["set"].get("elem", ()))
        return {
            (loss, number): found[f"{loss.name}_lost_{number}"]
            for loss in self.losses
            for number in range(1, (loss.times or 1) + 1)
        }


# -- the kernel's trace ----------------------------------------------------------------------------------------------

# As harness/observer.py has it, but for many connections: each CPU's buffer could hold all, and whether any event was
# lost is told.
_TRACE = """
instance=/sys/kernel/tracing/instances/$1
trap : TERM HUP INT PIPE
mkdir "$instance" || exit
cd "$instance" && echo 1024 >buffer_size_kb && echo mono >trace_clock &&
    echo "(sport >= $2 && sport <= $3) || (dport >= $2 && dport <= $3)" >events/sock/inet_sock_set_state/filter &&
    echo 1 >events/sock/inet_sock_set_state/enable && echo "== ready" && while read -r _; do :; done
trap '' TERM HUP INT PIPE
echo 0 >events/sock/inet_sock_set_state/enable
echo "== statistics" && cat per_cpu/cpu*/stats && echo "== trace" && cat trace
cd / && rmdir "$instance"
"""


@contextmanager
def tracing(host: Host) -> Iterator[RemoteProcess]:
    """Trace the kernel's state changes of all namespaces' sockets with our ports, while the block runs."""
    name = f"tcp-lab-{secrets.token_hex(4)}-oracle"
    with host.start("sh", "-c", _TRACE, "sh", name, str(FIRST_PORT), str(LAST_PORT)) as process:
        process.wait_for_output("it traced", "== ready")
        yield process


# -- the traffic -----------------------------------------------------------------------------------------------------


class Programs:
    """The two programs that make the connections."""

    def __init__(self, processes: dict[Side, RemoteProcess]) -> None:
        self._processes = processes
        self._tokens = count()
        self._taken = dict.fromkeys(processes, 0)
        self._answers: dict[int, dict[str, Any]] = {}

    def ask(self, side: Side, **message: Any) -> int:
        """Send an order; its token."""
        token = next(self._tokens)
        self._processes[side].send(json.dumps({"token": token, **message}) + "\n")
        return token

    def answers(self) -> dict[int, dict[str, Any]]:
        """All answers so far, by token."""
        for side, process in self._processes.items():
            lines = process.output()[self._taken[side] :]
            whole = lines[: lines.rfind("\n") + 1]
            self._taken[side] += len(whole)
            self._answers.update((answer["token"], answer) for answer in map(json.loads, whole.splitlines()))
            assert process._open, f"the program of {side} ended: {process.output('stderr')}"
        return self._answers

    def report(self, side: Side) -> dict[tuple[int, int], list[tuple[float, str | None]]]:
        """What that side saw in /proc/net/tcp."""
        token = self.ask(side, report=True)
        answer: dict[str, Any] = wait_for("a report", lambda: self.answers().get(token), seconds=SECONDS)
        return {(local, remote): [(t, s) for t, s in changes] for local, remote, changes in answer["report"]}

    def play(self, connections: list[Connection], part: int) -> None:
        """Play one part of all these connections' scripts at the same time."""
        left = {connection: connection.shape.part(part) for connection in connections}
        waiting: dict[Connection, int] = {}

        def go_on() -> bool:
            answers = self.answers()
            for connection, turns in list(left.items()):
                token = waiting.get(connection)
                if token is not None:
                    if token not in answers:
                        continue
                    done = turns.pop(0)
                    assert "error" not in answers[token], (connection.shape.name, done, answers[token])
                if not turns:
                    del left[connection]
                    continue
                side, steps = turns[0]
                local, remote = connection.ports(side)
                waiting[connection] = self.ask(side, local=local, remote=remote, steps=steps)
            return not left

        try:
            wait_for("the connections", go_on, seconds=SECONDS)
        except Exception as error:
            stuck = {(connection.shape.name, connection.port): turns[0] for connection, turns in left.items()}
            raise AssertionError(f"{error}; waiting: {stuck}") from error


@contextmanager
def programs(hosts: dict[Side, Host]) -> Iterator[Programs]:
    """Start both programs."""
    source = Path(traffic_program.__file__).read_text(encoding="utf-8")
    with ExitStack() as stack:
        processes: dict[Side, RemoteProcess] = {}
        for side, host in hosts.items():
            host.shell("cat >/tmp/traffic_program.py", stdin=source)
            other = hosts["r" if side == "i" else "i"]
            command = ("python3", "-I", "-S", "/tmp/traffic_program.py", host.entry.address, other.entry.address)
            processes[side] = stack.enter_context(host.start(*command))
        yield Programs(processes)


def make(testbed: Testbed, shapes: list[Shape]) -> Traffic:
    """Make all connections of these shapes; they stay as they are until all has been seen."""
    hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
    ports = count(FIRST_PORT)
    connections = [Connection(shape, next(ports)) for shape in shapes for _ in range(shape.times)]
    losses: dict[Loss, list[int]] = {}
    for connection in connections:
        for loss in connection.shape.losses:
            losses.setdefault(loss, []).append(connection.port)
    network = Network(hosts, losses)
    network.set_up()
    with tracing(hosts["i"]) as trace, ExitStack() as stack:
        captures = {side: stack.enter_context(capturing(host, "/tmp", "tcp")) for side, host in hosts.items()}
        both = stack.enter_context(programs(hosts))
        both.play([connection for connection in connections if connection.shape.released_first is None], 0)
        network.be_patient()
        for sides in BOTH_WAYS:
            crossing = [connection for connection in connections if connection.shape.released_first == sides[0]]
            if not crossing:
                continue
            both.play(crossing, 0)
            for side in sides:
                network.hold(side)
            both.play(crossing, 1)
            network.let_go(sides[0])
            both.play(crossing, 2)
            # By turns: while one side's packets leave, no answer of the other's makes it send one that overtakes them.
            for side in sides[::-1] * ROUNDS:
                network.let_go(side)
            for side in sides[::-1]:
                network.release(side)
            both.play(crossing, 3)
        seen = {side: both.report(side) for side in hosts}
        lost = network.lost()
        wait_for(
            "both captures to be written",
            lambda: len({len(capture.so_far()) for capture in captures.values()}) == 1,
            seconds=SECONDS,
        )
        captured = {side: capture.finish() for side, capture in captures.items()}
        trace.end_input()
        said = re.fullmatch(r"(?s)== ready\n== statistics\n(.*)== trace\n(.*)", trace.wait().text)
        assert said
    addresses = {side: host.entry.address for side, host in hosts.items()}
    return Traffic(tuple(connections), addresses, captured, said[2], said[1], seen, lost)
