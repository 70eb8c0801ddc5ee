"""What harness.captures promises of a pcapng file: the same segments as of a pcap file, and all before any damage."""

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.capture import Capture
from harness.captures.pcap import read_pcap
from harness.captures.pcapng import is_pcapng, read_pcapng
from harness.errors import HarnessError
from harness.tcp.notation import parse
from harness.tcp.segments import COLUMNS
from tests.pcaps import Frame, encode, frames_of

SCRIPT = """
    +0     > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
    +.0001 < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 2 ecr 1,wscale 7>
    +.0001 > .  1:1(0) ack 1 <TS val 3 ecr 2>
    +.0001 > P. 1:22(21) ack 1 <TS val 4 ecr 2>
"""
BASE = 1_700_000_000 * 10**9
LONGEST = 1 << 18
ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
TSRESOL, TSOFFSET = 9, 14


def frames() -> list[Frame]:
    """Four TCP frames at whole microseconds, but for the second."""
    return [
        replace(frame, time=frame.time // 1000 * 1000 + 789 * (at == 1))
        for at, frame in enumerate(frames_of(parse(SCRIPT)))
    ]


def pad(data: bytes) -> bytes:
    """To a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Any block."""
    total = struct.pack(order + "I", len(pad(body)) + 12)
    return struct.pack(order + "I", kind) + total + pad(body) + total


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Any option."""
    return struct.pack(order + "HH", code, len(value)) + pad(value)


def section(order: str = "<", version: int = 1) -> bytes:
    """A section header of unknown section length, with an option."""
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, version, 0, -1) + option(4, b"test", order) + bytes(4)
    return block(0x0A0D0D0A, body, order)


def interface(order: str = "<", options: bytes = b"", *, link: int = 1, snaplen: int = 0) -> bytes:
    """An interface description."""
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options, order)


def tsresol(value: int, order: str = "<") -> bytes:
    """The option if_tsresol, between others."""
    return option(2, b"eth0x", order) + option(TSRESOL, bytes([value]), order) + bytes(4)


def enhanced(raw: bytes, ticks: int = 0, order: str = "<", *, of: int = 0, options: bytes = b"") -> bytes:
    """An enhanced packet block."""
    head = struct.pack(order + "IIIII", of, ticks >> 32, ticks & 0xFFFFFFFF, len(raw), len(raw))
    return block(6, head + pad(raw) + options, order)


def old(raw: bytes, ticks: int = 0, order: str = "<", *, of: int = 0) -> bytes:
    """An obsolete packet block that counted 7 drops."""
    head = struct.pack(order + "HHIIII", of, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(raw), len(raw))
    return block(2, head + raw, order)


def simple(raw: bytes, order: str = "<", *, wire: int | None = None) -> bytes:
    """A simple packet block."""
    return block(3, struct.pack(order + "I", len(raw) if wire is None else wire) + raw, order)


def pcapng(order: str = "<") -> bytes:
    """The four frames, in nanoseconds."""
    packets = [enhanced(frame.encode(), frame.time, order) for frame in frames()]
    return section(order) + interface(order, tsresol(9, order)) + b"".join(packets)


def assert_same_segments(found: Capture, wanted: Capture, count: int, *, without: str = "") -> None:
    """The first segments of both are equal in every column."""
    assert len(found.segments) >= count
    for name in set(COLUMNS) - {without}:
        assert getattr(found.segments, name)[:count].tolist() == getattr(wanted.segments, name)[:count].tolist(), name
    for row in range(count):
        assert found.segments.payload(row) == wanted.segments.payload(row)


def as_pcap() -> Capture:
    """The four frames, read from a pcap file."""
    return read_pcap(encode(frames(), nanoseconds=True), "x")


# Whole files


@ORDERS
def test_both_byte_orders(order: str) -> None:
    """The same as from a pcap file."""
    found = read_pcapng(pcapng(order), "x")
    assert is_pcapng(pcapng(order))
    assert (found.format, found.link_type, found.frames, found.other_frames, found.damage) == ("pcapng", 1, 4, 0, None)
    assert_same_segments(found, as_pcap(), 4)


def test_what_is_not_pcapng() -> None:
    """By its first four bytes."""
    assert not is_pcapng(encode(frames()))
    assert not is_pcapng(b"\x0a\x0d\x0d")


@ORDERS
def test_two_interfaces_of_different_resolutions(order: str) -> None:
    """One in microseconds, as without an option, and one in nanoseconds with an offset."""
    options = option(TSOFFSET, struct.pack(order + "q", -5), order) + tsresol(9, order)
    data = section(order) + interface(order) + interface(order, options)
    for at, frame in enumerate(frames()):
        ticks = frame.time + 5 * 10**9 if at % 2 else frame.time // 1000
        data += enhanced(frame.encode(), ticks, order, of=at % 2)
    found = read_pcapng(data, "x")
    assert found.damage is None
    assert_same_segments(found, as_pcap(), 4)


@pytest.mark.parametrize("first", ["<", ">"])
@pytest.mark.parametrize("second", ["<", ">"])
def test_two_sections(first: str, second: str) -> None:
    """Each has its byte order and its interfaces; the frames are counted on."""
    data = section(first) + interface(first, tsresol(9, first), link=113) + interface(first, tsresol(9, first))
    data += b"".join(enhanced(frame.encode(), frame.time, first, of=1) for frame in frames()[:2])
    data += section(second) + interface(second)
    data += b"".join(enhanced(frame.encode(), frame.time // 1000, second) for frame in frames()[2:])
    found = read_pcapng(data, "x")
    assert (found.link_type, found.frames, found.other_frames, found.damage) == (113, 4, 0, None)
    assert_same_segments(found, as_pcap(), 4)


def test_interfaces_do_not_outlive_their_section() -> None:
    """A packet before its section's interfaces is damage."""
    start = len(pcapng() + section())
    found = read_pcapng(pcapng() + section() + enhanced(b"x" * 60), "x")
    assert found.damage == f"frame 5 is of interface 0 of 0, at byte {start}: the file is damaged there"
    assert found.frames == 4


@pytest.mark.parametrize(
    ("resolution", "ticks", "wanted"),
    [
        (0, 1_700_000_000, BASE),
        (3, 1_700_000_000_123, BASE + 123_000_000),
        (6, 1_700_000_000_123_456, BASE + 123_456_000),
        (9, 1_700_000_000_123_456_789, BASE + 123_456_789),
        (10, 17_000_000_001_234_567_891, BASE + 123_456_789),
        (0x80, 1_700_000_000, BASE),
        (0x81, 3_400_000_001, BASE + 500_000_000),
        (0x80 | 30, (1_700_000_000 << 30) + 1, BASE),
        (0x80 | 20, (1_700_000_000 << 20) + 3, BASE + 2861),
        (127, 1, 0),
        (255, 1, 0),
    ],
)
@ORDERS
def test_resolutions(resolution: int, ticks: int, wanted: int, order: str) -> None:
    """Powers of ten and of two, exact to the nanosecond; finer ones are cut off."""
    head = section(order) + interface(order, tsresol(resolution, order))
    raw = frames()[0].encode()
    assert read_pcapng(head + enhanced(raw, ticks, order), "x").segments.time.tolist() == [wanted]
    assert read_pcapng(head + old(raw, ticks, order), "x").segments.time.tolist() == [wanted]


@ORDERS
def test_every_kind_of_packet_block(order: str) -> None:
    """They count as frames alike; what is no packet is skipped, and options are not part of a frame."""
    raws = [frame.encode() for frame in frames()]
    times = [frame.time for frame in frames()]
    other = block(0x80000BAD, b"custom", order) + block(5, bytes(12), order) + block(0xA, b"", order)
    data = section(order) + other + interface(order, tsresol(9, order))
    data += enhanced(raws[0], times[0], order, options=option(1, b"a comment", order) + bytes(4)) + other
    data += old(raws[1], times[1], order) + other + simple(raws[2], order) + enhanced(raws[3], times[3], order) + other
    found = read_pcapng(data, "x")
    assert (found.frames, found.other_frames, found.damage) == (4, 0, None)
    assert_same_segments(found, as_pcap(), 4, without="time")
    assert found.segments.time.tolist() == [times[0], times[1], 0, times[3]]


def test_the_obsolete_block_has_a_short_interface_number() -> None:
    """Beside it is a count of drops."""
    data = section() + interface(link=113) + interface(options=tsresol(0)) + old(frames()[0].encode(), 5, of=1)
    assert read_pcapng(data, "x").segments.time.tolist() == [5 * 10**9]


@pytest.mark.parametrize("snaplen", [66, 70, 87, 100, 0])
def test_simple_packets_are_cut_by_the_snaplen(snaplen: int) -> None:
    """They hold their length on the wire only."""
    raw = frames()[3].encode()
    data = section() + interface(snaplen=snaplen) + simple(raw[: snaplen or None], wire=len(raw))
    found = read_pcapng(data, "x")
    assert (found.frames, found.damage) == (1, None)
    assert found.segments.payload(0) == b"SSH-2.0-Test_1.0\r\nxxx"[: snaplen - 66 if snaplen else None]


def test_frames_of_several_link_types() -> None:
    """What is not understood is an other frame, as long as some are."""
    raw = frames()[0].encode()
    data = section() + interface(link=250) + interface(link=101) + enhanced(raw) + enhanced(raw[14:], of=1)
    found = read_pcapng(data, "x")
    assert (found.link_type, found.frames, found.other_frames) == (250, 2, 1)
    assert found.segments.frame.tolist() == [2]


@pytest.mark.parametrize("data", [section(), section() + interface(link=113), section() + block(5, bytes(12))])
def test_no_packets(data: bytes) -> None:
    """An empty capture is whole."""
    found = read_pcapng(data, "x")
    assert (found.frames, found.other_frames, found.damage, len(found.segments)) == (0, 0, None, 0)
    assert found.link_type == (113 if len(data) == len(section()) + 20 and data[-20] == 1 else -1)


def test_no_link_type_that_is_understood() -> None:
    """All frames are others."""
    found = read_pcapng(section() + interface(link=250) + enhanced(b"x" * 60), "x.pcapng")
    assert (found.link_types, found.frames, found.other_frames) == ((250,), 1, 1)


# Damage


@ORDERS
def test_every_truncation_point(order: str) -> None:
    """All frames before the cut are read, and the damage names the frame or the block, and the byte."""
    data, whole = pcapng(order), as_pcap()
    head = len(section(order) + interface(order, tsresol(9, order)))
    starts = [0, len(section(order)), head]
    for frame in frames():
        starts.append(starts[-1] + len(enhanced(frame.encode())))
    assert starts[-1] == len(data)
    for cut in range(28, len(data) + 1):
        if cut < starts[1]:
            found = read_pcapng(data[:cut], "x")
            assert (found.frames, found.damage) == (
                0, f"a block at byte 0 is cut off after {cut} of its block's {starts[1]} bytes",
            )  # fmt: skip
            continue
        found = read_pcapng(data[:cut], "x")
        count = sum(1 for start in starts[3:] if start <= cut)
        assert (found.frames, len(found.segments)) == (count, count)
        assert_same_segments(found, whole, count)
        last = max(start for start in starts if start <= cut)
        if cut == last:
            assert found.damage is None
        else:
            assert found.damage is not None
            if last >= head and cut - last >= 8:
                assert found.damage.startswith(f"frame {count + 1} is cut off after {cut - last} of ")
                assert found.damage.endswith(f", at byte {last}")
            else:
                assert found.damage.startswith(f"a block at byte {last} is cut off after {cut - last} of ")


@pytest.mark.parametrize("cut", range(4, 28))
def test_a_cut_header_is_an_error(cut: int) -> None:
    """There is nothing to read then."""
    with pytest.raises(HarnessError) as caught:
        read_pcapng(pcapng()[:cut], "x.pcapng")
    assert str(caught.value) == f"x.pcapng: the pcapng header is cut off after {cut} of at least 28 bytes"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (section()[:8] + bytes(4) + section()[12:], "a block at byte 0 has no byte order (its magic is 00 00 00 00)"),
        (section(version=2), "a block at byte 0 begins a section of pcapng version 2.0, not 1"),
        (interface() + bytes(40), "a block at byte 0 is no pcapng section header"),
    ],
)
def test_a_wrong_first_header_is_an_error(data: bytes, message: str) -> None:
    """What the bytes after it mean is not known."""
    with pytest.raises(HarnessError) as caught:
        read_pcapng(data, "x")
    assert str(caught.value) == f"x: {message}"


