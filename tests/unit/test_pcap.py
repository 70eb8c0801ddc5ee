"""What harness.captures promises of a pcap file: all that stands before any damage, or one line about it."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures import reading
from harness.captures.capture import Capture
from harness.captures.reading import load_capture, read_capture
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
HEADER = 24
RECORD = 16
LONGEST = 1 << 18


def frames() -> list[Frame]:
    """Four TCP frames."""
    return frames_of(parse(SCRIPT))


def pcap(*raws: bytes, order: str = "<", link_type: int = 1) -> bytes:
    """A file of any frames."""
    out = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)
    return out + b"".join(struct.pack(order + "IIII", 1, 2, len(raw), len(raw)) + raw for raw in raws)


def assert_same_segments(found: Capture, wanted: Capture, count: int) -> None:
    """The first segments of both are equal in every column."""
    for name in COLUMNS:
        assert getattr(found.segments, name)[:count].tolist() == getattr(wanted.segments, name)[:count].tolist(), name


# Whole files


@pytest.mark.parametrize("order", ["<", ">"], ids=["little-endian", "big-endian"])
@pytest.mark.parametrize("nanoseconds", [False, True], ids=["micro", "nano"])
def test_both_byte_orders_and_both_ticks(order: str, nanoseconds: bool) -> None:
    """The four kinds of file hold the same segments; times are as fine as the file has them."""
    wanted = parse(SCRIPT)
    found = read_capture(encode(frames(), order=order, nanoseconds=nanoseconds), "x.pcap")
    assert (found.format, found.link_type, found.frames, found.other_frames, found.damage) == ("pcap", 1, 4, 0, None)
    for name in set(COLUMNS) - {"time", "ip_id"}:
        assert getattr(found.segments, name).tolist() == getattr(wanted, name).tolist(), name
    tick = 1 if nanoseconds else 1000
    assert found.segments.time.tolist() == (wanted.time // tick * tick).tolist()


@pytest.mark.parametrize("seconds", [0, 1_700_000_000, 1 << 31, (1 << 32) - 1])
def test_times_are_unsigned_seconds(seconds: int) -> None:
    """A capture after 2038 has its right time."""
    raw = frames()[0].encode()
    data = pcap()[:HEADER] + struct.pack("<IIII", seconds, 999_999, len(raw), len(raw)) + raw
    assert read_capture(data, "x").segments.time.tolist() == [seconds * 1_000_000_000 + 999_999_000]


def test_a_header_alone_is_an_empty_capture() -> None:
    """tcpdump that saw nothing leaves such a file: it is whole."""
    found = read_capture(pcap(), "x")
    assert (found.frames, found.other_frames, found.damage, len(found.segments)) == (0, 0, None, 0)


@pytest.mark.parametrize("snaplen", [74, 75, 96, 1500])
def test_frames_cut_by_the_snaplen_are_segments(snaplen: int) -> None:
    """What tcpdump -s left out is no damage: the lengths are the IP packets', the payload is what is held."""
    wanted, found = read_capture(encode(frames()), "x"), read_capture(encode(frames(), snaplen=snaplen), "x")
    assert found.damage is None
    assert_same_segments(found, wanted, 4)
    assert found.segments.length.tolist() == [0, 0, 0, 21]
    assert found.segments.payload(3) == b"SSH-2.0-Test_1.0\r\nxxx"[: max(0, snaplen - 66)]


@pytest.mark.parametrize("snaplen", [14, 20, 34, 53])
def test_frames_cut_inside_their_headers_are_other_frames(snaplen: int) -> None:
    """Without whole headers there is no segment, and that is told by the count."""
    found = read_capture(encode(frames(), snaplen=snaplen), "x")
    assert (found.frames, found.other_frames, len(found.segments), found.damage) == (4, 4, 0, None)


@pytest.mark.parametrize("snaplen", [54, 58, 66])
def test_options_cut_by_the_snaplen_are_absent(snaplen: int) -> None:
    """An option that is not held whole is not there; those before it are."""
    found = read_capture(encode(frames(), snaplen=snaplen), "x")
    assert len(found.segments) == 4
    assert (found.segments.mss[0] == 1460) == (snaplen >= 58)
    assert found.segments.wscale[0] == -1


