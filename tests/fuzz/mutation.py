"""Changes to captures that bytes alone would hardly come to: of whole frames, blocks and lines, and within gzip."""

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial
from random import Random

Mutate = Callable[[bytes, int], bytes]
Change = Callable[[bytes], bytes]
Remake = Callable[[bytes, Change], bytes]  # a piece whose contents are changed and whose lengths are right
MOST = 1 << 14  # bytes, of an input and of what a gzip file is unpacked to

_ORDERS = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}
_SECTION = b"\x0a\x0d\x0d\x0a"
# Limits of fields, of headers, of what the readers take for data, and of the machine's integers; and one off them.
_LIMITS = (0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 60, 1 << 8, 1 << 16, 1 << 18, 1 << 31, 1 << 32, 1 << 62, 1 << 63)
_TELLING = sorted({limit + off for limit in _LIMITS for off in (-1, 0, 1)} - {-1})
_IN_PIECES = 0.6  # how often pieces are changed, not bytes
_OUTSIDE = 0.5  # how often the bytes of a gzip file are changed, not what is in it


def _records(data: bytes) -> tuple[bytes, list[bytes], str]:
    """A pcap file's header, its records, and its byte order."""
    order, at = _ORDERS[data[:4]], 24
    found = []
    while at + 16 <= len(data):
        size = struct.unpack_from(order + "I", data, at + 8)[0]
        found.append(data[at : at + 16 + size])
        at += 16 + size
    return data[:24], found, order


def _blocks(data: bytes) -> tuple[list[bytes], str]:
    """A pcapng file's blocks, and the byte order of its first section."""
    order = "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    at, found = 0, []
    while at + 12 <= len(data):
        size = max(12, struct.unpack_from(order + "I", data, at + 4)[0])
        found.append(data[at : at + size])
        at += size
    return found, order


def _set(piece: bytes, random: Random) -> bytes:
    """A number in a piece becomes one at which something might change; lengths are not put right."""
    numbers = list(re.finditer(rb"\d+", piece)) if piece[:1].isdigit() else []
    if numbers:
        number = random.choice(numbers)
        return piece[: number.start()] + b"%d" % random.choice(_TELLING) + piece[number.end() :]
    width = random.choice((1, 2, 4))
    if len(piece) < width:
        return piece
    at = random.randrange(0, len(piece) - width + 1, random.choice((1, width)))
    value = random.choice((*_TELLING, len(piece) - 4, len(piece), len(piece) + 4, random.randrange(256)))
    field = (value % (1 << 8 * width)).to_bytes(width, random.choice(("little", "big")))
    return piece[:at] + field + piece[at + width :]


def _changed(pieces: list[bytes], remake: Remake, mutate: Mutate, random: Random) -> list[bytes]:
    """One thing done to the pieces: one dropped, repeated, moved, made the last, told a number, shortened, changed."""
    if not pieces:
        return pieces
    pieces = pieces.copy()
    what, at, to = random.randrange(10), random.randrange(len(pieces)), random.randrange(len(pieces))
    if what == 0:
        del pieces[at]
    elif what == 1:
        pieces.insert(to, pieces[at])
    elif what == 2:
        pieces.insert(to, pieces.pop(at))
    elif what == 3:
        del pieces[at + 1 :]
    elif what < 7:
        pieces[at] = _set(pieces[at], random)
    elif what == 7:
        most = random.choice((4, 64, 1 << 16))
        pieces[at] = remake(pieces[at], lambda body: body[: random.randrange(min(len(body), most) + 1)])
    else:
        pieces[at] = remake(pieces[at], lambda body: mutate(body, len(body) + 48))
    return pieces


def _record(old: bytes, change: Change, order: str) -> bytes:
    frame = change(old[16:])
    return old[:8].ljust(8, b"\0") + struct.pack(order + "II", len(frame), len(frame)) + frame


def _block(old: bytes, change: Change, order: str) -> bytes:
    body = change(old[8:-4])
    body += bytes(-len(body) % 4)
    total = struct.pack(order + "I", len(body) + 12)
    return old[:4] + total + body + total


def _in_pieces(data: bytes, mutate: Mutate, random: Random) -> bytes:
    """Some things done to the frames, blocks or lines; lengths are put right again where bytes come or go."""
    head = b""
    if data[:4] in _ORDERS and len(data) > 24:
        head, pieces, order = _records(data)
        remake: Remake = partial(_record, order=order)
    elif data[:4] == _SECTION and len(data) > 12:
        pieces, order = _blocks(data)
        remake = partial(_block, order=order)
    else:
        pieces = data.splitlines(keepends=True)

        def remake(old: bytes, change: Change) -> bytes:
            return change(old)

    for _ in range(random.choice((1, 1, 2, 3))):
        pieces = _changed(pieces, remake, mutate, random)
    return head + b"".join(pieces)


def mutated(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """A changed input of at most so many bytes; *mutate* is the fuzzer's own change of bytes."""
    random = Random(seed)  # noqa: S311
    if data[:2] == b"\x1f\x8b" and random.random() >= _OUTSIDE:
        try:
            content = zlib.decompressobj(31).decompress(data, MOST)
        except zlib.error:
            content = b""
        if content:
            level = random.randrange(10)
            packed = gzip.compress(mutated(content, MOST, random.randrange(1 << 30), mutate), level, mtime=0)
            return packed[:most]
    if random.random() < _IN_PIECES:
        return _in_pieces(data, mutate, random)[:most]
    return mutate(data, most)
