"""The checksums of a capture's frames (RFC 791 §3.1, RFC 9293 §3.1): which are wrong.

A checksum that its sender left to the network card is not wrong: captured before the card, the field is 0, or holds the
sum of the pseudo-header (Linux's CHECKSUM_PARTIAL: folded, not complemented), with or without the length.
"""

from dataclasses import dataclass

import numpy as np

from harness.captures.fields import Ints, Octets
from harness.captures.frames import Frames
from harness.captures.packets import LINK_HEADERS
from harness.tcp.arrays import indices

_MOST_BYTES = 4 << 20  # of a file that are looked at
_TCP = 6
_HEADERS = 40  # bytes: IPv4's header without options, and TCP's
_RING = 0xFFFF  # a one's complement sum of 16-bit words is a number modulo this (RFC 1071)


@dataclass(frozen=True, slots=True, eq=False)
class Checksums:
    """What became of those frames that could be checked.

    Attributes:
        checked: int64, the frames that hold a whole TCP segment over IPv4.
        wrong_tcp: bool, for each of these: whether its TCP checksum is wrong.
        wrong_ip: int64, the frames whose IPv4 header's checksum is wrong.
    """

    checked: Ints
    wrong_tcp: np.ndarray[tuple[int], np.dtype[np.bool_]]
    wrong_ip: Ints


def checksums(found: Frames, frames: Ints) -> Checksums:
    """Check the frames of some TCP segments of a file, as far as they look like most.

    Not checked are those of a text, over IPv6, with IPv4 options, behind VLAN tags or in a tunnel, and cut ones.

    Args:
        found: all frames of the file, whose first 4 MiB are looked at.
        frames: int64, ascending.
    """
    within = int((found.start + found.captured).searchsorted(_MOST_BYTES, "right"))
    frames = frames[frames <= within]
    if not len(frames):
        nothing = np.zeros(0, np.int64)
        return Checksums(nothing, nothing.astype(np.bool_), nothing)
    start, limit = found.start[frames - 1], found.start[frames - 1] + found.captured[frames - 1]
    ip = start + _link_headers(found.link[frames - 1])
    octets = found.data[int(start[0]) : int(limit.max()) + _HEADERS]
    ip, limit = np.minimum(ip - start[0], len(octets) - _HEADERS), limit - start[0]
    words = np.ndarray((len(octets) - _HEADERS + 1,), f"V{_HEADERS}", octets, strides=(1,))[ip].view(">u2")
    header = words.reshape(-1, _HEADERS // 2).T.astype(np.int64)
    is_known = (header[0] >> 8 == 0x45) & (header[4] & 0xFF == _TCP) & (ip + _HEADERS <= limit)
    wrong_ip = is_known & (header[5] != 0) & (np.add.reduce(header[:10]) % _RING != 0)
    tcp, end = ip + 20, ip + header[1]
    whole = indices(is_known & (ip + _HEADERS <= end) & (end <= limit))
    tcp, end, stored = tcp[whole], end[whole], header[18, whole]
    addressed = np.add.reduce(header[6:10, whole]) + _TCP
    pseudo = addressed + end - tcp
    wrong = (_sums(octets, tcp, end) + pseudo) % _RING != 0
    if wrong.any():
        wrong &= (stored != 0) & ((stored - pseudo) % _RING != 0) & ((stored - addressed) % _RING != 0)
    return Checksums(frames[whole], wrong, frames[wrong_ip])


def _link_headers(link: Ints) -> Ints | int:
    """How many bytes stand before IP."""
    if (link == link[0]).all():
        return LINK_HEADERS.get(int(link[0]), 0)
    return np.array([LINK_HEADERS.get(kind, 0) for kind in link.tolist()], np.int64)


def _sums(octets: Octets, start: Ints, stop: Ints) -> Ints:
    """The sums of the 16-bit words from each start to each stop; where the last word is half, its other half is 0."""
    size = stop - start
    place = start >> 1
    behind = place + (size >> 1)
    even, odd = (_sums_before(octets[shift:]) for shift in (0, 1))
    sums: Ints = np.where(start & 1, odd[behind] - odd[place], even[behind] - even[place])
    sums += (octets[stop - 1].astype(np.int64) << 8) * (size & 1)
    return sums


def _sums_before(octets: Octets) -> Ints:
    """The sum of all words before each."""
    words = octets[: len(octets) // 2 * 2].view(">u2")
    before = np.zeros(len(words) + 1, np.int64)
    np.add.accumulate(words, out=before[1:], dtype=np.int64)
    return before
