"""The pcapng file (draft-ietf-opsawg-pcapng): both byte orders, any sections, interfaces and time resolutions."""

import struct
from dataclasses import dataclass, field

import numpy as np

from harness.captures.capture import Capture
from harness.captures.fields import Bools, Ints, Octets, with_spare
from harness.captures.frames import Decoder, Frames
from harness.captures.lockstep import Words, chain, words_of
from harness.errors import HarnessError
from harness.tcp.arrays import indices

SECTION_BYTES = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders
SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
PACKETS = (OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET)
# Block type → bytes of the smallest such block.
_SMALLEST = {SECTION: 28, INTERFACE: 20, OLD_PACKET: 32, SIMPLE_PACKET: 16, ENHANCED_PACKET: 32}
_EMPTY_BLOCK = 12
BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_END_OF_OPTIONS, _TSRESOL, _TSOFFSET = 0, 9, 14
_OPTION_SIZES = {_TSRESOL: 1, _TSOFFSET: 8}
_LONGEST = 1 << 18  # libpcap's MAXIMUM_SNAPLEN: a longer packet is damage, not data
LONGEST_BLOCK = 1 << 24  # Wireshark's limit
_WORTH_A_RUN = 1 << 12  # bytes
_LATEST = 1 << 62  # ns, the year 2116: differences of times fit in an int64


