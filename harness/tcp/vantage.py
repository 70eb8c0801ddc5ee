"""One conversation, captured at both of its ends: what was sent, when it arrived, and what never did.

A segment is known again by all that it carries. Where it was cut up or put together on its way (segmentation offload,
packet(7)), the bytes say which segments are parts of which. The two clocks are compared as NTP does (RFC 5905 §8): no
segment arrives before it was sent, in either direction, and that bounds the difference from both sides.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from harness.tcp.conversation import ENDS, Conversation, End, other

_CUT = 1000  # nanoseconds: what a capture in microseconds leaves out of a time
_HALF, _ALL = 1 << 31, 1 << 32


@dataclass(frozen=True, slots=True)
class Sight:
    """A segment as one capture shows it.

    Attributes:
        row: its place in the conversation of that capture.
        frame: its frame there.
        time: nanoseconds since the epoch, by that host's clock.
        sender: which end sent it.
        seq: its sequence number.
        length: its payload in bytes.
        carries: all else that it carries over the wire unchanged: ack, flags, and a checksum of its payload.
        marks: what tells copies of it apart, if nobody on the way changes it: IP identification and time stamps.
    """

    row: int
    frame: int
    time: int
    sender: End
    seq: int
    length: int
    carries: tuple[int, ...]
    marks: tuple[int, ...]


@dataclass(slots=True)
class Crossing:
    """A segment on its way from one end to the other.

    Attributes:
        sender: which end sent it.
        sent: as its sender's host shows it; None if that does not.
        arrived: as its receiver's host shows it; several if it came more than once, or in pieces.
        in_pieces: whether what arrived was cut in another way than what was sent.
    """

    sender: End
    sent: Sight | None
    arrived: list[Sight] = field(default_factory=list)
    in_pieces: bool = False

    @property
    def is_lost(self) -> bool:
        """Whether it was sent and never arrived."""
        return self.sent is not None and not self.arrived

    @property
    def times_arrived(self) -> int:
        """How often it arrived."""
        return min(1, len(self.arrived)) if self.in_pieces else len(self.arrived)


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clock of the responder's host against that of the initiator's.

    Attributes:
        ahead: nanoseconds by which it is ahead.
        within: nanoseconds by which that may be wrong: half of the shortest round trip.
        agree: whether one difference fits the whole conversation; if not, a clock was set or they ran apart.
    """

    ahead: int
    within: int
    agree: bool = True


@dataclass(frozen=True, slots=True)
class Joined:
    """A conversation, captured at both ends.

    Attributes:
        crossings: every segment, in order of the time it was sent (or else arrived) by the initiator's clock.
        clocks: how the clocks differ; None where segments in one direction only are in both captures.
    """

    crossings: tuple[Crossing, ...]
    clocks: Clocks | None

    def by_initiators_clock(self, sight: Sight, *, at: End) -> int:
        """The time of a sight at one end's host, by the clock of the initiator's."""
        return sight.time - (self.clocks.ahead if self.clocks and at == "responder" else 0)

    def on_the_wire(self, crossing: Crossing) -> int | None:
        """How long it took, in nanoseconds; None where that is not known."""
        if crossing.sent is None or not crossing.arrived or self.clocks is None:
            return None
        receiver = other(crossing.sender)
        last = crossing.arrived[-1] if crossing.in_pieces else crossing.arrived[0]
        began = self.by_initiators_clock(crossing.sent, at=crossing.sender)
        return self.by_initiators_clock(last, at=receiver) - began


def sights(conversation: Conversation, initiator: str) -> list[Sight]:
    """A conversation's segments, in capture order.

    Args:
        conversation: as one capture shows it.
        initiator: "IP:PORT" of the end that opened it, should this capture not show who did.
    """
    turned = conversation.responder == initiator
    columns = {name: conversation.column(name) for name in ("seq", "ack", "length", "ip_id", "tsval", "tsecr")}
    seen = []
    for segment in conversation.rows_in_order:
        seq, ack, length, *marks = (column[segment.row] for column in columns.values())
        payload = conversation.segments_columns.payload(int(conversation.rows.rows[segment.row])) or b""
        sender = other(segment.sender) if turned else segment.sender
        carries = (ack, segment.bits, zlib.crc32(payload))
        seen.append(Sight(segment.row, segment.frame, segment.time, sender, seq, length, carries, tuple(marks)))
    return seen


def _exactly(sight: Sight) -> Hashable:
    return (sight.seq, sight.length, sight.carries, sight.marks)


def _loosely(sight: Sight) -> Hashable:
    return (sight.seq, sight.length, sight.carries)


Key = Callable[[Sight], Hashable]


def _by_key(found: Iterable[Sight], key: Key) -> dict[Hashable, list[Sight]]:
    groups: dict[Hashable, list[Sight]] = defaultdict(list)
    for one in found:
        groups[key(one)].append(one)
    return groups


