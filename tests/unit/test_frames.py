"""What harness.captures.frames promises: the TCP segments among any frames, decoded as scapy decodes them."""

import struct
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.capture import Capture
from harness.captures.fields import with_spare
from harness.captures.frames import Decoder, Frames
from harness.captures.reading import read_capture
from harness.tcp.flags import ACK, PSH
from harness.tcp.segments import ABSENT, Segments, address_key

SOURCE, TARGET = address_key("192.168.1.63"), address_key("192.168.1.64")


def frame(  # noqa: PLR0913 - one field each
    payload: bytes = b"",
    *,
    tcp_options: bytes = b"",
    ip_options: bytes = b"",
    flags: int = ACK,
    fields: tuple[int, int, int, int] = (1, 2, 502, 0),
    padding: bytes = b"",
    ethertype: bytes = b"\x08\0",
    version: int = 4,
    ihl: int | None = None,
    offset: int | None = None,
    total: int | None = None,
    fragment: int = 0x4000,
    protocol: int = 6,
) -> bytes:
    """An Ethernet frame with anything in it; *fields* are seq, ack, window and the reserved bits."""
    seq, ack, window, reserved = fields
    words = 5 + len(tcp_options) // 4 if offset is None else offset
    tcp = struct.pack(">HHIIHHHH", 40000, 22, seq, ack, words << 12 | reserved << 9 | flags, window, 0, 0)
    tcp += tcp_options + payload
    header_words = 5 + len(ip_options) // 4
    ip = struct.pack(
        ">BBHHHBBHII",
        version << 4 | (header_words if ihl is None else ihl),
        0,
        header_words * 4 + len(tcp) if total is None else total,
        *(7, fragment, 64, protocol, 0, SOURCE, TARGET),
    )
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + ethertype + ip + ip_options + tcp + padding


