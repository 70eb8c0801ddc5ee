"""What must hold of every reader and of the conversations, whatever the bytes."""

import gzip
import zlib
from collections.abc import Callable

import numpy as np

from harness.captures.capture import Capture
from harness.captures.gzipped import gunzip, is_gzip
from harness.captures.pcap import is_pcap, read_pcap
from harness.captures.pcapng import is_pcapng, read_pcapng
from harness.captures.reading import read_capture
from harness.captures.text import is_listing, read_listing
from harness.errors import HarnessError
from harness.tcp.conversation import conversations
from harness.tcp.segments import COLUMNS, address_text

_MOST_UNPACKED = 1 << 20
_OPENS = {"three-way", "simultaneous", "refused", "unanswered", "incomplete", "not-shown"}
_CLOSES = {"four-segment", "three-segment", "simultaneous", "half-closed", "reset", "open"}
_CLOSERS = {None, "initiator", "responder", "both"}


def _one_line(text: str) -> bool:
    return len(text.splitlines()) == 1


def _refused(error: HarnessError) -> None:
    """A refusal is one line."""
    assert _one_line(str(error)), repr(str(error))


def _read(read: Callable[[bytes, str], Capture], data: bytes) -> Capture | None:
    """What a reader makes of the bytes; None if it says that it cannot. Nothing else may come of it."""
    try:
        capture = read(data, "x")
    except HarnessError as error:
        _refused(error)
        return None
    _check(capture)
    return capture


def _check(capture: Capture) -> None:
    segments = capture.segments
    count = len(segments)
    assert capture.damage is None or _one_line(capture.damage), repr(capture.damage)
    assert capture.frames == count + capture.other_frames, (capture.frames, count, capture.other_frames)
    assert capture.other_frames >= 0
    for name in COLUMNS:
        assert len(getattr(segments, name)) == count, name
    if not count:
        return
    assert segments.frame[0] >= 1
    assert segments.frame[-1] <= capture.frames
    assert (np.diff(segments.frame) > 0).all(), segments.frame
    assert (segments.length >= 0).all(), segments.length
    for row in range(count):
        payload = segments.payload(row)
        assert payload is None or len(payload) <= segments.length[row], row
    for key in {*segments.src.tolist(), *segments.dst.tolist()}:
        address_text(key, segments.ipv6)


def _check_cuts(read: Callable[[bytes, str], Capture], data: bytes, *, in_frames: bool) -> Capture | None:
    """The same of the bytes cut off somewhere; where a file consists of frames, those before the cut stay the same.

    Returns what the reader makes of all the bytes.
    """
    whole = _read(read, data)
    chance = zlib.crc32(data)
    for at in (chance % (len(data) + 1), (chance >> 16) % (len(data) + 1)):
        cut = _read(read, data[:at])
        if not in_frames or cut is None or whole is None:
            continue
        assert cut.frames <= whole.frames, at
        count = len(cut.segments)
        assert count == (whole.segments.frame <= cut.frames).sum(), at
        for name in set(COLUMNS) - {"src", "dst"}:  # keys of IPv6 addresses are numbered through all of the file
            assert (getattr(cut.segments, name) == getattr(whole.segments, name)[:count]).all(), (at, name)
        assert [cut.segments.payload(row) for row in range(count)] == [
            whole.segments.payload(row) for row in range(count)
        ], at
    return whole


def check_pcap(data: bytes) -> None:
    """The reader of pcap files."""
    if is_pcap(data):
        _check_cuts(lambda some, name: read_pcap(some, name) if is_pcap(some) else _empty(), data, in_frames=True)


def check_pcapng(data: bytes) -> None:
    """The reader of pcapng files."""
    if is_pcapng(data):
        _check_cuts(lambda some, name: read_pcapng(some, name) if is_pcapng(some) else _empty(), data, in_frames=True)


def _empty() -> Capture:
    raise HarnessError("too short to be recognised")


def check_gzip(data: bytes) -> None:
    """What decompresses files, and the readers behind it."""
    if not is_gzip(data):
        return
    content = _unpacked(data)
    chance = zlib.crc32(data)
    for at in (chance % len(data), (chance >> 16) % len(data)):
        part = _unpacked(data[:at]) if at >= 2 else None
        assert part is None or content is None or content.startswith(part), at
    if content is not None:
        _check_cuts(read_capture, data, in_frames=False)


def _unpacked(data: bytes) -> bytes | None:
    try:
        content, damage = gunzip(data, "x", _MOST_UNPACKED)
    except HarnessError as error:
        _refused(error)
        return None
    assert len(content) <= _MOST_UNPACKED
    if damage is None:
        assert gzip.decompress(data) == content
    else:
        assert _one_line(damage), repr(damage)
    return content


def check_listing(data: bytes) -> None:
    """The reader of tcpdump's text."""
    found = _check_cuts(read_listing, data, in_frames=False)
    assert is_listing(data) == (found is not None)


def check_conversations(data: bytes) -> None:
    """Everything, from the bytes to what each conversation amounts to."""
    if is_gzip(data) and _unpacked(data) is None:
        return  # unpacks to more than would be read in time
    capture = _read(read_capture, data)
    if capture is None:
        return
    segments = capture.segments
    found = conversations(segments)
    rows = np.concatenate([conversation.rows.rows for conversation in found]) if found else np.zeros(0, np.int64)
    assert sorted(rows.tolist()) == list(range(len(segments)))
    for conversation in found:
        assert conversation.open in _OPENS, conversation.open
        assert conversation.close in _CLOSES, conversation.close
        assert conversation.closer in _CLOSERS, conversation.closer
        assert 0 <= conversation.completeness < 64, conversation.completeness
        assert conversation.conn_state.isalnum(), conversation.conn_state
        assert _one_line("-" + conversation.history), conversation.history
        assert len(conversation.states_by_row) == len(conversation.rows.rows)
        assert conversation.states("initiator")[-1] == conversation.states_by_row[-1][0]
        assert conversation.states("responder")[-1] == conversation.states_by_row[-1][1]
        assert conversation.is_over in {True, False}
        assert isinstance(conversation.illegal, tuple)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "pcap": check_pcap,
    "pcapng": check_pcapng,
    "gzip": check_gzip,
    "listing": check_listing,
    "conversations": check_conversations,
}
