"""A capture's TCP segments as columns: numpy arrays of one length, one row a segment, in capture order."""

import ipaddress
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = -1  # an option that a segment does not carry
# An address key: an IPv4 address is its number, an IPv6 address 2³² plus its place in a table. Above that stands which
# of several captures it is of, where these are worked out together: the same address in two captures is not one host.
_IPV6 = 1 << 32
CAPTURE_AT = 33
_MOST_TOGETHER = 1 << 14


def _no_payload(_row: int) -> bytes | None:
    return None


def _no_blocks(_row: int) -> tuple[tuple[int, int], ...]:
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Columns of n segments.

    Attributes:
        frame: int64, the frame's number in the capture, from 1 as in Wireshark.
        time: int64, nanoseconds since the epoch.
        src: uint64, sender's address as a key (an IPv4 address is its number; see `address_text`).
        dst: uint64, receiver's address likewise.
        sport: uint16.
        dport: uint16.
        seq: uint32.
        seq_shown: bool, whether the capture holds seq; where not, it is what the segments around it say.
        ack: uint32, the field, whether or not the flag ACK is set.
        flags: uint16, bits of `harness.tcp.flags`.
        window: uint16, as in the header (not scaled).
        ip_id: int32, the IPv4 identification (RFC 6864), or ABSENT.
        length: int32, payload bytes by the IP length.
        mss: int32, option of RFC 9293 §3.7.1, or ABSENT.
        wscale: int16, option of RFC 7323 §2, or ABSENT.
        sack_permitted: bool, option of RFC 2018.
        sack: bool, whether SACK blocks are there (RFC 2018).
        fast_open: bool, whether a Fast Open option is there (RFC 7413).
        tsval: int64, option of RFC 7323 §3, or ABSENT.
        tsecr: int64, likewise.
        options_shown: whether the capture holds TCP options at all.
        ipv6: the IPv6 addresses that keys from 2³² on stand for.
        payload: row → the payload bytes that the capture holds, or None where it holds none.
        sack_blocks: row → its SACK blocks, each (left, right edge) as on the wire.
    """

    frame: NDArray[np.int64]
    time: NDArray[np.int64]
    src: NDArray[np.uint64]
    dst: NDArray[np.uint64]
    sport: NDArray[np.uint16]
    dport: NDArray[np.uint16]
    seq: NDArray[np.uint32]
    seq_shown: NDArray[np.bool_]
    ack: NDArray[np.uint32]
    flags: NDArray[np.uint16]
    window: NDArray[np.uint16]
    ip_id: NDArray[np.int32]
    length: NDArray[np.int32]
    mss: NDArray[np.int32]
    wscale: NDArray[np.int16]
    sack_permitted: NDArray[np.bool_]
    sack: NDArray[np.bool_]
    fast_open: NDArray[np.bool_]
    tsval: NDArray[np.int64]
    tsecr: NDArray[np.int64]
    options_shown: bool = True
    ipv6: tuple[bytes, ...] = ()
    payload: Callable[[int], bytes | None] = field(default=_no_payload)
    sack_blocks: Callable[[int], tuple[tuple[int, int], ...]] = field(default=_no_blocks)

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: NDArray[np.int64]) -> "Segments":
        """Some of the rows."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in COLUMNS}
        payload, blocks = self.payload, self.sack_blocks
        return replace(
            self,
            **columns,
            payload=lambda row: payload(int(rows[row])),
            sack_blocks=lambda row: blocks(int(rows[row])),
        )


