"""What is left of a connection in any copy of its capture, in a few numbers that a database can index.

Honest captures of one lab agree in nearly all they show: lengths, relative numbers, windows and options come from the
same software. What they do not share was drawn at random or came by chance: both ISNs (RFC 6528: 64 bits), the offsets
of both ends' timestamps (RFC 7323 §5.4), and the microseconds between the frames.

A key is a hash of one such thing. So that a part of a connection has keys of the whole, numbers are taken as *cells*:
the squares, 2 KB wide, that the pair (sequence number, acknowledgment number) goes through. Whatever frames a copy
keeps, they lie in the same cells. A larger connection keeps only the cells with the smallest hashes, as its copies do.

What was chosen by hand is no evidence: ISNs near 0 (as in a listing of relative numbers), the uptime of a host that
adds no offset, frames at equal distances or at whole milliseconds.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.tcp.arrays import indices
from harness.tcp.conversation import Conversation
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.segments import ABSENT

MOST_KEYS = 24
MOST_ROWS = 400
_MOST_SEGMENTS = 1 << 17  # that are looked at, from the first on
ENOUGH_BITS = 48  # of chance, in the times of a run of frames: two honest captures do not agree in as much

Words = NDArray[np.uint64]
Ints = NDArray[np.int64]


# What a key is a hash of; it stands in the key's first four bits.
ISNS, NUMBERS, NUMBERS_WIDE, TIMESTAMPS, TIMESTAMPS_WIDE, TIMES = range(1, 7)
# How many keys of a kind there are at most; those of the times, the last kind, take what room is left.
_MOST = {ISNS: 1, NUMBERS: 6, NUMBERS_WIDE: 3, TIMESTAMPS: 3, TIMESTAMPS_WIDE: 3}
# A cell's width: 2ⁿ bytes, or ticks of the timestamps' clock.
_WIDTH = {NUMBERS: 11, NUMBERS_WIDE: 14, TIMESTAMPS: 10, TIMESTAMPS_WIDE: 14}
_NEAR_ZERO = 1 << 22  # bytes: where relative numbers and ISNs set by hand are
_YOUNG = 1 << 26  # ticks: timestamps without an offset count from a host's start
_IN_STEP = 1 << 20  # ticks: two hosts without offsets that were started together

_HASH_BITS = 60  # of a key, below its kind
_ODD, _ODD_INVERSE = 0x9E3779B97F4A7C15, pow(0x9E3779B97F4A7C15, -1, 1 << 64)

CORE = SYN | FIN | RST | ACK  # the flags that every copy keeps
SHOWN, TIMESTAMPED, FORWARD = 1 << 13, 1 << 14, 1 << 15  # beside the flags of a packed row
ROW = np.dtype(
    [
        ("frame", "<u4"),
        ("seq", "<u4"),
        ("ack", "<u4"),  # 0 without the flag ACK
        ("tsval", "<u4"),
        ("gap", "<i4"),  # µs since the segment before, as far as that fits
        ("length", "<u2"),  # payload bytes, as far as that fits
        ("flags", "<u2"),  # the segment's, SHOWN (its seq), TIMESTAMPED, FORWARD (the initiator sent it)
    ]
)
_HEADER = struct.Struct("<BB6x")  # version, evidence
_VERSION = 1


# Which of the numbers in the rows were drawn at random: bits of the header's evidence.
RANDOM_NUMBERS, RANDOM_TIMESTAMPS = 1, 2


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A connection's.

    Attributes:
        keys: at most `MOST_KEYS` numbers from 0 below 2⁶³, ascending; a copy shares at least one.
        rows: what tells which frames two fingerprints share: a header, and at most `MOST_ROWS` of `ROW`, in capture
            order; what was sent again with the same numbers only once.
    """

    keys: tuple[int, ...]
    rows: bytes

    @property
    def evidence(self) -> int:
        """Bits: `RANDOM_NUMBERS`, `RANDOM_TIMESTAMPS`."""
        evidence: int = _HEADER.unpack_from(self.rows)[1]
        return evidence

    @property
    def table(self) -> NDArray[np.void]:
        """The rows, of type `ROW`."""
        return np.frombuffer(self.rows, ROW, offset=_HEADER.size)

    def to_bytes(self) -> bytes:
        """All of it."""
        return struct.pack(f"<B{len(self.keys)}q", len(self.keys), *self.keys) + self.rows

    @staticmethod
    def from_bytes(data: bytes) -> "Fingerprint":
        """The inverse of `to_bytes`.

        Raises:
            HarnessError: it is none, or of another version of this module.
        """
        count = data[0] if data else 0
        rows = data[1 + 8 * count :]
        if len(rows) < _HEADER.size or (len(rows) - _HEADER.size) % ROW.itemsize or rows[0] != _VERSION:
            raise HarnessError("no fingerprint of this version")
        return Fingerprint(struct.unpack_from(f"<{count}q", data, 1), rows)


