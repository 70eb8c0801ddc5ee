"""Captures of any size to measure on: TCP conversations, many at a time, as pcap files.

    .venv/bin/python -m benchmarks.traffic FILE PACKETS CONVERSATIONS [SEED]

Everything is a column over a hundred thousand packets at once, and is written piece by piece: memory hardly grows with
the file. The TCP checksum is left 0, which neither tcptrace nor tshark looks at.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Records = NDArray[np.void]

LOSS, DUPLICATES, SWAPS = 0.004, 0.002, 0.002  # shares of the packets
SMALLEST = 7  # packets: three to open, four to close

_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_MSS = 1448  # 1460 less the timestamps option
_FULL, _SHORT, _LONG = 0.15, 16, 276  # how many data segments are full, and the range of the others' bytes
_EPOCH = 1_700_000_000_000_000  # µs
_GAP, _LONGEST_GAP = 5_000, 100_000  # µs between a conversation's packets: mean and most
_ARRIVAL = 500  # µs between the beginnings of conversations, mean: about a thousand are open at a time
_PIECE = 100_000  # packets
_SERVERS = 16
_PORTS = (5001, 5201, 5301)  # no protocol that tshark would look into
_MIX = 0x9E3779B1  # odd: times this, modulo a power of two, no two numbers become one
_BURST = 3  # two data segments, and the peer's ACK

_PCAP_HEADER = b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(8) + b"\0\0\x04\0\x01\0\0\0"
_ETHERNET = (b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0", b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0")
_HEADERS = np.dtype(
    [
        ("seconds", "<u4"), ("micro", "<u4"), ("kept", "<u4"), ("length", "<u4"),
        ("ethernet", "V14"),
        ("version", ">u2"), ("total", ">u2"), ("ip_id", ">u2"), ("fragment", ">u2"), ("ttl_protocol", ">u2"),
        ("ip_checksum", ">u2"), ("src", ">u4"), ("dst", ">u4"),
        ("sport", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset_flags", ">u2"),
        ("window", ">u2"), ("checksum_urgent", ">u4"),
        ("options", ">u4", 3),
    ]
)  # fmt: skip
_RECORD = np.dtype([("time", "i8"), ("more", "i8"), ("headers", _HEADERS), ("tail", ">u4", 3)])


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """The conversations: how many packets each has, how many of these close it, and when it begins (µs)."""

    packets: Ints
    closing: Ints
    begin: Ints

    def piece(self, first: int, last: int) -> "_Plan":
        return _Plan(self.packets[first:last], self.closing[first:last], self.begin[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How many of the packets are lost, captured twice, or overtaken by the next."""

    loss: float
    duplicates: float
    swaps: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """One row a packet: its conversation, and the columns that follow from that.

    Attributes:
        conversation: its number within the piece.
        begins: the conversation's first row.
        index: which of the conversation's packets it is.
        in_body: whether it is after the three that open and before those that close.
        body: which packet after the three that open.
        closing: which of the packets that close; negative before.
    """

    conversation: Ints
    begins: Ints
    index: Ints
    in_body: Bools
    body: Ints
    closing: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """What happens to packets: rows of each kind.

    Attributes:
        lost: lost after it was captured, or the first after one that was lost before; the peer's ACK follows two later,
            and what is sent again four later.
        unseen: those of *lost* where the packet before them is what was lost.
        twice: captured twice, the next row is the same again.
        overtaken: comes after the next row.
    """

    lost: Ints
    unseen: Bools
    twice: Ints
    overtaken: Ints


def _plan(random: np.random.Generator, packets: int, conversations: int) -> _Plan:
    closing = random.choice(np.array([4, 3, 1]), conversations, p=(0.7, 0.2, 0.1))
    weight = np.minimum(random.lognormal(0, 1, conversations), 12)
    free = packets - int((closing + 3).sum())
    reached = np.rint(np.cumsum(weight) / weight.sum() * free).astype(np.int64)
    begin = _EPOCH + np.cumsum(random.integers(1, 2 * _ARRIVAL, conversations))
    return _Plan(np.diff(reached, prepend=0) + closing + 3, closing, begin)


def _rows(plan: _Plan) -> _Rows:
    conversation = np.repeat(np.arange(len(plan.packets)), plan.packets)
    begins = np.repeat(np.cumsum(plan.packets) - plan.packets, plan.packets)
    index = np.arange(len(conversation)) - begins
    closing = index - np.repeat(plan.packets - plan.closing, plan.packets)
    return _Rows(conversation, begins, index, (index >= 3) & (closing < 0), index - 3, closing)


