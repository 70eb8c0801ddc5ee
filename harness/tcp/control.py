"""The control script of a conversation: the few segments that can change a state, each reduced to one number.

Control segments are the SYNs, FINs and RSTs, the first segment that acknowledges each SYN and FIN after it was sent,
each end's first segment after each RST, and the first segment of each end, with SYN and without. What the states
(harness.tcp.walk) and names (harness.tcp.verdict, harness.tcp.zeek) need to know of such a segment are a dozen
yes-or-no questions, answered here by arithmetic over all conversations at once. Thousands of conversations share a few
scripts, and each script is walked once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers, firsts
from harness.tcp.arrays import indices
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.known import FAR, NONE, NOT_SEEN, Ends
from harness.tcp.segments import ABSENT, Segments
from harness.tcp.splitting import Batch

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# The bits of a control segment's code. SYN, FIN, RST and ACK stand at their places in the TCP header.
HAS_DATA = 1 << 3  # it carries payload
BY_RESPONDER = 1 << 5  # who sent it
ACKS_SYN = 1 << 6  # it acknowledges the peer's SYN
ACKS_FIN = 1 << 7  # it acknowledges the peer's FIN
FIN_WAS_ACKED = 1 << 8  # its sender had acknowledged the peer's FIN before
ACKS_UNSENT = 1 << 9  # it acknowledges what its peer has not sent
ACKS_DATA = 1 << 10  # it acknowledges more than the peer's SYN
AT_ISN = 1 << 11  # it begins where its sender's SYN did
AFTER_FIN = 1 << 12  # it begins behind its sender's FIN
IN_SEQUENCE = 1 << 13  # it begins where its sender had got to
IN_WINDOW = 1 << 14  # a RST: it lies in the window its receiver may have had
AT_NEXT = 1 << 15  # a RST: it may lie exactly where its receiver expects the next byte (RFC 5961 §3.2)

_HEADER = SYN | FIN | RST | ACK


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The control segments of a batch, by group and in capture order.

    Attributes:
        places: int64[c], their places in the batch.
        codes: uint16[c]; BY_RESPONDER says here that the *high* end sent it (see `Rows`; `turned` makes it true).
    """

    places: Ints
    codes: NDArray[np.uint16]


def turned(codes: NDArray[np.uint16], initiator_is_low: Bools) -> NDArray[np.uint16]:
    """Codes whose BY_RESPONDER speaks of the high end → of the responder."""
    flip = np.where(initiator_is_low, 0, BY_RESPONDER).astype(np.uint16)
    return codes ^ flip


class _Search:
    """Finds places of a batch before or after others, within the same group."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def last_before(self, places: Ints, among: Ints) -> tuple[Ints, Bools]:
        """For each place the last of *among* (ascending) before it, and whether the group has one."""
        if not len(among):
            return np.zeros(len(places), np.int64), np.zeros(len(places), np.bool_)
        index = np.searchsorted(among, places) - 1
        found = among[np.maximum(index, 0)]
        return found, (index >= 0) & (self._batch.group[found] == self._batch.group[places])


def control(segments: Segments, batch: Batch, of: Numbers, before: Ends, ends: Ends) -> Control:
    """Find the control segments of a batch, and answer the questions about them.

    Args:
        segments: the piece.
        batch: its segments, sorted.
        of: their arithmetic.
        before: shape (g, 2): what was known of each group's ends before the piece.
        ends: the same after it; what only control segments tell is brought up to date here.
    """
    n = len(batch.rows)
    flags = of.flags
    from_low = batch.from_low
    _learn(segments, batch, of, ends)
    places = [indices(flags & (SYN | FIN | RST))]
    fins: list[Ints] = []
    for side, own in enumerate((from_low, ~from_low)):
        ackers = indices(~own & (flags & (ACK | RST) == ACK))
        fins.append(indices(own & (flags & (FIN | RST) == FIN)))
        syns = indices(own & (flags & (SYN | RST) == SYN))
        for name, sent in (("unanswered_syn", syns), ("unanswered_fin", fins[side])):
            places.append(_answers(batch, of, ackers, 1 - side, sent, ends[:, side], name))
        places += _after_resets(batch, flags, own, ends[:, side])
        for these, known in ((own, before[:, side]["bits"] != 0), (own & (flags & SYN == 0), ends[:, side]["went_on"])):
            first = firsts(batch, indices(these))
            places.append(first[(first < n) & ~known])
        ends[:, side]["went_on"] |= first < n
        last_fin = np.full(len(batch.start), n)
        last_fin[batch.group[fins[side]]] = fins[side]
        told = indices(last_fin < n)
        ends[:, side]["fin_end"][told] = of.end[last_fin[told]]
    is_control = np.zeros(n, np.bool_)
    is_control[np.concatenate(places)] = True
    found = indices(is_control)
    return Control(found, _codes(segments, batch, of, before, ends, found, fins))


def _learn(segments: Segments, batch: Batch, of: Numbers, ends: Ends) -> None:
    """Bring up to date what is known of each group's ends: their control bits, window and scale."""
    n = len(batch.rows)
    bits = np.where(of.flags & RST != 0, RST, of.flags).astype(np.uint16)
    for side, own in enumerate((batch.from_low, ~batch.from_low)):
        of_end, mine = ends[:, side], indices(own)
        of_end["bits"] |= np.bitwise_or.reduceat(np.where(own, bits, 0).astype(np.uint16), batch.start)
        syn = firsts(batch, mine[of.flags[mine] & SYN != 0])
        told = indices((syn < n) & (of_end["scale"] == NOT_SEEN))
        of_end["scale"][told] = segments.wscale[batch.rows[syn[told]]]
        last = np.full(len(batch.start), n)
        last[batch.group[mine]] = mine
        told = indices(last < n)
        of_end["window"][told] = segments.window[batch.rows[last[told]]]
        of_end["window_of_syn"][told] = of.flags[last[told]] & SYN != 0
        of_end["last_ack"][told] = of.ack[last[told]]


