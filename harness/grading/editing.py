"""Signs that a capture was changed by hand: for a human to look at, and never a mark.

Each has an innocent explanation as well. What honest captures show now and then is no sign: jitter between processors,
checksums left to the network card, a frame that tcpdump lost before anyone acknowledged it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.captures.capture import Capture
from harness.captures.checksums import checksums
from harness.captures.frames import Frames
from harness.grading.graded import Flag
from harness.tcp.arrays import indices
from harness.tcp.conversation import Conversation
from harness.tcp.ends import ENDS
from harness.tcp.flags import ACK, RST, SYN
from harness.tcp.segments import ABSENT

MOST_FRAMES = 20  # that a flag names
_MOST_SEGMENTS = 1 << 17  # of a connection that are looked at
_MOST_CHECKED = 500  # checksums
_SECOND, _MILLISECOND = 1_000_000_000, 1_000_000
_BACK_AT_ONCE, _BACK_OFTEN, _OFTEN = _SECOND, _MILLISECOND, 3
_MSS = 1460  # of Ethernet: longer segments are put together or taken apart by the network card
_FEWEST_TO_JUDGE = 3  # checksums of one end
_FEWEST_TIMES = 6

# Ticks a second of the timestamps' clocks that kernels have (RFC 7323 §5.4: 1 to 1000; Linux can do microseconds).
_RATES = np.array([1, 2, 10, 50, 64, 100, 128, 200, 250, 300, 1000, 1024, 1_000_000], np.float64)
_LATE = 0.05  # seconds that a segment may wait between its timestamp and its capture
_DRIFT = 0.03  # of two clocks, one of them in a virtual machine
_NUMBERED_BY_HAND = 1 << 12  # below it an ISN is no random one (RFC 6528)

_MOST_TEXT = 1 << 22  # bytes
_NEW_LINE = re.compile(rb"seq (-?\d{1,12}):(-?\d{1,12}),[^\n]*?length (-?\d{1,12})")
_OLD_LINE = re.compile(rb" (-?\d{1,12}):(-?\d{1,12})\((-?\d{1,12})\)")
_ODD_NUMBER = re.compile(rb" (?:(?:seq|ack|win|length) (?:-\d|\d{11})|win (?:6[6-9]|[7-9]\d|[1-9]\d{2})\d{3})")


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What is looked at: columns of the connection's segments, see `Segments` and `Arithmetic`."""

    frame: NDArray[np.int64]
    time: NDArray[np.int64]
    flags: NDArray[np.uint16]
    length: NDArray[np.int32]
    tsval: NDArray[np.int64]
    forward: NDArray[np.bool_]

    def frames(self, rows: NDArray[Any]) -> tuple[int, ...]:
        """The frames of these rows, as many as a flag names."""
        return tuple(self.frame[rows][:MOST_FRAMES].tolist())


def signs(capture: Capture, conversation: Conversation, data: bytes | None = None) -> tuple[Flag, ...]:
    """Signs that one of a capture's connections was changed by hand.

    Args:
        capture: the capture.
        conversation: one of its own.
        data: the bytes of its file: of a text its lines are looked at.
    """
    columns, rows = conversation.segments_columns, conversation.rows.rows[:_MOST_SEGMENTS]
    seen = _Seen(
        columns.frame[rows],
        columns.time[rows],
        columns.flags[rows],
        columns.length[rows],
        columns.tsval[rows],
        conversation.rows.forward[:_MOST_SEGMENTS],
    )
    found = [*_times(seen), *_clocks(seen), *_isns(conversation), *_streams(seen, conversation)]
    if capture.format == "tcpdump text":
        found += _listing(conversation, data or b"")
    elif capture.found is not None:
        found += _checksums(seen, columns.mss[rows], capture.found)
    return tuple(found)


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


