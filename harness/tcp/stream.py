"""All that one end of a conversation sent."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.tcp.ends import End, other
from harness.tcp.flags import FIN, RST
from harness.tcp.reassembly import Piece, Reassembled, reassembled
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

    def __repr__(self) -> str:
        return f"<stream of the {self.end} of {self._conversation}>"

    @property
    def segments(self) -> tuple[Segment, ...]:
        """In capture order.

        Raises:
            NotShown: there are none: the capture shows one direction only.
        """
        _ = self._own
        return self._conversation.sent(self.end)

    @property
    def _own(self) -> tuple[Segment, ...]:
        found = self._conversation.sent_by[self.end]
        if not found:
            raise NotShown(f"the capture shows no segment sent by the {self.end}")
        return found

    def _show(self, segment: Segment) -> Segment:
        return self._conversation.show(segment)

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
        _ = self._own
        fin = self._conversation.first_fin[self.end]
        if fin is None:
            raise NotShown(f"the capture shows no FIN of the {self.end}")
        return self._show(fin)

    @property
    def fin_ack(self) -> Segment:
        """The peer's first segment that acknowledges its FIN.

        Raises:
            NotShown: there is no FIN, or no ACK of it.
        """
        fin = self.fin
        answer = self._conversation.first_fin_ack[self.end]
        if answer is None:
            raise NotShown(f"the capture shows no ACK of the {self.end}'s FIN (frame {fin.frame})")
        return self._show(answer)

    @property
    def pieces(self) -> tuple[tuple[Segment, int], ...]:
        """Its data in capture order, and where each segment's first byte stands in the stream, from 0.

        A keep-alive is none: the byte that it may hold is no data (RFC 9293 §3.8.4).
        """
        places = self._conversation.positions("position")
        return tuple((s, places[s.row] + s.has_syn - 1) for s in self.data if not s.is_keep_alive)

    def _reassembled(self) -> Reassembled:
        return reassembled([Piece(begin, segment.payload) for segment, begin in self.pieces])

    @property
    def content(self) -> bytes:
        """Its bytes from the first to the last, put together by nothing but their numbers.

        Of what was sent several times what was captured first counts; see `contradictions`.

        Raises:
            NotShown: its SYN was not captured; bytes are missing; or the capture does not hold the payload.
        """
        _ = self.isn  # without it nobody knows which byte is the first
        ends = [begin + int(segment.len) for segment, begin in self.pieces]
        stop = max(ends + [segment.relative[1] - 2 for segment in self._own if segment.has_fin], default=0)
        found = bytearray()
        for begin, data in self._reassembled().runs:
            if begin > len(found):
                stop = begin
                break
            found += data[len(found) - begin :]
        if len(found) < stop:
            raise NotShown(f"the capture does not show bytes {len(found) + 1} to {stop} of the {self.end}")
        return bytes(found)

    @property
    def contradictions(self) -> tuple[tuple[Segment, int], ...]:
        """The segments whose bytes differ from those captured before under the same numbers: where in the stream first.

        Raises:
            NotShown: the capture does not hold the payload.
        """
        pieces = self.pieces
        return tuple((pieces[place][0], position) for place, position in self._reassembled().contradictions)

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
