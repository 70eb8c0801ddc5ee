"""Frames → segments: link, IP and TCP headers decoded for all frames at once.

Link types (tcpdump.org/linktypes.html): Ethernet with any VLAN tags, Linux cooked captures (`-i any`), raw IP, BSD
loopback. IPv4 with options, IPv6 with extension headers. Later fragments hold no TCP header and are no segments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.segments import ABSENT, Segments

_TCP = 6
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_EXTENSION_HEADERS = (0, 43, 44, 51, 60)  # RFC 8200 §4: hop-by-hop, routing, fragment, authentication, destination
_FRAGMENT, _AUTHENTICATION = 44, 51
_RAW = (12, 14, 101, 228, 229)
_ETHERNET, _NULL, _LOOP, _SLL, _SLL2 = 1, 0, 108, 113, 276
UNDERSTOOD = frozenset({_ETHERNET, _NULL, _LOOP, _SLL, _SLL2, *_RAW})

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of a file.

    Attributes:
        data: the file's bytes.
        start: int64, where each frame's bytes begin in them.
        captured: int64, how many bytes of each the file holds.
        time: int64, nanoseconds since the epoch.
        link: int64, each frame's link type.
    """

    data: bytes
    start: Ints
    captured: Ints
    time: Ints
    link: Ints


def not_understood(link_type: int) -> str:
    """What to say of a link type that is none of `UNDERSTOOD`."""
    return f"link type {link_type} is not understood; capture on an Ethernet interface (tcpdump -i ens33)"


class _Bytes:
    """Big-endian fields at many offsets at once; the offsets lie inside, by the masks of `decode`."""

    def __init__(self, data: bytes) -> None:
        self._bytes = np.frombuffer(data + bytes(64), np.uint8)

    def u8(self, at: Ints) -> Ints:
        return self._bytes[at].astype(np.int64)

    def u16(self, at: Ints) -> Ints:
        return self.u8(at) << 8 | self.u8(at + 1)

    def u32(self, at: Ints) -> Ints:
        return self.u16(at) << 16 | self.u16(at + 2)


@dataclass(slots=True, eq=False)
class _Packets:
    """The IP packets found so far: which frames they are in, and where their headers begin.

    Attributes:
        row: int64, index of the frame.
        ip: int64, where the IP header begins.
        limit: int64, where the frame's bytes end.
    """

    row: Ints
    ip: Ints
    limit: Ints

    def keep(self, wanted: Bools) -> "_Packets":
        return _Packets(self.row[wanted], self.ip[wanted], self.limit[wanted])


def _announces_ip(field: _Bytes, ethertype: Ints, ip: Ints) -> Bools:
    """Whether an EtherType says IPv4 or IPv6, and the packet after it is of that version."""
    said, version = field.u16(ethertype), field.u8(ip) >> 4
    announced: Bools = ((said == 0x0800) & (version == 4)) | ((said == 0x86DD) & (version == 6))
    return announced


def _network(field: _Bytes, frames: Frames) -> _Packets:
    """Where each frame's IP header begins, by its link type; frames without one are left out."""
    limit = frames.start + frames.captured
    ip = np.full(len(limit), -1, np.int64)

    def held(link: int, header: int) -> Ints:
        return np.flatnonzero((frames.link == link) & (frames.captured >= header))

    rows = held(_ETHERNET, 14)
    at = frames.start[rows] + 12
    for _ in range(4):  # a frame has at most a few tags
        tagged = np.isin(field.u16(at), _VLAN_TAGS) & (at + 6 <= limit[rows])
        at = at + 4 * tagged
    has_ip = _announces_ip(field, at, at + 2)
    ip[rows[has_ip]] = at[has_ip] + 2
    for link, header, protocol in ((_SLL, 16, 14), (_SLL2, 20, 0)):
        rows = held(link, header)
        has_ip = _announces_ip(field, frames.start[rows] + protocol, frames.start[rows] + header)
        ip[rows[has_ip]] = frames.start[rows[has_ip]] + header
    for link in (_NULL, _LOOP):  # a protocol family in some host's byte order; the IP version tells as well
        rows = held(link, 4)
        ip[rows] = frames.start[rows] + 4
    for link in _RAW:
        rows = held(link, 1)
        ip[rows] = frames.start[rows]
    rows = np.flatnonzero((ip >= 0) & (ip < limit))
    return _Packets(rows, ip[rows], limit[rows])


def _ipv4(field: _Bytes, packets: _Packets) -> tuple[_Packets, Ints, Ints]:
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
        & (field.u16(packets.ip + 6) & 0x1FFF == 0)
        & (tcp + 20 <= packets.limit)
    )
    return packets.keep(wanted), tcp[wanted], (packets.ip + total)[wanted]


def _ipv6(field: _Bytes, packets: _Packets) -> tuple[_Packets, Ints, Ints]:
    """The same for IPv6 (RFC 8200): the extension headers of all packets are walked in step."""
    packets = packets.keep(packets.ip + 40 <= packets.limit)
    packets = packets.keep(field.u8(packets.ip) >> 4 == 6)
    kind = field.u8(packets.ip + 6)
    at = packets.ip + 40
    later = np.zeros(len(at), np.bool_)
    for _ in range(8):
        more = np.isin(kind, _EXTENSION_HEADERS) & (at + 8 <= packets.limit)
        if not more.any():
            break
        place = np.where(more, at, packets.ip)
        later |= more & (kind == _FRAGMENT) & (field.u16(place + 2) & 0xFFF8 != 0)
        size = np.where(kind == _AUTHENTICATION, (field.u8(place + 1) + 2) * 4, (field.u8(place + 1) + 1) * 8)
        size = np.where(kind == _FRAGMENT, 8, size)
        kind = np.where(more, field.u8(place), kind)
        at = np.where(more, np.minimum(at + size, packets.limit), at)
    payload = field.u16(packets.ip + 4)
    end = np.where(payload == 0, packets.limit, packets.ip + 40 + payload)
    wanted = (kind == _TCP) & ~later & (at + 20 <= packets.limit)
    return packets.keep(wanted), at[wanted], end[wanted]


