"""Sort a capture's segments into conversations: one 4-tuple, from one SYN to the next."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import Segments


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of one conversation, in capture order.

    Attributes:
        rows: int64, indices into the capture's columns.
        forward: bool, whether the segment came from the initiator.
        initiator: (address key, port).
        responder: likewise.
    """

    rows: NDArray[np.int64]
    forward: NDArray[np.bool_]
    initiator: tuple[int, int]
    responder: tuple[int, int]


def split(segments: Segments) -> list[Rows]:
    """All conversations, in order of their first frame.

    A 4-tuple used again makes a new conversation when a SYN comes after the old one has ended: after a RST, or after
    both FINs (also while one end is in TIME-WAIT, RFC 9293 §3.6.1).
    """
    if not len(segments):
        return []
    one = (segments.src << np.uint64(16)) | segments.sport
    two = (segments.dst << np.uint64(16)) | segments.dport
    low, high = np.minimum(one, two), np.maximum(one, two)
    order = np.lexsort((high, low))  # stable: capture order within a pair
    low, high = low[order], high[order]
    starts = np.flatnonzero((low[1:] != low[:-1]) | (high[1:] != high[:-1])) + 1
    found: list[Rows] = []
    for group in np.split(order, starts):
        from_low = one[group] <= two[group]
        parts = _incarnations(segments, group, from_low)
        found.extend(_oriented(segments, group[part], from_low[part]) for part in parts)
    return sorted(found, key=lambda conversation: int(conversation.rows[0]))


def _incarnations(segments: Segments, group: NDArray[np.int64], from_low: NDArray[np.bool_]) -> Iterator[slice]:
    """Cut one 4-tuple's rows where a SYN opens it anew."""
    flags = segments.flags[group]
    start, over = 0, False
    fins: set[bool] = set()
    isns: set[int] = set()
    for row in np.flatnonzero(flags & (SYN | FIN | RST)).tolist():
        bits = int(flags[row])
        seq = int(segments.seq[group[row]])
        if bits & SYN and not bits & (ACK | RST | FIN):
            if over and seq not in isns and row > start:
                yield slice(start, row)
                start, over = row, False
                fins, isns = set(), set()
            isns.add(seq)
        if bits & FIN:
            fins.add(bool(from_low[row]))
        over = over or bool(bits & RST) or len(fins) == 2
    yield slice(start, len(group))


def _oriented(segments: Segments, rows: NDArray[np.int64], from_low: NDArray[np.bool_]) -> Rows:
    """Say which end is the initiator.

    Who sent the first SYN; else who got the SYN-ACK; else who speaks to the lower port.
    """
    flags = segments.flags[rows]
    first = int(rows[0])
    syns = np.flatnonzero((flags & (SYN | ACK)) == SYN)
    syn_acks = np.flatnonzero((flags & (SYN | ACK)) == (SYN | ACK))
    if len(syns):
        initiator_is_low = bool(from_low[syns[0]])
    elif len(syn_acks):
        initiator_is_low = not from_low[syn_acks[0]]
    else:
        speaks_to_lower = segments.dport[first] < segments.sport[first]
        equal = segments.dport[first] == segments.sport[first]
        initiator_is_low = bool(from_low[0]) == bool(speaks_to_lower or equal)
    forward = from_low if initiator_is_low else ~from_low
    source = (int(segments.src[first]), int(segments.sport[first]))
    target = (int(segments.dst[first]), int(segments.dport[first]))
    initiator, responder = (source, target) if forward[0] else (target, source)
    return Rows(rows, forward, initiator, responder)