def fingerprint(conversation: Conversation) -> Fingerprint:
    """A connection's fingerprint."""
    columns = _columns(conversation)
    codes: dict[int, Words] = {}
    evidence = 0
    base, shown = conversation.numbers.base, conversation.numbers.isn_shown
    if _random_isns(base, both_shown=all(shown)):
        evidence |= RANDOM_NUMBERS
        if all(shown):
            codes[ISNS] = np.array([min(base) << 32 | max(base)], np.uint64)
        known = columns["acks"] & (columns["shown"] | (columns["seq"] != 0))
        pairs = _pairs(columns["seq"][known], columns["ack"][known])
        for kind in (NUMBERS, NUMBERS_WIDE):
            codes[kind] = _cells(pairs, _WIDTH[kind])
    stamped = indices(columns["acks"] & (columns["tsecr"] > 0))
    if len(stamped):
        tsval, tsecr = columns["tsval"][stamped], columns["tsecr"][stamped]
        if _random_timestamps(int(tsval[0]), int(tsecr[0])):
            evidence |= RANDOM_TIMESTAMPS
            pairs = _pairs(tsval, tsecr)
            for kind in (TIMESTAMPS, TIMESTAMPS_WIDE):
                codes[kind] = _cells(pairs, _WIDTH[kind])
    codes[TIMES] = _runs(columns["gap"][1:])
    return Fingerprint(_keys(codes), _HEADER.pack(_VERSION, evidence) + _packed(columns))


def _columns(conversation: Conversation) -> dict[str, NDArray[Any]]:
    """What is needed of the segments; of those with the same numbers the first only."""
    segments, rows = conversation.segments_columns, conversation.rows.rows[:_MOST_SEGMENTS]
    flags, seq = segments.flags[rows], segments.seq[rows]
    length = segments.length[rows]
    ack = segments.ack[rows]
    ack[flags & ACK == 0] = 0
    number = (seq.astype(np.uint64) << np.uint64(32) | ack) * np.uint64(_ODD)
    number ^= (length.astype(np.uint64) << np.uint64(16) | (flags & CORE)) * np.uint64(_ODD_INVERSE)
    order = number.argsort(kind="stable")
    ascending = number[order]
    again = order[1:][ascending[1:] == ascending[:-1]]
    columns: dict[str, NDArray[Any]] = {
        "frame": segments.frame[rows],
        "seq": seq,
        "ack": ack,
        "flags": flags,
        "length": length,
        "shown": segments.seq_shown[rows],
        "forward": conversation.rows.forward[:_MOST_SEGMENTS],
        "time": segments.time[rows] // 1000,
        "tsval": segments.tsval[rows],
        "tsecr": segments.tsecr[rows],
        "number": number,
    }
    if len(again):
        first = np.ones(len(rows), np.bool_)
        first[again] = False
        columns = {name: column[first] for name, column in columns.items()}
    gap = columns["gap"] = np.zeros(len(columns["time"]), np.int64)
    np.subtract(columns["time"][1:], columns["time"][:-1], out=gap[1:])
    columns["acks"] = columns["flags"] & (ACK | RST) == ACK
    return columns


def _signed(number: int) -> int:
    """From -2³¹ to 2³¹-1."""
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


def _random_isns(base: tuple[int, int], *, both_shown: bool) -> bool:
    """Whether both streams begin where a kernel would have them begin, not where someone did."""
    if base[0] == base[1] or min(abs(_signed(number)) for number in base) < _NEAR_ZERO:
        return False
    return not (both_shown and base[0] % 1000 == 0 == base[1] % 1000)


def _random_timestamps(tsval: int, tsecr: int) -> bool:
    old = min(abs(_signed(tsval)), abs(_signed(tsecr))) >= _YOUNG
    return old and abs(_signed(tsval - tsecr)) >= _IN_STEP


def _pairs(one: NDArray[Any], two: NDArray[Any]) -> Words:
    """Pairs of 32-bit numbers, the smaller first: whichever end sent them."""
    one, two = one.astype(np.uint64), two.astype(np.uint64)
    pairs: Words = np.minimum(one, two) << np.uint64(32) | np.maximum(one, two)
    return pairs


def _cells(pairs: Words, width: int) -> Words:
    """The corners of the cells that pairs lie in."""
    of_one = (1 << 32) - (1 << width)
    cells = pairs & np.uint64(of_one << 32 | of_one)
    if len(cells) > MOST_ROWS:  # they come in runs: fewer to sort
        cells = cells[np.append(True, cells[1:] != cells[:-1])]
    return cells


