"""What a student may do to another's capture, and honest captures that are not copies."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.captures.capture import Capture
from harness.captures.reading import read_capture
from harness.evidence import lab_conversation
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.flags import ACK
from harness.tcp.segments import ABSENT, Segments
from tests.pcaps import Frame, decode, encode

DATA = Path(__file__).parents[1] / "data"
FOUR, THREE = DATA / "four-segment.pcap", DATA / "three-segment.pcap"
MINUTE = 60 * 10**9
Change = Callable[[list[Frame]], list[Frame]]


def good(path: Path = FOUR) -> list[Frame]:
    """A good capture's frames."""
    return decode(path.read_bytes())


def capture_of(frames: list[Frame], *, snaplen: int = 262144) -> Capture:
    return read_capture(encode(frames, snaplen=snaplen), "x")


def conversation_of(data: bytes) -> Conversation:
    """The lab's connection in the bytes of a file."""
    return lab_conversation(conversations(read_capture(data, "x").segments), "x")


def of_frames(frames: list[Frame]) -> Conversation:
    return conversation_of(encode(frames))


# -- what is done to a copy ------------------------------------------------------------------------------------------


def cut(start: int, stop: int) -> Change:
    return lambda frames: frames[start:stop]


def every_other(frames: list[Frame]) -> list[Frame]:
    return frames[::2]


def duplicated(frames: list[Frame]) -> list[Frame]:
    """Each frame twice, 3 µs apart."""
    return [again for frame in frames for again in (frame, replace(frame, time=frame.time + 3000))]


def retimed(shift: int, stretch: float = 1) -> Change:
    def change(frames: list[Frame]) -> list[Frame]:
        first = frames[0].time
        return [replace(f, time=first + shift + round((f.time - first) * stretch)) for f in frames]

    return change


def readdressed(client: int = 0x0A000001, server: int = 0x0A000002, port: int = 51234) -> Change:
    """Other addresses and ports; with the right checksums."""

    def change(frames: list[Frame]) -> list[Frame]:
        ours = min(frames, key=lambda frame: frame.dport).sport
        return [
            replace(f, src=client, dst=server, sport=port)
            if f.sport == ours
            else replace(f, src=server, dst=client, dport=port)
            for f in frames
        ]

    return change


def with_timestamps(change: Callable[[int, int], bytes]) -> Change:
    """Their timestamps options, made anew."""

    def changed(options: bytes) -> bytes:
        at = options.find(b"\x08\x0a")
        if at < 0:
            return options
        return options[:at] + change(*struct.unpack_from(">II", options, at + 2)) + options[at + 10 :]

    return lambda frames: [replace(frame, options=changed(frame.options)) for frame in frames]


without_timestamps = with_timestamps(lambda _, __: b"\x01" * 10)


def timestamps_shifted(by: int = 123_456_789) -> Change:
    def moved(value: int, echo: int) -> bytes:
        return struct.pack(">BBII", 8, 10, (value + by) % 2**32, (echo + by) % 2**32 if echo else 0)

    return with_timestamps(moved)


def numbers_shifted(initiator: int = 1_111_222_333, responder: int = -987_654_321) -> Change:
    """Other ISNs."""

    def change(frames: list[Frame]) -> list[Frame]:
        ours = min(frames, key=lambda frame: frame.dport).sport
        moved = []
        for frame in frames:
            own, other = (initiator, responder) if frame.sport == ours else (responder, initiator)
            ack = (frame.ack + other) % 2**32 if frame.flags & ACK else 0
            moved.append(replace(frame, seq=(frame.seq + own) % 2**32, ack=ack))
        return moved

    return change


def without_payload(frames: list[Frame]) -> list[Frame]:
    """Zeros for the payload, and other IP identifications."""
    return [replace(frame, payload=bytes(len(frame.payload)), ip_id=at) for at, frame in enumerate(frames)]


def merged(with_: list[Frame]) -> Change:
    """Among another connection's frames."""
    return lambda frames: sorted((*frames, *readdressed(7, 8, 9)(with_)), key=lambda frame: frame.time)


def in_turn(*changes: Change) -> Change:
    def change(frames: list[Frame]) -> list[Frame]:
        for one in changes:
            frames = one(frames)
        return frames

    return change


