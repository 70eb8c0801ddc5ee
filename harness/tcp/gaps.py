"""Follow what each end left out of its stream, and count the content gaps that the peer's ACKs tell of, as Zeek does.

Zeek reassembles each stream. An ACK beyond what it has in order tells that the capture lacks something: every hole
below the ACK is a gap, and so is what lies between the last byte and the ACK. They are never waited for again: an ACK
further into the same hole is another gap. Whether a gap counts depends on the states of both ends (harness.tcp.zeek).

Read off Zeek's source (2026-08): TCPSessionAdapter::Process (src/packet_analysis/protocol/tcp/TCPSessionAdapter.cc),
TCP_Reassembler::AckReceived, Undelivered, DataSent (src/analyzer/protocol/tcp/TCP_Reassembler.cc), DataBlockList::Trim
(src/Reassem.cc). It reassembles every connection, whatever runs over it (dpd_reassemble_first_packets). In particular:

- What an end has not begun to send is no gap: ACKs count from its first segment on, and its stream begins there.
- An ACK of the FIN is one of the byte before it, once the FIN was captured; before, the FIN is a gap of one.
- A stream above whose hole more than 16384 bytes lie before any byte was acknowledged is given up: it has no gaps.

Zeek also gives a stream up of which 10 MiB wait for an ACK, and takes a segment for missing of which the capture holds
a part only; we do not.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from harness.tcp.arithmetic import Numbers, firsts
from harness.tcp.arrays import indices
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.known import Ends
from harness.tcp.segments import Segments
from harness.tcp.splitting import Batch

_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]
_MOST_ABOVE_A_HOLE = 16384  # bytes, tcp_max_above_hole_without_any_acks
_CHUNK = 32  # rows, at first


def jumps(batch: Batch, of: Numbers, before: Ends) -> _Ints:
    """The places of the segments, with data or without, that begin beyond what their senders had sent.

    An end's first segment is none of them.
    """
    found: _Ints = indices((of.position > of.sent) & (of.flags & RST == 0))
    if not (of.sent[found] <= 0).any():  # more than that had been sent before each: none is a first segment
        return found
    group, side = batch.group[found], (~batch.from_low[found]).astype(np.int64)
    first = np.empty(len(found), np.int64)
    for number, own in enumerate((batch.from_low, ~batch.from_low)):
        here = side == number
        first[here] = firsts(batch, indices(own & (of.flags & RST == 0)))[group[here]]
    later: _Bools = before["spoke"][group, side] | (first != found)
    return found[later]


@dataclass(slots=True)
class Told:
    """The ACKs that tell of gaps in one stream.

    Attributes:
        frames: theirs.
        numbers: of how many gaps each tells.
    """

    frames: "array[int]" = field(default_factory=lambda: array("q"))
    numbers: "array[int]" = field(default_factory=lambda: array("q"))


@dataclass(slots=True)
class _Stream:
    """One end's stream, reassembled from where it lacks something until it is whole again.

    Attributes:
        delivered: up to where all was captured or given up.
        sent: how far it has been sent.
        acked: how far it was acknowledged, or NONE.
        start: the position of its SYN.
        fin_end: the position after its FIN; FAR if none was seen.
        top: how far its payload reaches.
        blocks: what was captured beyond, as (from, to), ascending and apart.
        given_up: it has no gaps any more.
    """

    delivered: int
    sent: int
    acked: int
    start: int
    fin_end: int
    top: int
    blocks: list[tuple[int, int]] = field(default_factory=list)
    given_up: bool = False

    @property
    def is_whole(self) -> bool:
        return self.delivered == self.sent and not self.blocks

    def take(self, flags: int, begin: int, end: int, length: int) -> None:
        """Its end sent a segment."""
        if flags & RST:
            return
        self.sent = max(self.sent, end)
        if begin == end:
            return
        self.top = max(self.top, end - bool(flags & FIN)) if length else self.top
        if flags & FIN:
            self.fin_end = end
        if flags & SYN and begin > self.delivered:  # the stream begins anew
            self.delivered, self.blocks = begin, []
        if end > self.delivered:
            self._keep(begin, end)
            self._deliver()
        if length and self.acked <= self.start + 1 and self.top - self.delivered > _MOST_ABOVE_A_HOLE:
            self.given_up = True

    def acknowledge(self, flags: int, ack: int) -> int:
        """Its peer acknowledged it; returns how many gaps that tells of."""
        reached, count = min(ack, self.fin_end - 1), 0
        while self.blocks and self.delivered < self.blocks[0][0] < reached:
            self.delivered = self.blocks.pop(0)[1]
            count += 1
        if self.delivered < reached:
            self.delivered = reached
            count += 1
        self._deliver()
        if not flags & RST:
            self.acked = max(self.acked, ack)
        return count

    def _keep(self, begin: int, end: int) -> None:
        if not self.blocks or begin > self.blocks[-1][1]:
            self.blocks.append((begin, end))
            return
        apart: list[tuple[int, int]] = []
        while self.blocks and self.blocks[-1][1] >= begin:
            block = self.blocks.pop()
            if block[0] > end:
                apart.append(block)
            else:
                begin, end = min(block[0], begin), max(block[1], end)
        self.blocks += [(begin, end), *reversed(apart)]

    def _deliver(self) -> None:
        if self.blocks and self.blocks[0][0] <= self.delivered:
            self.delivered = max(self.delivered, self.blocks.pop(0)[1])


@dataclass(slots=True)
class Gaps:
    """Content gaps, piece after piece.

    Attributes:
        found: (conversation, end) → what tells of gaps in its stream, so far.
        waiting: likewise → its stream, as long as it is not whole; few are.
    """

    found: dict[tuple[int, int], Told] = field(default_factory=dict)
    waiting: dict[tuple[int, int], _Stream] = field(default_factory=dict)

    def take(  # noqa: PLR0913
        self, segments: Segments, batch: Batch, of: Numbers, before: Ends, ends: Ends, holes: _Ints
    ) -> None:
        """Find a batch's gaps; *holes* are its `jumps`. What waits is noted in *ends*, what is known after it."""
        ahead = indices(of.ack > of.peer_sent)
        waiting = before["incomplete"]
        if not len(ahead) and not len(holes) and not waiting.any():
            return
        ahead = ahead[of.flags[ahead] & ACK != 0]
        holes = holes[of.flags[holes] & SYN == 0]
        for side, own in enumerate((batch.from_low, ~batch.from_low)):
            mine = own & (of.flags & RST == 0)
            left = holes[own[holes]]
            if len(left):
                left = left[_may_be_gaps(batch, of, ends[:, side], ends[:, 1 - side], mine, left)]
            told = ahead[~own[ahead]]
            if len(told):
                group = batch.group[told]
                told = told[before["spoke"][group, side] | (firsts(batch, indices(mine))[group] < told)]
            todo = [
                (int(batch.start[g]), g, self.waiting.pop((int(batch.conversation[g]), side)))
                for g in indices(waiting[:, side]).tolist()
            ]
            todo += _begun(batch, of, before[:, side], ends[:, side], mine, np.union1d(left, told))
            followed = -1
            for place, g, stream in sorted(todo, key=itemgetter(0)):
                if place > followed:
                    followed = self._follow(segments, batch, of, place, side, stream)
                    ends["incomplete"][g, side] = not stream.is_whole

    def _follow(  # noqa: PLR0913
        self, segments: Segments, batch: Batch, of: Numbers, place: int, side: int, stream: _Stream
    ) -> int:
        """Follow a stream from a place on, until it is whole again; returns the last place that was looked at."""
        group = int(batch.group[place])
        key, stop = (int(batch.conversation[group]), side), _stop(batch, group)
        for here, by_high, flags, begin, end, length, ack in _rows(batch, of, place, stop):
            if stream.given_up:
                break
            if by_high == side:
                stream.take(flags, begin, end, length)
            elif flags & ACK:
                count = stream.acknowledge(flags, ack)
                if count:
                    told = self.found.setdefault(key, Told())
                    told.frames.append(int(segments.frame[batch.rows[here]]))
                    told.numbers.append(count)
            if stream.is_whole:
                return here
        self.waiting[key] = stream
        return stop - 1


