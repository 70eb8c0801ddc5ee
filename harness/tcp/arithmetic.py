"""The arithmetic of one conversation: where each segment's numbers stand in the two byte streams.

Sequence numbers wrap; *positions* do not. A position counts from the sender's ISN (the SYN is at 0, the first byte of
data at 1, as in Wireshark's relative numbers), as a plain signed integer, so that order and distance mean something.
Where no SYN was captured, the first sequence number seen of an end is its position 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import Segments
from harness.tcp.splitting import Rows

NONE = -1  # no such row; no such position
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Arithmetic:
    """Columns of one conversation, one row a segment.

    Attributes:
        base: the 32-bit number at position 0 of each stream: (initiator's, responder's).
        isn_shown: whether each base is an ISN that the capture shows.
        position: where the segment begins in its sender's stream.
        end: where it ends: position + payload + 1 for SYN + 1 for FIN (RFC 9293 §3.4, SEG.LEN).
        ack: what it acknowledges, as a position in the other stream; NONE where the flag ACK is off.
        sent: how far its sender's stream had been sent before it.
        sent_row: the row that had gone that far, or NONE.
        peer_sent: how far the other stream had been sent before it; at most 0 if nothing had.
        peer_sent_row: the row that had gone that far, or NONE.
        acked: what its sender had acknowledged before it, or NONE.
        acked_row: the row that acknowledged so far, or NONE.
    """

    base: tuple[int, int]
    isn_shown: tuple[bool, bool]
    position: Positions
    end: Positions
    ack: Positions
    sent: Positions
    sent_row: Positions
    peer_sent: Positions
    peer_sent_row: Positions
    acked: Positions
    acked_row: Positions


def _signed(difference: NDArray[np.int64]) -> NDArray[np.int64]:
    """A difference of two 32-bit numbers, the short way round."""
    return ((difference + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def _base(
    seq: NDArray[np.int64], ack: NDArray[np.int64], flags: NDArray[np.uint16], own: NDArray[np.bool_]
) -> tuple[int, bool]:
    """The number at position 0 of one end's stream, and whether it is a captured ISN."""
    syns = np.flatnonzero(own & (flags & SYN != 0))
    if len(syns):
        return int(seq[syns[0]]), True
    rows = np.flatnonzero(own & (flags & RST == 0))
    acks = np.flatnonzero(~own & (flags & ACK != 0))
    resets = np.flatnonzero(own)
    first = seq[rows[0]] if len(rows) else ack[acks[0]] if len(acks) else seq[resets[0]] if len(resets) else 1
    return int(first - 1) % (1 << 32), False


def _running(values: Positions, start: int) -> tuple[Positions, Positions]:
    """The greatest value before each row, and the row it stood in (NONE: it is *start*)."""
    n = len(values)
    reached = np.maximum.accumulate(np.concatenate(([start], values)))
    rows = np.where(values > reached[:-1], np.arange(n), NONE)
    last = np.maximum.accumulate(np.concatenate(([NONE], rows)))
    return reached[:-1], last[:-1]


def arithmetic(segments: Segments, conversation: Rows) -> Arithmetic:
    """Work out the columns of one conversation."""
    rows, forward = conversation.rows, conversation.forward
    n = len(rows)
    seq = segments.seq[rows].astype(np.int64)
    ack_field = segments.ack[rows].astype(np.int64)
    flags = segments.flags[rows]
    length = segments.length[rows].astype(np.int64)
    is_rst = flags & RST != 0
    low = np.iinfo(np.int64).min

    position, end = np.zeros(n, np.int64), np.zeros(n, np.int64)
    sent, sent_row = np.zeros(n, np.int64), np.full(n, NONE)
    peer_sent, peer_sent_row = np.zeros(n, np.int64), np.full(n, NONE)
    acked, acked_row = np.full(n, NONE), np.full(n, NONE)
    ack = np.full(n, NONE)
    bases, shown = [], []
    reached_by_end: list[tuple[Positions, Positions]] = []

    for own in (forward, ~forward):
        base, isn_shown = _base(seq, ack_field, flags, own)
        bases.append(base)
        shown.append(isn_shown)
        # A RST may carry any number; it does not move the stream.
        mine = np.flatnonzero(own & ~is_rst)
        numbers = np.concatenate(([base], seq[mine]))
        position[mine] = np.cumsum(_signed(np.diff(numbers)))
        occupied = length + (flags & SYN != 0) + (flags & FIN != 0)
        end[mine] = position[mine] + occupied[mine]
        reached, by = _running(np.where(own & ~is_rst, end, low), 0)
        reached_by_end.append((reached, by))
        sent[own], sent_row[own] = reached[own], by[own]
        resets = np.flatnonzero(own & is_rst)
        position[resets] = end[resets] = sent[resets] + _signed(seq[resets] - base - sent[resets])

    for own, other in ((forward, 1), (~forward, 0)):
        mine = np.flatnonzero(own & (flags & ACK != 0))
        there, by = reached_by_end[other]
        peer_sent[own], peer_sent_row[own] = there[own], by[own]
        ahead = _signed(ack_field[mine] - ((bases[other] + there[mine]) & 0xFFFFFFFF))
        ack[mine] = there[mine] + ahead
        candidate = np.full(n, low)
        candidate[mine] = np.where(is_rst[mine], low, ack[mine])
        before, by = _running(candidate, NONE)
        acked[own], acked_row[own] = before[own], by[own]

    return Arithmetic(
        (bases[0], bases[1]),
        (shown[0], shown[1]),
        position, end, ack, sent, sent_row, peer_sent, peer_sent_row, acked, acked_row,
    )  # fmt: skip
