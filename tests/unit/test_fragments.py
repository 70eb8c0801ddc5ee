"""What harness.captures.fragments promises: IP packets whole again, or none; and what tshark says of them."""

import random
import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.captures.fragments import reassemble

TSHARK = shutil.which("tshark")
HOP_BY_HOP = b"\0\0\1\4\0\0\0\0"  # its own next header is filled in
ROUTER_ALERT = b"\x94\x04\0\0"


def ipv4(data: bytes, *, options: bytes = b"", identification: int = 5, field: int = 0, protocol: int = 6) -> bytes:
    """A packet with a right checksum."""
    header = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45 + len(options) // 4, 0, 20 + len(options) + len(data), identification, field, 64, protocol, 0),
        *(b"\xc0\xa8\1\x3f", b"\xc0\xa8\1\x40"),
    )
    words = struct.unpack(f">{(len(header) + len(options)) // 2}H", header + options)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:] + options + data


def ipv6(data: bytes, *, headers: Sequence[tuple[int, bytes]] = (), last: int = 6) -> bytes:
    """A packet with extension headers: the number and the bytes of each."""
    kinds = [*(kind for kind, _ in headers), last]
    chain = b"".join(bytes([after]) + raw[1:] for (_, raw), after in zip(headers, kinds[1:], strict=True))
    payload = struct.pack(">IHBB", 6 << 28, len(chain) + len(data), kinds[0], 64)
    return payload + bytes(15) + b"\x63" + bytes(15) + b"\x64" + chain + data


def fragment4(data: bytes, offset: int, *, more: bool, options: bytes = b"", identification: int = 5) -> bytes:
    return ipv4(data, options=options, identification=identification, field=more << 13 | offset // 8)


def fragment6(data: bytes, offset: int, *, more: bool, options: bytes = b"", identification: int = 5) -> bytes:
    """With a hop-by-hop header before the fragment header, if there are to be options."""
    header = struct.pack(">BBHI", 6, 0, offset | more, identification)
    return ipv6(data, headers=[*([(0, HOP_BY_HOP)] if options else []), (44, header)])


def whole(version: int, data: bytes, options: bytes = b"", identification: int = 5) -> bytes:
    if version == 4:
        return ipv4(data, options=options, identification=identification)
    return ipv6(data, headers=[(0, HOP_BY_HOP)] if options else [])


def fragment(version: int, data: bytes, offset: int, *, more: bool, options: bytes = b"") -> bytes:
    made = fragment4 if version == 4 else fragment6
    return made(data, offset, more=more, options=options)


def split(version: int, data: bytes, places: Sequence[int], options: bytes = b"") -> list[bytes]:
    """The fragments of a packet, cut at these places, in units of 8 bytes."""
    cuts = sorted({0, *(8 * place for place in places if 0 < 8 * place < len(data)), len(data)})
    return [
        fragment(version, data[begin:end], begin, more=end < len(data), options=options)
        for begin, end in pairwise(cuts)
    ]


def numbered(packets: Sequence[bytes], first: int = 0) -> list[tuple[int, bytes]]:
    return list(enumerate(packets, first))


versions = pytest.mark.parametrize("version", [4, 6])
DATA = bytes(range(200))
OPTIONS = st.sampled_from([b"", ROUTER_ALERT])


# What is reassembled


@versions
@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=9, max_size=300),
    places=st.lists(st.integers(1, 40), min_size=1),
    options=OPTIONS,
    shuffle=st.randoms(use_true_random=False),
    tail=st.binary(max_size=9),
    again=st.lists(st.integers(0, 40), max_size=5),
)
def test_any_split_in_any_order(  # noqa: PLR0913 - one draw each
    version: int,
    data: bytes,
    places: list[int],
    options: bytes,
    shuffle: random.Random,
    tail: bytes,
    again: list[int],
) -> None:
    """With padding behind each, some twice: the packet as it was, at the row of the last that was missing."""
    parts = split(version, data, places, options)
    assume(len(parts) > 1)
    sent = parts + [parts[place % len(parts)] for place in again]
    shuffle.shuffle(sent)
    completed = max(sent.index(part) for part in parts)
    found = reassemble(numbered([part + tail for part in sent[: completed + 1]], first=100))
    assert found == [(100 + completed, whole(version, data, options))]