anonymised = in_turn(readdressed(), without_payload, without_timestamps, numbers_shifted())


def to_pcapng(frames: list[Frame]) -> bytes:
    """A pcapng file with nanoseconds."""

    def block(kind: int, body: bytes) -> bytes:
        size = struct.pack("<I", len(body) + 12)
        return struct.pack("<I", kind) + size + body + size

    out = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    out += block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHB3xHH", 9, 1, 9, 0, 0))
    for frame in frames:
        raw = frame.encode()
        head = struct.pack("<IIIII", 0, frame.time >> 32, frame.time & 0xFFFFFFFF, len(raw), len(raw))
        out += block(6, head + raw + bytes(-len(raw) % 4))
    return out


def listing(frames: list[Frame], *switches: str) -> bytes:
    """What tcpdump prints of them."""
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    argv = ["tcpdump", "-n", *switches, "-r", "-"]
    done = subprocess.run(argv, input=encode(frames), capture_output=True, check=False, timeout=20)
    if done.returncode:
        pytest.skip(f"tcpdump cannot: {done.stderr[:200]!r}")
    return done.stdout


# -- honest students -------------------------------------------------------------------------------------------------


def honest(count: int, seed: int, *, within: int = 90 * MINUTE, jitter: float = 0.1) -> list[Conversation]:
    """The connections of students who all did the lab, with the same software and so the same relative rows.

    Each has ISNs, a port, offsets of the timestamps, a start and a speed of its own; each time between two frames is
    another by *jitter* of it.
    """
    draw = np.random.default_rng(seed)
    like = conversation_of(FOUR.read_bytes())
    taken, n = like.segments_columns.take(like.rows.rows), len(like.rows.rows)
    forward, has_ack = np.tile(like.rows.forward, count), np.tile(taken.flags & ACK != 0, count)
    base, shown = like.numbers.base, like.numbers.isn_shown
    assert all(shown)

    def each(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.repeat(values, n)

    isn, offset = draw.integers(0, 2**32, (2, count)), draw.integers(0, 2**32, (2, count))
    gaps = np.tile(np.diff(taken.time, prepend=taken.time[0]), (count, 1)).astype(np.float64)
    gaps *= draw.uniform(0.7, 1.5, (count, 1)) * np.exp(draw.normal(0, jitter, gaps.shape))
    since = np.cumsum(gaps, axis=1).astype(np.int64).ravel()
    time = each(like.segments_columns.time[0] + draw.integers(0, within, count)) + since
    own = np.where(forward, each(isn[0] - base[0]), each(isn[1] - base[1]))
    other = np.where(forward, each(isn[1] - base[1]), each(isn[0] - base[0]))
    clock = time // 10**6
    stamps = np.where(forward, each(offset[0]), each(offset[1])) + clock
    echoes = np.where(forward, each(offset[1]), each(offset[0])) + clock
    columns: dict[str, Any] = {
        name: np.tile(getattr(taken, name), count) for name in ("window", "ip_id", "length", "flags", "mss")
    }
    columns |= {
        name: np.tile(getattr(taken, name), count) for name in ("wscale", "sack_permitted", "sack", "fast_open")
    }
    client = each(np.arange(count) + (10 << 24))
    port = each(draw.integers(32768, 61000, count))
    segments = Segments(
        frame=np.tile(np.arange(1, n + 1), count),
        time=time,
        src=np.where(forward, client, 1).astype(np.uint64),
        dst=np.where(forward, 1, client).astype(np.uint64),
        sport=np.where(forward, port, 22).astype(np.uint16),
        dport=np.where(forward, 22, port).astype(np.uint16),
        seq=((np.tile(taken.seq, count) + own) % 2**32).astype(np.uint32),
        seq_shown=np.ones(n * count, np.bool_),
        ack=np.where(has_ack, (np.tile(taken.ack, count) + other) % 2**32, 0).astype(np.uint32),
        tsval=stamps % 2**32,
        tsecr=np.where(np.tile(taken.tsecr, count) > 0, echoes % 2**32, 0),
        **columns,
    )
    assert ABSENT not in taken.tsval
    return conversations(segments)
