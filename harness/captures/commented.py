"""Write a capture's frames as pcapng (draft-ietf-opsawg-pcapng), unchanged, with comments on some of them.

Of a pcap file a pcapng file is made, with times in nanoseconds. A pcapng file stays what it is, block by block: its
interfaces, times and own comments are kept, and comments are put in. Wireshark and tshark show them as frame.comment.

The blocks are made by hand, since scapy's PcapNgWriter (2.8) has no option for a section, for an interface's
description or for the resolution of its times, counts these in microseconds, and takes them as a float.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.captures.fields import with_spare
from harness.captures.gzipped import gunzip, is_gzip
from harness.captures.pcap import HEADER, is_pcap, scan_pcap
from harness.captures.pcapng import (
    BYTE_ORDERS,
    ENHANCED_PACKET,
    INTERFACE,
    PACKETS,
    SECTION,
    SECTION_BYTES,
    SIMPLE_PACKET,
    PcapngScanner,
    is_pcapng,
)
from harness.captures.reading import MAX_BYTES
from harness.errors import HarnessError

APPLICATION = "tcp-lab"
_END_OF_OPTIONS, _COMMENT = 0, 1
_SHB_USERAPPL = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL = 2, 3, 9
_NANOSECONDS = bytes([9])  # if_tsresol: 10 to the power of -9 seconds
_UNKNOWN_LENGTH = -1


@dataclass(frozen=True, slots=True)
class Interface:
    """What a pcap file does not say of the interface it was captured on.

    Attributes:
        name: as the capturing host calls it.
        description: in words.
    """

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Commented:
    """A capture with comments.

    Attributes:
        data: the pcapng file's bytes.
        frames: how many frames it holds.
        damage: what was wrong with the capture; the frames before that are there. None if it was whole.
    """

    data: bytes
    frames: int
    damage: str | None


def commented(
    data: bytes, name: str, comments: Mapping[int, str], *, about: str = "", interface: Interface
) -> Commented:
    """A capture's frames with comments, as a pcapng file.

    Args:
        data: the bytes of a pcap or pcapng file, or of a gzip file of either.
        name: the file's, for messages.
        comments: frame number → comment; lines end in a newline.
        about: a comment on the capture as a whole.
        interface: what a pcap file was captured on; a pcapng file says that itself.

    Raises:
        HarnessError: it is none of these, or its header is damaged.
    """
    damage = None
    if is_gzip(data):
        data, damage = gunzip(data, name, MAX_BYTES)
    if is_pcap(data):
        made = _of_pcap(data, name, comments, about, interface)
    elif is_pcapng(data):
        made = _of_pcapng(data, name, comments, about)
    else:
        raise HarnessError(f"{name}: neither pcap nor pcapng: there are no frames to be commented")
    return Commented(made.data, made.frames, damage or made.damage)


def _of_pcap(data: bytes, name: str, comments: Mapping[int, str], about: str, interface: Interface) -> Commented:
    scanner, frames = scan_pcap(data, name)
    snaplen = struct.unpack_from(scanner.order + "I", data, 16)[0]
    blocks = [_section("<", about), _interface(scanner.link_types[0], snaplen, interface)]
    rows = zip(frames.start.tolist(), frames.captured.tolist(), frames.time.tolist(), strict=True)
    for number, (start, captured, time) in enumerate(rows, 1):
        at = HEADER + start
        on_the_wire = struct.unpack_from(scanner.order + "I", data, at - 4)[0]  # the last of the record's header
        packet = data[at : at + captured]
        blocks.append(_enhanced("<", 0, time, on_the_wire, packet, comments.get(number)))
    return Commented(b"".join(blocks), scanner.frames, scanner.damage)


def _of_pcapng(data: bytes, name: str, comments: Mapping[int, str], about: str) -> Commented:
    scanner = PcapngScanner(name)
    frames, used = scanner.scan(with_spare(data), len(data), 0, final=True)  # up to there all lengths are sound
    places = zip(frames.start.tolist(), frames.captured.tolist(), strict=True)
    blocks: list[bytes] = []
    order, at, number = "", 0, 0
    while at < used:
        order = BYTE_ORDERS.get(data[at + 8 : at + 12], order) if data[at : at + 4] == SECTION_BYTES else order
        kind, total = struct.unpack_from(order + "II", data, at)
        block = data[at : at + total]
        if block[:4] == SECTION_BYTES:
            block = _section(order, "" if blocks else about, block)
        elif kind in PACKETS:
            number += 1
            start, captured = next(places)
            if comment := comments.get(number):
                packet = data[start : start + captured]
                if kind == SIMPLE_PACKET:  # has no options, and no time; it is of the section's first interface
                    on_the_wire = struct.unpack_from(order + "I", block, 8)[0]
                    block = _enhanced(order, 0, 0, on_the_wire, packet, comment)
                else:
                    head, options = block[8 : start - at], block[start - at + len(_padded(packet)) : -4]
                    options = _option(order, _COMMENT, comment.encode()) + (options or _option(order, _END_OF_OPTIONS))
                    block = _block(order, kind, head + _padded(packet) + options)
        blocks.append(block)
        at += total
    return Commented(b"".join(blocks) or _section("<", about), scanner.frames, scanner.damage)


def _section(order: str, about: str, before: bytes = b"") -> bytes:
    """A section header; of one that was there before all is kept but its length, and which application wrote it."""
    version = struct.unpack_from(order + "HH", before, 12) if before else (1, 0)
    options = [(_COMMENT, about.encode())] if about else []
    options += [(_SHB_USERAPPL, APPLICATION.encode())]
    options += [option for option in _options(order, before[24:-4]) if option[0] != _SHB_USERAPPL]
    body = struct.pack(order + "IHHq", 0x1A2B3C4D, *version, _UNKNOWN_LENGTH)
    return _block(order, SECTION, body + _all(order, options))


def _interface(link: int, snaplen: int, interface: Interface) -> bytes:
    body = struct.pack("<HHI", link & 0xFFFF, 0, snaplen)
    options = [(_IF_NAME, interface.name.encode()), (_IF_DESCRIPTION, interface.description.encode())]
    return _block("<", INTERFACE, body + _all("<", [*options, (_IF_TSRESOL, _NANOSECONDS)]))


def _enhanced(  # noqa: PLR0913 - the fields of the block
    order: str, interface: int, time: int, on_the_wire: int, packet: bytes, comment: str | None
) -> bytes:
    head = struct.pack(order + "IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(packet), on_the_wire)
    options = _all(order, [(_COMMENT, comment.encode())]) if comment else b""
    return _block(order, ENHANCED_PACKET, head + _padded(packet) + options)


def _block(order: str, kind: int, body: bytes) -> bytes:
    total = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + total + body + total


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _option(order: str, code: int, value: bytes = b"") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + _padded(value)


def _all(order: str, options: list[tuple[int, bytes]]) -> bytes:
    return b"".join(_option(order, code, value) for code, value in options) + _option(order, _END_OF_OPTIONS)


def _options(order: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """The options in a block, as far as they are sound."""
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        value = data[at + 4 : at + 4 + size]
        if code == _END_OF_OPTIONS or len(value) < size:
            break
        yield code, value
        at += 4 + len(_padded(value))