@versions
@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=17, max_size=300),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40)), min_size=1, max_size=30),
)
def test_equal_overlaps_of_any_sort(version: int, data: bytes, cuts: list[tuple[int, int]]) -> None:
    """Pieces that overlap with the same bytes: the packet as soon as every byte has come, and never another."""
    pieces = [(8 * begin, min(len(data), 8 * (begin + size))) for begin, size in cuts if 8 * begin < len(data)]
    assume((0, len(data)) not in pieces)
    sent = [fragment(version, data[begin:end], begin, more=end < len(data)) for begin, end in pieces]
    missing, ended, completed = set(range(len(data))), False, None
    for row, (begin, end) in enumerate(pieces):
        missing -= set(range(begin, end))
        ended |= end == len(data)
        if not missing and ended:
            completed = row
            break
    found = reassemble(numbered(sent))
    assert found[:1] == ([] if completed is None else [(completed, whole(version, data))])
    assert all(packet == whole(version, data) for _, packet in found)


@versions
@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=9, max_size=120),
    other=st.binary(min_size=9, max_size=120),
    cuts=st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.integers(1, 15), st.integers(0, 130)), max_size=30),
)
def test_never_a_wrong_packet(version: int, data: bytes, other: bytes, cuts: list[tuple[bool, int, int, int]]) -> None:
    """Pieces of two packets of one identification, some cut short: what comes out was held by one set of fragments.

    That is, every byte of it came at its place, none came differently before, and no piece said another end.
    """
    sent, held = [], []
    for which, begin, size, kept in cuts:
        source = (data, other)[which]
        end = min(len(source), 8 * (begin + size))
        if 8 * begin < len(source) and not (begin == 0 and end == len(source)):
            raw = fragment(version, source[8 * begin : end], 8 * begin, more=end < len(source))
            sent.append(raw[: 20 + kept])
            held.append((8 * begin, source[8 * begin : end], end == len(source)) if len(raw) <= 20 + kept else None)
    for row, packet in reassemble(numbered(sent)):
        found = packet[20 if version == 4 else 40 :]
        assert packet == whole(version, found)
        assert held[row] is not None
        of_it = {at for begin, raw, _ in filter(None, held[: row + 1]) for at in range(begin, begin + len(raw))}
        assert of_it >= set(range(len(found)))
        consistent = [
            found[begin : begin + len(raw)] == raw and (not last or begin + len(raw) == len(found))
            for begin, raw, last in filter(None, held[: row + 1])
        ]
        done_before = bool(reassemble(numbered(sent[:row])))
        assert all(consistent) or done_before


def _expected(sequence: Sequence[tuple[str, int, int]]) -> list[tuple[int, str]]:
    """What fragments of two packets of four units, each unit a letter, ought to give: rows, and the letters."""
    held, dropped, found = [""] * 4, False, []
    for row, (letter, begin, end) in enumerate(sequence):
        dropped |= any(there not in {"", letter} for there in held[begin:end])
        held[begin:end] = letter * (end - begin)
        if all(held) and not dropped:
            found.append((row, "".join(held)))
            held = [""] * 4
    return found


def _letters(sequence: Sequence[tuple[str, int, int]]) -> list[tuple[int, str]]:
    """What they give."""
    sent = [fragment4(letter.encode() * 8 * (end - begin), 8 * begin, more=end < 4) for letter, begin, end in sequence]
    return [(row, packet[20::8].decode()) for row, packet in reassemble(numbered(sent))]


PARTS = [(begin, end) for begin in range(4) for end in range(begin + 1, 5) if (begin, end) != (0, 4)]


def test_all_overlaps() -> None:
    """Four fragments of one packet, any of them, in any order; three of two packets."""
    ours, theirs = ([(letter, *part) for part in PARTS] for letter in "ab")
    for sequence in [*product(ours, repeat=4), *product(ours + theirs, repeat=3)]:
        assert _letters(sequence) == _expected(sequence)


