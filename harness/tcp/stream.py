"""All that one end of a conversation sent."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.tcp.ends import End, other
from harness.tcp.flags import FIN, RST
from harness.tcp.segment import NotShown, Segment
from harness.tcp.values import Seq

if TYPE_CHECKING:
    from harness.tcp.conversation import Conversation


class Stream:
    """All that one end sent."""

    __slots__ = ("_conversation", "end")

    def __init__(self, conversation: "Conversation", end: End) -> None:
        self._conversation = conversation
        self.end: End = end

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In capture order.

        Raises:
            NotShown: there are none: the capture shows one direction only.
        """
        return self._conversation.shown(*self._own)

    @property
    def _own(self) -> tuple[Segment, ...]:
        found = self._conversation.sent_by[self.end]
        if not found:
            raise NotShown(f"the capture shows no segment sent by the {self.end}")
        return found

    def _show(self, segment: Segment) -> Segment:
        return self._conversation.shown(segment)[0]

    @property
    def isn(self) -> Seq:
        """Its initial sequence number.

        Raises:
            NotShown: its SYN was not captured.
        """
        for segment in self._conversation.sent_by[self.end]:
            if segment.has_syn:
                return self._show(segment).seq
        raise NotShown(f"the capture does not show the {self.end}'s SYN")

    @property
    def data(self) -> tuple[Segment, ...]:
        """Its segments with payload."""
        return self._conversation.shown(*(s for s in self._own if s.len and not s.has_rst))

    @property
    def first_data(self) -> Segment:
        """Its first segment with payload.

        Raises:
            NotShown: it sent none.
        """
        for segment in self._own:
            if segment.len and not segment.has_rst:
                return self._show(segment)
        raise NotShown(f"the capture shows no data sent by the {self.end}")

    @property
    def fin(self) -> Segment:
        """Its FIN, the first time it was sent.

        Raises:
            NotShown: it sent none.
        """
        for segment in self._own:
            if segment.has_fin:
                return self._show(segment)
        raise NotShown(f"the capture shows no FIN of the {self.end}")

    @property
    def fin_ack(self) -> Segment:
        """The peer's first segment that acknowledges its FIN.

        Raises:
            NotShown: there is no FIN, or no ACK of it.
        """
        fin = self.fin
        acks, fin_end = self._conversation.positions("ack"), fin.relative[1]
        for segment in self._conversation.sent_by[other(self.end)]:
            if segment.has_ack and not segment.has_rst and acks[segment.row] >= fin_end:
                return self._show(segment)
        raise NotShown(f"the capture shows no ACK of the {self.end}'s FIN (frame {fin.frame})")

    @property
    def bytes(self) -> int:
        """How long its stream is as far as it was captured, in payload bytes; gaps count, repetitions do not."""
        conversation = self._conversation
        numbers, rows = conversation.numbers, conversation.rows
        own = rows.forward if self.end == "initiator" else ~rows.forward
        flags, length = (getattr(conversation.segments_columns, name)[rows.rows] for name in ("flags", "length"))
        ends = (numbers.end - (flags & FIN != 0))[own & (flags & RST == 0) & (length > 0)]
        return max(0, int(ends.max()) - 1) if len(ends) else 0

    def acks_of(self, position: int) -> Iterator[Segment]:
        """The peer's segments that acknowledge more than *position* of this stream, in order."""
        acks = self._conversation.positions("ack")
        for segment in self._conversation.sent_by[other(self.end)]:
            if segment.has_ack and acks[segment.row] > position:
                yield self._show(segment)
