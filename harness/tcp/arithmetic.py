"""Where each segment's numbers stand in the two byte streams of its conversation, for many conversations at once.

Sequence numbers wrap; *positions* do not. A position counts from the sender's ISN (the SYN is at 0, the first byte of
data at 1, as in Wireshark's relative numbers), as a plain signed integer, so that order and distance mean something.
Where no SYN was captured, the first sequence number seen of an end is its position 1.

A piece of a capture is worked out from left to right: what is not known before a piece (a SYN that was captured late)
cannot shift its positions. They count from `base`, and `origin` says where the SYN turned out to be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arrays import indices, sizes
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.known import NONE, Ends
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch

Positions = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Running:
    """Running maxima within the groups of a batch, all groups in one pass.

    Group g's values are lifted by g times a range that no value exceeds, so that a group never sees an earlier one's.
    """

    __slots__ = ("_group", "_half", "_start", "lift")

    def __init__(self, batch: Batch) -> None:
        self._group, self._start = batch.group, batch.start
        bits = 61 - len(batch.start).bit_length()
        self._half = (1 << (bits - 1)) - 1
        self.lift = batch.group << bits

    def lifted(self, places: NDArray[np.int64], values: Positions) -> Positions:
        """The values as they would stand at these places."""
        lifted: Positions = self.lift[places] + np.minimum(np.maximum(values, -self._half), self._half)
        return lifted

    def maximum(self, places: NDArray[np.int64], values: Positions, seed: Positions) -> tuple[Positions, Positions]:
        """The greatest value so far, where only some places have one.

        Args:
            places: int64[m], the places that have a value.
            values: int64[m].
            seed: int64[g], each group's greatest value before the piece.

        Returns:
            Lifted and including each place itself, int64[n]; and plain, before each place, int64[n].
        """
        reached = self.lift - self._half
        reached[places] = self.lifted(places, values)
        seed = self.lifted(self._start, seed)
        reached[self._start] = np.maximum(reached[self._start], seed)
        np.maximum.accumulate(reached, out=reached)
        before = np.empty_like(reached)
        before[1:] = reached[:-1]
        before[self._start] = seed
        before -= self.lift
        return reached, before

    def last(self, reached: Positions) -> Positions:
        """Each group's greatest value after the piece, from `maximum`'s first result."""
        stop = np.append(self._start[1:], len(reached)) - 1
        last: Positions = reached[stop] - self.lift[stop]
        return last


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Columns of a batch, one row a segment, in the batch's order; positions count from each end's `base`.

    Attributes:
        flags: uint16, the flags.
        length: int64, payload bytes.
        position: where the segment begins in its sender's stream.
        end: where it ends: position + payload + 1 for SYN + 1 for FIN (RFC 9293 §3.4, SEG.LEN).
        ack: what it acknowledges, as a position in the other stream; NONE where the flag ACK is off.
        sent: how far its sender's stream had been sent before it.
        peer_sent: how far the other stream had been sent before it; at most 0 if nothing had.
        acked: what its sender had acknowledged before it, or NONE.
        peer_acked: what the other end had acknowledged before it, or NONE.
        acked_so_far: for the low end and the high end: how far it has acknowledged, lifted (see `Running`).
        running: what lifts.
    """

    flags: NDArray[np.uint16]
    length: Positions
    position: Positions
    end: Positions
    ack: Positions
    sent: Positions
    peer_sent: Positions
    acked: Positions
    peer_acked: Positions
    acked_so_far: tuple[Positions, Positions]
    running: Running


