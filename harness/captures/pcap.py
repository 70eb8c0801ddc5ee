"""The classic pcap file (pcap-savefile(5)): both byte orders, micro- and nanoseconds."""

import struct

import numpy as np

from harness.captures.capture import Capture
from harness.captures.frames import UNDERSTOOD, Frames, decode, not_understood
from harness.errors import HarnessError

# Magic number as stored → (byte order, nanoseconds a tick).
_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_HEADER = 24
_RECORD = 16
_LONGEST = 1 << 18  # libpcap's MAXIMUM_SNAPLEN: a longer record is damage, not data


def is_pcap(data: bytes) -> bool:
    """Whether it begins like a pcap file."""
    return data[:4] in _MAGIC


def read_pcap(data: bytes, name: str) -> Capture:
    """Read a pcap file.

    Raises:
        HarnessError: its header is cut off, or its link type is not understood.
    """
    if len(data) < _HEADER:
        raise HarnessError(f"{name}: the pcap header is cut off after {len(data)} of {_HEADER} bytes")
    order, tick = _MAGIC[data[:4]]
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0x0FFFFFFF
    if link_type not in UNDERSTOOD:
        raise HarnessError(f"{name}: {not_understood(link_type)}")
    record = struct.Struct(order + "IIII")
    starts: list[int] = []
    captured: list[int] = []
    times: list[int] = []
    at = _HEADER
    damage: str | None = None
    while at < len(data):
        if at + _RECORD > len(data):
            damage = f"frame {len(starts) + 1} is cut off inside its record header, at byte {at}"
            break
        seconds, fraction, kept, _ = record.unpack_from(data, at)
        if kept > _LONGEST:
            damage = f"frame {len(starts) + 1} claims {kept} bytes, at byte {at}: the file is damaged there"
            break
        if at + _RECORD + kept > len(data):
            damage = (
                f"frame {len(starts) + 1} is cut off after {len(data) - at - _RECORD} of {kept} bytes, at byte {at}"
            )
            break
        starts.append(at + _RECORD)
        captured.append(kept)
        times.append(seconds * 1_000_000_000 + fraction * tick)
        at += _RECORD + kept
    frames = Frames(
        data=data,
        start=np.array(starts, np.int64),
        captured=np.array(captured, np.int64),
        time=np.array(times, np.int64),
        link=np.full(len(starts), link_type, np.int64),
    )
    segments = decode(frames)
    return Capture("pcap", link_type, len(starts), len(starts) - len(segments), damage, segments)
