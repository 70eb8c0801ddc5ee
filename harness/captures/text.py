"""A listing, as tcpdump prints it (`harness.captures.listing_lines` reads its lines) → segments: the numbers and times.

Without -S, tcpdump prints relative numbers (print-tcp.c): the first packet with ACK of a connection, and every SYN, is
printed as it is, and sets what 0 stands for: its own sequence number, and its acknowledgment number less one. From then
on packets with ACK are relative to these; packets without ACK never are. Here the base is added again. Sequence
numbers of empty segments are not printed (but for -vv); they are the next in order of their sender.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from struct import Struct
from typing import Any

import numpy as np

from harness.captures.capture import Capture
from harness.captures.listing_lines import Start, TimeKind, read_lines
from harness.captures.listing_tcp import NO_OTHERS, Ends, Printed
from harness.errors import HarnessError
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import COLUMNS, Segments, from_rows

_MOD = 1 << 32
_SECOND = 1_000_000_000
_HALF_DAY = 12 * 3600 * _SECOND
_LATEST = (1 << 63) - 1
_SMALL = 1 << 24  # where nothing else tells, a number below is a relative one

# A row of numbers, packed in three parts.
_NAMES = (
    *("src", "sport", "dst", "dport"),
    *("frame", "seq", "seq_shown", "ack", "flags", "window", "length", "ip_id", "tsval", "tsecr"),
    *("mss", "wscale", "sack_permitted", "sack", "fast_open"),
)
_ENDS, _NUMBERS, _OTHERS = Struct("=4q"), Struct("=10q"), Struct("=5q")
_SIZE = 8 * len(_NAMES)
_SEQ, _SEQ_AT = Struct("=q"), 8 * _NAMES.index("seq")
_NO_OTHERS = _OTHERS.pack(*NO_OTHERS[:-1])

_Blocks = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Rows:
    """The segments so far: _NAMES of one after another."""

    numbers: bytearray = field(default_factory=bytearray)
    blocks: dict[int, _Blocks] = field(default_factory=dict)  # row → of SACK
    ipv6: dict[bytes, int] = field(default_factory=dict)
    options_shown: bool = False

    def __len__(self) -> int:
        return len(self.numbers) // _SIZE

    def key(self, address: int | bytes) -> int:
        """The key of an address."""
        return address if isinstance(address, int) else (1 << 32) + self.ipv6.setdefault(address, len(self.ipv6))


@dataclass(slots=True)
class _Stream:
    """One end's sequence numbers.

    Attributes:
        base: what 0 stands for.
        following: the next one.
        acked: what the other end acknowledged last.
        waiting: rows whose sequence number was not printed and is not known yet.
    """

    base: int | None = None
    following: int | None = None
    acked: int | None = None
    waiting: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Connection:
    """What tcpdump remembers of a connection.

    Attributes:
        relative: whether its numbers are relative; None until a packet tells.
        known: whether a packet with ACK was seen.
    """

    relative: bool | None = None
    known: bool = False


@dataclass(slots=True)
class _Sender:
    """One end of a connection, sending to the other.

    Attributes:
        connection: the connection.
        ends: addresses' keys and ports, packed.
        own: what it sends.
        other: what it acknowledges.
    """

    connection: _Connection
    ends: bytes
    own: _Stream
    other: _Stream

    def send(self, rows: _Rows, frame: int, printed: Printed) -> None:
        """Add a segment to the rows."""
        _, flags, seq, ack, window, length, ip_id, tsval, tsecr, options = printed
        own, shown = self.own, seq is not None
        if ack is not None and flags & ACK:
            seq, ack = self._absolute(rows, flags, seq, ack)
            self.other.acked = ack
            if self.other.waiting:
                _settle(rows, self.other, ack)
        if seq is None:
            seq = own.acked if own.following is None else own.following
        if seq is None:
            own.waiting.append(len(rows))
        else:
            end = (seq + length + bool(flags & SYN) + bool(flags & FIN)) % _MOD
            first = own.following is None or flags & SYN
            if (shown or length) and (first or (not flags & RST and _signed(end - (own.following or 0)) > 0)):
                own.following = end  # tcpdump 4.0 does not show where data begin
            if own.waiting:
                _settle(rows, own, seq)
        others = _NO_OTHERS
        if options is not None:
            rows.options_shown = True
            if options is not NO_OTHERS:
                others = _OTHERS.pack(*options[:-1])
                if options.blocks:
                    rows.blocks[len(rows)] = self._absolute_blocks(options.blocks, ack, flags)
        rows.numbers += (
            self.ends
            + _NUMBERS.pack(frame, seq or 0, shown, ack or 0, flags, window, length, ip_id, tsval, tsecr)
            + others
        )

    def _absolute(self, rows: _Rows, flags: int, seq: int | None, ack: int) -> tuple[int | None, int]:
        connection, own, other = self.connection, self.own, self.other
        if not connection.known or flags & SYN:
            connection.known = True
            connection.relative = None
            own.base = own.following if seq is None else seq
            other.base = (ack - 1) % _MOD
            return seq, ack
        if connection.relative is None:
            connection.relative = _look_relative((own, seq), (other, ack))
            if connection.relative:
                for stream in (own, other):
                    _settle(rows, stream, stream.base or 0)
        if not connection.relative:
            return seq, ack
        return None if seq is None else (seq + (own.base or 0)) % _MOD, (ack + (other.base or 0)) % _MOD

    def _absolute_blocks(self, blocks: _Blocks, ack: int | None, flags: int) -> _Blocks:
        """SACK blocks, which are relative even where tcpdump prints the packet's other numbers as they are."""
        relative, base = self.connection.relative, self.other.base or 0
        if ack is None or not flags & ACK:
            return blocks
        if relative is None:
            off = blocks[0][0] - ack
            relative = abs(_signed(off + base)) < abs(_signed(off))
        return tuple(((left + base) % _MOD, (right + base) % _MOD) for left, right in blocks) if relative else blocks