def firsts(batch: Batch, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each group's first of these places (ascending); n where it has none."""
    found = np.full(len(batch.start), len(batch.rows))
    found[batch.group[places[::-1]]] = places[::-1]
    return found


def _bases(  # noqa: PLR0913
    batch: Batch,
    ends: Ends,
    seq: NDArray[np.uint32],
    ack: NDArray[np.uint32],
    flags: NDArray[np.uint16],
    own: Bools,
) -> Positions:
    """The number at position 0 of one end's streams, int64[g]: by its first segment, or by the first ACK of it.

    A RST may carry any number: it counts only where there is nothing else.
    """
    base = ends["base"].copy()
    n = len(batch.rows)
    not_rst = flags & RST == 0
    for wanted in (not_rst, ~not_rst):
        unknown = indices(base == NONE)
        if len(unknown) and wanted.any():
            sends = firsts(batch, indices(own & wanted))[unknown]
            acks = firsts(batch, indices(~own & wanted & (flags & ACK != 0)))[unknown]
            place = np.minimum(sends, acks)
            unknown, sends, place = unknown[place < n], sends[place < n], place[place < n]
            number = np.where(place == sends, seq[place], ack[place]).astype(np.int64)
            is_syn = (place == sends) & (flags[place] & SYN != 0)
            base[unknown] = (number - ~is_syn) & 0xFFFFFFFF
        if wanted is not_rst:
            ends["base"] = base  # what only a RST told is not kept: what comes later tells better
    return np.where(base == NONE, 0, base)


def numbers(segments: Segments, batch: Batch, ends: Ends) -> Numbers:
    """Work out the columns of a batch.

    Args:
        segments: the piece.
        batch: its segments, sorted.
        ends: shape (g, 2): what was known of each group's ends before the piece; brought up to date here.
    """
    rows, group, n = batch.rows, batch.group, len(batch.rows)
    seq, ack_field = segments.seq[rows], segments.ack[rows]
    flags, length = segments.flags[rows], segments.length[rows].astype(np.int64)
    is_rst = flags & RST != 0
    has_ack = flags & ACK != 0
    running = Running(batch)
    position, end = np.zeros(n, np.int64), np.zeros(n, np.int64)
    low_own = (batch.from_low, ~batch.from_low)
    bases = np.empty((len(batch.start), 2), np.int64)
    sent_before: list[Positions] = []
    for side, own in enumerate(low_own):
        of_end = ends[:, side]
        bases[:, side] = _bases(batch, of_end, seq, ack_field, flags, own)
        mine = indices(own & ~is_rst)
        position[mine] = _positions(batch, of_end, bases[:, side], seq, mine)
        controls = flags[mine]
        end[mine] = position[mine] + length[mine] + (controls & SYN != 0) + (controls & FIN != 0)
        _learn(batch, of_end, seq, position, flags, mine)
        reached, before = running.maximum(mine, end[mine], of_end["sent"])
        sent_before.append(before)
        of_end["sent"] = running.last(reached)
        has_data = mine[length[mine] > 0]
        ends_of_data = end[has_data] - (flags[has_data] & FIN != 0)
        np.maximum.at(of_end["data_end"], group[has_data], ends_of_data)

    sent = np.where(batch.from_low, *sent_before)
    peer_sent = np.where(batch.from_low, *sent_before[::-1])
    base32 = bases.astype(np.uint32)
    resets = indices(is_rst)
    if len(resets):
        base = np.where(batch.from_low[resets], base32[group[resets], 0], base32[group[resets], 1])
        ahead = (seq[resets] - (base + sent[resets].astype(np.uint32))).view(np.int32)
        position[resets] = end[resets] = sent[resets] + ahead

    peer_base = np.where(batch.from_low, base32[group, 1], base32[group, 0])
    ahead = (ack_field - (peer_base + peer_sent.astype(np.uint32))).view(np.int32)
    ack = np.where(has_ack, peer_sent + ahead, NONE)
    counts = has_ack & ~is_rst
    acked_so_far: list[Positions] = []
    acked_before: list[Positions] = []
    for side, own in enumerate(low_own):
        mine = indices(own & counts)
        reached, before = running.maximum(mine, ack[mine], ends[:, side]["acked"])
        ends[:, side]["acked"] = running.last(reached)
        acked_so_far.append(reached)
        acked_before.append(before)
    return Numbers(
        flags=flags,
        length=length,
        position=position,
        end=end,
        ack=ack,
        sent=sent,
        peer_sent=peer_sent,
        acked=np.where(batch.from_low, *acked_before),
        peer_acked=np.where(batch.from_low, *acked_before[::-1]),
        acked_so_far=(acked_so_far[0], acked_so_far[1]),
        running=running,
    )


def _positions(
    batch: Batch, of_end: Ends, base: Positions, seq: NDArray[np.uint32], mine: NDArray[np.int64]
) -> Positions:
    """The positions of one end's segments: each the short way round from the one before."""
    if not len(mine):
        return np.zeros(0, np.int64)
    group, number = batch.group[mine], seq[mine]
    first = indices(np.append(True, group[1:] != group[:-1]))
    begun = group[first]
    step = np.empty(len(mine), np.uint32)
    step[1:] = number[1:] - number[:-1]
    step[first] = number[first] - (base[begun] + of_end["at"][begun]).astype(np.uint32)
    signed = step.view(np.int32)
    total = np.cumsum(signed, dtype=np.int64)
    shift = of_end["at"][begun] - (total[first] - signed[first])
    positions: Positions = total + np.repeat(shift, sizes(first, len(mine)))
    return positions


def _learn(  # noqa: PLR0913
    batch: Batch,
    of_end: Ends,
    seq: NDArray[np.uint32],
    position: Positions,
    flags: NDArray[np.uint16],
    mine: NDArray[np.int64],
) -> None:
    """Bring up to date what is known of one end of each group: its ISN, origin and last position."""
    n = len(batch.rows)
    first, last = firsts(batch, mine), np.full(len(batch.start), n)
    last[batch.group[mine]] = mine
    speaks = indices(first < n)
    new = speaks[~of_end["spoke"][speaks]]
    of_end["origin"][new] = position[first[new]] - 1
    of_end["sent"][new] = np.minimum(0, position[first[new]])
    syn = firsts(batch, mine[flags[mine] & SYN != 0])
    opened = indices((syn < n) & (of_end["isn"] == NONE))
    of_end["isn"][opened] = seq[syn[opened]]
    of_end["origin"][opened] = position[syn[opened]]
    of_end["at"][speaks] = position[last[speaks]]
    of_end["spoke"][speaks] = True
