"""The pcapng file (draft-ietf-opsawg-pcapng): both byte orders, any sections, interfaces and time resolutions."""

import struct
from dataclasses import dataclass, field

import numpy as np

from harness.captures.capture import Capture
from harness.captures.fields import with_spare
from harness.captures.frames import Decoder, Frames
from harness.errors import HarnessError

_SECTION_BYTES = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_PACKETS = (_OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET)
# Block type → bytes of the smallest such block.
_SMALLEST = {_SECTION: 28, _INTERFACE: 20, _OLD_PACKET: 32, _SIMPLE_PACKET: 16, _ENHANCED_PACKET: 32}
_EMPTY_BLOCK = 12
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_END_OF_OPTIONS, _TSRESOL, _TSOFFSET = 0, 9, 14
_OPTION_SIZES = {_TSRESOL: 1, _TSOFFSET: 8}
_LONGEST = 1 << 18  # libpcap's MAXIMUM_SNAPLEN: a longer packet is damage, not data
_LATEST = 1 << 62  # ns, the year 2116: differences of times fit in an int64


class _DamageError(Exception):
    """What is wrong with the file, and where."""


@dataclass(frozen=True, slots=True)
class _Interface:
    """An interface description: its link type, snaplen (0: none), ticks a second, and seconds to add to each time."""

    link: int
    snaplen: int
    ticks: int
    offset: int

    def nanoseconds(self, high: int, low: int) -> int:
        return (high << 32 | low) * 1_000_000_000 // self.ticks + self.offset * 1_000_000_000


