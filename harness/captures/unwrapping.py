"""Frames that hold TCP in an unusual way: their IP packets taken out of tunnels, or put together from fragments."""

import numpy as np

from harness.captures.fields import Fields, Ints, Octets
from harness.captures.fragments import reassemble
from harness.captures.packets import (
    ETHERNET,
    LINK_HEADERS,
    SLL,
    SLL2,
    Packets,
    behind_extension_headers,
    is_fragment,
    skip_vlan_tags,
)
from harness.captures.wrapped import candidates, inner_packet, may_wrap
from harness.tcp.arrays import indices

_UDP = 17
_RAW_IP = 101
_ETHERTYPE_AT = {ETHERNET: 12, SLL: 14, SLL2: 0}


def inner_packets(
    data: Octets, start: Ints, captured: Ints, link_type: Ints, packets: Packets
) -> list[tuple[int, bytes]]:
    """IP packets that hold TCP, of frames that show none themselves.

    Args:
        data: the bytes that the frames are in.
        start: where each frame begins.
        captured: how long it is.
        link_type: its link type.
        packets: the frames' IP packets, as far as they have some.

    Returns:
        (frame, packet), in order of the frames; a datagram belongs to the frame that completed it, as in Wireshark.
    """
    field = Fields(data)
    fragments = packets.keep(is_fragment(field, packets))
    whole = reassemble(
        (int(row), data[ip:limit].tobytes())
        for row, ip, limit in zip(fragments.row.tolist(), fragments.ip.tolist(), fragments.limit.tolist(), strict=True)
    )
    inner = [(row, inner_packet(_RAW_IP, packet)) for row, packet in whole]
    found = [(row, packet) for row, packet in inner if packet is not None]
    for row in indices(_may_hold_wrapped(field, start, captured, link_type, packets)).tolist():
        packet = inner_packet(int(link_type[row]), data[start[row] : start[row] + captured[row]].tobytes())
        if packet is not None:
            found.append((row, packet))
    return sorted(found, key=lambda one: one[0])


def _may_hold_wrapped(
    field: Fields, start: Ints, captured: Ints, link_type: Ints, packets: Packets
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    n = len(start)
    ethertype, protocol = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    for link, behind in _ETHERTYPE_AT.items():
        rows = indices((link_type == link) & (captured >= LINK_HEADERS[link]))
        place = start[rows] + behind
        if link == ETHERNET:
            place = skip_vlan_tags(field, place, start[rows] + captured[rows])
        ethertype[rows] = field.u16(place)
    ports = [np.full(n, -1, np.int64), np.full(n, -1, np.int64)]
    for kind, at, whole in (_upper4(field, packets), _upper6(field, packets)):
        protocol[whole.row] = kind
        udp = (kind == _UDP) & (at + 4 <= whole.limit)
        for port, offset in zip(ports, (0, 2), strict=True):
            port[whole.row[udp]] = field.u16(at[udp] + offset)
    wrapped = candidates(ethertype, protocol, ports[1]) | candidates(ethertype, protocol, ports[0])
    for link in set(link_type.tolist()) - LINK_HEADERS.keys():
        wrapped[link_type == link] = link >= 0 and may_wrap(link)
    return wrapped


def _upper4(field: Fields, packets: Packets) -> tuple[Ints, Ints, Packets]:
    """What the IPv4 packets carry, and where it begins."""
    four = packets.keep((packets.ip + 20 <= packets.limit) & (field.u8(packets.ip) >> 4 == 4))
    return field.u8(four.ip + 9), four.ip + (field.u8(four.ip) & 15) * 4, four


def _upper6(field: Fields, packets: Packets) -> tuple[Ints, Ints, Packets]:
    """What the IPv6 packets carry behind their extension headers, and where it begins."""
    six = packets.keep((packets.ip + 40 <= packets.limit) & (field.u8(packets.ip) >> 4 == 6))
    kind, at, _ = behind_extension_headers(field, six)
    return kind, at, six