def _answers(  # noqa: PLR0913
    batch: Batch, of: Numbers, ackers: Ints, by: int, sent: Ints, of_end: Ends, name: str
) -> Ints:
    """The first ACK of each of these segments after it was sent, as far as the piece shows it.

    What waits for its ACK since an earlier piece waits here too; what still waits afterwards is kept under *name*.
    """
    waiting = indices(of_end[name] != FAR)
    if not len(waiting) and not len(sent):
        return sent
    group = np.concatenate((waiting, batch.group[sent]))
    after = np.concatenate((batch.start[waiting] - 1, sent))
    end = np.concatenate((of_end[name][waiting], of.end[sent]))
    answer = np.full(len(group), -1)
    if len(ackers) and len(group):
        reached = of.acked_so_far[by]
        lifted = of.running.lifted(batch.start[group], end)
        index = np.searchsorted(ackers, np.maximum(np.searchsorted(reached, lifted), after + 1))
        pending = np.arange(len(group))
        for _ in range(64):  # old ACKs captured late may come before the one that answers
            place = ackers[np.minimum(index[pending], len(ackers) - 1)]
            inside = (index[pending] < len(ackers)) & (batch.group[place] == group[pending])
            hit = inside & (of.ack[place] >= end[pending])
            answer[pending[hit]] = place[hit]
            pending = pending[inside & ~hit]
            if not len(pending):
                break
            index[pending] += 1
    of_end[name][group] = end  # in capture order: the last stays
    last = np.zeros(len(batch.start), np.int64) - 1
    last[group] = np.arange(len(group))
    answered = answer[last[group]] >= 0
    of_end[name][group[answered]] = FAR
    return answer[answer >= 0]


def _after_resets(batch: Batch, flags: NDArray[np.uint16], own: Bools, of_end: Ends) -> tuple[Ints, Ints]:
    """The peer's first segment after each of one end's RSTs, and its own; what still waits for one is kept."""
    resets = indices(own & (flags & RST != 0))
    if not len(resets) and not of_end["unanswered_rst"].any() and not of_end["ended_by_rst"].any():
        return resets, resets
    found = []
    for name, sent in (("unanswered_rst", indices(~own)), ("ended_by_rst", indices(own))):
        waiting = indices(of_end[name])
        group = np.concatenate((waiting, batch.group[resets]))
        index = np.searchsorted(sent, np.concatenate((batch.start[waiting] - 1, resets)), "right")
        place = sent[np.minimum(index, len(sent) - 1)] if len(sent) else np.zeros(len(group), np.int64)
        inside = (index < len(sent)) & (batch.group[place] == group)
        of_end[name][group] = ~inside  # in capture order: the last stays
        found.append(place[inside])
    return found[0], found[1]