def _singles(sent: Sequence[Sight], arrived: Sequence[Sight]) -> Iterator[int]:
    """How much later, by the two clocks, each segment arrived that is there just once in both captures."""
    there = _by_key(arrived, _exactly)
    for key, ones in _by_key(sent, _exactly).items():
        if len(ones) == len(there.get(key, ())) == 1:
            yield there[key][0].time - ones[0].time


def clocks(there: Iterable[int], back: Iterable[int]) -> Clocks | None:
    """The difference of the clocks.

    Args:
        there: arrival minus sending of segments from the initiator to the responder, in nanoseconds by both clocks.
        back: likewise from the responder to the initiator.
    """
    most, least = min(there, default=None), min(back, default=None)
    if most is None or least is None:
        return None
    # The true difference is at most `most`, and at least `-least`.
    return Clocks((most - least) // 2, abs(most + least) // 2 + _CUT, agree=most + least >= -2 * _CUT)


@dataclass(slots=True)
class _OneWay:
    """The segments of one direction, as they are being matched."""

    sender: End
    crossings: list[Crossing]
    left: list[Sight]  # arrived, and not matched yet
    ahead: int | None  # what to take from an arrival's time to have the sender's clock
    within: int

    def match(self, key: Key) -> None:
        """Match what carries the same, each arrival with the last copy that had been sent by then."""
        sent: dict[Hashable, list[Crossing]] = defaultdict(list)
        for crossing in self.crossings:
            if crossing.sent:
                sent[key(crossing.sent)].append(crossing)
        unmatched = []
        for arrival in self.left:
            copies = [one for one in sent.get(key(arrival), []) if one.sent and self._may_be(one.sent, arrival)]
            waiting = [one for one in copies if not one.arrived]
            if waiting:
                waiting[0 if self.ahead is None else -1].arrived.append(arrival)
            elif copies and key is _exactly:  # the same once more
                copies[-1].arrived.append(arrival)
            else:
                unmatched.append(arrival)
        self.left = unmatched

    def _may_be(self, sent: Sight, arrival: Sight) -> bool:
        return self.ahead is None or sent.time <= arrival.time - self.ahead + self.within

    def match_pieces(self) -> None:
        """Match by their bytes what was cut up or put together on its way."""
        open_ones = [one for one in self.crossings if one.is_lost and one.sent and one.sent.length]
        for crossing in open_ones:
            if crossing.sent is None:
                continue
            parts = [one for one in self.left if one.length and _lies_in(one, crossing.sent)]
            if parts:
                crossing.arrived, crossing.in_pieces = parts, True
                self.left = [one for one in self.left if one not in parts]
        for whole in [one for one in self.left if one.length]:
            covered = [one for one in open_ones if one.is_lost and one.sent and _lies_in(one.sent, whole)]
            for crossing in covered:
                crossing.arrived, crossing.in_pieces = [whole], True
            if covered:
                self.left.remove(whole)


def _lies_in(part: Sight, whole: Sight) -> bool:
    """Whether a segment's bytes are some of another's; sequence numbers wrap (RFC 9293 §3.4)."""
    begin = (part.seq - whole.seq + _HALF) % _ALL - _HALF
    return begin >= 0 and begin + part.length <= whole.length


def _one_way(sender: End, sent: list[Sight], arrived: list[Sight], found: Clocks | None) -> list[Crossing]:
    sign = 1 if sender == "initiator" else -1
    way = _OneWay(
        sender,
        [Crossing(sender, one) for one in sent],
        arrived,
        ahead=sign * found.ahead if found else None,
        within=found.within if found else 0,
    )
    way.match(_exactly)
    way.match(_loosely)
    way.match_pieces()
    return [*way.crossings, *(Crossing(sender, None, [one]) for one in way.left)]


def join(at_initiator: Sequence[Sight], at_responder: Sequence[Sight]) -> Joined:
    """What both ends' captures of one conversation say together.

    Args:
        at_initiator: what was captured on the initiator's host, in order.
        at_responder: what was captured on the responder's host, in order.
    """
    here = {end: [one for one in at_initiator if one.sender == end] for end in ENDS}
    there = {end: [one for one in at_responder if one.sender == end] for end in ENDS}
    found = clocks(
        _singles(here["initiator"], there["initiator"]),
        _singles(there["responder"], here["responder"]),
    )
    crossings = [
        *_one_way("initiator", here["initiator"], there["initiator"], found),
        *_one_way("responder", there["responder"], here["responder"], found),
    ]
    joined = Joined((), found)

    def began(crossing: Crossing) -> int:
        if crossing.sent:
            return joined.by_initiators_clock(crossing.sent, at=crossing.sender)
        return joined.by_initiators_clock(crossing.arrived[0], at=other(crossing.sender))

    return Joined(tuple(sorted(crossings, key=began)), found)