def read(*raws: bytes) -> Capture:
    """A capture of these frames."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    return read_capture(out + b"".join(struct.pack("<IIII", 1, 2, len(raw), len(raw)) + raw for raw in raws), "x")


def one(raw: bytes) -> Segments:
    """The segment of one frame."""
    found = read(raw)
    assert (found.frames, found.other_frames) == (1, 0)
    return found.segments


# What is a segment


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(frame(ethertype=b"\x08\x06"), id="ARP"),
        pytest.param(frame(ethertype=b"\x86\xdd"), id="IPv6"),
        pytest.param(frame(ethertype=b"\x81\0"), id="VLAN"),
        pytest.param(frame(ethertype=b"\0\x40"), id="802.3"),
        pytest.param(frame(protocol=17), id="UDP"),
        pytest.param(frame(protocol=1), id="ICMP"),
        pytest.param(frame(version=6), id="version 6 in IPv4"),
        pytest.param(frame(version=0), id="version 0"),
        pytest.param(frame(ihl=4), id="IP header of 16 bytes"),
        pytest.param(frame(ihl=15), id="IP header longer than the frame"),
        pytest.param(frame(fragment=0x2001), id="middle fragment"),
        pytest.param(frame(fragment=0x0001), id="last fragment"),
        pytest.param(frame(fragment=0x1FFF), id="last of the fragments"),
        pytest.param(frame(offset=4), id="TCP header of 16 bytes"),
        pytest.param(frame(offset=0), id="TCP header of no bytes"),
        pytest.param(frame(offset=6), id="TCP header longer than the packet"),
        pytest.param(frame(total=39), id="packet shorter than its headers"),
        pytest.param(frame(total=20), id="packet of an IP header"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_no_segment_is_counted(raw: bytes) -> None:
    """It is among the other frames; frames before and after keep their numbers."""
    found = read(frame(), raw, frame())
    assert (found.frames, found.other_frames, found.damage) == (3, 1, None)
    assert found.segments.frame.tolist() == [1, 3]


@pytest.mark.parametrize("kept", range(54))
def test_short_frames_are_no_segments(kept: int) -> None:
    """Fewer bytes than the three headers, wherever the frame ends, also as the last of the file."""
    found = read(frame(), frame()[:kept])
    assert (found.frames, found.other_frames, found.damage) == (2, 1, None)


@pytest.mark.parametrize("fragment", [0, 0x4000, 0x8000])
def test_flags_before_the_fragment_offset(fragment: int) -> None:
    """Only "more fragments" matters."""
    assert one(frame(fragment=fragment)).sport.tolist() == [40000]


def test_a_fragment_alone_is_no_segment() -> None:
    """As in Wireshark: what it begins is not known whole."""
    found = read(frame(fragment=0x2000))
    assert (found.frames, found.other_frames) == (1, 1)


def test_fragments_are_put_together() -> None:
    """The segment belongs to the frame that completed it."""
    whole = frame(b"x" * 44, fields=(5, 6, 502, 0))
    ip, tcp = whole[14:34], whole[34:]
    first = whole[:14] + ip[:2] + struct.pack(">H", 52) + ip[4:6] + b"\x20\0" + ip[8:] + tcp[:32]
    last = whole[:14] + ip[:2] + struct.pack(">H", 52) + ip[4:6] + b"\0\x04" + ip[8:] + tcp[32:]
    for order in ((first, last), (last, first)):
        found = read(order[0], frame(protocol=17), order[1])
        assert (found.frames, found.other_frames) == (3, 2)
        assert (found.segments.frame.tolist(), found.segments.length.tolist()) == ([3], [44])
        assert found.segments.payload(0) == b"x" * 44


def test_many_frames_keep_their_order() -> None:
    """One row a segment, in the order of the file."""
    found = read(*(frame(fields=(n, 0, 0, 0)) for n in range(200)))
    assert found.segments.seq.tolist() == list(range(200))
    assert found.segments.frame.tolist() == list(range(1, 201))


def test_another_link_type() -> None:
    """Frames of one that is not understood are no segments; neither are no frames."""
    none, one_frame = np.zeros(0, np.int64), np.zeros(1, np.int64)
    empty = with_spare(b"")
    assert len(Decoder().decode(Frames(empty, one_frame, one_frame, one_frame, one_frame + 250))) == 0
    assert len(Decoder().decode(Frames(empty, none, none, none, none))) == 0


# Fields


@pytest.mark.parametrize(
    ("seq", "ack", "window"), [(0, 0, 0), (0xFFFFFFFF, 0xFFFFFFFE, 0xFFFF), (0x80000000, 0x7FFFFFFF, 0x8000)]
)
def test_fields_are_unsigned(seq: int, ack: int, window: int) -> None:
    """All bits of each field are its value."""
    found = one(frame(fields=(seq, ack, window, 0)))
    assert (found.seq[0], found.ack[0], found.window[0]) == (seq, ack, window)
    assert (found.src[0], found.dst[0], found.sport[0], found.dport[0]) == (SOURCE, TARGET, 40000, 22)


@pytest.mark.parametrize("flags", [0, 1, 0x12, 0x18, 0xC2, 0x100, 0x1FF])
@pytest.mark.parametrize("reserved", [0, 1, 7])
def test_nine_flags_and_no_reserved_bits(flags: int, reserved: int) -> None:
    """AE is a flag (RFC 9768); the three bits before it are nobody's."""
    assert one(frame(flags=flags, fields=(1, 2, 3, reserved))).flags.tolist() == [flags]


@pytest.mark.parametrize("padding", [b"", b"\0" * 6, b"\xff" * 6, b"x" * 500])
@pytest.mark.parametrize("payload", [b"", b"SSH-2.0-x\r\n"])
def test_padding_is_no_payload(padding: bytes, payload: bytes) -> None:
    """Ethernet pads, with anything; the length is the IP packet's."""
    found = one(frame(payload, padding=padding, flags=PSH | ACK))
    assert found.length.tolist() == [len(payload)]
    assert found.payload(0) == payload


