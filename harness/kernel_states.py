"""The kernel's socket states during a run, as ss(8) and the kernel's own trace told them.

They are kept apart from the capture: a second witness to the states inferred from packets.
"""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

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