def bad_length(total: int, trailing: int | None = None) -> bytes:
    """A block of any type that lies about its length."""
    return struct.pack("<II", 5, total) + bytes(12) + struct.pack("<I", total if trailing is None else trailing)


RAW = frames()[0].encode()


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (bad_length(0), "a block at byte {} claims a length of 0 bytes, not a multiple of 4 from 12 on"),
        (bad_length(8), "a block at byte {} claims a length of 8 bytes, not a multiple of 4 from 12 on"),
        (bad_length(22), "a block at byte {} claims a length of 22 bytes, not a multiple of 4 from 12 on"),
        (bad_length(24, 20), "a block at byte {} has two lengths, 24 and 20"),
        (bad_length(1 << 31), "a block at byte {} is cut off after 224 of its block's 2147483648 bytes"),
        (block(6, bytes(16)), "a block at byte {} claims a length of 28 bytes, not a multiple of 4 from 32 on"),
        (block(1, b""), "a block at byte {} claims a length of 12 bytes, not a multiple of 4 from 20 on"),
        (section(version=3), "a block at byte {} begins a section of pcapng version 3.0, not 1"),
        (interface(options=option(9, b"")), "a block at byte {} has an interface option 9 of 0 bytes"),
        (interface(options=option(14, b"1234")), "a block at byte {} has an interface option 14 of 4 bytes"),
        (interface(options=b"\2\0\xff\xff"), "a block at byte {} has an interface option 2 of 65535 bytes"),
        (enhanced(RAW, of=1), "frame 5 is of interface 1 of 1, at byte {}: the file is damaged there"),
        (enhanced(RAW, 1 << 63), "frame 5 has an impossible time, at byte {}: the file is damaged there"),
        (simple(RAW, wire=77), "frame 5 claims 77 bytes in a block of 92, at byte {}: the file is damaged there"),
        (
            enhanced(bytes(LONGEST + 1)),
            "frame 5 claims 262145 bytes in a block of 262180, at byte {}: the file is damaged there",
        ),
        (
            block(6, struct.pack("<IIIII", 0, 0, 0, 61, 61) + bytes(60)),
            "frame 5 claims 61 bytes in a block of 92, at byte {}: the file is damaged there",
        ),
    ],
)
def test_a_lie_stops_the_reading(last: bytes, message: str) -> None:
    """What stands before it is read, nothing after it."""
    found = read_pcapng(pcapng() + last + bytes(200), "x")
    assert found.damage == message.format(len(pcapng()))
    assert found.frames == 4
    assert_same_segments(found, as_pcap(), 4)


