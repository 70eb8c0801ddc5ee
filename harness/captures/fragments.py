"""Reassembly of IP fragments: IPv4 (RFC 791 §3.2, RFC 815) and IPv6 (RFC 8200 §4.5).

A datagram whose fragments overlap with different bytes, or disagree on where it ends, is dropped with all its fragments
(RFC 5722); equal bytes twice do no harm. A fragment that the capture has cut is none: what it held is not known.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_FRAGMENT = 44
_LONGEST = 65535
_OPEN = 4096  # datagrams begun, of which the oldest is given up
# Frames between a datagram's first and last fragment: instead of RFC 791's timer, as identifications come again.
_APART = 1 << 14


@dataclass(frozen=True, slots=True)
class _Fragment:
    """One fragment.

    Attributes:
        key: what all fragments of a datagram have in common.
        offset: where in the datagram its data begin.
        more: whether it is not the last one.
        header: what stands before the data, with the datagram's next header in it if this is the first fragment.
        data: the data.
    """

    key: tuple[bytes, ...]
    offset: int
    more: bool
    header: bytes
    data: bytes


@dataclass(slots=True)
class _Datagram:
    """What has come of a datagram: disjoint pieces in order, and its length once the last fragment has said it."""

    row: int
    starts: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    held: int = 0
    total: int | None = None
    header: bytes | None = None
    dropped: bool = False

    def drop(self) -> None:
        """Hold no bytes any more, and take none."""
        self.dropped, self.starts, self.pieces = True, [], []

    def add(self, fragment: _Fragment) -> None:
        """Take what is new in a fragment; drop everything if it contradicts what is there."""
        begin, end = fragment.offset, fragment.offset + len(fragment.data)
        if not fragment.more:
            if self.total not in {None, end}:
                self.drop()
                return
            self.total = end
        if fragment.offset == 0:
            self.header = fragment.header
        at = bisect_left(self.starts, begin)
        if at and self.starts[at - 1] + len(self.pieces[at - 1]) > begin:
            at -= 1
        after, data = at, fragment.data
        while after < len(self.starts) and self.starts[after] < end:
            start, piece = self.starts[after], self.pieces[after]
            low, high = max(begin, start), min(end, start + len(piece))
            if data[low - begin : high - begin] != piece[low - start : high - start]:
                self.drop()
                return
            after += 1
        if after > at:  # one piece of all that overlap
            start, last = min(begin, self.starts[at]), after - 1
            data = self.pieces[at][: begin - start] + data + self.pieces[last][end - self.starts[last] :]
            begin = start
        self.held += len(data) - sum(map(len, self.pieces[at:after]))
        self.starts[at:after], self.pieces[at:after] = [begin], [data]
        if self.total is not None and self.starts[-1] + len(self.pieces[-1]) > self.total:
            self.drop()

    def whole(self) -> bytes | None:
        """The packet, if nothing is missing."""
        if self.dropped or self.header is None or self.held != self.total:
            return None
        if _length(self.header, self.held) > _LONGEST:
            self.drop()
            return None
        return _packet(self.header, b"".join(self.pieces))


def _length(header: bytes, data: int) -> int:
    """What a packet's length field would say: IPv6 does not count its first header."""
    return len(header) + data - (40 if header[0] >> 4 == 6 else 0)


def _packet(header: bytes, data: bytes) -> bytes:
    new, length = bytearray(header), _length(header, len(data)).to_bytes(2, "big")
    if header[0] >> 4 == 6:
        new[4:6] = length
    else:
        new[2:4] = length
        new[6:8] = bytes((header[6] & 0xC0, 0))
        new[10:12] = b"\0\0"
        new[10:12] = (-int.from_bytes(new, "big") % 0xFFFF).to_bytes(2, "big")  # RFC 1071: as 2¹⁶ is 1 modulo 2¹⁶ - 1
    return bytes(new) + data


def _ipv4(packet: bytes) -> _Fragment | None:
    size, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big")
    field = int.from_bytes(packet[6:8], "big")
    if not 20 <= size < total <= len(packet) or not field & 0x3FFF:
        return None
    key = (packet[4:6], packet[9:10], packet[12:20])
    return _Fragment(key, (field & 0x1FFF) * 8, bool(field & 0x2000), packet[:size], packet[size:total])


def _ipv6(packet: bytes) -> _Fragment | None:
    end = 40 + int.from_bytes(packet[4:6], "big")
    if not 40 < end <= len(packet):
        return None
    place, at = 6, 40  # where the next header is named, and where it begins
    while packet[place] in {0, 43, 60}:  # hop-by-hop, routing, destination options
        place, at = at, at + (packet[at + 1] + 1) * 8
    if packet[place] != _FRAGMENT or at + 8 >= end:
        return None
    field = int.from_bytes(packet[at + 2 : at + 4], "big")
    header = packet[:place] + packet[at : at + 1] + packet[place + 1 : at]
    return _Fragment(
        (packet[at + 4 : at + 8], packet[8:40]), field & 0xFFF8, bool(field & 1), header, packet[at + 8 : end]
    )


def _read(packet: bytes) -> _Fragment | None:
    """A fragment that is whole; all but the last have data in units of 8 bytes."""
    try:
        fragment = {4: _ipv4, 6: _ipv6}[packet[0] >> 4](packet)
    except (IndexError, KeyError):
        return None
    if fragment is None or (fragment.more and len(fragment.data) % 8):
        return None
    return fragment


def reassemble(fragments: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Whole packets from fragments, each with the row of the fragment that completed it, as in Wireshark.

    What comes out is an IPv4 packet with no fragment offset and no more fragments, its length and checksum right, or an
    IPv6 packet without its fragment header. Incomplete datagrams give nothing, nor does a packet that is no fragment,
    nor bytes that are no packet. No more is held than came in, and no datagram is waited for longer than 16384 frames,
    nor while 4096 younger ones are begun.

    Args:
        fragments: frame row, and the packet's bytes from the IP header on; in capture order.
    """
    return list(_reassembled(fragments))


def _reassembled(fragments: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    begun: dict[tuple[bytes, ...], _Datagram] = {}  # oldest first
    for row, packet in fragments:
        fragment = _read(packet)
        if fragment is None:
            continue
        if fragment.offset == 0 and not fragment.more:  # atomic: of no other datagram (RFC 6946)
            yield row, _packet(fragment.header, fragment.data)
            continue
        datagram = begun.get(fragment.key)
        if datagram is None or row - datagram.row > _APART:
            begun.pop(fragment.key, None)
            datagram = begun[fragment.key] = _Datagram(row)
            if len(begun) > _OPEN:
                del begun[next(iter(begun))]
        if not datagram.dropped:
            datagram.add(fragment)
        if (whole := datagram.whole()) is not None:
            del begun[fragment.key]
            yield row, whole
