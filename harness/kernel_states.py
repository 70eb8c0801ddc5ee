"""The kernel's socket states during a run, as ss(8) and the kernel's own trace told them.

They are kept apart from the capture: a second witness to the states inferred from packets.
"""

import re
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

SAMPLE_SECONDS = 0.05  # between two looks by ss(8)

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

# Linux's numbers of the states (include/net/tcp_states.h), as /proc/net/tcp has them.
_NUMBERS = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "CLOSE",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW-SYN-RECV",
}

_TRACE_LINE = re.compile(
    r"\s(?P<clock>\d+\.\d+): inet_sock_set_state: .*sport=(?P<sport>\d+) dport=(?P<dport>\d+) "
    r"saddr=(?P<saddr>\S+) daddr=(?P<daddr>\S+) .*oldstate=TCP_(?P<old>\w+) newstate=TCP_(?P<new>\w+)"
)
_MARKER = re.compile(r"\s(?P<clock>\d+\.\d+): (?:tracing_mark_write|0): wall (?P<wall>\d+)\b")
# Half a microsecond each for the marker's time and the transition's, as the kernel prints them, and for their sum, as
# we write it; and a little for what a double cannot hold.
_ROUNDING = 2e-6


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
class Clock:
    """The trace's clock against the host's wall clock, on which a capture's times are too.

    Attributes:
        offset: seconds to add to a time of the trace.
        within: seconds by which the sum may be wrong.
    """

    offset: float
    within: float


@dataclass(frozen=True, slots=True)
class HostStates:
    """What one host's kernel said.

    Attributes:
        samples: by ss(8), in order of time; None where there is no ss.
        trace: every transition's new state; None where the kernel's trace may not be read.
        final: all the lab's sockets after the close was over, by one more ss(8); None where there is no ss.
        clock: how the times of the trace were found; None where there is no trace, or its clock was not measured.
    """

    samples: tuple[SocketState, ...] | None
    trace: tuple[SocketState, ...] | None
    final: tuple[SocketState, ...] | None
    clock: Clock | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in states.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "HostStates":
        """The inverse of `to_json`."""

        def read(name: str) -> tuple[SocketState, ...] | None:
            rows = document.get(name)
            return None if rows is None else tuple(SocketState(**row) for row in rows)

        clock = document.get("clock")
        return cls(read("samples"), read("trace"), read("final"), None if clock is None else Clock(**clock))


def _hexadecimal_end(text: str) -> str:
    """An end as /proc/net/tcp has it, "0100007F:0016": the address's last byte first (on a little-endian machine)."""
    address, _, port = text.partition(":")
    return f"{'.'.join(map(str, reversed(bytes.fromhex(address))))}:{int(port, 16)}"


def _of_proc(time: float, fields: list[str]) -> SocketState:
    """A row of /proc/net/tcp (proc(5); the timer 3 is TIME-WAIT's, in hundredths of a second)."""
    kind, _, left = fields[5].partition(":")
    timer = f"timewait,{int(left, 16) // 100}sec,0" if kind == "03" else None
    ends = (_hexadecimal_end(fields[1]), _hexadecimal_end(fields[2]))
    return SocketState(time, *ends, rfc_name(_NUMBERS[int(fields[3], 16)]), timer)


def parse_samples(text: str) -> tuple[SocketState, ...]:
    """The output of the sampling loop: "@ TIME" lines, each followed by ss(8)'s rows, or by /proc/net/tcp's."""
    found, time = [], 0.0
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["@"]:
            time = float(fields[1])
        elif len(fields) >= 10 and fields[0].rstrip(":").isdecimal():
            found.append(_of_proc(time, fields))
        elif len(fields) >= 5:
            timer = next((f[7:-1] for f in fields[5:] if f.startswith("timer:(")), None)
            found.append(SocketState(time, fields[3], fields[4], rfc_name(fields[0]), timer))
    return tuple(found)


def parse_clock(text: str) -> Clock | None:
    """The offset of the trace's clock, as its markers tell it; None if fewer than two are there.

    Each marker tells the wall clock as it was just before. So at a marker's time the wall clock was not less than what
    it tells, and not more than what the next one tells. The closest such bounds at the run's begin and at its end are
    taken, and the offset is in the middle of both: should the clocks have drifted apart, that is in `within`.
    """
    marks = sorted((round(float(row["clock"]) * 1e6) * 1000, int(row["wall"])) for row in _MARKER.finditer(text))
    # Where a later marker tells an earlier time, the wall clock was set back meanwhile.
    bounds = [(clock, before, after) for (clock, before), (_, after) in pairwise(marks) if before <= after]
    if not bounds:
        return None
    middle = (marks[0][0] + marks[-1][0]) / 2
    halves = [[one for one in bounds if (one[0] < middle) is early] for early in (True, False)]
    closest = [min(half, key=lambda one: one[2] - one[1]) for half in halves if half]
    low = min(before - clock for clock, before, _ in closest)
    high = max(after - clock for clock, _, after in closest)
    return Clock((low + high) / 2e9, (high - low) / 2e9 + _ROUNDING)


def parse_trace(text: str, address: str) -> tuple[SocketState, ...]:
    """The kernel's trace, as far as it is about sockets of *address* (two hosts may share one kernel)."""
    clock = parse_clock(text)
    offset = clock.offset if clock else 0.0
    rows: list[SocketState] = []
    last: dict[tuple[str, str], str] = {}
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
        if row["old"] == "SYN_SENT":
            # Another run's SYN-SENT may have been taken for ours, or have come before this trace began.
            waiting = nameless.get(seen.remote)
            rows.append(replace(waiting.pop(0), local=seen.local) if waiting else replace(seen, state="SYN-SENT"))
        ends = seen.local, seen.remote
        if row["old"] == "SYN_RECV" and last.get(ends) != "SYN-RECEIVED":
            # Older kernels (6.1) tell only how it ends, not how the listener's child came into it.
            rows.append(replace(seen, state="SYN-RECEIVED"))
        last[ends] = seen.state
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
        clock=parse_clock(trace),
    )
