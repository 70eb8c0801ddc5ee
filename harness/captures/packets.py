"""Packets → where their TCP headers are: link and IP layers, for any number of frames at once.

Link types (tcpdump.org/linktypes.html): Ethernet with any VLAN tags, Linux cooked captures (`-i any`), raw IP, BSD
loopback. IPv4 with options, IPv6 with extension headers. Fragments hold no whole segment and are left out.
"""

from dataclasses import dataclass

import numpy as np

from harness.captures.fields import Bools, Fields, Ints
from harness.tcp.arrays import indices

_TCP = 6
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_EXTENSION_HEADERS = (0, 43, 44, 51, 60)  # RFC 8200 §4: hop-by-hop, routing, fragment, authentication, destination
_FRAGMENT, _AUTHENTICATION = 44, 51
ETHERNET, NULL, LOOP, SLL, SLL2 = 1, 0, 108, 113, 276
RAW = (12, 14, 101, 228, 229)
UNDERSTOOD = frozenset({ETHERNET, NULL, LOOP, SLL, SLL2, *RAW})
LINK_HEADERS = {ETHERNET: 14, SLL: 16, SLL2: 20, NULL: 4, LOOP: 4, **dict.fromkeys(RAW, 0)}  # bytes before IP

# As tcpdump writes them (tcpdump -L).
_NAMES = {
    ETHERNET: "EN10MB",
    NULL: "NULL",
    LOOP: "LOOP",
    SLL: "LINUX_SLL",
    SLL2: "LINUX_SLL2",
    **dict.fromkeys(RAW, "RAW"),
}


def link_name(link_type: int) -> str:
    """A link type's name as tcpdump has it; its number where we know none."""
    return _NAMES.get(link_type, str(link_type))


@dataclass(slots=True, eq=False)
class Packets:
    """The IP packets found so far: which frames they are in, and where their headers begin.

    Attributes:
        row: int64, index of the frame.
        ip: int64, where the IP header begins.
        limit: int64, where the frame's bytes end.
    """

    row: Ints
    ip: Ints
    limit: Ints

    def keep(self, wanted: Bools) -> "Packets":
        """Some of them."""
        return Packets(self.row[wanted], self.ip[wanted], self.limit[wanted])


def _announces_ip(field: Fields, ethertype: Ints, ip: Ints) -> Bools:
    """Whether an EtherType says IPv4 or IPv6, and the packet after it is of that version."""
    said, version = field.u16(ethertype), field.u8(ip) >> 4
    announced: Bools = ((said == 0x0800) & (version == 4)) | ((said == 0x86DD) & (version == 6))
    return announced


def skip_vlan_tags(field: Fields, at: Ints, limit: Ints) -> Ints:
    """From the first EtherTypes to those behind any VLAN tags."""
    for _ in range(4):  # a frame has at most a few tags
        at = at + 4 * (np.isin(field.u16(at), _VLAN_TAGS) & (at + 6 <= limit))
    return at


def is_fragment(field: Fields, packets: Packets) -> Bools:
    """Which IP packets are fragments: first ones, later ones and last ones."""
    four = (field.u8(packets.ip) >> 4 == 4) & (packets.ip + 20 <= packets.limit)
    fragment: Bools = four & (field.u16(packets.ip + 6) & 0x3FFF != 0)
    six = packets.keep((field.u8(packets.ip) >> 4 == 6) & (packets.ip + 40 <= packets.limit))
    _, _, later = behind_extension_headers(field, six)
    fragment[np.isin(packets.row, six.row[later])] = True
    return fragment


def network(field: Fields, start: Ints, captured: Ints, link_type: Ints) -> Packets:
    """Where each frame's IP header begins, by its link type; frames without one are left out."""
    limit = start + captured
    ip = np.full(len(limit), -1, np.int64)

    for link in np.unique(link_type).tolist():
        here = indices((link_type == link) & (captured >= LINK_HEADERS.get(link, 0)))
        begin = start[here]
        if link == ETHERNET:
            at = skip_vlan_tags(field, begin + 12, limit[here])
            ip[here] = np.where(_announces_ip(field, at, at + 2), at + 2, -1)
        elif link == SLL:
            ip[here] = np.where(_announces_ip(field, begin + 14, begin + 16), begin + 16, -1)
        elif link == SLL2:
            ip[here] = np.where(_announces_ip(field, begin, begin + 20), begin + 20, -1)
        elif link in (NULL, LOOP):  # a protocol family in some host's byte order; the IP version tells as well
            ip[here] = begin + 4
        elif link in RAW:
            ip[here] = begin
    rows = indices((ip >= 0) & (ip < limit))
    return Packets(rows, ip[rows], limit[rows])


def ipv4(field: Fields, packets: Packets) -> tuple[Packets, Ints, Ints]:
    """The IPv4 packets that hold a TCP header; where it begins, and where the packet ends by its own length."""
    packets = packets.keep(packets.ip + 20 <= packets.limit)
    packets = packets.keep(field.u8(packets.ip) >> 4 == 4)
    header = (field.u8(packets.ip) & 15) * 4
    total = field.u16(packets.ip + 2)
    total = np.where(total == 0, packets.limit - packets.ip, total)  # segmentation offload may leave it 0
    tcp = packets.ip + header
    wanted = (
        (header >= 20)
        & (field.u8(packets.ip + 9) == _TCP)
        & (field.u16(packets.ip + 6) & 0x3FFF == 0)
        & (tcp + 20 <= packets.limit)
    )
    return packets.keep(wanted), tcp[wanted], (packets.ip + total)[wanted]


def ipv6(field: Fields, packets: Packets) -> tuple[Packets, Ints, Ints]:
    """The same for IPv6 (RFC 8200): the extension headers of all packets are walked in step."""
    packets = packets.keep(packets.ip + 40 <= packets.limit)
    packets = packets.keep(field.u8(packets.ip) >> 4 == 6)
    kind, at, fragments = behind_extension_headers(field, packets)
    payload = field.u16(packets.ip + 4)
    end = np.where(payload == 0, packets.limit, packets.ip + 40 + payload)
    wanted = (kind == _TCP) & ~fragments & (at + 20 <= packets.limit)
    return packets.keep(wanted), at[wanted], end[wanted]


def behind_extension_headers(field: Fields, packets: Packets) -> tuple[Ints, Ints, Bools]:
    """What stands behind the extension headers of IPv6 packets, and where; and which of the packets are fragments."""
    kind = field.u8(packets.ip + 6)
    at = packets.ip + 40
    fragments = np.zeros(len(at), np.bool_)
    for _ in range(8):
        more = np.isin(kind, _EXTENSION_HEADERS) & (at + 8 <= packets.limit)
        if not more.any():
            break
        place = np.where(more, at, packets.ip)
        fragments |= more & (kind == _FRAGMENT) & (field.u16(place + 2) & 0xFFF9 != 0)  # offset, and the flag M
        size = np.where(kind == _AUTHENTICATION, (field.u8(place + 1) + 2) * 4, (field.u8(place + 1) + 1) * 8)
        size = np.where(kind == _FRAGMENT, 8, size)
        kind = np.where(more, field.u8(place), kind)
        at = np.where(more, np.minimum(at + size, packets.limit), at)
    return kind, at, fragments