def test_against_scapy() -> None:
    """What scapy cuts, and what it makes of it."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6

    segment = TCP(sport=40000, dport=22, seq=7) / bytes(3000)
    four = IP(src="192.168.1.63", dst="192.168.1.64", id=9) / segment
    parts = [bytes(part) for part in four.fragment(fragsize=1000)]  # type: ignore[no-untyped-call]
    assert len(parts) == 4
    assert reassemble(numbered(parts)) == [(3, bytes(four))]
    six = IPv6(src="fd00::63", dst="fd00::64") / IPv6ExtHdrFragment(id=9) / segment
    parts = [bytes(part) for part in fragment6(six, 1280)]  # type: ignore[no-untyped-call]
    assert len(parts) == 3
    assert reassemble(numbered(parts)) == [(2, bytes(IPv6(src="fd00::63", dst="fd00::64") / segment))]


def test_many_at_once() -> None:
    """Datagrams of both versions, interleaved, told apart by addresses, protocol and identification."""
    datagrams = []
    for identification in range(20):
        data = bytes([identification]) * 40
        datagrams.append([fragment4(data[:16], 0, more=True, identification=identification),
                          fragment4(data[16:], 16, more=False, identification=identification)])  # fmt: skip
        datagrams.append([fragment6(data[:16], 0, more=True, identification=identification),
                          fragment6(data[16:], 16, more=False, identification=identification)])  # fmt: skip
    sent = [parts[0] for parts in datagrams] + [parts[1] for parts in datagrams]
    found = reassemble(numbered(sent))
    assert [row for row, _ in found] == list(range(40, 80))
    assert [packet[-1] for _, packet in found] == [identification for identification in range(20) for _ in range(2)]
    assert found[0][1] == ipv4(bytes(40), identification=0)


@pytest.mark.parametrize("byte", [9, 12, 15, 16, 19])
def test_other_datagrams_do_not_help(byte: int) -> None:
    """A fragment of another protocol or with another address is of another datagram."""
    first, last = split(4, DATA, [10])
    changed = bytearray(last)
    changed[byte] ^= 1
    assert reassemble(numbered([first, bytes(changed)])) == []
    assert len(reassemble(numbered([first, bytes(changed), last]))) == 1


def test_fields_that_differ_between_fragments() -> None:
    """Routers count down and mark; the first fragment's header is the packet's. IPv6 leaves the last's next header."""
    first, last = (bytearray(part) for part in split(4, DATA, [10]))
    last[1], last[8] = 3, 63
    assert reassemble(numbered([bytes(last), bytes(first)])) == [(1, whole(4, DATA))]
    first, last = (bytearray(part) for part in split(6, DATA, [10], ROUTER_ALERT))
    last[7], last[48] = 63, 17
    assert reassemble(numbered([bytes(last), bytes(first)])) == [(1, whole(6, DATA, ROUTER_ALERT))]


def test_do_not_fragment_is_kept() -> None:
    """Only the offset and "more fragments" say that it is a fragment."""
    parts = [bytearray(part) for part in split(4, DATA, [10])]
    for part in parts:
        part[6] |= 0x40
    ((_, packet),) = reassemble(numbered([bytes(part) for part in parts]))
    assert packet == ipv4(DATA, field=0x4000)


def test_an_atomic_fragment() -> None:
    """RFC 6946: it is whole at once, and of no other datagram."""
    parts = split(6, DATA, [10])
    atomic = fragment6(b"abcdefgh" * 3, 0, more=False)
    assert reassemble([(7, atomic)]) == [(7, ipv6(b"abcdefgh" * 3))]
    assert reassemble(numbered([parts[0], atomic, parts[1]])) == [(1, ipv6(b"abcdefgh" * 3)), (2, whole(6, DATA))]


