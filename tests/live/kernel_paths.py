"""The states that a connection's ends went through, as the kernel told them.

Two sources, and neither is a capture: the trace event sock/inet_sock_set_state, and /proc/net/tcp, for what the trace
has no event for. How the one is completed by the other:

- The trace begins with the state that was left: CLOSED for an end that connects. The responder's socket is made when
  the third segment of the handshake is taken: LISTEN → SYN-RECEIVED → ESTABLISHED at one time. Before, there is only a
  request (tcp_request_sock), without events, but in /proc/net/tcp as SYN-RECEIVED; if it never becomes a socket, it is
  from there that we know of it, and when it is gone the end is what it was: the listening socket's.
- FIN-WAIT-1 with an ACK of its FIN always becomes FIN-WAIT-2, if only for a moment.
- A socket in FIN-WAIT-2 or CLOSING that goes on to TIME-WAIT (and one in FIN-WAIT-2 that no process holds any more)
  hands over to a small socket (tcp_time_wait) and is CLOSED itself. The small one has no events either. In
  /proc/net/tcp it is FIN-WAIT-2 or TIME-WAIT, and known by its timer; unless it was seen there, the end is CLOSED.
- A small socket lives for 60 s (TCP_TIMEWAIT_LEN); its end by time, which no capture shows, is left out. It ends
  earlier by a reset, which counts, or when the 4-tuple's next life begins.
- An end without any socket is LISTEN where a socket listens, CLOSED otherwise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Path = tuple[str, ...]
Seen = Sequence[tuple[float, str | None]]

_LINE = re.compile(
    r"\s(?P<clock>\d+\.\d+): inet_sock_set_state: family=AF_INET protocol=IPPROTO_TCP "
    r"sport=(?P<sport>\d+) dport=(?P<dport>\d+) saddr=(?P<saddr>\S+) .*"
    r"oldstate=TCP_(?P<old>\w+) newstate=TCP_(?P<new>\w+)"
)
_RFC_NAMES = {
    "CLOSE": "CLOSED",
    "SYN_RECV": "SYN-RECEIVED",
    "NEW_SYN_RECV": "SYN-RECEIVED",
    "FIN_WAIT1": "FIN-WAIT-1",
    "FIN_WAIT2": "FIN-WAIT-2",
}
SMALL_SECONDS = 59.0  # a small socket that lived for longer was not ended by anything but time
_HANDS_OVER = ("FIN-WAIT-2", "CLOSING")
_OPENS = ("SYN-SENT", "SYN-RECEIVED")


@dataclass(frozen=True)
class Change:
    """One event of the trace."""

    clock: float
    old: str
    new: str


def parse(trace: str, address: str) -> dict[tuple[int, int], list[Change]]:
    """The changes of one host's sockets, by (local port, remote port)."""
    found: dict[tuple[int, int], list[Change]] = {}
    for line in _LINE.finditer(trace):
        if line["saddr"] == address:
            old, new = (_RFC_NAMES.get(line[name], line[name].replace("_", "-")) for name in ("old", "new"))
            change = Change(float(line["clock"]), old, new)
            found.setdefault((int(line["sport"]), int(line["dport"])), []).append(change)
    return found


def lives(changes: Sequence[Change], seen: Seen, listener: Sequence[Change]) -> list[Path]:
    """The states of one end in each life of its 4-tuple.

    Args:
        changes: the trace's, of the sockets with this 4-tuple.
        seen: in /proc/net/tcp, of the same.
        listener: the trace's, of the socket that listens on its port.
    """
    without_socket = listener[-1].new if listener else "CLOSED"
    if not changes:
        return [_request(without_socket, [state for _, state in seen])]
    starts = [number for number, change in enumerate(changes) if change.new in _OPENS and change.old != "SYN-SENT"]
    assert starts[:1] == [0], changes
    ends = [*starts[1:], len(changes)]
    found = []
    for start, end in zip(starts, ends, strict=True):
        life = changes[start:end]
        assert all(one.new == two.old for one, two in pairwise(life)), life
        until = changes[end].clock if end < len(changes) else float("inf")
        found.append(_life(life, [(clock, state) for clock, state in seen if life[-1].clock < clock < until]))
    return found


def _request(without_socket: str, seen: Sequence[str | None]) -> Path:
    """An end that had no socket of its own, but perhaps a request."""
    if not seen:
        return (without_socket,)
    assert set(seen) <= {"SYN-RECEIVED", None}, seen
    return (without_socket, "SYN-RECEIVED", *((without_socket,) if seen[-1] is None else ()))


def _life(life: Sequence[Change], seen_after: Seen) -> Path:
    """One life of a socket, and what was seen after its last event."""
    path = [life[0].old, *(change.new for change in life)]
    if life[-1].new == "CLOSED" and life[-1].old in _HANDS_OVER:
        small = [state.removeprefix("small ") for _, state in seen_after if state and state.startswith("small ")]
        if small:
            path[-1:] = small
            clock, state = seen_after[-1]
            if state is None and clock < life[-1].clock + SMALL_SECONDS:
                path.append("CLOSED")
    return tuple(state for number, state in enumerate(path) if state not in path[number - 1 : number])