def chance(gap: Ints) -> Ints:
    """How many bits of chance there are in times between frames (µs), as a cautious guess.

    An eighth of such a time is chance, 8 bits at most. None is in whole milliseconds, nor in what was just there, nor
    in a common divisor of all.
    """
    divisor = int(np.gcd.reduce(gap)) if len(gap) else 0
    if divisor == 0:
        return np.zeros(len(gap), np.int64)
    bits = np.frexp(gap if divisor == 1 else gap // divisor)[1].astype(np.int64) - 3
    bits[(gap % 1000 == 0) | (gap < 0)] = 0
    for back in (1, 2):
        bits[back:][gap[back:] == gap[:-back]] = 0
    found: Ints = np.minimum(np.maximum(bits, 0), 8)
    return found


def _runs(gap: Ints) -> Words:
    """A hash of each shortest run of times between frames that has `ENOUGH_BITS` of chance."""
    bits = chance(gap)
    total = np.zeros(len(gap) + 1, np.int64)
    np.add.accumulate(bits, out=total[1:])
    start = indices((bits > 0) & (total[:-1] + ENOUGH_BITS <= total[-1]))
    if not len(start):
        return np.zeros(0, np.uint64)
    stop = total.searchsorted(total[start] + ENOUGH_BITS)
    power, back = (_POWERS, _BACK) if len(gap) < len(_POWERS) else _powers(len(gap) + 1)
    sums = np.zeros(len(gap) + 1, np.uint64)
    np.add.accumulate(gap.view(np.uint64) * power[: len(gap)], out=sums[1:])
    runs: Words = (sums[stop] - sums[start]) * back[start]
    return runs


def _powers(count: int) -> tuple[Words, Words]:
    """What makes a hash of a run: the powers of an odd number modulo 2⁶⁴, and what multiplies them to 1.

    The hash is a polynomial in that number, so that sums from the left give every run's as a difference.
    """
    powers = np.full((2, count), [[_ODD], [_ODD_INVERSE]], np.uint64)
    powers[:, 0] = 1
    np.multiply.accumulate(powers, axis=1, out=powers)
    return powers[0], powers[1]


_POWERS, _BACK = _powers(MOST_ROWS)


def _keys(codes: dict[int, Words]) -> tuple[int, ...]:
    """The smallest hashes of each kind."""
    hashes = mix(np.concatenate(list(codes.values()))) >> np.uint64(64 - _HASH_BITS)
    chosen: list[int] = []
    stop = 0
    for kind, part in codes.items():
        start, stop = stop, stop + len(part)
        mine = hashes[start:stop]
        if len(mine) > MOST_ROWS:
            mine = np.unique(mine)[:MOST_KEYS]
        most = _MOST.get(kind, MOST_KEYS - len(chosen))
        first = kind << _HASH_BITS
        chosen += [first + key for key in sorted(set(mine.tolist()))[:most]]
    return tuple(chosen)


def mix(words: Words) -> Words:
    """Each word's hash: SplitMix64's last step (Steele, Lea, Flood 2014), which loses nothing."""
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def _packed(columns: dict[str, NDArray[Any]]) -> bytes:
    if len(columns["frame"]) > MOST_ROWS:
        chosen = _sample(columns)
        columns = {name: column[chosen] for name, column in columns.items()}
    table = np.empty(len(columns["frame"]), ROW)
    for name in ("frame", "seq", "ack", "tsval"):
        table[name] = columns[name]
    table["gap"] = np.minimum(np.maximum(columns["gap"], -(1 << 31)), (1 << 31) - 1)
    table["length"] = np.minimum(columns["length"], 0xFFFF)
    table["flags"] = (
        columns["flags"]
        | columns["shown"] * np.uint16(SHOWN)
        | (columns["tsval"] != ABSENT) * np.uint16(TIMESTAMPED)
        | columns["forward"] * np.uint16(FORWARD)
    )
    return table.tobytes()


def _sample(columns: dict[str, NDArray[Any]]) -> Ints:
    """Rows that a copy chooses as well: half by their numbers, half by their times."""
    gap, length = columns["gap"].astype(np.uint64), columns["length"].astype(np.uint64)
    by_time = mix(gap << np.uint64(20) ^ np.roll(gap, 1) << np.uint64(40) ^ length)
    half = MOST_ROWS // 2
    chosen = [np.argpartition(hashes, half)[:half] for hashes in (mix(columns["number"]), by_time)]
    return np.unique(np.concatenate(chosen))
