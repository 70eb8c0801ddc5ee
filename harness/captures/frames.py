"""Frames → segments: link, IP and TCP headers decoded for all frames at once.

Most frames of most captures look alike: an IPv4 header without options right behind the link's header, and TCP with no
options or timestamps alone. These are read with one gather of all header bytes; what looks otherwise is read field by
field (harness.captures.packets, harness.captures.options).
"""

import struct
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.captures.fields import Bools, Fields, Ints, Octets, with_spare
from harness.captures.options import COLUMNS, read_options
from harness.captures.packets import ETHERNET, LINK_HEADERS, SLL, SLL2, Packets, ipv4, ipv6, network
from harness.captures.unwrapping import inner_packets
from harness.tcp.arrays import indices
from harness.tcp.segments import ABSENT, Segments

_NO_LINK = -1  # of frames that are understood already
_ETHERTYPE_AT = {ETHERNET: 12, SLL: 14, SLL2: 0}

# IPv4 without options, TCP, and the first 12 bytes of its options: name, type, and where it stands.
_USUAL_FIELDS = (
    ("version", "u1", 0),
    ("total", ">u2", 2),
    ("ip_id", ">u2", 4),
    ("fragment", ">u2", 6),
    ("protocol", "u1", 9),
    ("src", ">u4", 12),
    ("dst", ">u4", 16),
    ("sport", ">u2", 20),
    ("dport", ">u2", 22),
    ("seq", ">u4", 24),
    ("ack", ">u4", 28),
    ("offset_flags", ">u2", 32),
    ("window", ">u2", 34),
    ("option", ">u4", 40),
    ("tsval", ">u4", 44),
    ("tsecr", ">u4", 48),
)
_NAMES, _FORMATS, _OFFSETS = (list(column) for column in zip(*_USUAL_FIELDS, strict=True))
_USUAL = np.dtype({"names": _NAMES, "formats": _FORMATS, "offsets": _OFFSETS, "itemsize": 52})
_NOP_NOP_TIMESTAMPS = 0x0101080A
_BLOCK = 1 << 14  # rows at a time: what one block touches stays in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of a file, or of a piece of it.

    Attributes:
        data: the bytes they are in, with `fields.SPARE` more behind them.
        start: int64, where each frame's bytes begin in them.
        captured: int64, how many bytes of each the file holds.
        time: int64, nanoseconds since the epoch.
        link: int64, each frame's link type.
        first: the first frame's number.
    """

    data: Octets
    start: Ints
    captured: Ints
    time: Ints
    link: Ints
    first: int = 1


@dataclass(slots=True)
class Decoder:
    """Decodes the pieces of one capture.

    Attributes:
        ipv6: the IPv6 addresses so far; an address's key is 2³² plus its place.
    """

    ipv6: list[bytes] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)

    def decode(self, frames: Frames) -> Segments:
        """The TCP segments among the frames.

        A frame is a segment if its headers are whole and its lengths fit: the payload's length is the IP packet's, not
        the frame's (Ethernet pads).
        """
        columns, is_usual = _usual(frames)
        if is_usual.all():
            return self._segments(frames, columns)
        read, rows = Fields(frames.data), indices(~is_usual)
        start, captured, link = frames.start[rows], frames.captured[rows], frames.link[rows]
        packets = network(read, start, captured, link)
        parts = [columns, self._unusual(frames.data, packets)]
        parts[1]["row"] = rows[parts[1]["row"]]
        rest = np.ones(len(frames.start), np.bool_)
        rest[np.concatenate([part["row"] for part in parts])] = False
        left = rest[rows]
        inner = inner_packets(
            frames.data, start, captured, np.where(left, link, _NO_LINK), packets.keep(left[packets.row])
        )
        if inner:
            frames, extra = _with_packets(frames, [packet for _, packet in inner])
            parts.append(self._unusual(frames.data, extra))
            parts[2]["row"] = rows[np.array([row for row, _ in inner])][parts[2]["row"]]
        order = np.argsort(np.concatenate([part["row"] for part in parts]), kind="stable")
        return self._segments(frames, {name: np.concatenate([part[name] for part in parts])[order] for name in columns})

    def decode_alike(self, parts: list[Frames]) -> list[Segments | None]:
        """The segments of many small captures at once; None for one in which not every frame looks like most."""
        frames = _joined(parts)
        columns, is_usual = _usual(frames)
        stops = np.cumsum([len(part.start) for part in parts])
        bounds = np.searchsorted(columns["row"], np.append(0, stops)).tolist()
        found: list[Segments | None] = []
        for number, (part, stop) in enumerate(zip(parts, stops.tolist(), strict=True)):
            begin = stop - len(part.start)
            if not is_usual[begin:stop].all():
                found.append(None)
                continue
            its = {name: column[bounds[number] : bounds[number + 1]] for name, column in columns.items()}
            its["row"] = its["row"] - begin
            found.append(self._segments(replace(part, data=frames.data), its))
        return found

    def _unusual(self, data: Octets, packets: Packets) -> dict[str, NDArray[Any]]:
        """The segments in these IP packets, field by field."""
        read = Fields(data)
        four, tcp4, end4 = ipv4(read, packets)
        six, tcp6, end6 = ipv6(read, packets)
        keys6 = self._keys(data, np.concatenate((six.ip + 8, six.ip + 24)))

        tcp, end = np.concatenate((tcp4, tcp6)), np.concatenate((end4, end6))
        offset_flags = read.u16(tcp + 12)
        header = (offset_flags >> 12) * 4
        fits = indices((header >= 20) & (end - tcp - header >= 0))
        columns = {
            "row": np.concatenate((four.row, six.row)),
            "src": np.concatenate((read.u32(four.ip + 12), keys6[: len(six.row)])),
            "dst": np.concatenate((read.u32(four.ip + 16), keys6[len(six.row) :])),
            "ip_id": np.concatenate((read.u16(four.ip + 4), np.full(len(six.row), ABSENT, np.int64))),
            "limit": np.concatenate((four.limit, six.limit)),
            "data_at": tcp + header,
            "length": end - tcp - header,
            "sport": read.u16(tcp),
            "dport": read.u16(tcp + 2),
            "seq": read.u32(tcp + 4),
            "ack": read.u32(tcp + 8),
            "flags": offset_flags & 0x1FF,
            "window": read.u16(tcp + 14),
        }
        columns = {name: column[fits] for name, column in columns.items()}
        limit = np.minimum(columns["data_at"], columns["limit"])
        return columns | read_options(read, tcp[fits] + 20, limit)

    def _keys(self, data: Octets, at: Ints) -> Ints:
        """The keys of the IPv6 addresses at these offsets."""
        keys = np.empty(len(at), np.int64)
        for index, place in enumerate(at.tolist()):
            address = data[place : place + 16].tobytes()
            if address not in self._places:
                self._places[address] = len(self.ipv6)
                self.ipv6.append(address)
            keys[index] = self._places[address]
        return keys + (1 << 32)

    def _segments(self, frames: Frames, columns: dict[str, NDArray[Any]]) -> Segments:
        row = columns["row"].astype(np.int64)
        data, data_at, sack_at = frames.data, columns["data_at"], columns["sack"]
        end = np.minimum(data_at + columns["length"], columns["limit"])

        def payload(index: int) -> bytes | None:
            return data[int(data_at[index]) : max(int(data_at[index]), int(end[index]))].tobytes()

        def sack_blocks(index: int) -> tuple[tuple[int, int], ...]:
            at = int(sack_at[index])
            octets = data[at : at + int(data[at + 1])].tobytes()[2:] if at else b""
            return tuple(struct.iter_unpack(">II", octets[: len(octets) // 8 * 8]))

        return Segments(
            frame=row + frames.first,
            time=frames.time[row],
            src=columns["src"].astype(np.uint64, copy=False),
            dst=columns["dst"].astype(np.uint64, copy=False),
            sport=columns["sport"].astype(np.uint16, copy=False),
            dport=columns["dport"].astype(np.uint16, copy=False),
            seq=columns["seq"].astype(np.uint32, copy=False),
            seq_shown=np.ones(len(row), np.bool_),
            ack=columns["ack"].astype(np.uint32, copy=False),
            flags=columns["flags"].astype(np.uint16, copy=False),
            window=columns["window"].astype(np.uint16, copy=False),
            ip_id=columns["ip_id"].astype(np.int32, copy=False),
            length=columns["length"].astype(np.int32, copy=False),
            mss=columns["mss"].astype(np.int32, copy=False),
            wscale=columns["wscale"].astype(np.int16, copy=False),
            sack_permitted=columns["sack_permitted"].astype(np.bool_, copy=False),
            sack=columns["sack"] > 0,
            fast_open=columns["fast_open"].astype(np.bool_, copy=False),
            tsval=columns["tsval"].astype(np.int64, copy=False),
            tsecr=columns["tsecr"].astype(np.int64, copy=False),
            ipv6=tuple(self.ipv6),
            payload=payload,
            sack_blocks=sack_blocks,
        )


def _joined(parts: list[Frames]) -> Frames:
    """The frames of several files as if they were one's."""
    before = np.cumsum([0, *(len(part.data) for part in parts[:-1])]).tolist()
    return Frames(
        np.concatenate([part.data for part in parts]),
        np.concatenate([part.start + offset for part, offset in zip(parts, before, strict=True)]),
        np.concatenate([part.captured for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.link for part in parts]),
    )