def test_the_upper_bits_of_the_link_type_are_not_the_link_type() -> None:
    """pcap-savefile(5): the upper four bits speak of the frame check sequence."""
    assert read_capture(pcap(frames()[0].encode(), link_type=0x5400_0001 & 0xF000_0001), "x").link_type == 1


# Damage


def test_every_truncation_point() -> None:
    """All frames before the cut are read, and the damage names the frame and the byte; at a boundary there is none."""
    data = encode(frames())
    whole = read_capture(data, "x")
    starts = [HEADER]
    for frame in frames():
        starts.append(starts[-1] + RECORD + len(frame.encode()))
    assert starts[-1] == len(data)
    for cut in range(HEADER, len(data) + 1):
        found = read_capture(data[:cut], "x")
        count = sum(1 for start in starts[1:] if start <= cut)
        assert (found.frames, len(found.segments)) == (count, count)
        assert_same_segments(found, whole, count)
        if cut in starts:
            assert found.damage is None
        else:
            assert found.damage is not None
            assert found.damage.startswith(f"frame {count + 1} is cut off ")
            assert found.damage.endswith(f", at byte {starts[count]}")


@pytest.mark.parametrize(
    ("cut", "what"), [(1, "inside its record header"), (15, "inside its record header"), (16, "after 0 of 74 bytes")]
)
def test_a_cut_says_what_is_missing(cut: int, what: str) -> None:
    """Inside a record's header, or so many bytes of the frame."""
    data = encode(frames())
    assert read_capture(data[: HEADER + cut], "x").damage == f"frame 1 is cut off {what}, at byte 24"