def test_a_packet_longer_than_what_was_captured() -> None:
    """The length is the packet's, the payload what is held."""
    found = one(frame(b"abc", total=20 + 20 + 1000))
    assert found.length.tolist() == [1000]
    assert found.payload(0) == b"abc"


def test_a_packet_without_a_length() -> None:
    """Segmentation offload may leave it 0: then the frame's is the packet's."""
    found = one(frame(b"abc", total=0))
    assert found.length.tolist() == [3]
    assert found.payload(0) == b"abc"


# Options


def options(raw: bytes) -> dict[str, int]:
    """What is found in a TCP header with these options, padded to whole words."""
    found = one(frame(tcp_options=raw + b"\0" * (-len(raw) % 4)))
    columns = {name: int(getattr(found, name)[0]) for name in ("mss", "wscale", "tsval", "tsecr")}
    flags = {name: int(getattr(found, name)[0]) for name in ("sack_permitted", "sack")}
    return {name: value for name, value in (columns | flags).items() if value != (0 if name in flags else ABSENT)}


MSS, WSCALE, SACK_PERMITTED = b"\x02\x04\x05\xb4", b"\x03\x03\x07", b"\x04\x02"
TIMESTAMPS = b"\x08\x0a\xff\xff\xff\xff\x00\x00\x00\x01"
SACK = b"\x05\x0a\x00\x00\x00\x01\x00\x00\x00\x02"
NOP, EOL = b"\x01", b"\x00"
UNKNOWN = b"\xfd\x06abcd"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", {}),
        (MSS, {"mss": 1460}),
        (WSCALE, {"wscale": 7}),
        (SACK_PERMITTED, {"sack_permitted": 1}),
        (SACK, {"sack": 1}),
        (TIMESTAMPS, {"tsval": 0xFFFFFFFF, "tsecr": 1}),
        (
            MSS + SACK_PERMITTED + TIMESTAMPS + NOP + WSCALE,
            {"mss": 1460, "wscale": 7, "tsval": 0xFFFFFFFF, "tsecr": 1, "sack_permitted": 1},
        ),
        (NOP * 36 + MSS, {"mss": 1460}),
        (NOP * 40, {}),
        (NOP + WSCALE + MSS, {"wscale": 7, "mss": 1460}),
        (UNKNOWN + MSS, {"mss": 1460}),
        (b"\x02\x04\x00\x00", {"mss": 0}),
        (b"\x02\x04\xff\xff", {"mss": 65535}),
        (b"\x03\x03\xff", {"wscale": 255}),
        (b"\x03\x03\x00", {"wscale": 0}),
    ],
)
def test_options(raw: bytes, found: dict[str, int]) -> None:
    """Each in any place, also behind NOPs and options that nobody knows."""
    assert options(raw) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(MSS + EOL + WSCALE, {"mss": 1460}, id="after the end of the list"),
        pytest.param(EOL + MSS, {}, id="an end at once"),
        pytest.param(MSS + b"\xfd\x00" + WSCALE, {"mss": 1460}, id="size 0"),
        pytest.param(MSS + b"\xfd\x01" + WSCALE, {"mss": 1460}, id="size 1"),
        pytest.param(WSCALE + b"\x02", {"wscale": 7}, id="a kind without a size"),
        pytest.param(MSS + b"\xfd\xff", {"mss": 1460}, id="longer than the header"),
        pytest.param(NOP * 2 + MSS + b"\x02\x04", {"mss": 1460}, id="cut by the header's end"),
        pytest.param(b"\x02\x06abcd" + WSCALE, {"wscale": 7}, id="an MSS of another size"),
        pytest.param(b"\x03\x02" + MSS, {"mss": 1460}, id="a window scale of another size"),
        pytest.param(b"\x08\x04ab" + MSS, {"mss": 1460}, id="timestamps of another size"),
        pytest.param(b"\x04\x04ab" + MSS, {"mss": 1460}, id="SACK-permitted of another size"),
        pytest.param(MSS + b"\x02\x04\x02\x00", {"mss": 512}, id="twice: the last"),
    ],
)
def test_odd_options(raw: bytes, found: dict[str, int]) -> None:
    """What cannot be read ends the list or is skipped, and never reads beyond its header."""
    assert options(raw) == found