def _with_packets(frames: Frames, packets: list[bytes]) -> tuple[Frames, Packets]:
    """The frames with some IP packets behind them, and where these are."""
    sizes = np.array([len(packet) for packet in packets], np.int64)
    start = len(frames.data) + np.cumsum(sizes) - sizes
    data = np.concatenate((frames.data, with_spare(b"".join(packets))))
    return replace(frames, data=data), Packets(np.arange(len(packets)), start, start + sizes)


def _usual(frames: Frames) -> tuple[dict[str, NDArray[Any]], Bools]:
    """The segments in frames that look like most, and which frames those are."""
    n = len(frames.start)
    dtypes = {name: _USUAL[name].newbyteorder("=") for name in ("src", "dst", "sport", "dport", "seq", "ack", "window")}
    dtypes |= {"flags": np.dtype(np.uint16), "row": np.dtype(np.int64)}
    dtypes |= {name: np.dtype(np.int64) for name in ("limit", "data_at", "tsval", "tsecr")}
    dtypes |= {"length": np.dtype(np.int32), "ip_id": np.dtype(np.int32)}
    columns: dict[str, NDArray[Any]] = {name: np.empty(n, dtype) for name, dtype in dtypes.items()}
    is_usual = np.zeros(n, np.bool_)
    headers = np.ndarray(
        (max(0, len(frames.data) - _USUAL.itemsize),), f"V{_USUAL.itemsize}", frames.data, strides=(1,)
    )
    found = 0
    optional: list[tuple[Ints, Ints]] = []
    for begin in range(0, n, _BLOCK):
        block = slice(begin, min(begin + _BLOCK, n))
        ip, has_link = _where_ip_is(frames, block)
        header = headers[ip].view(_USUAL)
        limit = frames.start[block] + frames.captured[block]
        words = header["offset_flags"] >> 12
        length = header["total"].astype(np.int32) - 20 - 4 * words.astype(np.int32)
        usual = (
            has_link
            & (header["version"] == 0x45)
            & (header["protocol"] == 6)
            & (header["fragment"] & 0x3FFF == 0)
            & (words >= 5)
            & (length >= 0)
            & (ip + 40 <= limit)
        )
        only_times = (words == 8) & (header["option"] == _NOP_NOP_TIMESTAMPS) & (ip + 52 <= limit)
        is_usual[block] = usual
        rows = slice(None) if usual.all() else indices(usual)
        header, ip, limit, words, only_times = header[rows], ip[rows], limit[rows], words[rows], only_times[rows]
        here = slice(found, found + len(header))
        for name in ("src", "dst", "sport", "dport", "seq", "ack", "window", "ip_id"):
            columns[name][here] = header[name]
        columns["flags"][here] = header["offset_flags"] & 0x1FF
        columns["length"][here] = length[rows]
        columns["limit"][here] = limit
        columns["data_at"][here] = ip + 20 + 4 * words.astype(np.int64)
        columns["row"][here] = np.arange(block.start, block.stop)[rows]
        columns["tsval"][here] = np.where(only_times, header["tsval"].astype(np.int64), ABSENT)
        columns["tsecr"][here] = np.where(only_times, header["tsecr"].astype(np.int64), ABSENT)
        more = indices((words > 5) & ~only_times)
        if len(more):
            optional.append((found + more, ip[more] + 40))
        found = here.stop
    columns = {name: column[:found] for name, column in columns.items()}
    for name in ("mss", "wscale", "sack_permitted", "sack", "fast_open"):
        columns[name] = np.full(found, COLUMNS[name], np.int32)
    if optional:
        rows, at = np.concatenate([rows for rows, _ in optional]), np.concatenate([at for _, at in optional])
        options = read_options(Fields(frames.data), at, np.minimum(columns["data_at"], columns["limit"])[rows])
        for name, values in options.items():
            columns[name][rows] = values
    return columns, is_usual


def _where_ip_is(frames: Frames, block: slice) -> tuple[Ints, Bools]:
    """Where these frames' IP packets begin if they look like most, and whether their link types let them."""
    start, link = frames.start[block], frames.link[block]
    sizes = np.full(len(start), -1, np.int64)
    for kind in (int(link[0]),) if (link == link[0]).all() else np.unique(link).tolist():
        sizes[link == kind] = LINK_HEADERS.get(kind, -1)
    ip = start + np.maximum(sizes, 2)
    field = Fields(frames.data)
    for kind, at in _ETHERTYPE_AT.items():
        here = indices(link == kind)
        if len(here):
            sizes[here[field.u16(start[here] + at) != 0x0800]] = -1
    return np.where(sizes < 0, ip, start + sizes), sizes >= 0