def _ipv6_keys(data: bytes, at: Ints) -> tuple[Ints, list[bytes]]:
    """Keys for IPv6 addresses: 2³² plus their place in the returned table."""
    table: dict[bytes, int] = {}
    keys = [table.setdefault(data[place : place + 16], len(table)) for place in at.tolist()]
    return np.array(keys, np.int64) + (1 << 32), list(table)


def decode(frames: Frames) -> Segments:
    """The TCP segments among the frames.

    A frame is a segment if its headers are whole and its lengths fit: the payload's length is the IP packet's, not the
    frame's (Ethernet pads).

    Raises:
        ValueError: no frame has a link type that is understood.
    """
    if len(frames.link) and not np.isin(frames.link, list(UNDERSTOOD)).any():
        raise ValueError(not_understood(int(frames.link[0])))
    field = _Bytes(frames.data)
    packets = _network(field, frames)
    four, tcp4, end4 = _ipv4(field, packets)
    six, tcp6, end6 = _ipv6(field, packets)
    keys6, table = _ipv6_keys(frames.data, np.concatenate((six.ip + 8, six.ip + 24)))
    row = np.concatenate((four.row, six.row))
    order = np.argsort(row, kind="stable")

    def joined(of_four: Ints, of_six: Ints) -> Ints:
        return np.concatenate((of_four, of_six))[order]

    row, limit = row[order], joined(four.limit, six.limit)
    tcp, end = joined(tcp4, tcp6), joined(end4, end6)
    src = joined(field.u32(four.ip + 12), keys6[: len(six.row)])
    dst = joined(field.u32(four.ip + 16), keys6[len(six.row) :])
    ip_id = joined(field.u16(four.ip + 4), np.full(len(six.row), ABSENT, np.int64))
    offset_flags = field.u16(tcp + 12)
    header = (offset_flags >> 12) * 4
    fits = (header >= 20) & (end - tcp - header >= 0)
    columns = (row, limit, tcp, end, src, dst, ip_id, offset_flags, header)
    row, limit, tcp, end, src, dst, ip_id, offset_flags, header = (column[fits] for column in columns)

    options = _options(field, tcp + 20, np.minimum(tcp + header, limit))
    data, data_at, data_limit = frames.data, tcp + header, np.minimum(end, limit)

    def payload(index: int) -> bytes | None:
        return data[int(data_at[index]) : max(int(data_at[index]), int(data_limit[index]))]

    return Segments(
        frame=row + 1,
        time=frames.time[row],
        src=src.astype(np.uint64),
        dst=dst.astype(np.uint64),
        sport=field.u16(tcp).astype(np.uint16),
        dport=field.u16(tcp + 2).astype(np.uint16),
        seq=field.u32(tcp + 4).astype(np.uint32),
        seq_shown=np.ones(len(tcp), np.bool_),
        ack=field.u32(tcp + 8).astype(np.uint32),
        flags=(offset_flags & 0x1FF).astype(np.uint16),
        window=field.u16(tcp + 14).astype(np.uint16),
        ip_id=ip_id.astype(np.int32),
        length=(end - tcp - header).astype(np.int32),
        mss=options["mss"].astype(np.int32),
        wscale=options["wscale"].astype(np.int16),
        sack_permitted=options["sack_permitted"] > 0,
        sack=options["sack"] > 0,
        tsval=options["tsval"],
        tsecr=options["tsecr"],
        ipv6=tuple(table),
        payload=payload,
    )


def _options(field: _Bytes, at: Ints, limit: Ints) -> dict[str, Ints]:
    """TCP options (RFC 9293 §3.1) of all segments, walked in step: at most 40 rounds for any number of them."""
    found = {name: np.full(len(at), ABSENT, np.int64) for name in ("mss", "wscale", "tsval", "tsecr")}
    found |= {name: np.zeros(len(at), np.int64) for name in ("sack_permitted", "sack")}
    rows = np.arange(len(at))
    at = at.copy()
    while len(rows):
        rows = rows[at[rows] < limit[rows]]
        kind = field.u8(at[rows])
        rows, kind = rows[kind != 0], kind[kind != 0]  # 0: end of the list
        step = np.ones(len(rows), np.int64)
        long = kind != 1  # 1: no operation
        size = field.u8(at[rows] + 1)
        whole = ~long | ((size >= 2) & (at[rows] + size <= limit[rows]))
        rows, kind, step, long, size = rows[whole], kind[whole], step[whole], long[whole], size[whole]
        place = at[rows]
        for code, bytes_, name, read, skip in (
            (2, 4, "mss", field.u16, 2),
            (3, 3, "wscale", field.u8, 2),
            (8, 10, "tsval", field.u32, 2),
            (8, 10, "tsecr", field.u32, 6),
        ):
            here = (kind == code) & (size == bytes_)
            found[name][rows[here]] = read(place[here] + skip)
        found["sack_permitted"][rows[(kind == 4) & (size == 2)]] = 1
        found["sack"][rows[kind == 5]] = 1
        at[rows] += np.where(long, size, step)
    return found