def concatenated(parts: list[Segments]) -> Segments:
    """The rows of all, without payloads and SACK blocks; the last knows all addresses that the others know."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    return replace(parts[-1], **columns, payload=_no_payload, sack_blocks=_no_blocks)


def capture_of(address_key: int) -> int:
    """Which of several captures that are worked out together an address is of."""
    return address_key >> CAPTURE_AT


def bundles(captures: list[Segments]) -> Iterator[tuple[list[int], Segments]]:
    """Captures to be worked out together: their places, and their segments as if they were one capture's.

    Those that hold options and those that do not are apart; empty ones are in none.
    """
    for options_shown in (True, False):
        places = [place for place, one in enumerate(captures) if one.options_shown is options_shown and len(one)]
        for begin in range(0, len(places), _MOST_TOGETHER):
            some = places[begin : begin + _MOST_TOGETHER]
            yield some, together([captures[place] for place in some])


def together(parts: list[Segments]) -> Segments:
    """The segments of several captures as if they were one, each with hosts of its own; see `bundles`."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    sizes = np.array([len(part) for part in parts])
    capture = np.repeat(np.arange(len(parts), dtype=np.uint64), sizes) << np.uint64(CAPTURE_AT)
    tables = np.array([len(part.ipv6) for part in parts])
    if tables.any():
        before = np.repeat((np.cumsum(tables) - tables).astype(np.uint64), sizes)
        for name in ("src", "dst"):
            columns[name] = np.where(columns[name] < _IPV6, columns[name], columns[name] + before)
    for name in ("src", "dst"):
        columns[name] = columns[name] | capture
    starts = (np.cumsum(sizes) - sizes).tolist()

    def place(row: int) -> tuple[Segments, int]:
        part = bisect_right(starts, row) - 1
        return parts[part], row - starts[part]

    def payload(row: int) -> bytes | None:
        part, at = place(row)
        return part.payload(at)

    def sack_blocks(row: int) -> tuple[tuple[int, int], ...]:
        part, at = place(row)
        return part.sack_blocks(at)

    table = tuple(address for part in parts for address in part.ipv6)
    return replace(parts[0], **columns, ipv6=table, payload=payload, sack_blocks=sack_blocks)


_DTYPES: dict[str, Any] = {
    "frame": np.int64,
    "time": np.int64,
    "src": np.uint64,
    "dst": np.uint64,
    "sport": np.uint16,
    "dport": np.uint16,
    "seq": np.uint32,
    "seq_shown": np.bool_,
    "ack": np.uint32,
    "flags": np.uint16,
    "window": np.uint16,
    "ip_id": np.int32,
    "length": np.int32,
    "mss": np.int32,
    "wscale": np.int16,
    "sack_permitted": np.bool_,
    "sack": np.bool_,
    "fast_open": np.bool_,
    "tsval": np.int64,
    "tsecr": np.int64,
}
_DEFAULTS = {"seq_shown": 1, "ip_id": ABSENT, "mss": ABSENT, "wscale": ABSENT, "tsval": ABSENT, "tsecr": ABSENT}


def from_rows(
    rows: list[dict[str, int]], payloads: list[bytes | None] | None = None, *, options_shown: bool = True
) -> Segments:
    """Columns from rows; a key that a row lacks is 0, or ABSENT for an option."""
    columns: dict[str, Any] = {
        name: np.array([row.get(name, _DEFAULTS.get(name, 0)) for row in rows], dtype=dtype)
        for name, dtype in _DTYPES.items()
    }
    payload = _no_payload if payloads is None else payloads.__getitem__
    return Segments(**columns, options_shown=options_shown, payload=payload)


def address_key(text: str) -> int:
    """The key of an IPv4 address."""
    return int(ipaddress.IPv4Address(text))


def address_text(key: int, ipv6: tuple[bytes, ...] = ()) -> str:
    """The inverse of `address_key`; a key from 2³² on is a place in the table of IPv6 addresses."""
    key &= (1 << CAPTURE_AT) - 1
    if key < _IPV6:
        return f"{key >> 24}.{key >> 16 & 255}.{key >> 8 & 255}.{key & 255}"
    return str(ipaddress.IPv6Address(ipv6[int(key) - _IPV6]))


def endpoint_text(key: int, port: int, ipv6: tuple[bytes, ...] = ()) -> str:
    """An end of a connection: "IP:PORT", or "[IPv6]:PORT" (RFC 5952 §6)."""
    address = address_text(key, ipv6)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


COLUMNS = tuple(f.name for f in fields(Segments) if f.name in _DTYPES)