def test_the_largest_frame_is_not_absurd() -> None:
    """A frame of exactly that length is read."""
    found = read_pcapng(section() + interface() + enhanced(RAW.ljust(LONGEST, b"\0")), "x")
    assert (found.frames, len(found.segments), found.damage) == (1, 1, None)


# Any bytes


def read_or_refuse(data: bytes) -> None:
    """Read; every exception but HarnessError fails the test, and what comes out is sane."""
    outcome: Capture | str
    try:
        outcome = read_pcapng(data, "x")
    except HarnessError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert outcome.startswith("x: ")
        assert "\n" not in outcome
        return
    segments = outcome.segments
    assert outcome.frames == outcome.other_frames + len(segments)
    assert (np.diff(segments.frame) > 0).all()
    assert ((segments.frame >= 1) & (segments.frame <= outcome.frames)).all()
    assert outcome.damage is None or "\n" not in outcome.damage
    for row in range(len(segments)):
        held = segments.payload(row)
        assert held is not None
        assert len(held) <= segments.length[row]


def every_block() -> bytes:
    """A file with all kinds of blocks, in two sections."""
    options = option(TSOFFSET, struct.pack("<q", 9)) + tsresol(0x94)
    data = section() + interface(snaplen=90) + interface(options=options)
    data += enhanced(RAW, 5, of=1) + simple(RAW) + old(RAW, 7, of=1) + block(5, bytes(12))
    return data + section(">") + interface(">") + enhanced(RAW, 8, ">", options=option(1, b"comment", ">") + bytes(4))


