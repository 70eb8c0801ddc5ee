"""Frames → segments: Ethernet, IPv4 and TCP headers decoded for all frames at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.tcp.segments import ABSENT, Segments

ETHERNET = 1  # LINKTYPE_ETHERNET
_ETHERNET_HEADER = 14
_ETHERTYPE_IPV4 = 0x0800
_TCP = 6

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of a file.

    Attributes:
        data: the file's bytes.
        start: int64, where each frame's bytes begin in them.
        captured: int64, how many bytes of each the file holds.
        time: int64, nanoseconds since the epoch.
    """

    data: bytes
    start: Ints
    captured: Ints
    time: Ints


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


def decode(frames: Frames, link_type: int) -> Segments:
    """The TCP segments among the frames.

    A frame is a segment if its headers are whole, its IPv4 packet is not a later fragment, and its lengths fit: the
    payload's length is the IP packet's, not the frame's (Ethernet pads).

    Raises:
        ValueError: the link type is not understood.
    """
    if link_type != ETHERNET:
        raise ValueError(
            f"link type {link_type} is not understood; capture on an Ethernet interface (tcpdump -i ens33)"
        )
    field = _Bytes(frames.data)
    at, limit = frames.start, frames.start + frames.captured
    number = np.arange(1, len(at) + 1)
    time = frames.time

    def keep(wanted: NDArray[np.bool_], *columns: Ints) -> list[Ints]:
        return [column[wanted] for column in columns]

    at, limit, number, time = keep(limit - at >= _ETHERNET_HEADER + 20, at, limit, number, time)
    at, limit, number, time = keep(field.u16(at + 12) == _ETHERTYPE_IPV4, at, limit, number, time)
    ip = at + _ETHERNET_HEADER
    version_ihl = field.u8(ip)
    ip_header = (version_ihl & 15) * 4
    total = field.u16(ip + 2)
    tcp = ip + ip_header
    is_tcp = (
        (version_ihl >> 4 == 4)
        & (ip_header >= 20)
        & (field.u8(ip + 9) == _TCP)
        & (field.u16(ip + 6) & 0x1FFF == 0)
        & (tcp + 20 <= limit)
    )
    ip, limit, number, time, tcp, total, ip_header = keep(is_tcp, ip, limit, number, time, tcp, total, ip_header)
    offset_flags = field.u16(tcp + 12)
    tcp_header = (offset_flags >> 12) * 4
    total = np.where(total == 0, limit - ip, total)  # segmentation offload may leave it 0
    length = total - ip_header - tcp_header
    fits = (tcp_header >= 20) & (length >= 0)
    ip, limit, number, time, tcp, tcp_header, length, offset_flags = keep(
        fits, ip, limit, number, time, tcp, tcp_header, length, offset_flags
    )
    options = _options(field, tcp + 20, np.minimum(tcp + tcp_header, limit))
    data_at, data_limit = tcp + tcp_header, np.minimum(tcp + tcp_header + length, limit)
    data = frames.data

    def payload(row: int) -> bytes | None:
        return data[int(data_at[row]) : max(int(data_at[row]), int(data_limit[row]))]

    return Segments(
        frame=number,
        time=time,
        src=field.u32(ip + 12).astype(np.uint64),
        dst=field.u32(ip + 16).astype(np.uint64),
        sport=field.u16(tcp).astype(np.uint16),
        dport=field.u16(tcp + 2).astype(np.uint16),
        seq=field.u32(tcp + 4).astype(np.uint32),
        ack=field.u32(tcp + 8).astype(np.uint32),
        flags=(offset_flags & 0x1FF).astype(np.uint16),
        window=field.u16(tcp + 14).astype(np.uint16),
        ip_id=field.u16(ip + 4).astype(np.int32),
        length=length.astype(np.int32),
        mss=options["mss"].astype(np.int32),
        wscale=options["wscale"].astype(np.int16),
        sack_permitted=options["sack_permitted"] > 0,
        sack=options["sack"] > 0,
        tsval=options["tsval"],
        tsecr=options["tsecr"],
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
