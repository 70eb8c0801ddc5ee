"""Many real connections between a testbed's two hosts, in shapes made to order, and all that was seen of them.

The initiator of every connection is on the testbed's server host, the responder on its client host.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from harness.hosts.host import Host, RemoteProcess, Testbed
from harness.tcpdump import Captured, capturing
from harness.traffic.network import Network
from harness.traffic.playing import SECONDS, play_all, programs
from harness.traffic.shapes import Connection, Loss, Shape, Side
from harness.waiting import wait_for

FIRST_PORT, LAST_PORT = 10000, 29999  # below what the kernel hands out by itself


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


def make(testbed: Testbed, shapes: list[Shape]) -> Traffic:
    """Make all connections of these shapes; they stay as they are until all has been seen."""
    hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
    ports = count(FIRST_PORT)
    connections = [Connection(shape, next(ports)) for shape in shapes for _ in range(shape.times)]
    folders = {side: host.shell("exec mktemp -d").text.strip() for side, host in hosts.items()}
    network = Network.of(hosts, folders, connections)
    with tracing(hosts["i"]) as trace, network.in_force(), ExitStack() as stack:
        captures = {side: stack.enter_context(capturing(host, "/tmp", "tcp")) for side, host in hosts.items()}
        both = stack.enter_context(programs(hosts))
        play_all(both, network, connections)
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