def test_an_identification_comes_again() -> None:
    """Complete once, the next fragments are of the next datagram."""
    again = DATA[::-1]
    sent = split(4, DATA, [10]) + split(4, again, [12])
    assert reassemble(numbered(sent)) == [(1, whole(4, DATA)), (3, whole(4, again))]


# What is not


@versions
@pytest.mark.parametrize("missing", range(4))
def test_incomplete_gives_nothing(version: int, missing: int) -> None:
    """Whichever is not there, or is cut by the capture."""
    parts = split(version, DATA, [5, 10, 15])
    assert reassemble(numbered(parts[:missing] + parts[missing + 1 :])) == []
    parts[missing] = parts[missing][:-1]
    assert reassemble(numbered(parts)) == []


@versions
@pytest.mark.parametrize("changed", range(3))
def test_overlaps_that_differ(version: int, changed: int) -> None:
    """RFC 5722: the datagram is dropped, also what comes of it later."""
    parts = split(version, DATA, [5, 10])
    wrong = bytearray(parts[changed])
    wrong[-1] ^= 1
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        sent = [parts[place] for place in order[:2]]
        contradicted = bytes(wrong) if changed in order[:2] else parts[order[0]][:-1] + b"\xfe"
        assert reassemble(numbered([*sent, contradicted, parts[order[2]], *parts])) == []


@versions
def test_two_ends(version: int) -> None:
    """Two last fragments that end differently, and a fragment that goes on behind the end."""
    parts = split(version, DATA, [5, 10])
    shorter = fragment(version, DATA[80:88], 80, more=False)
    beyond = fragment(version, DATA[:40], 200, more=True)
    assert reassemble(numbered([parts[0], parts[2], shorter, parts[1]])) == []
    assert reassemble(numbered([parts[0], shorter, parts[2], parts[1]])) == []
    assert reassemble(numbered([parts[0], parts[2], beyond, parts[1]])) == []
    assert reassemble(numbered([beyond, parts[2], parts[0], parts[1]])) == []


@versions
def test_lengths_are_units_of_8(version: int) -> None:
    """All but the last; others are no fragments."""
    parts = split(version, DATA, [5])
    assert reassemble(numbered([fragment(version, DATA[:41], 0, more=True), parts[1]])) == []
    assert reassemble(numbered([fragment(version, DATA[:39], 0, more=True), parts[1], parts[0]])) == [
        (2, whole(version, DATA))
    ]


@versions
def test_the_longest(version: int) -> None:
    """65535 bytes in all for IPv4, behind the first header for IPv6; a byte more is no packet."""
    room = 65515 if version == 4 else 65535
    for size, there in ((room, True), (room + 1, False)):
        data = bytes(size)
        found = reassemble(numbered(split(version, data, range(100, 8192, 100))))
        assert found == ([(81, whole(version, data))] if there else [])


def test_the_ping_of_death() -> None:
    """A first header with options that makes the others' data too much."""
    parts = [fragment4(bytes(8), 0, more=True, options=ROUTER_ALERT), fragment4(bytes(65507), 8, more=False)]
    assert reassemble(numbered(parts * 3)) == []
    assert len(reassemble(numbered([fragment4(bytes(8), 0, more=True), parts[1]]))) == 1


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        bytes(60),
        b"\x50" * 60,
        ipv4(DATA),
        ipv6(DATA),
        ipv4(DATA, field=0x4000),
        fragment4(b"", 8, more=False),
        fragment6(b"", 8, more=False),
        fragment4(DATA, 0, more=True)[:19],
        b"\x44" + fragment4(DATA, 0, more=True)[1:],
        b"\x4f" + fragment4(bytes(32), 0, more=True)[1:],
        fragment6(DATA, 0, more=True)[:44],
        ipv6(DATA, headers=[(0, b"\0\xff" + bytes(6))], last=44),
        ipv6(b"", last=44),
        ipv6(b"", headers=[(0, HOP_BY_HOP)] * 30, last=59),
    ],
)
def test_what_is_no_fragment(packet: bytes) -> None:
    """Whole packets, and bytes that are none: left out, and of no harm to others."""
    first, last = split(4, DATA, [10])
    assert reassemble(numbered([packet, first, packet, last, packet])) == [(3, whole(4, DATA))]