def _stop(batch: Batch, group: int) -> int:
    return int(batch.start[group + 1]) if group + 1 < len(batch.start) else len(batch.rows)


def _rows(batch: Batch, of: Numbers, place: int, stop: int) -> Iterator[tuple[int, bool, int, int, int, int, int]]:
    """The rows from a place on; more and more at a time, since few are needed as a rule."""
    size = _CHUNK
    while place < stop:
        part = slice(place, min(place + size, stop))
        columns = (
            ~batch.from_low[part],
            of.flags[part],
            of.position[part],
            of.end[part],
            of.length[part],
            of.ack[part],
        )
        yield from zip(range(part.start, part.stop), *(column.tolist() for column in columns), strict=True)
        place, size = part.stop, 2 * size


def _may_be_gaps(  # noqa: PLR0913
    batch: Batch, of: Numbers, of_end: Ends, of_peer: Ends, mine: _Bools, holes: _Ints
) -> _Bools:
    """Which holes must be followed: those that one segment did not fill before any ACK went beyond where they begin."""
    group, begin = batch.group[holes], of.sent[holes]
    by_peer = of.acked_so_far[1 if batch.from_low[holes[0]] else 0]
    acked = np.searchsorted(by_peer, of.running.lifted(holes, begin + 1))  # at most where the next group begins
    late = indices(mine & (of.position < of.sent))
    if not len(late):
        return np.ones(len(holes), np.bool_)
    index = np.searchsorted(late, holes)
    fill = late[np.minimum(index, len(late) - 1)]
    filled = (index < len(late)) & (fill < acked) & (of.position[fill] <= begin)
    filled &= of.end[fill] - (of.flags[fill] & FIN != 0) >= of.position[holes]
    early = of.peer_acked[holes] <= of_end["origin"][group] + 1
    heavy = of.sent[fill] - begin > _MOST_ABOVE_A_HOLE
    found: _Bools = ~filled | (early & heavy) | (of_peer["bits"][group] & RST != 0)
    return found


def _begun(  # noqa: PLR0913
    batch: Batch, of: Numbers, known: Ends, of_end: Ends, mine: _Bools, places: _Ints
) -> list[tuple[int, int, _Stream]]:
    """(Place, group, stream): the streams at these places, up to which they were whole."""
    if not len(places):
        return []
    group = batch.group[places]
    by_itself = mine[places]
    fins = indices(mine & (of.flags & FIN != 0))
    fin_end = known["fin_end"][group]
    if len(fins):
        last = fins[np.maximum(np.searchsorted(fins, places) - 1, 0)]
        fin_end = np.where((last < places) & (batch.group[last] == group), of.end[last], fin_end)
    sent = np.where(by_itself, of.sent[places], of.peer_sent[places]).tolist()
    acked = np.where(by_itself, of.peer_acked[places], of.acked[places]).tolist()
    columns = (places.tolist(), group.tolist(), sent, acked, of_end["origin"][group].tolist(), fin_end.tolist())
    return [
        (place, g, _Stream(reached, reached, ack, start, fin, reached))
        for place, g, reached, ack, start, fin in zip(*columns, strict=True)
    ]