@pytest.mark.parametrize("claimed", [LONGEST + 1, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_absurd_record_length_is_damage(claimed: int, order: str) -> None:
    """More than libpcap's largest snaplen is no frame: what stands before it is read, nothing after it."""
    good = [frame.encode() for frame in frames()[:2]]
    start = HEADER + sum(RECORD + len(raw) for raw in good)
    record = struct.pack(order + "IIII", 1, 2, claimed, claimed)
    found = read_capture(pcap(*good, order=order) + record + bytes(100), "x")
    assert (found.frames, len(found.segments)) == (2, 2)
    assert found.damage == f"frame 3 claims {claimed} bytes, at byte {start}: the file is damaged there"


def test_the_largest_snaplen_is_not_absurd() -> None:
    """A frame of exactly that length is read."""
    found = read_capture(pcap(frames()[0].encode().ljust(LONGEST, b"\0")), "x")
    assert (found.frames, len(found.segments), found.damage) == (1, 1, None)


@pytest.mark.parametrize("cut", range(4, HEADER))
def test_a_cut_header_is_an_error(cut: int) -> None:
    """There is nothing to read then."""
    with pytest.raises(HarnessError) as caught:
        read_capture(pcap()[:cut], "x.pcap")
    assert str(caught.value) == f"x.pcap: the pcap header is cut off after {cut} of 24 bytes"


@pytest.mark.parametrize("link_type", [2, 105, 127, 147, 195, 249])
@pytest.mark.parametrize("order", ["<", ">"])
def test_frames_of_another_link_type_are_counted(link_type: int, order: str) -> None:
    """They hold no TCP that is understood."""
    found = read_capture(pcap(b"x" * 80, order=order, link_type=link_type), "x.pcap")
    assert (found.link_types, found.frames, found.other_frames, found.damage) == ((link_type,), 1, 1, None)


@pytest.mark.parametrize("data", [b"hello world, not a capture", b"\xd4", bytes(24)])
def test_what_is_not_a_pcap_is_an_error(data: bytes) -> None:
    """The message shows how it begins."""
    with pytest.raises(HarnessError) as caught:
        read_capture(data, "x.pcap")
    assert str(caught.value).startswith(f"x.pcap: not a pcap file (it begins with {data[:4].hex(' ')})")


def test_an_empty_file_is_an_error() -> None:
    """The likely cause is named: tcpdump that was killed before it wrote."""
    with pytest.raises(HarnessError, match=r"^x\.pcap: the capture file is empty"):
        read_capture(b"", "x.pcap")


# Any bytes


def read_or_refuse(data: bytes) -> None:
    """Read; every exception but HarnessError fails the test, and what comes out is sane."""
    outcome: Capture | str
    try:
        outcome = read_capture(data, "x")
    except HarnessError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert outcome.startswith("x: ")
        assert "\n" not in outcome
        return
    found, segments = outcome, outcome.segments
    assert found.frames == found.other_frames + len(segments)
    assert (np.diff(segments.frame) > 0).all()
    assert ((segments.frame >= 1) & (segments.frame <= found.frames)).all()
    assert ((segments.length >= 0) & (segments.length <= LONGEST)).all()
    for row in range(len(segments)):
        held = segments.payload(row)
        assert held is not None
        assert len(held) <= segments.length[row]


_MAGICS = st.sampled_from([bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d")])


@settings(max_examples=100, deadline=None)
@given(magic=_MAGICS, middle=st.binary(min_size=16, max_size=16), rest=st.binary(max_size=300), big=st.booleans())
def test_random_bytes_after_the_header(magic: bytes, middle: bytes, rest: bytes, big: bool) -> None:
    """Whatever follows a valid header is read, or damage, and never an exception of another kind."""
    read_or_refuse(magic + middle + struct.pack(">I" if big else "<I", 1) + rest)


@settings(max_examples=100, deadline=None)
@given(raws=st.lists(st.binary(max_size=120) | st.binary(max_size=60).map(lambda b: b"\0" * 12 + b"\x08\0E" + b)))
def test_random_frames(raws: list[bytes]) -> None:
    """Frames of any bytes, some of which look like IPv4."""
    read_or_refuse(pcap(*raws))


@settings(max_examples=100, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8), cut=st.booleans())
def test_a_good_file_with_some_bytes_changed(changes: list[tuple[int, int]], cut: bool) -> None:
    """Any few bytes of a real capture may be wrong."""
    data = bytearray(encode(frames()))
    for place, value in changes:
        data[place % len(data)] = value
    read_or_refuse(bytes(data[: changes[0][0]] if cut else data))


# Files to be judged


def refused(path: Path) -> str:
    """Load a file that must be refused: the message, which is one line and begins with the path."""
    with pytest.raises(HarnessError) as caught:
        load_capture(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_a_whole_capture_is_loaded(tmp_path: Path) -> None:
    """As read from its bytes."""
    path = tmp_path / "x.pcap"
    path.write_bytes(encode(frames()))
    assert_same_segments(load_capture(path), read_capture(path.read_bytes(), "x"), 4)


def test_no_such_file(tmp_path: Path) -> None:
    """The system's reason is in the line; so it is for a folder."""
    assert refused(tmp_path / "none.pcap") == "cannot read the capture: No such file or directory"
    assert refused(tmp_path) == "cannot read the capture: Is a directory"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the capture file is empty; "),
        (b"text", "not a pcap file "),
        (pcap()[:10], "the pcap header is cut off after 10 of 24 bytes"),
        (pcap(b"x" * 60)[:-1], "frame 1 is cut off after 59 of 60 bytes, at byte 24; "),
        (pcap(), "no TCP segment in its 0 frames; "),
        (pcap(b"x" * 60, b"y" * 60), "no TCP segment in its 2 frames; "),
        (pcap(b"x" * 60, link_type=250), "no TCP segment in its 1 frames of link type 250; "),
    ],
)
def test_what_cannot_be_judged(tmp_path: Path, data: bytes, message: str) -> None:
    """Empty, foreign, damaged, or without TCP: no verdict comes of it."""
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    assert refused(path).startswith(message)


def test_a_damaged_capture_is_not_judged_in_part(tmp_path: Path) -> None:
    """Though the segments before the damage could be read."""
    path = tmp_path / "x.pcap"
    path.write_bytes(encode(frames())[:-1])
    assert refused(path).startswith("frame 4 is cut off after ")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is read."""
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)
    path = tmp_path / "x.pcap"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    assert refused(path).startswith("larger than 1 MiB; ")