@pytest.mark.parametrize("raw", [MSS + b"\xfd\x08", MSS + b"\x02\x04", b"\x03"])
def test_options_do_not_reach_into_the_payload(raw: bytes) -> None:
    """An option that claims more than its header holds is none, though bytes follow."""
    raw = NOP * (-len(raw) % 4) + raw
    found = one(frame(b"\x05\xb4" + MSS * 3, tcp_options=raw))
    assert found.mss.tolist() == [1460 if MSS in raw else ABSENT]
    assert found.wscale.tolist() == [ABSENT]


# A second opinion

_IP_OPTIONS = st.sampled_from(
    [b"", b"", NOP * 4, b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0", NOP * 40, b"\x44\x0c\x05\0" + bytes(8)]
)
_OPTION = st.one_of(
    *(st.just(raw) for raw in (NOP, MSS, WSCALE, SACK_PERMITTED, TIMESTAMPS, SACK)),
    st.binary(min_size=2, max_size=2).map(lambda value: b"\x02\x04" + value),
    st.integers(0, 255).map(lambda shift: b"\x03\x03" + bytes([shift])),
    st.binary(min_size=8, max_size=8).map(lambda value: b"\x08\x0a" + value),
    st.tuples(st.sampled_from([6, 9, 77, 200, 253, 254]), st.binary(max_size=8)).map(
        lambda pair: bytes([pair[0], 2 + len(pair[1])]) + pair[1]
    ),
)


@st.composite
def _tcp_options(draw: st.DrawFn) -> bytes:
    """Well-formed options of any kinds in any order, and perhaps an end of the list with rubbish behind it."""
    raw = b""
    for option in draw(st.lists(_OPTION, max_size=8)):
        raw += option if len(raw) + len(option) <= 40 else b""
    rest = -len(raw) % 4
    return raw + (EOL + draw(st.binary(min_size=rest - 1, max_size=rest - 1)) if rest else b"")


_FRAMES = st.builds(
    frame,
    st.binary(max_size=40),
    tcp_options=_tcp_options(),
    ip_options=_IP_OPTIONS,
    flags=st.integers(0, 0x1FF),
    fields=st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 7)),
    padding=st.binary(max_size=20),
)


@settings(max_examples=40, deadline=None)
@given(raws=st.lists(_FRAMES, min_size=1, max_size=8))
def test_frames_are_what_scapy_says(raws: list[bytes]) -> None:
    """Every column of every frame, IP options and odd TCP options included."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scapy.layers.inet import IP, TCP
        from scapy.layers.l2 import Ether
        from scapy.packet import Raw

    segments = read(*raws).segments
    assert len(segments) == len(raws)
    for row, raw in enumerate(raws):
        packet: Any = Ether(raw)
        tcp = packet[TCP]
        payload = packet[Raw].load if Raw in packet else b""
        named = dict(tcp.options)
        timestamps = named.get("Timestamp", (ABSENT, ABSENT))
        wanted = {
            "src": address_key(packet[IP].src),
            "dst": address_key(packet[IP].dst),
            "sport": tcp.sport,
            "dport": tcp.dport,
            "seq": tcp.seq,
            "ack": tcp.ack,
            "flags": int(tcp.flags),
            "window": tcp.window,
            "length": len(payload),
            "mss": named.get("MSS", ABSENT),
            "wscale": named.get("WScale", ABSENT),
            "sack_permitted": "SAckOK" in named,
            "sack": "SAck" in named,
            "tsval": timestamps[0],
            "tsecr": timestamps[1],
        }
        assert {name: getattr(segments, name)[row].item() for name in wanted} == wanted
        assert segments.payload(row) == payload
