"""Which segments of a conversation are drawn one by one, and which are folded: runs of bulk data."""

from collections.abc import Container
from typing import NamedTuple

from harness.tcp.conversation import Conversation

DRAWN_WHOLE = 160  # segments: a conversation that has no more is not folded
MOST_DRAWN = 400  # segments of one conversation, whatever it holds
_AT_THE_ENDS = 8  # of the first and of the last segments, that are always drawn
_SHORTEST = 4  # segments that are worth a fold


class Fold(NamedTuple):
    """A run of segments that is one line.

    Attributes:
        first: its first row.
        last: its last row.
        first_frame: the frame of the first row.
        last_frame: the frame of the last row.
        bytes: payload bytes by the initiator, and by the responder; what was sent twice counts twice.
    """

    first: int
    last: int
    first_frame: int
    last_frame: int
    bytes: tuple[int, int]

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return self.last - self.first + 1


Item = int | Fold  # a row, or a fold


def folded(conversation: Conversation, wanted: Container[int] = ()) -> list[Item]:
    """The rows that are drawn, in order, with folds between them.

    Drawn are the segments that can change a state, those at both ends of the conversation, and the wanted frames; of
    more than `MOST_DRAWN`, the first and the wanted.
    """
    frames = conversation.column("frame")
    count = len(frames)
    if count <= DRAWN_WHOLE:
        return list(range(count))
    asked = [row for row, frame in enumerate(frames) if frame in wanted][:MOST_DRAWN]
    near = {near for row in asked for near in (row - 1, row, row + 1)} if len(asked) < MOST_DRAWN // 4 else set(asked)
    others = {*range(_AT_THE_ENDS), *range(count - _AT_THE_ENDS, count), *conversation.control_rows} - near
    drawn = near | set(sorted(others)[: max(0, MOST_DRAWN - len(near))])
    return _with_folds(conversation, [row for row in range(count) if row in drawn], count)


def _with_folds(conversation: Conversation, drawn: list[int], count: int) -> list[Item]:
    items: list[Item] = []
    reached = 0
    for row in [*drawn, count]:
        if row - reached >= _SHORTEST:
            items.append(_fold(conversation, reached, row - 1))
        else:
            items += range(reached, row)
        if row < count:
            items.append(row)
        reached = row + 1
    return items


def _fold(conversation: Conversation, first: int, last: int) -> Fold:
    frames, sent = conversation.column("frame"), [0, 0]
    lengths, forward = conversation.column("length"), conversation.forward
    for row in range(first, last + 1):
        sent[0 if forward[row] else 1] += lengths[row]
    return Fold(first, last, frames[first], frames[last], (sent[0], sent[1]))