def _bursts(random: np.random.Generator, plan: _Plan, rows: _Rows, shares: _Shares) -> tuple[Bools, _Events]:
    """Who sent each packet between opening and closing, and what happens to them: at most one thing to a burst."""
    body = plan.packets - plan.closing - 3
    bursts = -(-body // _BURST)
    before = np.cumsum(bursts) - bursts
    number = np.arange(int(bursts.sum())) - np.repeat(before, bursts)
    whole = number < np.repeat(body // _BURST, bursts)
    first_row = np.repeat(np.cumsum(plan.packets) - plan.packets, bursts) + 3 + _BURST * number
    by_responder = random.random(len(number)) < 0.7
    chance = random.random(len(number)) / _BURST
    followed = np.zeros(len(number), np.bool_)
    followed[:-1] = whole[:-1] & whole[1:] & (number[1:] > 0)
    lost = followed & (chance < shares.loss)
    lost[1:] &= ~lost[:-1].copy()
    repeats = np.zeros(len(number), np.bool_)
    repeats[1:] = lost[:-1]
    by_responder[repeats] = by_responder[np.flatnonzero(repeats) - 1]
    free = whole & ~lost & ~repeats
    twice = free & (chance >= shares.loss) & (chance < shares.loss + shares.duplicates)
    above = shares.loss + shares.duplicates
    overtaken = free & (chance >= above) & (chance < above + shares.swaps)
    unseen = random.random(int(lost.sum())) < 0.5
    responder = np.zeros(len(rows.index), np.bool_)
    mine = np.flatnonzero(rows.in_body)
    burst = before[rows.conversation[mine]] + rows.body[mine] // _BURST
    responder[mine] = by_responder[burst] ^ (rows.body[mine] % _BURST == 2)
    return responder, _Events(first_row[lost], unseen, first_row[twice], first_row[overtaken])


def _lengths(random: np.random.Generator, rows: _Rows) -> Ints:
    """Payload bytes, before anything happens to packets."""
    count = len(rows.index)
    length = np.where(random.random(count) < _FULL, _MSS, random.integers(_SHORT, _LONG, count))
    return np.where(rows.in_body & (rows.body % _BURST != 2), length, 0)


def _flags(rows: _Rows, closing: Ints, length: Ints) -> Ints:
    fin = (closing > 1) & ((rows.closing == 0) | (rows.closing == np.where(closing == 4, 2, 1)))
    flags = np.where(length > 0, _ACK | _PSH, _ACK)
    flags[length == _MSS] = _ACK
    flags[rows.index == 0] = _SYN
    flags[rows.index == 1] = _SYN | _ACK
    flags[fin] |= _FIN
    flags[(rows.closing == 0) & (closing == 1)] |= _RST
    return flags


def _within(rows: _Rows, values: Ints) -> Ints:
    """The running sum of each conversation's values."""
    total = np.cumsum(values)
    return total - (total - values)[rows.begins]


def _sent_last(sender: Bools) -> Ints:
    """The last row up to each one that this end sent."""
    return np.maximum.accumulate(np.where(sender, np.arange(len(sender)), 0))


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Columns, one row a packet: sequence numbers count from each sender's ISN, times are µs since the epoch."""

    responder: Bools
    length: Ints
    flags: Ints
    position: Ints
    acked: Ints
    time: Ints
    sack: Ints  # the rows with a SACK block, and its edges
    left: Ints
    right: Ints


def _segments(random: np.random.Generator, plan: _Plan, rows: _Rows, shares: _Shares) -> tuple[_Segments, _Events]:
    responder, events = _bursts(random, plan, rows, shares)
    closing = plan.closing[rows.conversation]
    by_responder = (random.random(len(plan.packets)) < 0.4)[rows.conversation]
    first_or_last = (rows.closing == 0) | (rows.closing == closing - 1)
    responder = np.where(rows.closing >= 0, by_responder ^ ~first_or_last, responder)
    responder[rows.index == 1] = True

    length = _lengths(random, rows)
    lost, again, acks = events.lost, events.lost + 4, events.lost + 2
    length[events.twice + 1] = length[events.twice]
    length[again] = np.where(events.unseen, length[again], length[lost])
    skipped = np.zeros(len(length), np.int64)
    skipped[lost[events.unseen]] = length[again[events.unseen]]
    flags = _flags(rows, closing, length)
    advance = length + skipped + (flags & (_SYN | _FIN) != 0)
    advance[events.twice + 1] = 0
    advance[again] = 0

    reached = (_within(rows, advance * ~responder), _within(rows, advance * responder))
    position = np.where(responder, reached[1], reached[0]) - advance + skipped
    position[again] = position[lost] - skipped[lost]
    acked = np.where(responder, reached[0], reached[1])
    acked[acks] = position[again]
    left = np.where(events.unseen, position[lost], position[lost + 1])
    right = position[lost + 1] + length[lost + 1]

    gap = np.minimum(random.exponential(_GAP, len(length)), _LONGEST_GAP).astype(np.int64) + 1
    gap[events.twice + 1] = random.integers(1, 50, len(events.twice))
    time = plan.begin[rows.conversation] + _within(rows, gap)
    return _Segments(responder, length, flags, position, acked, time, acks, left, right), events


def _timestamps(random: np.random.Generator, count: int, rows: _Rows, segments: _Segments) -> tuple[Ints, Ints]:
    """TSval and TSecr (RFC 7323 §3): each end's clock in ms, and the last of the other's that was heard."""
    uptime = random.integers(0, 1 << 32, (2, count))
    tsval = segments.time // 1000 + _of(uptime, segments.responder, rows)
    heard = np.where(segments.responder, _sent_last(~segments.responder), _sent_last(segments.responder))
    return tsval & 0xFFFFFFFF, np.where(rows.index == 0, 0, tsval[heard] & 0xFFFFFFFF)


def _of(ends: Any, responder: Bools, rows: _Rows) -> Ints:
    """Each packet's value of a pair of columns over conversations, the initiator's and the responder's."""
    values: Ints = np.where(responder, ends[1][rows.conversation], ends[0][rows.conversation])
    return values


def _ip_checksum(headers: Any) -> Ints:
    """RFC 791 §3.1."""
    words = [headers[name].astype(np.int64) for name in ("version", "total", "ip_id", "fragment", "ttl_protocol")]
    for name in ("src", "dst"):
        words += [headers[name].astype(np.int64) >> 16, headers[name].astype(np.int64) & 0xFFFF]
    total: Any = np.sum(words, axis=0)
    total = (total & 0xFFFF) + (total >> 16)
    checksum: Ints = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return checksum


def _piece(random: np.random.Generator, plan: _Plan, shares: _Shares, first: int) -> Records:
    """The packets of some conversations, of which *first* is the first's number in the file; not in order of time."""
    rows = _rows(plan)
    segments, events = _segments(random, plan, rows, shares)
    responder, length, flags = segments.responder, segments.length, segments.flags
    count = len(plan.packets)
    tsval, tsecr = _timestamps(random, count, rows, segments)
    isns = random.integers(0, 1 << 32, (2, count))
    near_the_end = random.random((2, count)) < 1 / 64
    isns[near_the_end] = (1 << 32) - random.integers(1, 4000, int(near_the_end.sum()))
    mine, theirs = _of(isns, responder, rows), _of(isns, ~responder, rows)
    mixed = (first + np.arange(count)) * _MIX & 0x0FFFFFFF  # 2²⁸ clients' ends, in no order that a hash would feel
    address = (0x0A400000 | mixed >> 14, 0x0A000000 + random.integers(1, _SERVERS, count))
    port = (0x8000 | mixed & 0x3FFF, random.choice(np.array(_PORTS), count))

    records = np.zeros(len(length), _RECORD)
    headers, tail = records["headers"], records["tail"]
    syn = flags & _SYN != 0
    options = np.where(syn, 20, 12)
    options[segments.sack] = 24
    records["more"] = options - 12
    headers["total"] = 40 + options + length
    headers["kept"] = headers["length"] = 14 + 40 + options + length
    headers["ethernet"] = np.array(_ETHERNET, "V14")[responder.astype(np.int64)]
    headers["version"], headers["fragment"], headers["ttl_protocol"] = 0x4500, 0x4000, 64 << 8 | 6
    headers["ip_id"] = (_of(random.integers(0, 1 << 16, (2, count)), responder, rows) + rows.index) & 0xFFFF
    headers["src"], headers["dst"] = _of(address, responder, rows), _of(address, ~responder, rows)
    headers["sport"], headers["dport"] = _of(port, responder, rows), _of(port, ~responder, rows)
    headers["ip_checksum"] = _ip_checksum(headers)
    headers["seq"] = (mine + segments.position) & 0xFFFFFFFF
    headers["ack"] = np.where(flags & _ACK != 0, theirs + segments.acked, 0) & 0xFFFFFFFF
    headers["offset_flags"] = (5 + options // 4) << 12 | flags
    headers["window"] = np.where(syn, 64240, _of(random.integers(200, 1024, (2, count)), responder, rows))
    # No operation twice, timestamps; on a SYN: MSS 1460, SACK permitted, timestamps, no operation, window scale 7.
    words: tuple[tuple[Any, Any], ...] = ((0x020405B4, 0x0101080A), (0x0402080A, tsval), (tsval, tsecr))
    for place, (on_syn, otherwise) in enumerate(words):
        headers["options"][:, place] = np.where(syn, on_syn, otherwise)
    tail[syn, 0], tail[syn, 1] = tsecr[syn], 0x01030307
    sack = segments.sack
    tail[sack, 0] = 0x0101050A
    tail[sack, 1] = (theirs[sack] + segments.left) & 0xFFFFFFFF
    tail[sack, 2] = (theirs[sack] + segments.right) & 0xFFFFFFFF

    records[events.twice + 1] = records[events.twice]
    time, late = segments.time.copy(), events.overtaken
    time[late], time[late + 1] = segments.time[late + 1], segments.time[late]
    records["time"] = time
    headers["seconds"], headers["micro"] = time // 1_000_000, time % 1_000_000
    return records


def _scatter(buffer: NDArray[np.uint8], at: Ints, values: Records) -> None:
    """Write items of one size at any offsets."""
    size = values.dtype.itemsize
    places: Records = np.ndarray((len(buffer) - size + 1,), f"V{size}", buffer.data, strides=(1,))
    places[at] = values.view(f"V{size}").reshape(-1)


def _encode(records: Records, filler: bytes) -> memoryview:
    """The bytes of the file for packets in order of time; the payload is filler."""
    sizes = records["headers"]["kept"].astype(np.int64) + 16
    at = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    buffer = np.frombuffer(bytearray(filler * (total // len(filler) + 1)), np.uint8)
    _scatter(buffer, at, np.ascontiguousarray(records["headers"]))
    for words in (2, 3):
        mine = np.flatnonzero(records["more"] == 4 * words)
        tail = np.ascontiguousarray(records["tail"][mine, :words])
        _scatter(buffer, at[mine] + _HEADERS.itemsize, tail.view(f"V{4 * words}").reshape(-1))
    return buffer[:total].data


def _in_order(*pieces: Records) -> Records:
    """All their packets by time."""
    joined = np.empty(sum(map(len, pieces)), _RECORD)  # numpy.concatenate would change the byte order
    at = 0
    for piece in pieces:
        joined[at : at + len(piece)] = piece
        at += len(piece)
    return joined[np.argsort(joined["time"], kind="stable")]


def make_capture(  # noqa: PLR0913
    path: Path,
    packets: int,
    conversations: int,
    seed: int = 1,
    *,
    loss: float = LOSS,
    duplicates: float = DUPLICATES,
    swaps: float = SWAPS,
) -> int:
    """Write a capture: Ethernet, IPv4, TCP; little-endian pcap with microseconds.

    Each conversation is whole: three segments with options open it, a FIN of each end closes it in four segments or
    three, or a RST does. Between them come bursts of two data segments and an ACK, both ways, all with timestamps.
    About a thousand conversations are open at a time.

    Args:
        path: the file.
        packets: exactly so many are written.
        conversations: exactly so many, of different length, none with another's 4-tuple.
        seed: the same gives the same file.
        loss: the share of packets that are lost and sent again, half of them before they could be captured.
        duplicates: the share of packets that are captured twice.
        swaps: the share of packets that the next one overtakes.

    Returns:
        How large the file is, in bytes.

    Raises:
        ValueError: there are not enough packets for the conversations, or a share is none.
    """
    if conversations < 1 or packets < SMALLEST * conversations:
        raise ValueError(f"{packets} packets in {conversations} conversations: each needs at least {SMALLEST}")
    if min(loss, duplicates, swaps) < 0 or loss + duplicates + swaps > 1 / _BURST:
        raise ValueError(f"loss {loss}, duplicates {duplicates}, swaps {swaps}: together from 0 to a third")
    random = np.random.default_rng(seed)
    plan = _plan(random, packets, conversations)
    shares = _Shares(loss, duplicates, swaps)
    filler = (b"abcdefghijklmnopqrstuvwxyz0123456789" * 2000)[:65_521]
    pieces = np.unique(np.cumsum(plan.packets) // _PIECE, return_index=True)[1].tolist()
    waiting = np.zeros(0, _RECORD)
    with path.open("wb") as file:
        file.write(_PCAP_HEADER)
        for first, last in zip(pieces, [*pieces[1:], conversations], strict=True):
            piece = _in_order(waiting, _piece(random, plan.piece(first, last), shares, first))
            # What the conversations still to come could precede waits for them.
            until = int(plan.begin[last]) if last < conversations else int(piece["time"][-1]) + 1
            ready = int(np.searchsorted(piece["time"], until))
            file.write(_encode(piece[:ready], filler))
            waiting = piece[ready:]
        return file.tell()


def main(words: list[str]) -> None:
    """The command line.

    Raises:
        SystemExit: the words are wrong, or the file cannot be written.
    """
    try:
        path, (packets, conversations, *seed) = Path(words[0]), [int(word) for word in words[1:]]
        make_capture(path, packets, conversations, *seed[:1])
    except IndexError:
        raise SystemExit("usage: traffic.py FILE PACKETS CONVERSATIONS [SEED]") from None
    except ValueError as error:
        raise SystemExit(f"traffic: {error}") from None
    except OSError as error:
        raise SystemExit(f"traffic: {path}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