_Part = tuple[Ints, Ints, Ints, Ints]  # of frames: start, captured, time, link


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
class PcapngScanner:
    """Finds the frames of a pcapng file, piece after piece.

    Attributes:
        name: the file's, for messages.
        link_types: the interfaces' link types, each once.
        frames: how many frames were found so far.
        damage: what is wrong with the file, and where.
    """

    name: str
    format: str = "pcapng"
    frames: int = 0
    damage: str | None = None
    _order: str = ""
    _interfaces: list[_Interface] = field(default_factory=list)
    _links: dict[int, None] = field(default_factory=dict)
    _parts: list[_Part] = field(default_factory=list)
    _offset: int = 0

    @property
    def link_types(self) -> list[int]:
        """The interfaces' link types, each once."""
        return list(self._links)

    def scan(self, data: Octets, size: int, offset: int, *, final: bool) -> tuple[Frames, int]:
        """Find the whole frames in the next piece.

        Args:
            data: the piece, with `fields.SPARE` more bytes behind it.
            size: how long it is.
            offset: where in the file it begins.
            final: whether the file ends with it.

        Returns:
            The frames, and how much of the piece their blocks take; the rest belongs to the next piece.

        Raises:
            HarnessError: the first section header is damaged.
        """
        first, self._parts, self._offset = self.frames + 1, [], offset
        used = 0
        try:
            while used < size:
                following = self._blocks(data, used, size, final=final)
                if following == used:
                    break
                used = following
        except _DamageError as error:
            self.damage = str(error)
            if not self._order:
                raise HarnessError(f"{self.name}: {self.damage}") from None
        start, captured, time, link = (
            (np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*self._parts, strict=True))
            if self._parts
            else (np.zeros(0, np.int64) for _ in range(4))
        )
        return Frames(data, start, captured, time, link, first), used

    def _blocks(self, data: Octets, at: int, size: int, *, final: bool) -> int:
        """Read the next block, or a run of packets; returns where the next one begins: *at*, if this is not whole."""
        if at + 12 > size and not final:
            return at
        kind = struct.unpack_from((self._order or "<") + "I", data.data, at)[0] if at + 4 <= size else 0
        if self._order and kind == ENHANCED_PACKET and size - at > _WORTH_A_RUN:
            following = self._run_of_packets(data, at, size)
            if following > at:
                return following
        if data[at : at + 4].tobytes() == SECTION_BYTES:
            self._section(data, at, size)
        elif not self._order:
            raise _DamageError("a block at byte 0 is no pcapng section header")
        kind, total = self._framing(data, at, size, final=final)
        if not total:
            return at
        if kind == INTERFACE:
            self._interface(data, at, total)
        elif kind in PACKETS:
            self._packet(data, at, kind, total)
        return at + total

    def _run_of_packets(self, data: Octets, at: int, size: int) -> int:
        """Read all enhanced packet blocks in a row that have nothing unusual; returns where the next block begins."""
        here = data[at:]
        found = chain(
            here,
            self._order,
            size - at,
            length_at=4,
            header=0,
            longest=LONGEST_BLOCK,
            looks_like_records=self._looks_like_packets,
        )
        if not len(found):
            return at
        words = words_of(here, self._order)
        total = words[found + 4].astype(np.int64)
        block = np.ndarray((len(here) - 28,), "V28", here, strides=(1,))[found].view(self._order + "u4")
        kind, _, place, high, low, kept, _ = block.reshape(-1, 7).astype(np.int64).T
        known = np.minimum(place, len(self._interfaces) - 1)
        factor = np.array([_whole_factor(interface.ticks) for interface in self._interfaces] or [0])[known]
        seconds = np.array([interface.offset for interface in self._interfaces] or [0])[known]
        ticks = high << 32 | low
        usual = (kind == ENHANCED_PACKET) & (place < len(self._interfaces)) & (total % 4 == 0) & (total >= 32)
        usual &= words[found + np.maximum(total, 4) - 4] == total
        usual &= (kept <= np.minimum(_LONGEST, total - 32)) & (factor > 0) & (high < 1 << 30)
        usual &= (ticks < (_LATEST >> 1) // np.maximum(factor, 1)) & (np.abs(seconds) < _LATEST >> 32)
        count = int(np.argmin(usual)) if not usual.all() else len(usual)
        if not count:
            return at
        run = slice(0, count)
        links = np.array([interface.link for interface in self._interfaces], np.int64)
        time = ticks[run] * factor[run] + seconds[run] * 1_000_000_000
        self._parts.append((at + found[run] + 28, kept[run], time, links[place[run]]))
        self.frames += count
        return at + int(found[count - 1] + total[count - 1])

    def _looks_like_packets(self, words: Words, at: Ints) -> Bools:
        """By the block type, a sane length and an interface that there is."""
        likely: Bools = words[at] == ENHANCED_PACKET
        rows = indices(likely)
        total = words[at[rows] + 4]
        likely[rows] = (total % 4 == 0) & (total <= LONGEST_BLOCK) & (words[at[rows] + 8] < len(self._interfaces))
        return likely

    def _section(self, data: Octets, at: int, size: int) -> None:
        """Begin a section: its byte order, and no interfaces."""
        if at + 16 > size:
            raise _DamageError(f"a block at byte {self._offset + at} is cut off inside its section header")
        magic = data[at + 8 : at + 12].tobytes()
        if magic not in BYTE_ORDERS:
            raise _DamageError(f"a block at byte {self._offset + at} has no byte order (its magic is {magic.hex(' ')})")
        order = BYTE_ORDERS[magic]
        major, minor = struct.unpack_from(order + "HH", data.data, at + 12)
        if major != 1:
            raise _DamageError(
                f"a block at byte {self._offset + at} begins a section of pcapng version {major}.{minor}, not 1"
            )
        self._order, self._interfaces = order, []

    def _framing(self, data: Octets, at: int, size: int, *, final: bool) -> tuple[int, int]:
        """A block's type and total length, which is sane and lies inside the file; 0 if it goes on behind the piece."""
        place = self._offset + at
        if at + 8 > size:
            raise _DamageError(f"a block at byte {place} is cut off after {size - at} of at least 12 bytes")
        kind, total = struct.unpack_from(self._order + "II", data.data, at)
        smallest = _SMALLEST.get(kind, _EMPTY_BLOCK)
        if total < smallest or total % 4:
            raise _DamageError(
                f"a block at byte {place} claims a length of {total} bytes, not a multiple of 4 from {smallest} on"
            )
        if at + total > size and not final and total <= LONGEST_BLOCK:
            return kind, 0
        if at + total > size:
            held = f"cut off after {size - at} of its block's {total} bytes"
            if kind in PACKETS:
                raise _DamageError(f"frame {self.frames + 1} is {held}, at byte {place}")
            raise _DamageError(f"a block at byte {place} is {held}")
        trailing = struct.unpack_from(self._order + "I", data.data, at + total - 4)[0]
        if trailing != total:
            raise _DamageError(f"a block at byte {place} has two lengths, {total} and {trailing}")
        return kind, total

    def _interface(self, data: Octets, at: int, total: int) -> None:
        link, _, snaplen = struct.unpack_from(self._order + "HHI", data.data, at + 8)
        ticks, offset = 1_000_000, 0
        option, end = at + 16, at + total - 4
        while option + 4 <= end:
            code, size = struct.unpack_from(self._order + "HH", data.data, option)
            if code == _END_OF_OPTIONS:
                break
            if option + 4 + size > end or size != _OPTION_SIZES.get(code, size):
                raise _DamageError(
                    f"a block at byte {self._offset + at} has an interface option {code} of {size} bytes"
                )
            if code == _TSRESOL:
                value = int(data[option + 4])
                ticks = 1 << (value & 0x7F) if value & 0x80 else 10**value
            elif code == _TSOFFSET:
                offset = struct.unpack_from(self._order + "q", data.data, option + 4)[0]
            option += 4 + (size + 3) // 4 * 4
        self._links[link] = None
        self._interfaces.append(_Interface(link, snaplen, ticks, offset))

    def _packet(self, data: Octets, at: int, kind: int, total: int) -> None:
        """Read a packet block; its options are not looked at, but for the frame to end before them."""
        frame, where = self.frames + 1, f"at byte {self._offset + at}: the file is damaged there"
        place, high, low, kept, header = 0, 0, 0, 0, 28
        if kind == ENHANCED_PACKET:
            place, high, low, kept = struct.unpack_from(self._order + "IIII", data.data, at + 8)
        elif kind == OLD_PACKET:
            place, _, high, low, kept = struct.unpack_from(self._order + "HHIII", data.data, at + 8)
        else:
            kept, header = struct.unpack_from(self._order + "I", data.data, at + 8)[0], 12
        if place >= len(self._interfaces):
            raise _DamageError(f"frame {frame} is of interface {place} of {len(self._interfaces)}, {where}")
        interface = self._interfaces[place]
        if kind == SIMPLE_PACKET:  # holds its length on the wire only, and no time
            kept, time = min(kept, interface.snaplen or kept), 0
        else:
            time = interface.nanoseconds(high, low)
        if kept > min(_LONGEST, total - header - 4):
            raise _DamageError(f"frame {frame} claims {kept} bytes in a block of {total}, {where}")
        if abs(time) >= _LATEST:
            raise _DamageError(f"frame {frame} has an impossible time, {where}")
        values = (at + header, kept, time, interface.link)
        self._parts.append(tuple(np.array([value], np.int64) for value in values))  # type: ignore[arg-type]
        self.frames += 1


def _whole_factor(ticks: int) -> int:
    """Nanoseconds a tick; 0 if that is no whole number."""
    return 1_000_000_000 // ticks if ticks <= 1_000_000_000 and 1_000_000_000 % ticks == 0 else 0


def is_pcapng(data: bytes) -> bool:
    """Whether it begins like a pcapng file."""
    return data[:4] == SECTION_BYTES


def read_pcapng(data: bytes, name: str) -> Capture:
    """Read a whole pcapng file.

    Frames are counted from 1 over all sections, as in Wireshark. A simple packet block has no time: 0.

    Raises:
        HarnessError: its first section header is damaged.
    """
    if len(data) < _SMALLEST[SECTION]:
        raise HarnessError(
            f"{name}: the pcapng header is cut off after {len(data)} of at least {_SMALLEST[SECTION]} bytes"
        )
    scanner = PcapngScanner(name)
    frames, _ = scanner.scan(with_spare(data), len(data), 0, final=True)
    segments = Decoder().decode(frames)
    count = scanner.frames
    return Capture("pcapng", tuple(scanner.link_types), count, count - len(segments), scanner.damage, segments, frames)
