"""What harness.captures.lockstep promises: the records that a walk from the beginning finds, however the bytes look."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from harness.captures import lockstep, reading
from harness.captures.fields import SPARE, with_spare
from harness.captures.pcap import LONGEST, PcapScanner
from harness.captures.reading import CapturePieces, read_capture
from harness.tcp.segments import COLUMNS, Segments, concatenated

SIZE = 1_500_000  # enough for lanes to be worth it
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
FRAME = (
    bytes(12)
    + b"\x08\0"
    + bytes.fromhex("4500002800004000400600000a0000010a0000029c4000160000000100000000500200000000")
)
FRAME = FRAME + bytes(4)


def record(payload: bytes, second: int = 1_700_000_000) -> bytes:
    return struct.pack("<IIII", second, 5, len(payload), len(payload)) + payload


def payloads(kind: str, rng: random.Random) -> bytes:
    """Bytes that make guessing easy, or hard."""
    length = rng.choice((0, 1, 40, 60, 300, 1500, 9000))
    if kind == "random":
        return rng.randbytes(length)
    if kind == "zeros":
        return bytes(length)
    if kind == "a capture in a capture":  # every record looks like many
        return record(b"x" * 20) * (length // 36)
    return rng.choice((rng.randbytes(length), bytes(length), record(bytes(8)) * 3, b"\xff" * length))


def records(kind: str, seed: int) -> bytes:
    rng = random.Random(seed)  # noqa: S311
    out: list[bytes] = []
    total = 0
    while total < SIZE:
        out.append(record(payloads(kind, rng), 1_700_000_000 + len(out)))
        total += len(out[-1])
    return b"".join(out)


def found(data: bytes) -> tuple[list[int], list[int]]:
    """Where records begin: in step, and in sequence."""
    scanner = PcapScanner.of_header(HEADER, "x")
    octets = with_spare(data)
    in_step = lockstep.chain(
        octets, "<", len(data), length_at=8, header=16, longest=LONGEST, looks_like_records=scanner._looks_like_records
    )
    return in_step.tolist(), lockstep._in_sequence(octets, "<", 0, len(data), 8, 16, LONGEST).tolist()


@pytest.mark.parametrize("kind", ["random", "zeros", "a capture in a capture", "all sorts"])
@pytest.mark.parametrize("cut", [0, 1, 7, 100])
def test_the_same_records(kind: str, cut: int) -> None:
    """Also where the last one is cut."""
    data = records(kind, seed=cut)
    in_step, in_sequence = found(data[: len(data) - cut])
    assert in_step == in_sequence
    assert len(in_step) > 100


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("length", [0, 5, LONGEST + 1, 2**32 - 1])
def test_a_damaged_length(place: float, length: int) -> None:
    """From there on only a walk from the beginning is right, be it the end or another way through the bytes."""
    data = bytearray(records("all sorts", seed=3))
    starts = found(bytes(data))[1]
    at = starts[int(len(starts) * place)]
    data[at + 8 : at + 12] = struct.pack("<I", length)
    in_step, in_sequence = found(bytes(data))
    assert in_step == in_sequence


def test_it_does_walk_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all the above would say nothing: on ordinary records no lane is given up."""
    monkeypatch.setattr(lockstep, "_in_sequence", lambda *_: np.zeros(0, np.int64))
    in_step, _ = found(records("random", seed=1))
    assert len(in_step) > 900


def pcapng(capture: bytes) -> bytes:
    """A little-endian pcap as pcapng, with another block now and then."""
    out = [struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)]
    out.append(struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20))
    at, count = 24, 0
    while at < len(capture):
        second, micro, kept, _ = struct.unpack_from("<IIII", capture, at)
        raw = capture[at + 16 : at + 16 + kept]
        ticks, padded = second * 10**6 + micro, kept + -kept % 4
        head = struct.pack("<IIIIIII", 6, padded + 32, 0, ticks >> 32, ticks & 0xFFFFFFFF, kept, kept)
        out.append(head + raw.ljust(padded, b"\0") + struct.pack("<I", padded + 32))
        if count % 5000 == 4999:
            out.append(struct.pack("<IIII", 5, 16, 0, 16))
        at, count = at + 16 + kept, count + 1
    return b"".join(out)


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
@pytest.mark.parametrize("piece", [1 << 10, 1 << 16, 1 << 30])
def test_pieces_of_a_file(form: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segments of a large file are the same in pieces and at once, in both forms."""
    rng = random.Random(9)  # noqa: S311
    raws = [FRAME + rng.randbytes(rng.choice((0, 6, 600))) for _ in range(12_000)]
    capture = HEADER + b"".join(record(raw, 1_700_000_000 + at) for at, raw in enumerate(raws))
    path = tmp_path / "x"
    path.write_bytes(capture if form == "pcap" else pcapng(capture))
    whole = read_capture(capture, "x").segments
    assert len(whole) == len(raws)
    monkeypatch.setattr(reading, "PIECE", min(piece, len(capture)))
    pieces = CapturePieces()
    parts: list[Segments] = list(pieces.read(path))
    assert (pieces.format, pieces.frames, pieces.tcp_segments, pieces.damage) == (form, len(raws), len(raws), None)
    together = concatenated(parts)
    for name in COLUMNS:
        assert np.array_equal(getattr(together, name), getattr(whole, name)), name


def test_there_is_room_behind_the_last_record() -> None:
    """A reader looks up to so many bytes behind it."""
    assert len(with_spare(b"x")) == 1 + SPARE