GOOD = every_block()
_PLACES = st.integers(0, len(GOOD) - 1)
_VALUES = st.integers(0, 255) | st.sampled_from([0, 1, 2, 3, 4, 6, 8, 12, 127, 128, 255])


def test_the_file_to_be_changed_is_whole() -> None:
    """Else the next test would test little."""
    found = read_pcapng(GOOD, "x")
    assert (found.frames, found.other_frames, found.damage) == (4, 0, None)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(_PLACES, _VALUES), min_size=1, max_size=8), cut=st.none() | _PLACES)
def test_a_good_file_with_some_bytes_changed(changes: list[tuple[int, int]], cut: int | None) -> None:
    """Any few bytes may be wrong."""
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    read_or_refuse(bytes(data[:cut]))


@settings(max_examples=200, deadline=None)
@given(
    place=st.integers(0, len(GOOD) // 4 - 1),
    value=st.integers(0, 2**32 - 1) | st.sampled_from([0, 4, 8, 12, 2**31, 2**32 - 4, 2**32 - 1]),
    order=st.sampled_from("<>"),
)
def test_a_good_file_with_one_field_changed(place: int, value: int, order: str) -> None:
    """Any length, type, time or option may lie."""
    data = bytearray(GOOD)
    struct.pack_into(order + "I", data, 4 * place, value)
    read_or_refuse(bytes(data))


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.tuples(st.sampled_from([1, 2, 3, 5, 6, 0x0A0D0D0A]), st.binary(max_size=80)), max_size=8),
    rest=st.binary(max_size=40),
)
def test_random_blocks(bodies: list[tuple[int, bytes]], rest: bytes) -> None:
    """Blocks of known types with any content."""
    read_or_refuse(section() + interface() + b"".join(block(kind, body) for kind, body in bodies) + rest)


