"""A segment's arithmetic in words: where its seq and its ack come from, and which frames those numbers stand in."""

from collections.abc import Callable
from typing import NamedTuple

from harness.language import _, ngettext
from harness.tcp.conversation import ENDS, Conversation, End
from harness.tcp.flags import ACK, FIN, RST, SYN
from harness.tcp.known import NONE

_32_BITS = 1 << 32
_Number = Callable[[int], int]


def end_word(end: End) -> str:
    """An end's name in the language that is spoken."""
    return _("initiator") if end == "initiator" else _("responder")


class Equation(NamedTuple):
    """One number of a segment.

    Attributes:
        field: "seq" or "ack".
        relative: the equation in numbers that count from the ISNs.
        absolute: the same in the numbers on the wire.
        frames: the frames it comes from.
        fits: whether the number is what these frames make it.
    """

    field: str
    relative: str
    absolute: str
    frames: tuple[int, ...]
    fits: bool


class Equations:
    """The arithmetic of a conversation's segments, asked for row by row."""

    def __init__(self, conversation: Conversation) -> None:
        self._frames = conversation.column("frame")
        self._flags = conversation.column("flags")
        self._lengths = conversation.column("length")
        self._forward = conversation.forward
        self._positions = conversation.relative_by_row
        self._seq_shown = conversation.column("seq_shown")
        self._on_the_wire = {"seq": conversation.column("seq"), "ack": conversation.column("ack")}
        self._sent_row = conversation.positions("sent_row")
        self._peer_sent_row = conversation.positions("peer_sent_row")
        self._ends: tuple[dict[int, int], dict[int, int]] = ({}, {})  # position → the first row that ends there
        self._starts: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for row, (begin, end, _ack) in enumerate(self._positions):
            side = 0 if self._forward[row] else 1
            if not self._flags[row] & RST:
                self._starts[side].setdefault(begin, row)
                if end > begin:
                    self._ends[side].setdefault(end, row)

    def of(self, row: int) -> tuple[Equation, ...]:
        """The equations of a row's seq and ack; none for a number that the segment does not show or use."""
        found = [self._seq(row)] if self._seq_shown[row] else []
        if self._flags[row] & ACK:
            found.append(self._ack(row))
        return tuple(found)

    # -- in words ----------------------------------------------------------------------------------------------------

    def _sum(self, row: int, number: _Number) -> str:
        """What a row's seq and all that takes numbers in it make: "seq 1 + 21 bytes of frame 4"."""
        begin, _end, _ack = self._positions[row]
        flags, length, frame = self._flags[row], self._lengths[row], self._frames[row]
        parts = [f"seq {number(begin)}"]
        if length:
            parts.append(ngettext("{count} byte", "{count} bytes", length).format(count=length))
        if flags & SYN:
            parts.append(_("1 for the SYN"))
        if flags & FIN:
            parts.append(_("1 for the FIN"))
        return _("{sum} of frame {frame}").format(sum=" + ".join(parts), frame=frame)

    def _both(
        self, field: str, row: int, say: Callable[[_Number], str], frames: tuple[int, ...], *, fits: bool = True
    ) -> Equation:
        # By its own number, and not by an ISN: a capture may show none.
        base = self._on_the_wire[field][row] - self._positions[row][0 if field == "seq" else 2]
        return Equation(field, say(int), say(lambda position: (base + position) % _32_BITS), frames, fits)

    # -- seq ---------------------------------------------------------------------------------------------------------

    def _seq(self, row: int) -> Equation:
        side = 0 if self._forward[row] else 1
        begin, before = self._positions[row][0], self._sent_row[row]
        if before == NONE:
            return self._first(row, side, begin)
        reached, frame = self._positions[before][1], self._frames[before]
        if begin == reached:
            return self._both("seq", row, lambda n: f"seq {n(begin)} = {self._sum(before, n)}", (frame,))
        if begin > reached:
            words = _("seq {number} is {count} beyond {reached} = {sum}: what lies between was not captured before it")
            return self._both(
                "seq",
                row,
                lambda n: words.format(
                    number=n(begin), count=begin - reached, reached=n(reached), sum=self._sum(before, n)
                ),
                (frame,),
                fits=False,
            )
        earlier = self._starts[side].get(begin, row)
        if earlier < row:
            words = _("seq {number} again, as in frame {earlier}; its sender had got to {reached} = {sum}")
            frames: tuple[int, ...] = (self._frames[earlier], frame)
        else:
            words = _("seq {number} is {count} behind {reached} = {sum}, where its sender had got to")
            frames = (frame,)
        return self._both(
            "seq",
            row,
            lambda n: words.format(
                number=n(begin),
                count=reached - begin,
                reached=n(reached),
                sum=self._sum(before, n),
                earlier=frames[0],
            ),
            frames,
            fits=earlier < row,
        )

    def _first(self, row: int, side: int, begin: int) -> Equation:
        if self._flags[row] & SYN:
            words = _("seq {number}: the initial sequence number of the {end}")
        else:
            words = _("seq {number}: the first number of the {end} that was captured")
        end = end_word(ENDS[side])
        return self._both("seq", row, lambda n: words.format(number=n(begin), end=end), ())

    # -- ack ---------------------------------------------------------------------------------------------------------

    def _ack(self, row: int) -> Equation:
        peer = 1 if self._forward[row] else 0
        ack, highest = self._positions[row][2], self._peer_sent_row[row]
        if highest == NONE:
            words = _("ack {number}: nothing of the {end} was captured before it")
            return self._both("ack", row, lambda n: words.format(number=n(ack), end=end_word(ENDS[peer])), ())
        source = self._ends[peer].get(ack, row)
        if source < row:
            return self._both("ack", row, lambda n: f"ack {n(ack)} = {self._sum(source, n)}", (self._frames[source],))
        start = self._starts[peer].get(ack, row)
        if start < row:
            words = _("ack {number} = seq {number}, where frame {frame} begins")
            frame = self._frames[start]
            return self._both("ack", row, lambda n: words.format(number=n(ack), frame=frame), (frame,))
        reached, frame = self._positions[highest][1], self._frames[highest]
        if ack > reached:
            words = _("ack {number}, but the {end} had got to {reached} = {sum}: {count} more than was sent")
        else:
            words = _("ack {number} is where no segment ends; the {end} had got to {reached} = {sum}")
        return self._both(
            "ack",
            row,
            lambda n: words.format(
                number=n(ack),
                end=end_word(ENDS[peer]),
                reached=n(reached),
                sum=self._sum(highest, n),
                count=ack - reached,
            ),
            (frame,),
            fits=False,
        )