@dataclass(slots=True)
class _Found:
    """What was read so far; `order` and `interfaces` are the present section's."""

    order: str = ""
    interfaces: list[_Interface] = field(default_factory=list)
    link_types: dict[int, None] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    captured: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)

    def walk(self, data: bytes) -> None:
        """Read block after block.

        Raises:
            _DamageError: what stands before it was read.
        """
        at = 0
        while at < len(data):
            if data[at : at + 4] == _SECTION_BYTES:
                self._section(data, at)
            elif not self.order:
                raise _DamageError("a block at byte 0 is no pcapng section header")
            kind, total = self._framing(data, at)
            if kind == _INTERFACE:
                self._interface(data, at, total)
            elif kind in _PACKETS:
                self._packet(data, at, kind, total)
            at += total

    def _section(self, data: bytes, at: int) -> None:
        """Begin a section: its byte order, and no interfaces."""
        if at + 16 > len(data):
            raise _DamageError(f"a block at byte {at} is cut off inside its section header")
        magic = data[at + 8 : at + 12]
        if magic not in _BYTE_ORDERS:
            raise _DamageError(f"a block at byte {at} has no byte order (its magic is {magic.hex(' ')})")
        order = _BYTE_ORDERS[magic]
        major, minor = struct.unpack_from(order + "HH", data, at + 12)
        if major != 1:
            raise _DamageError(f"a block at byte {at} begins a section of pcapng version {major}.{minor}, not 1")
        self.order, self.interfaces = order, []

    def _framing(self, data: bytes, at: int) -> tuple[int, int]:
        """A block's type and total length, which is sane and lies inside the file."""
        if at + 8 > len(data):
            raise _DamageError(f"a block at byte {at} is cut off after {len(data) - at} of at least 12 bytes")
        kind, total = struct.unpack_from(self.order + "II", data, at)
        smallest = _SMALLEST.get(kind, _EMPTY_BLOCK)
        if total < smallest or total % 4:
            raise _DamageError(
                f"a block at byte {at} claims a length of {total} bytes, not a multiple of 4 from {smallest} on"
            )
        if at + total > len(data):
            held = f"cut off after {len(data) - at} of its block's {total} bytes"
            if kind in _PACKETS:
                raise _DamageError(f"frame {len(self.starts) + 1} is {held}, at byte {at}")
            raise _DamageError(f"a block at byte {at} is {held}")
        trailing = struct.unpack_from(self.order + "I", data, at + total - 4)[0]
        if trailing != total:
            raise _DamageError(f"a block at byte {at} has two lengths, {total} and {trailing}")
        return kind, total

    def _interface(self, data: bytes, at: int, total: int) -> None:
        link, _, snaplen = struct.unpack_from(self.order + "HHI", data, at + 8)
        ticks, offset = 1_000_000, 0
        option, end = at + 16, at + total - 4
        while option + 4 <= end:
            code, size = struct.unpack_from(self.order + "HH", data, option)
            if code == _END_OF_OPTIONS:
                break
            if option + 4 + size > end or size != _OPTION_SIZES.get(code, size):
                raise _DamageError(f"a block at byte {at} has an interface option {code} of {size} bytes")
            if code == _TSRESOL:
                value = data[option + 4]
                ticks = 1 << (value & 0x7F) if value & 0x80 else 10**value
            elif code == _TSOFFSET:
                offset = struct.unpack_from(self.order + "q", data, option + 4)[0]
            option += 4 + (size + 3) // 4 * 4
        interface = _Interface(link, snaplen, ticks, offset)
        self.link_types[link] = None
        self.interfaces.append(interface)

    def _packet(self, data: bytes, at: int, kind: int, total: int) -> None:
        """Read a packet block; its options are not looked at, but for the frame to end before them."""
        frame = len(self.starts) + 1
        place, high, low, kept, header = 0, 0, 0, 0, 28
        if kind == _ENHANCED_PACKET:
            place, high, low, kept = struct.unpack_from(self.order + "IIII", data, at + 8)
        elif kind == _OLD_PACKET:
            place, _, high, low, kept = struct.unpack_from(self.order + "HHIII", data, at + 8)
        else:
            kept, header = struct.unpack_from(self.order + "I", data, at + 8)[0], 12
        if place >= len(self.interfaces):
            raise _DamageError(
                f"frame {frame} is of interface {place} of {len(self.interfaces)}, at byte {at}: "
                "the file is damaged there"
            )
        interface = self.interfaces[place]
        if kind == _SIMPLE_PACKET:  # holds its length on the wire only, and no time
            kept, time = min(kept, interface.snaplen or kept), 0
        else:
            time = interface.nanoseconds(high, low)
        if kept > min(_LONGEST, total - header - 4):
            raise _DamageError(
                f"frame {frame} claims {kept} bytes in a block of {total}, at byte {at}: the file is damaged there"
            )
        if abs(time) >= _LATEST:
            raise _DamageError(f"frame {frame} has an impossible time, at byte {at}: the file is damaged there")
        self.starts.append(at + header)
        self.captured.append(kept)
        self.times.append(time)
        self.links.append(interface.link)


def is_pcapng(data: bytes) -> bool:
    """Whether it begins like a pcapng file."""
    return data[:4] == _SECTION_BYTES


def read_pcapng(data: bytes, name: str) -> Capture:
    """Read a pcapng file.

    Frames are counted from 1 over all sections, as in Wireshark. A simple packet block has no time: 0.

    Raises:
        HarnessError: its first section header is damaged.
    """
    if len(data) < _SMALLEST[_SECTION]:
        raise HarnessError(
            f"{name}: the pcapng header is cut off after {len(data)} of at least {_SMALLEST[_SECTION]} bytes"
        )
    found = _Found()
    damage: str | None = None
    try:
        found.walk(data)
    except _DamageError as error:
        damage = str(error)
        if not found.order:
            raise HarnessError(f"{name}: {damage}") from None
    frames = Frames(
        data=with_spare(data),
        start=np.array(found.starts, np.int64),
        captured=np.array(found.captured, np.int64),
        time=np.array(found.times, np.int64),
        link=np.array(found.links, np.int64),
    )
    segments = Decoder().decode(frames)
    count = len(found.starts)
    return Capture("pcapng", tuple(found.link_types), count, count - len(segments), damage, segments)