def _checksums(seen: _Seen, mss: NDArray[np.int32], frames: Frames) -> Iterator[Flag]:
    """Wrong checksums, but for those of an end none of whose are right: its network card makes them."""
    told = mss[(seen.flags & SYN != 0) & (mss != ABSENT)]
    rows = indices(seen.length <= min([_MSS, *told.tolist()]))[:_MOST_CHECKED]
    found = checksums(frames, seen.frame[rows])
    if len(found.wrong_ip):
        what = _some(len(found.wrong_ip), "frame")
        yield Flag("bad-checksum", f"the IPv4 header's checksum is wrong in {what}", _first(found.wrong_ip))
    if not found.wrong_tcp.any():
        return
    forward = seen.forward[np.searchsorted(seen.frame, found.checked)]
    wrong = [found.wrong_tcp[forward], found.wrong_tcp[~forward]]
    for one, other in (wrong, wrong[::-1]):
        if len(one) >= _FEWEST_TO_JUDGE and one.all() and not other.any():
            return
    bad = found.checked[found.wrong_tcp]
    message = f"the TCP checksum is wrong in {len(bad):,} of {_some(len(found.checked), 'frame')}"
    yield Flag("bad-checksum", message, _first(bad))


def _first(frames: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(frames[:MOST_FRAMES].tolist())


def _times(seen: _Seen) -> Iterator[Flag]:
    """Times that go back, and times that no clock tells."""
    time = seen.time
    if len(time) < 2 or not time.any():  # none are told: tcpdump -t
        return
    steps = time[1:] - time[:-1]
    least, most = int(steps.min()), int(steps.max())
    if least < -_BACK_OFTEN:
        back = indices(steps < -_BACK_OFTEN)
        if least < -_BACK_AT_ONCE or len(back) >= _OFTEN:
            message = f"the time of capture goes back {_some(len(back), 'time')}, by up to {-least / _SECOND:.3f} s"
            yield Flag("time-back", message, seen.frames(back + 1))
    if len(time) < _FEWEST_TIMES:
        return
    if least == most:
        yield Flag("odd-times", f"all {len(time):,} frames are {most / _SECOND:.6f} s apart", seen.frames(np.arange(2)))
    elif not (steps % _MILLISECOND).any():
        message = f"all {len(time):,} frames are whole milliseconds apart"
        yield Flag("odd-times", message, seen.frames(np.arange(len(time))))


def _clocks(seen: _Seen) -> Iterator[Flag]:
    """Timestamps (RFC 7323) of both ends that do not go on as the times of capture do.

    One end's may be late: its segments come through a network. The other end's are captured where they are sent.
    """
    stamped = (seen.tsval != ABSENT) & (seen.flags & RST == 0)
    worst: list[tuple[str, NDArray[np.int64]]] = []
    for name, own in zip(ENDS, (seen.forward, ~seen.forward), strict=True):
        rows = indices(stamped & own)
        if len(rows) < _FEWEST_TIMES:
            continue
        since = (seen.time[rows] - seen.time[rows[0]]) / _SECOND
        step = np.zeros(len(rows), np.int64)
        step[1:] = (seen.tsval[rows[1:]] - seen.tsval[rows[:-1]]).astype(np.int32)
        ticks = np.add.accumulate(step)
        off = ticks / _RATES[:, np.newaxis] - since
        spread = np.maximum.reduce(off, axis=1) - np.minimum.reduce(off, axis=1)
        excess = spread - (_LATE + 2 / _RATES + _DRIFT * float(since.max()))
        best = int(excess.argmin())
        if excess[best] <= 0:
            return
        jump = int(np.abs(np.diff(off[best])).argmax())
        told = f"the {name}'s timestamps count {int(ticks[-1]):,} in {float(since[-1]):.3f} s"
        worst.append((told, rows[jump : jump + 2]))
    if worst:
        message = " and ".join(told for told, _ in worst) + ": no clock of a kernel goes with the times of capture"
        yield Flag("timestamps-disagree", message, seen.frames(np.unique(np.concatenate([rows for _, rows in worst]))))


def _isns(conversation: Conversation) -> Iterator[Flag]:
    """Initial sequence numbers that no kernel of today chooses (RFC 6528)."""
    base, shown = conversation.numbers.base, conversation.numbers.isn_shown
    if all(shown) and base[0] == base[1]:
        yield Flag("same-isn", f"both ends begin with the same sequence number, {base[0]}")
    for name, isn, is_shown in zip(ENDS, base, shown, strict=True):
        if is_shown and (isn < _NUMBERED_BY_HAND or isn % 1_000_000 == 0):
            yield Flag("same-isn", f"the {name} begins with sequence number {isn}, which no kernel would draw")


def _streams(seen: _Seen, conversation: Conversation) -> Iterator[Flag]:
    """What was acknowledged and is in no frame."""
    numbers, count = conversation.numbers, len(seen.frame)
    position, end, ack = numbers.position[:count], numbers.end[:count], numbers.ack[:count]
    counts = seen.flags & RST == 0
    acks = counts & (seen.flags & ACK != 0)
    sent = counts & (position >= 0) & ((seen.flags & SYN == 0) | (position == 0))
    for name, own, isn_shown in zip(ENDS, (seen.forward, ~seen.forward), numbers.isn_shown, strict=True):
        rows, answers = indices(sent & own), indices(acks & ~own)
        if not len(rows) or not len(answers):
            continue
        acked = ack[answers]
        order = rows[position[rows].argsort(kind="stable")]
        reached = np.maximum.accumulate(end[order])
        begin = position[order[1:]]
        gaps = begin - reached[:-1]
        holes = indices((gaps > 0) & (begin <= acked.max()))
        if len(holes):
            what = _some(int(gaps[holes].sum()), "byte")
            message = (
                f"{what} of the {name}'s, acknowledged, are in no frame: tcpdump lost them, or they were taken out"
            )
            yield Flag("frames-missing", message, seen.frames(np.sort(order[holes + 1])))
        beyond = answers[acked > reached[-1]]
        if len(beyond) and isn_shown:
            what = _some(int(acked.max() - reached[-1]), "byte")
            message = f"{what} more are acknowledged than the capture shows the {name} to send"
            yield Flag("ack-of-unsent", message, seen.frames(beyond))


def _listing(conversation: Conversation, data: bytes) -> Iterator[Flag]:
    """What tcpdump does not print."""
    rows, opened = conversation.rows, conversation.numbers.isn_shown[0]
    port = rows.initiator[1]
    if opened and port < 1024:
        yield Flag("impossible-listing", f"the initiator's port is {port}: no kernel chooses one below 1024")
    flags = conversation.segments_columns.flags[rows.rows[:_MOST_SEGMENTS]]
    syn_acks = indices((flags & (SYN | ACK | RST) == (SYN | ACK)) & ~rows.forward[: len(flags)])
    if len(syn_acks) and opened:
        answer = int(conversation.numbers.ack[syn_acks[0]])
        if answer < 1 or answer > int(conversation.numbers.end.max()):
            frame = int(conversation.segments_columns.frame[rows.rows[syn_acks[0]]])
            message = f"the SYN-ACK acknowledges the SYN's sequence number {answer:+,}, not + 1"
            yield Flag("impossible-listing", message, (frame,))
    text = data[:_MOST_TEXT]
    lines = [found.start() for found in _ODD_NUMBER.finditer(text)]
    for pattern in (_NEW_LINE, _OLD_LINE):
        for found in pattern.finditer(text):
            first, last, length = (int(number) for number in found.groups())
            if (last - first - length) % (1 << 32):
                lines.append(found.start())
    if lines:
        numbers = sorted({text.count(b"\n", 0, at) + 1 for at in sorted(lines)[:MOST_FRAMES]})
        told = ", ".join(str(number) for number in numbers)
        yield Flag("impossible-listing", f"line {told}: numbers that tcpdump does not print so")