# Other programs


EDITCAP, TSHARK = shutil.which("editcap"), shutil.which("tshark")


@pytest.mark.skipif(EDITCAP is None, reason="editcap is not installed: no pcapng file by another program")
@pytest.mark.parametrize("nanoseconds", [False, True], ids=["micro", "nano"])
def test_what_editcap_writes(tmp_path: Path, nanoseconds: bool) -> None:
    """The same as the pcap file that it was made of."""
    data = encode(frames(), nanoseconds=nanoseconds)
    (tmp_path / "x.pcap").write_bytes(data)
    command = ["editcap", "-F", "pcapng", "x.pcap", "x.pcapng"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    found = read_pcapng((tmp_path / "x.pcapng").read_bytes(), "x")
    assert (found.format, found.link_type, found.frames, found.other_frames, found.damage) == ("pcapng", 1, 4, 0, None)
    assert_same_segments(found, read_pcap(data, "x"), 4)


@pytest.mark.skipif(TSHARK is None, reason="tshark is not installed: no second opinion")
@ORDERS
def test_what_tshark_reads(tmp_path: Path, order: str) -> None:
    """Numbers, times and lengths of frames of both sections, of several resolutions, with and without an offset."""
    options = option(TSOFFSET, struct.pack(order + "q", 1000), order) + tsresol(9, order)
    data = section(order) + interface(order) + interface(order, options) + interface(order, tsresol(0x94, order))
    data += enhanced(RAW, BASE // 1000 + 1, order) + enhanced(RAW, BASE + 123_456_789, order, of=1)
    data += enhanced(RAW, (1_700_000_000 << 20) + (1 << 19), order, of=2) + old(RAW, BASE + 5, order, of=1)
    data += section("<") + interface("<", tsresol(3, "<")) + enhanced(RAW, 1_700_000_000_250, "<")
    (tmp_path / "x.pcapng").write_bytes(data)
    command = ["tshark", "-n", "-r", "x.pcapng", "-T", "fields", "-e", "frame.number", "-e", "frame.time_epoch"]
    out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout
    wanted = []
    for line in out.splitlines():
        number, time = line.split()
        seconds, _, fraction = time.partition(".")
        wanted.append((int(number), int(seconds) * 10**9 + int(fraction.ljust(9, "0"))))
    segments = read_pcapng(data, "x").segments
    assert len(wanted) == 5
    assert list(zip(segments.frame.tolist(), segments.time.tolist(), strict=True)) == wanted
