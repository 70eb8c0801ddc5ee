"""Sort a capture's segments into conversations: one 4-tuple, from one SYN to the next.

A capture may come in pieces. Each piece becomes a `Batch`: its rows sorted by conversation, capture order within. What
is known of a conversation from earlier pieces is carried over in `Known` (see harness.tcp.known).
"""

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arrays import indices, sizes
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.known import HIGH, LOW, NONE, Known
from harness.tcp.segments import Segments

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
EndKey = tuple[int, int]  # address key, port


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of one conversation, in capture order.

    Attributes:
        rows: int64, indices into the capture's columns.
        forward: bool, whether the segment came from the initiator.
        initiator: (address key, port).
        responder: likewise.
    """

    rows: Ints
    forward: Bools
    initiator: EndKey
    responder: EndKey


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The segments of a piece of a capture, sorted by conversation.

    n segments in g groups; a group is what the piece holds of one conversation.

    Attributes:
        rows: int64[n], indices into the piece's columns.
        start: int64[g], where each group begins in `rows`.
        group: int64[n], which group each place of `rows` belongs to.
        from_low: bool[n], whether the low end sent it: the one with the smaller (address, port).
        conversation: int64[g], the group's conversation, counted from 0 in order of the first frames.
    """

    rows: Ints
    start: Ints
    group: Ints
    from_low: Bools
    conversation: Ints