@settings(max_examples=60, deadline=None)
@given(packets=st.lists(st.binary(max_size=80), max_size=5))
def test_no_bytes_raise(packets: list[bytes]) -> None:
    """Of any sort, also what begins like IP."""
    for packet in reassemble(
        numbered([*packets, *(b"\x45" + raw for raw in packets), *(b"\x60" + raw for raw in packets)])
    ):
        assert packet[1] not in packets


# Bounds


def test_datagrams_far_apart() -> None:
    """Identifications come again: fragments 16384 frames apart are of one datagram, those farther apart are not."""
    first, last = split(4, DATA, [10])
    assert reassemble([(1, first), (1 + 16384, last)]) == [(16385, whole(4, DATA))]
    assert reassemble([(1, first), (2 + 16384, last)]) == []
    assert reassemble([(1, first), (2 + 16384, last), (3 + 16384, first)]) == [(16387, whole(4, DATA))]


def test_open_datagrams_are_bounded() -> None:
    """The oldest of 4097 is given up."""
    begun = [fragment4(DATA[:80], 0, more=True, identification=number) for number in range(4097)]
    lasts = [fragment4(DATA[80:], 80, more=False, identification=number) for number in range(4097)]
    assert reassemble(numbered([*begun[:4096], lasts[0]])) == [(4096, whole(4, DATA, identification=0))]
    found = reassemble(numbered(begun + lasts[1:]))
    assert [packet for _, packet in found] == [whole(4, DATA, identification=number) for number in range(1, 4097)]
    assert reassemble(numbered([*begun, lasts[0]])) == []


def test_memory_is_the_inputs() -> None:
    """A fragment with 8 bytes at the end of each of many datagrams costs no more than it is long."""
    sent = [fragment4(b"12345678", 65496, more=True, identification=number) for number in range(1000)]
    sent += [fragment4(b"12345678", 16 * number, more=True, identification=65000) for number in range(1000)]
    tracemalloc.start()
    try:
        assert reassemble(numbered(sent)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * sum(map(len, sent))


# tshark's opinion


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: no second opinion")
@versions
def test_tshark_says_the_same(version: int, tmp_path: Path) -> None:
    """Which frame holds the segment, and its length; in any order, twice, incomplete."""
    rng = random.Random(version)  # noqa: S311 - a seed to repeat it by
    sent: list[bytes] = []
    for number in range(60):
        data = struct.pack(">HHIIHHHH", 40000, 22, number, 9, 5 << 12 | 0x18, 500, 0, 0) + rng.randbytes(
            rng.randrange(40, 300)
        )
        make = fragment4 if version == 4 else fragment6
        cuts = sorted({0, len(data), *(8 * rng.randrange(1, 7) for _ in range(3))})
        parts = [
            make(data[begin:end], begin, more=end < len(data), identification=number) for begin, end in pairwise(cuts)
        ]
        parts += rng.sample(parts, rng.randrange(2))
        rng.shuffle(parts)
        sent += parts[rng.randrange(4) == 0 :]
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
    (tmp_path / "x.pcap").write_bytes(
        out + b"".join(struct.pack("<IIII", 1, 0, len(part), len(part)) + part for part in sent)
    )
    fields = [word for name in ("frame.number", "tcp.seq", "tcp.len") for word in ("-e", name)]
    preferences = ["-o", "tcp.relative_sequence_numbers:FALSE"]
    command = [str(TSHARK), "-r", str(tmp_path / "x.pcap"), *preferences, "-Y", "tcp", "-T", "fields", *fields]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    ours = []
    for row, packet in reassemble(numbered(sent, first=1)):
        header = 20 if version == 4 else 40
        ours.append((row, int.from_bytes(packet[header + 4 : header + 8], "big"), len(packet) - header - 20))
    assert [tuple(map(int, line.split("\t"))) for line in said.splitlines()] == ours
    assert 30 < len(ours) < 60