def _codes(  # noqa: PLR0913
    segments: Segments,
    batch: Batch,
    of: Numbers,
    before: Ends,
    ends: Ends,
    places: Ints,
    fins: list[Ints],
) -> NDArray[np.uint16]:
    search = _Search(batch)
    group, flags = batch.group[places], of.flags[places]
    sender = (~batch.from_low[places]).astype(np.int64)
    position, ack = of.position[places], of.ack[places]
    has_ack = flags & ACK != 0
    fin_ends = []
    for side in (0, 1):
        last, there = search.last_before(places, fins[side])
        fin_ends.append(np.where(there, of.end[last], before["fin_end"][group, side]))
    own_fin = np.where(sender == 0, *fin_ends)
    peer_fin = np.where(sender == 0, *fin_ends[::-1])
    origins = [_origin(batch, of, before[:, side], ends[:, side], side, places) for side in (0, 1)]
    origin, peer_origin = np.where(sender == 0, *origins), np.where(sender == 0, *origins[::-1])
    peer_sent, acked = of.peer_sent[places], of.acked[places]
    codes = (flags & _HEADER).astype(np.int64)
    for bit, holds in (
        (HAS_DATA, of.length[places] > 0),
        (BY_RESPONDER, sender == 1),
        (ACKS_SYN, has_ack & (ack > peer_origin)),
        (ACKS_FIN, has_ack & (ack >= peer_fin)),
        (FIN_WAS_ACKED, acked >= peer_fin),
        (ACKS_UNSENT, has_ack & (ack > peer_sent)),
        (ACKS_DATA, has_ack & (ack > peer_origin + 1)),
        (AT_ISN, position == origin),
        (AFTER_FIN, position >= own_fin),
        (IN_SEQUENCE, position == of.sent[places]),
    ):
        codes += bit * holds
    resets = indices(flags & RST)
    if len(resets):
        low, high, last_ack = _expected(segments, batch, of, before, ends, places[resets])
        at = position[resets]
        codes[resets] += IN_WINDOW * (((low <= at) & (at <= high)) | (at == last_ack))
        codes[resets] += AT_NEXT * (((low <= at) & (at <= of.sent[places[resets]])) | (at == last_ack))
    return codes.astype(np.uint16)


def _origin(  # noqa: PLR0913
    batch: Batch, of: Numbers, before: Ends, after: Ends, side: int, places: Ints
) -> Ints:
    """The `origin` of one end's streams as it was known when these segments came."""
    n, group = len(batch.rows), batch.group[places]
    own = batch.from_low if side == 0 else ~batch.from_low
    opened = indices(own & (of.flags & (SYN | RST) == SYN))
    first, syn = firsts(batch, indices(own & (of.flags & RST == 0))), firsts(batch, opened)
    begun = np.where(first < n, of.position[np.minimum(first, n - 1)] - 1, 0)[group]
    early = np.where(before["spoke"][group], before["origin"][group], np.where(first[group] <= places, begun, 0))
    known = (before["isn"][group] != NONE) | (syn[group] <= places)
    origin: Ints = np.where(known, after["origin"][group], early)
    return origin


def _expected(  # noqa: PLR0913
    segments: Segments, batch: Batch, of: Numbers, before: Ends, ends: Ends, resets: Ints
) -> tuple[Ints, Ints, Ints]:
    """For RSTs: from where to where their receivers may take one (RFC 9293 §3.10.7.4), and their receivers' last ACKs.

    What a receiver expects next lies between what it had acknowledged and what had been sent to it; the window it
    advertised last reaches on from there. A RST that answers an ACK has its number (§3.10.7.1).
    """
    group = batch.group[resets]
    receiver = batch.from_low[resets].astype(np.int64)  # of what the low end (0) sends, the high end (1)
    window = np.zeros(len(resets), np.int64)
    of_syn = np.zeros(len(resets), np.bool_)
    last_ack = np.full(len(resets), NONE)
    for side, own in enumerate((batch.from_low, ~batch.from_low)):
        last, there = _Search(batch).last_before(resets, indices(own))
        seen = before[group, side]
        told = np.where(there, segments.window[batch.rows[last]], seen["window"])
        syn = np.where(there, of.flags[last] & SYN != 0, seen["window_of_syn"])
        its = receiver == side
        window, of_syn = np.where(its, told, window), np.where(its, syn, of_syn)
        last_ack = np.where(its, np.where(there, of.ack[last], seen["last_ack"]), last_ack)
    scales = ends["scale"][group]
    own_scale = scales[np.arange(len(resets)), receiver]
    unscaled = of_syn | (scales == ABSENT).any(axis=1)
    shift = np.where(unscaled, 0, np.where(own_scale == NOT_SEEN, 14, np.minimum(own_scale, 14)))
    acked, sent = of.peer_acked[resets], of.sent[resets]
    low = np.where(acked == NONE, sent, acked)
    # An ACK of less than was acknowledged before was on its way too long: its number is behind the window. That of a
    # SYN-ACK is the SYN's, and who answers an old SYN expects what follows that one.
    last_ack = np.where((last_ack == NONE) | ((last_ack < low) & ~of_syn), low, last_ack)
    return low, np.maximum(sent, low + (window << shift)), last_ack
