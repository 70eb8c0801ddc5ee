"""Sort a capture's segments into conversations: one 4-tuple, from one SYN to the next.

A capture may come in pieces. Each piece becomes a `Batch`: its rows sorted by conversation, capture order within. What
is known of a conversation from earlier pieces is carried over in `Known` (see harness.tcp.known).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
    random = np.random.default_rng()
    while True:
        a, b = random.integers(1 << 63, (1 << 64) - 1, 2, dtype=np.uint64) | np.uint64(1)
        keys = np.sort(((low * a + high * b) & ~mask) | index)
        order = (keys & mask).astype(np.int64)
        heads = keys >> tail
        lows, highs = low[order], high[order]
        other_tuple = (lows[1:] != lows[:-1]) | (highs[1:] != highs[:-1])
        if np.array_equal(other_tuple, heads[1:] != heads[:-1]):
            return order, np.concatenate(([0], np.flatnonzero(other_tuple) + 1))


@dataclass(slots=True)
class Splitter:
    """Splits a capture, piece after piece.

    Attributes:
        current: 4-tuple (low end, high end; each address key << 16 | port) → its present conversation.
        known: what is known of every conversation.
    """

    current: dict[tuple[int, int], int] = field(default_factory=dict)
    known: Known = field(default_factory=Known)

    def split(self, segments: Segments) -> Batch:
        """Sort the next piece; conversations that begin in it are added to `known`.

        A 4-tuple used again makes a new conversation when a SYN comes after the old one has ended: after a RST, or
        after both FINs (also while one end is in TIME-WAIT, RFC 9293 §3.6.1), unless the peer's answer shows that it
        belongs to the old one; and before it has ended, if a SYN-ACK answers it: then the capture lacks the end.
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
        starts, owners = start.tolist(), range(len(start))
        whose, opens = np.arange(len(start)), present < 0
        if len(cut):
            parts: list[tuple[int, int, bool]] = []
            suspicious = set(cut.tolist())
            stops = [*starts[1:], len(order)]
            for owner in owners:
                parts.append((starts[owner], owner, bool(opens[owner])))
                if owner in suspicious:
                    places = slice(starts[owner], stops[owner])
                    lives = _cuts(segments, order[places], from_low[places], self.known, int(present[owner]))
                    begins = [starts[owner] + at for at in lives]
                    if begins[:1] == [starts[owner]]:  # the piece begins with the new one
                        parts.pop()
                    parts += [(at, owner, True) for at in begins]
            start = np.array([part[0] for part in parts], np.int64)
            whose = np.array([part[1] for part in parts], np.int64)
            opens = np.array([part[2] for part in parts], np.bool_)

        group = np.repeat(np.arange(len(start)), np.diff(start, append=len(order)))
        conversation = present[whose]
        new = np.flatnonzero(opens)
        new = new[np.argsort(order[start[new]])]
        conversation[new] = self.known.count + np.arange(len(new))
        self.known.add(len(new))
        for owner, number in zip(whose[np.sort(new)].tolist(), conversation[np.sort(new)].tolist(), strict=True):
            self.current[tuples[owner]] = number  # the last of a piece stays
        return Batch(order, start, group, from_low, conversation)

    def _suspects(self, segments: Segments, order: Ints, start: Ints, from_low: Bools, present: Ints) -> Ints:
        """The 4-tuples with a SYN that may not belong to the conversation before it: one with another number."""
        syns = np.flatnonzero(segments.flags[order] & SYN)
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
        carried = self.known.ends[old, end[goes_on]]
        isn[goes_on] = np.where(carried["isn"] != NONE, carried["isn"], np.where(carried["spoke"], NONE, isn[goes_on]))
        late = (isn_row != start[group]) & ~goes_on & (segments.flags[order[isn_row]] & ACK == 0)
        return np.unique(group[(seq != isn) | late])


