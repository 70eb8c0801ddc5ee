"""The kernel's socket states during a run: sampled with ss(8), and traced where the kernel's own trace may be read.

The trace (tracefs, event sock/inet_sock_set_state, Linux ≥ 4.16) has every transition; samples see what lasted long
enough. Both are kept apart from the capture: they are the second witness to states inferred from packets.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.hosts.host import Host, RemoteProcess, Testbed, together

# Both tools' names → RFC 9293's.
_NAMES = {
    "ESTAB": "ESTABLISHED",
    "SYN-RECV": "SYN-RECEIVED",
    "NEW-SYN-RECV": "SYN-RECEIVED",
    "FIN-WAIT1": "FIN-WAIT-1",
    "FIN-WAIT2": "FIN-WAIT-2",
    "CLOSE": "CLOSED",
    "UNCONN": "CLOSED",
}

# One process a host: traces and samples until its input ends, then looks once more and prints the trace.
_WATCH = """
PATH=$PATH:/usr/sbin:/sbin
instance=/sys/kernel/tracing/instances/$1 port=$2 here=$3 there=$4
sampler=
end() {
    [ -z "$sampler" ] || kill "$sampler" 2>/dev/null
    [ ! -d "$instance" ] || { cd / && rmdir "$instance"; }
}
trap end EXIT
trap 'exit 1' TERM HUP INT PIPE
if mkdir "$instance" 2>/dev/null; then
    cd "$instance"
    echo "sport == $port || dport == $port" >events/sock/inet_sock_set_state/filter &&
        echo 1 >events/sock/inet_sock_set_state/enable && echo "wall $(date +%s.%N)" >trace_marker ||
        { cd / && rmdir "$instance"; }
fi
look() { echo "@ $(date +%s.%N)" && ss -H -t -a -n -o "src $here and dst $there"; }
if command -v ss >/dev/null 2>&1; then
    while look; do sleep 0.05; done &
    sampler=$!
fi
echo "== ready"
while read -r _; do :; done
if [ -n "$sampler" ]; then
    kill "$sampler"
    wait "$sampler" 2>/dev/null
    echo && echo "== final" && look
fi
if [ -d "$instance" ]; then
    echo "== trace" && cat trace
fi
exit 0
"""

_TRACE_LINE = re.compile(
    r"\s(?P<clock>\d+\.\d+): inet_sock_set_state: .*sport=(?P<sport>\d+) dport=(?P<dport>\d+) "
    r"saddr=(?P<saddr>\S+) daddr=(?P<daddr>\S+) .*oldstate=TCP_(?P<old>\w+) newstate=TCP_(?P<new>\w+)"
)
_MARKER = re.compile(r"\s(?P<clock>\d+\.\d+): (?:tracing_mark_write|0): wall (?P<wall>\d+\.\d+)")


def rfc_name(name: str) -> str:
    """A state as ss(8) or the kernel's trace writes it, in RFC 9293's spelling."""
    dashed = name.replace("_", "-")
    return _NAMES.get(dashed, dashed)


@dataclass(frozen=True, slots=True)
class SocketState:
    """One socket seen in one state.

    Attributes:
        time: seconds since the epoch, on the host's clock.
        local: "IP:PORT" of the host's end.
        remote: "IP:PORT" of the other.
        state: in RFC 9293's spelling.
        timer: ss(8)'s timer, "timewait,59sec,0" (samples only).
    """

    time: float
    local: str
    remote: str
    state: str
    timer: str | None = None


@dataclass(frozen=True, slots=True)
class HostStates:
    """What one host's kernel said.

    Attributes:
        samples: by ss(8), in order of time; None where there is no ss.
        trace: every transition's new state; None where the kernel's trace may not be read.
        final: all the lab's sockets after the close was over, by one more ss(8); None where there is no ss.
    """

    samples: tuple[SocketState, ...] | None
    trace: tuple[SocketState, ...] | None
    final: tuple[SocketState, ...] | None

    def to_json(self) -> dict[str, Any]:
        """As it stands in states.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "HostStates":
        """The inverse of `to_json`."""

        def read(name: str) -> tuple[SocketState, ...] | None:
            rows = document.get(name)
            return None if rows is None else tuple(SocketState(**row) for row in rows)

        return cls(read("samples"), read("trace"), read("final"))


def parse_samples(text: str) -> tuple[SocketState, ...]:
    """The output of the sampling loop: "@ TIME" lines, each followed by ss(8)'s rows."""
    found, time = [], 0.0
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["@"]:
            time = float(fields[1])
        elif len(fields) >= 5:
            timer = next((f[7:-1] for f in fields[5:] if f.startswith("timer:(")), None)
            found.append(SocketState(time, fields[3], fields[4], rfc_name(fields[0]), timer))
    return tuple(found)


def parse_trace(text: str, address: str) -> tuple[SocketState, ...]:
    """The kernel's trace, as far as it is about sockets of *address* (two hosts may share one kernel)."""
    marker = _MARKER.search(text)
    offset = float(marker["wall"]) - float(marker["clock"]) if marker else 0.0
    rows: list[SocketState] = []
    nameless: dict[str, list[SocketState]] = {}  # remote → SYN-SENT seen before the kernel chose the local port
    for row in _TRACE_LINE.finditer(text):
        if row["saddr"] != address:
            continue
        seen = SocketState(
            time=round(float(row["clock"]) + offset, 6),
            local=f"{row['saddr']}:{row['sport']}",
            remote=f"{row['daddr']}:{row['dport']}",
            state=rfc_name(row["new"]),
        )
        if row["sport"] == "0":
            nameless.setdefault(seen.remote, []).append(seen)
            continue
        if row["old"] == "SYN_SENT" and (waiting := nameless.get(seen.remote)):
            rows.append(replace(waiting.pop(0), local=seen.local))
        rows.append(seen)
    return tuple(rows)


def parse_watch(text: str, address: str) -> HostStates:
    """What the watching process on one host printed."""
    before, _, rest = text.partition("== final\n")
    final, separator, trace = (rest or before).partition("== trace\n")
    has_ss = "@ " in before
    return HostStates(
        samples=parse_samples(before) if has_ss else None,
        trace=parse_trace(trace, address) if separator else None,
        final=parse_samples(final) if has_ss else None,
    )


class Observer:
    """Watches both hosts' sockets while its block runs."""

    def __init__(self, watching: dict[Host, RemoteProcess]) -> None:
        self._watching = watching

    def finish(self) -> dict[str, HostStates]:
        """Look once more, stop, and return what each host's kernel said, by role."""
        for process in self._watching.values():
            process.end_input()
        return {
            host.role: parse_watch(process.wait().text, host.entry.address) for host, process in self._watching.items()
        }


@contextmanager
def observing(testbed: Testbed, run_id: str) -> Iterator[Observer]:
    """Watch the kernel's socket states on both hosts while the block runs; it has begun when the block is entered.

    Raises:
        HarnessError: a host was lost.
    """
    port = str(testbed.client.entry.port)
    with ExitStack() as stack:

        def watch(host: Host, peer: Host) -> RemoteProcess:
            name = f"tcp-lab-{run_id}-{host.role}"
            script = ("sh", "-c", _WATCH, "sh", name, port, host.entry.address, peer.entry.address)
            process = stack.enter_context(host.start(*script))
            process.wait_for_output("it watched the sockets", "== ready")
            return process

        server, client = testbed.hosts
        watching = together(lambda: watch(server, client), lambda: watch(client, server))
        yield Observer(dict(zip(testbed.hosts, watching, strict=True)))