def _look_relative(*told: tuple[_Stream, int | None]) -> bool:
    """Whether one of the numbers lies nearer to what is expected next as a relative one, or as it is."""
    if_relative, as_it_is = [_MOD], [_MOD]
    for stream, number in told:
        if number is not None and stream.base:
            off = number - (stream.base + 1 if stream.following is None else stream.following)
            if_relative.append(abs(_signed(off + stream.base)))
            as_it_is.append(abs(_signed(off)))
    if min(if_relative) == min(as_it_is):
        return all(number is None or number < _SMALL for _, number in told)
    return min(if_relative) < min(as_it_is)


def _settle(rows: _Rows, stream: _Stream, seq: int) -> None:
    for row in stream.waiting:
        _SEQ.pack_into(rows.numbers, row * _SIZE + _SEQ_AT, seq)
    stream.waiting.clear()


def _signed(difference: int) -> int:
    """A difference of sequence numbers, from -2³¹ to 2³¹-1."""
    return (difference + (1 << 31)) % _MOD - (1 << 31)


class _Clock:
    """The time column → nanoseconds since the epoch, for one run of tcpdump after another.

    A packet without a time is as late as the one before it.
    """

    def __init__(self) -> None:
        self._kinds: list[TimeKind | None] = []
        self._times: list[int] = []  # as printed, and where settled, since the epoch
        self._settled = 0
        self._elapsed: bool | None = None
        self._day = 0
        self._last: int | None = None

    def add(self, kind: TimeKind | None, time: int) -> None:
        """The time of one more packet."""
        self._kinds.append(kind)
        self._times.append(time)

    def new_run(self, elapsed: bool | None) -> None:
        """Tcpdump was started again; *elapsed* as in `Start`."""
        self._settle()
        self._elapsed = self._elapsed if elapsed is None else elapsed

    def times(self) -> list[int]:
        """All of them, in order."""
        self._settle()
        return self._times

    def _settle(self) -> None:
        """Say what the times of a run were."""
        run = range(self._settled, len(self._times))
        if not run:
            return
        self._settled = len(self._times)
        told = self._kinds[run.start :]
        places = [place for place, kind in enumerate(told, run.start) if kind is not None and kind is not TimeKind.AT]
        printed = [self._times[place] for place in places]
        if self._elapsed is not None or TimeKind.STEP in told or (len(places) > 1 and printed[0] == 0):
            self._since_before(places, printed)
        else:
            self._of_day(places, printed)
        self._elapsed = None
        for place, kind in enumerate(told, run.start):
            if kind is None and place:
                self._times[place] = self._times[place - 1]

    def _since_before(self, places: list[int], printed: list[int]) -> None:
        """-ttt or -ttttt."""
        elapsed = _never_fall(printed) if self._elapsed is None else self._elapsed
        total = before = self._last or 0
        for place, time in zip(places, printed, strict=True):
            from_first = elapsed and self._kinds[place] is not TimeKind.STEP
            total = max(-_LATEST, min((before if from_first else total) + time, _LATEST))
            self._times[place] = total
        self._last = total

    def _of_day(self, places: list[int], printed: list[int]) -> None:
        for place, time in zip(places, printed, strict=True):
            now = time + self._day
            if self._last is not None and self._last - now > _HALF_DAY:
                self._day += 2 * _HALF_DAY * max(1, (self._last - now + _HALF_DAY) // (2 * _HALF_DAY))
                now = time + self._day
            self._last = self._times[place] = min(now, _LATEST)


def _never_fall(times: list[int]) -> bool:
    """Whether these are times since the first packet: those rise, but for a few; times since the one before do not."""
    return 8 * sum(a > b for a, b in pairwise(times)) < len(times)


def is_listing(data: bytes) -> bool:
    """Whether it is text with a line as tcpdump prints them."""
    return next(read_lines(data), None) is not None


def read_listing(data: bytes, name: str) -> Capture:
    """Read what tcpdump printed.

    Raises:
        HarnessError: no line is tcpdump's.
    """
    rows, clock, frames = _Rows(), _Clock(), 0
    senders: dict[Ends, _Sender] = {}
    damage = line = None
    for line in read_lines(data):
        if isinstance(line, Start):
            clock.new_run(line.elapsed)
            senders.clear()
            if line.truncated and damage is None:
                damage = f"line {line.line}: the file that tcpdump read is cut off"
            continue
        number, kind, time, printed, cut = line
        frames += 1
        clock.add(kind, time)
        if printed is not None:
            sender = senders.get(printed.ends) or _meet(senders, rows, printed.ends)
            sender.send(rows, frames, printed)
        elif cut and damage is None:
            damage = f"line {number} is cut off"
    if line is None:
        raise HarnessError(f"{name}: no line of it is a packet as tcpdump prints it")
    return Capture("tcpdump text", (), frames, frames - len(rows), damage, _segments(rows, clock.times()))


def _meet(senders: dict[Ends, _Sender], rows: _Rows, ends: Ends) -> _Sender:
    """A connection's first segment: its sender, and the other end, are known from now on."""
    source, target = (rows.key(ends.src), ends.sport), (rows.key(ends.dst), ends.dport)
    connection, one, two = _Connection(), _Stream(), _Stream()
    senders[Ends(ends.dst, ends.dport, ends.src, ends.sport)] = _Sender(
        connection, _ENDS.pack(*target, *source), two, one
    )
    sender = senders[ends] = _Sender(connection, _ENDS.pack(*source, *target), one, two)
    return sender


def _segments(rows: _Rows, times: list[int]) -> Segments:
    """The columns."""
    table = np.frombuffer(rows.numbers, np.int64).reshape(-1, len(_NAMES))
    told = {name: table[:, place] for place, name in enumerate(_NAMES)}
    told["time"] = np.array(times, np.int64)[told["frame"] - 1]
    blank = from_rows([{}], options_shown=rows.options_shown)
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        default = getattr(blank, name)
        columns[name] = told[name].astype(default.dtype) if name in told else np.repeat(default, len(rows))
    blocks = rows.blocks
    return replace(blank, **columns, ipv6=tuple(rows.ipv6), sack_blocks=lambda row: blocks.get(int(row), ()))