def sort_by_tuple(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Sort rows by 4-tuple, capture order within; returns the order, and where each 4-tuple begins in it.

    Whole numbers sort much faster than pairs: each is the head of a hash with the row's index as its tail. A hash may
    lie: if two 4-tuples share one, another hash is tried. The factors are random, so nobody can make a capture for
    which all hashes lie.
    """
    n = len(low)
    tail = np.uint64(max(n - 1, 1).bit_length())
    mask = (np.uint64(1) << tail) - np.uint64(1)
    index = np.arange(n, dtype=np.uint64)
    while True:
        a, b = (np.uint64(random.getrandbits(64) | 1) for _ in range(2))
        keys = np.sort(((low * a + high * b) & ~mask) | index)
        order = (keys & mask).astype(np.int64)
        heads = keys >> tail
        lows, highs = low[order], high[order]
        other_tuple = (lows[1:] != lows[:-1]) | (highs[1:] != highs[:-1])
        if np.array_equal(other_tuple, heads[1:] != heads[:-1]):
            return order, np.concatenate(([0], indices(other_tuple) + 1))


@dataclass(slots=True)
class Splitter:
    """Splits a capture, piece after piece.

    Attributes:
        current: 4-tuple (low end, high end; each address key << 16 | port) → its present conversation.
        known: what is known of every conversation.
    """

    current: dict[tuple[int, int], int] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    def split(self, segments: Segments, *, waited: int = 0, more: bool = False) -> tuple[Batch, Ints]:
        """Sort the next piece; conversations that begin in it are added to `known`.

        A 4-tuple used again makes a new conversation when a SYN comes after the old one has ended: after a RST, or
        after both FINs (also while one end is in TIME-WAIT, RFC 9293 §3.6.1), unless the peer's answer shows that it
        belongs to the old one; and before it has ended, if a SYN-ACK answers it: then the capture lacks the end.

        Args:
            segments: the piece, which begins with what was held back of the one before.
            waited: how many were held back.
            more: whether another piece follows: then what depends on an answer to come is held back.

        Returns:
            The batch, and the rows that are held back: those of a 4-tuple from an undecided SYN on.
        """
        one = (segments.src << np.uint64(16)) | segments.sport
        two = (segments.dst << np.uint64(16)) | segments.dport
        from_low = one <= two
        order, start = sort_by_tuple(np.where(from_low, one, two), np.where(from_low, two, one))
        from_low = from_low[order]
        heads = order[start]
        firsts = zip(one[heads].tolist(), two[heads].tolist(), strict=True)
        tuples = [(a, b) if a <= b else (b, a) for a, b in firsts]
        present = np.array([self.current.get(pair, -1) for pair in tuples], np.int64)

        cut = self._suspects(segments, order, start, from_low, present)
        starts = start.tolist()
        whose, opens = np.arange(len(start)), present < 0
        held: list[Ints] = []
        if len(cut):
            parts: list[tuple[int, int, bool]] = []
            suspicious = set(cut.tolist())
            stops = [*starts[1:], len(order)]
            for owner, begin in enumerate(starts):
                parts.append((begin, owner, bool(opens[owner])))
                if owner in suspicious:
                    places = slice(begin, stops[owner])
                    cuts, undecided = self._cuts(
                        segments, order[places], from_low[places], int(present[owner]), waited if more else len(order)
                    )
                    if undecided is not None:
                        held.append(np.arange(begin + undecided, stops[owner]))
                    if 0 in (*cuts, undecided):  # the piece begins with another one
                        parts.pop()
                    parts += [(begin + at, owner, True) for at in cuts]
            start = np.array([part[0] for part in parts], np.int64)
            whose = np.array([part[1] for part in parts], np.int64)
            opens = np.array([part[2] for part in parts], np.bool_)
        held_back = order[np.concatenate(held)] if held else order[:0]
        if held:
            kept = np.ones(len(order), np.bool_)
            kept[np.concatenate(held)] = False
            start = (np.cumsum(kept) - kept)[start]
            order, from_low = order[kept], from_low[kept]

        group = np.repeat(np.arange(len(start)), sizes(start, len(order)))
        conversation = present[whose]
        new = indices(opens)
        new = new[np.argsort(order[start[new]])]
        conversation[new] = self.known.count + np.arange(len(new))
        self.known.add(len(new))
        for owner, number in zip(whose[np.sort(new)].tolist(), conversation[np.sort(new)].tolist(), strict=True):
            self.current[tuples[owner]] = number  # the last of a piece stays
        return Batch(order, start, group, from_low, conversation), np.sort(held_back)

    def _suspects(self, segments: Segments, order: Ints, start: Ints, from_low: Bools, present: Ints) -> Ints:
        """The 4-tuples with a SYN that may not belong to the conversation before it: one with another number."""
        syns = indices(segments.flags[order] & SYN)
        if not len(syns):
            return syns
        group = np.searchsorted(start, syns, "right") - 1
        end = 1 - from_low[syns].astype(np.int64)
        seq = segments.seq[order[syns]].astype(np.int64)
        # The number that each end is known to have begun with: from before, else in the first SYN here.
        _, first, which = np.unique(group * 2 + end, return_index=True, return_inverse=True)
        isn = seq[first][which]
        isn_row = syns[first][which]
        goes_on = present[group] >= 0
        old = present[group[goes_on]]
        carried = self.known.ends["isn"][old, end[goes_on]]
        is_syn_ack = segments.flags[order[syns[goes_on]]] & ACK != 0
        isn[goes_on] = np.where((carried == NONE) & is_syn_ack, isn[goes_on], carried)
        late = (isn_row != start[group]) & ~goes_on & (segments.flags[order[isn_row]] & ACK == 0)
        return np.unique(group[(seq != isn) | late])

    def _cuts(
        self, segments: Segments, rows: Ints, from_low: Bools, present: int, waited: int
    ) -> tuple[list[int], int | None]:
        """Where one 4-tuple's rows are to be cut: the places of the SYNs that open it anew.

        And from where on they are to be held back, if the piece does not show the answer to a SYN that decides it; rows
        before *waited* were held back already.
        """
        flags = segments.flags[rows]
        ends = (1 - from_low).tolist()
        # The next row of the other end, for each row (its own number of rows: none).
        changes = np.append(indices(from_low[1:] != from_low[:-1]) + 1, len(rows))
        answers = changes[np.searchsorted(changes, np.arange(len(rows)), "right")]
        isns = [NONE, NONE]
        spoke = [False, False]
        fins: set[int] = set()
        reset = False
        if present >= 0:
            ends_now = self.known.ends[present]
            isns, spoke = ends_now["isn"].tolist(), ends_now["spoke"].tolist()
            fins = {end for end in (LOW, HIGH) if ends_now["bits"][end] & FIN}
            reset = bool((ends_now["bits"] & RST).any())
        cuts: list[int] = []
        at = 0
        for place in indices(flags & (SYN | FIN | RST)).tolist():
            bits, end = int(flags[place]), ends[place]
            seq = int(segments.seq[rows[place]])
            for other in set(ends[at:place]):
                spoke[other] = True
            at = place
            if bits & SYN and not bits & (RST | FIN):
                begun = present >= 0 or place > (cuts[-1] if cuts else 0)
                over = reset or len(fins) == 2
                if bits & ACK:
                    belongs = isns[1 - end] < 0 or int(segments.ack[rows[place]]) == (isns[1 - end] + 1) % (1 << 32)
                    opens = over and not belongs and isns[end] not in (seq, NONE)
                else:
                    answer = rows[answers[place]] if answers[place] < len(rows) else None
                    if answer is None and seq != isns[end] and begun and rows[place] >= waited:
                        return cuts, place
                    opens = seq != isns[end] and _opens(
                        segments, seq, answer, isns[1 - end], over=over, spoke=spoke[end]
                    )
                if begun and opens:
                    cuts.append(place)
                    isns, spoke, fins, reset = [NONE, NONE], [False, False], set(), False
                if isns[end] < 0:
                    isns[end] = seq
            if bits & FIN:
                fins.add(end)
            reset = reset or bool(bits & RST)
        return cuts, None


def _opens(  # noqa: PLR0913
    segments: Segments, seq: int, answer: int | None, peers_isn: int, *, over: bool, spoke: bool
) -> bool:
    """Whether a SYN with a number of its own opens the 4-tuple anew: the peer's answer tells."""
    if answer is None:
        return over
    bits, ack = int(segments.flags[answer]), int(segments.ack[answer])
    answered = bool(bits & ACK) and ack == (seq + 1) % (1 << 32)
    if bits & SYN:
        in_the_same = int(segments.seq[answer]) == peers_isn  # a split handshake: the peer's SYN once more, with ACK
        return over or (answered and spoke and not in_the_same)
    # An ACK of something else is what an old connection answers (RFC 9293 §3.10.7.4, RFC 5961 §4).
    return over and (bool(bits & RST) or answered)


def split(segments: Segments) -> list[Rows]:
    """All conversations of a whole capture, in order of their first frame."""
    if not len(segments):
        return []
    splitter = Splitter()
    batch, _ = splitter.split(segments)
    return rows_of(segments, batch)


def rows_of(segments: Segments, batch: Batch) -> list[Rows]:
    """Each group's rows, with who opened it, in order of the conversations."""
    low = initiators(segments, batch)
    forward = batch.from_low == low[batch.group]
    heads = batch.rows[batch.start]
    sources = zip(segments.src[heads].tolist(), segments.sport[heads].tolist(), strict=True)
    targets = zip(segments.dst[heads].tolist(), segments.dport[heads].tolist(), strict=True)
    by_initiator = forward[batch.start].tolist()
    stops = [*batch.start.tolist(), len(batch.rows)]
    found = []
    for group, (source, target, turned) in enumerate(zip(sources, targets, by_initiator, strict=True)):
        places = slice(stops[group], stops[group + 1])
        ends = (source, target) if turned else (target, source)
        found.append(Rows(batch.rows[places], forward[places], *ends))
    return [found[group] for group in np.argsort(batch.conversation, kind="stable").tolist()]


def initiators(segments: Segments, batch: Batch) -> Bools:
    """For each group of a whole capture, whether the low end is the initiator."""
    opening = segments.flags[batch.rows] & (SYN | ACK)
    found = []
    for wanted in (SYN, SYN | ACK):
        places = indices(opening == wanted)[::-1]
        by = np.full(len(batch.start), NONE)
        by[batch.group[places]] = 1 - batch.from_low[places]
        found.append(by)
    heads = batch.rows[batch.start]
    ports = segments.sport[heads].astype(np.int64), segments.dport[heads].astype(np.int64)
    return initiator_is_low(found[0], found[1], batch.from_low[batch.start], *ports)


def initiator_is_low(syn_by: Ints, syn_ack_by: Ints, first_by_low: Bools, sport: Ints, dport: Ints) -> Bools:
    """Which end is the initiator: who sent the first SYN; else who got the SYN-ACK; else who speaks to the lower port.

    Args, a value for each conversation:
        syn_by: the end (LOW or HIGH) that sent the first SYN without ACK, or NONE.
        syn_ack_by: likewise the first SYN with ACK.
        first_by_low: whether the low end sent the first segment.
        sport: that segment's ports.
        dport: likewise.
    """
    by_ports = first_by_low == (dport <= sport)
    found: Bools = np.where(syn_by != NONE, syn_by == LOW, np.where(syn_ack_by != NONE, syn_ack_by != LOW, by_ports))
    return found