def _cuts(segments: Segments, rows: Ints, from_low: Bools, known: Known, present: int) -> list[int]:
    """Where one 4-tuple's rows are to be cut: the places of the SYNs that open it anew."""
    flags = segments.flags[rows]
    ends = (1 - from_low).tolist()
    # The next row of the other end, for each row (its own number of rows: none).
    changes = np.append(np.flatnonzero(from_low[1:] != from_low[:-1]) + 1, len(rows))
    answers = changes[np.searchsorted(changes, np.arange(len(rows)), "right")]
    isns = [NONE, NONE]
    spoke = [False, False]
    fins: set[int] = set()
    reset = False
    if present >= 0:
        ends_now = known.ends[present]
        isns, spoke = ends_now["isn"].tolist(), ends_now["spoke"].tolist()
        fins = {end for end in (LOW, HIGH) if ends_now["bits"][end] & FIN}
        reset = bool((ends_now["bits"] & RST).any())
    cuts: list[int] = []
    at = 0
    for place in np.flatnonzero(flags & (SYN | FIN | RST)).tolist():
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
                opens = seq != isns[end] and _opens(segments, seq, answer, over=over, spoke=spoke[end])
            if begun and opens:
                cuts.append(place)
                isns, spoke, fins, reset = [NONE, NONE], [False, False], set(), False
            if isns[end] < 0:
                isns[end] = seq
        if bits & FIN:
            fins.add(end)
        reset = reset or bool(bits & RST)
    return cuts


def _opens(segments: Segments, seq: int, answer: int | None, *, over: bool, spoke: bool) -> bool:
    """Whether a SYN with a number of its own opens the 4-tuple anew: the peer's answer tells."""
    if answer is None:
        return over
    bits, ack = int(segments.flags[answer]), int(segments.ack[answer])
    answered = bool(bits & ACK) and ack == (seq + 1) % (1 << 32)
    if bits & SYN:
        return over or (answered and spoke)
    # An ACK of something else is what an old connection answers (RFC 9293 §3.10.7.4, RFC 5961 §4).
    return over and (bool(bits & RST) or answered)


def split(segments: Segments) -> list[Rows]:
    """All conversations of a whole capture, in order of their first frame."""
    if not len(segments):
        return []
    splitter = Splitter()
    batch = splitter.split(segments)
    return rows_of(segments, batch)


def rows_of(segments: Segments, batch: Batch) -> list[Rows]:
    """Each group's rows, with who opened it, in order of the conversations."""
    parts = zip(np.split(batch.rows, batch.start[1:]), np.split(batch.from_low, batch.start[1:]), strict=True)
    oriented = [_oriented(segments, rows, from_low) for rows, from_low in parts]
    return [oriented[group] for group in np.argsort(batch.conversation, kind="stable").tolist()]


def initiator_is_low(first_syn: int | None, first_syn_ack: int | None, sender: int, sport: int, dport: int) -> bool:
    """Which end is the initiator: who sent the first SYN; else who got the SYN-ACK; else who speaks to the lower port.

    Args:
        first_syn: the end (LOW or not) that sent the first SYN without ACK, if any.
        first_syn_ack: likewise the first SYN with ACK.
        sender: the end that sent the first segment.
        sport: that segment's ports.
        dport: likewise.
    """
    if first_syn is not None:
        return first_syn == LOW
    if first_syn_ack is not None:
        return first_syn_ack != LOW
    return (sender == LOW) == (dport <= sport)


def _oriented(segments: Segments, rows: Ints, from_low: Bools) -> Rows:
    """Say which end is the initiator."""
    flags = segments.flags[rows]
    first = int(rows[0])
    ends = 1 - from_low
    syns = ends[(flags & (SYN | ACK)) == SYN][:1].tolist()
    syn_acks = ends[(flags & (SYN | ACK)) == (SYN | ACK)][:1].tolist()
    low = initiator_is_low(
        syns[0] if syns else None,
        syn_acks[0] if syn_acks else None,
        int(ends[0]),
        int(segments.sport[first]),
        int(segments.dport[first]),
    )
    forward = from_low if low else ~from_low
    source = (int(segments.src[first]), int(segments.sport[first]))
    target = (int(segments.dst[first]), int(segments.dport[first]))
    initiator, responder = (source, target) if forward[0] else (target, source)
    return Rows(rows, forward, initiator, responder)
