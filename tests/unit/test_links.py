"""Link types, IPv6 and its extension headers, against scapy's own frames; and what tshark says of them."""

from typing import Any

import numpy as np
import pytest

from harness.captures.fields import with_spare
from harness.captures.frames import Decoder, Frames
from harness.tcp.conversation import conversations
from harness.tcp.segments import Segments, endpoint_text

PAYLOAD = b"SSH-2.0-x\r\n"


def segments_of(raw: bytes, link: int) -> Segments:
    at = np.zeros(1, np.int64)
    return Decoder().decode(Frames(with_spare(raw), at, at + len(raw), at, at + link))


def tcp() -> Any:
    from scapy.layers.inet import TCP

    return TCP(sport=40000, dport=22, seq=7, ack=9, flags="PA", options=[("MSS", 1460)]) / PAYLOAD


def v4() -> Any:
    from scapy.layers.inet import IP

    return IP(src="192.168.1.63", dst="192.168.1.64", id=5) / tcp()


def v6(*headers: Any) -> Any:
    from scapy.layers.inet6 import IPv6

    packet = IPv6(src="fd00::63", dst="fd00::64")
    for header in headers:
        packet /= header
    return packet / tcp()


def wrapped(name: str) -> tuple[bytes, int]:
    """A frame and its link type."""
    from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether

    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")  # or scapy asks the network
    made: dict[str, tuple[Any, int]] = {
        "ethernet": (ether / v4(), 1),
        "ethernet, padded": (bytes(ether / v4()) + bytes(6), 1),
        "802.1Q": (ether / Dot1Q(vlan=5) / v4(), 1),
        "QinQ": (ether / Dot1AD(vlan=7) / Dot1Q(vlan=5) / v4(), 1),
        "cooked": (CookedLinux(proto=0x0800) / v4(), 113),
        "cooked v2": (CookedLinuxV2(proto=0x0800) / v4(), 276),
        "raw": (v4(), 101),
        "raw IPv4": (v4(), 228),
        "BSD loopback, little-endian": (b"\x02\0\0\0" + bytes(v4()), 0),
        "BSD loopback, big-endian": (b"\0\0\0\x02" + bytes(v4()), 108),
        "ethernet, IPv6": (ether / v6(), 1),
        "802.1Q, IPv6": (ether / Dot1Q(vlan=5) / v6(), 1),
        "raw IPv6": (v6(), 229),
        "cooked v2, IPv6": (CookedLinuxV2(proto=0x86DD) / v6(), 276),
        "IPv6 with extension headers": (v6(IPv6ExtHdrHopByHop(), IPv6ExtHdrRouting(), IPv6ExtHdrDestOpt()), 101),
        "IPv6, the only fragment": (v6(IPv6ExtHdrFragment(offset=0, m=0)), 101),
    }
    frame, link = made[name]
    return bytes(frame), link


NAMES = [
    "ethernet", "ethernet, padded", "802.1Q", "QinQ", "cooked", "cooked v2", "raw", "raw IPv4",
    "BSD loopback, little-endian", "BSD loopback, big-endian", "ethernet, IPv6", "802.1Q, IPv6", "raw IPv6",
    "cooked v2, IPv6", "IPv6 with extension headers", "IPv6, the only fragment",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_wrapping_holds_the_same_segment(name: str) -> None:
    """The same TCP segment, whatever it is wrapped in."""
    raw, link = wrapped(name)
    found = segments_of(raw, link)
    assert len(found) == 1
    assert (found.seq[0], found.ack[0], found.flags[0], found.length[0]) == (7, 9, 0x18, len(PAYLOAD))
    assert (found.sport[0], found.dport[0], found.mss[0]) == (40000, 22, 1460)
    assert found.payload(0) == PAYLOAD
    (conversation,) = conversations(found)
    expected = "[fd00::63]:40000" if "IPv6" in name else "192.168.1.63:40000"
    assert conversation.initiator == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_frame_is_no_segment_and_no_error(name: str) -> None:
    """Cut anywhere before the end of the TCP header: no segment; after it: the length is still the packet's."""
    raw, link = wrapped(name)
    header_ends = raw.index(PAYLOAD)
    for kept in range(len(raw)):
        found = segments_of(raw[:kept], link)
        if kept >= header_ends:
            assert found.length.tolist() == [len(PAYLOAD)]
        elif kept < header_ends - 4:  # before the four bytes of its option
            assert len(found) == 0


def test_later_fragments_hold_no_header() -> None:
    """An IPv6 fragment with an offset is no segment, whatever its bytes look like."""
    from scapy.layers.inet6 import IPv6ExtHdrFragment

    assert len(segments_of(bytes(v6(IPv6ExtHdrFragment(offset=2))), 101)) == 0


def test_both_families_in_one_file_keep_their_order() -> None:
    """IPv4 and IPv6 frames, in the order of the file."""
    frames = [bytes(v4()), bytes(v6()), b"\xff" * 60, bytes(v6()), bytes(v4())]
    starts = np.cumsum([0, *map(len, frames)])[:-1].astype(np.int64)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    found = Decoder().decode(Frames(with_spare(b"".join(frames)), starts, sizes, np.arange(5), np.full(5, 101)))
    assert found.frame.tolist() == [1, 2, 4, 5]
    texts = [endpoint_text(int(key), 1, found.ipv6) for key in found.src]
    assert texts == ["192.168.1.63:1", "[fd00::63]:1", "[fd00::63]:1", "192.168.1.63:1"]
    assert len(conversations(found)) == 2
