"""One segment of a conversation, for asserts and messages: a view of one row of its columns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.tcp.arithmetic import NONE
from harness.tcp.flags import ACK, ADVISORY, FIN, RST, SYN
from harness.tcp.segments import ABSENT
from harness.tcp.values import Flags, Length, Seq, Where

if TYPE_CHECKING:
    from harness.tcp.conversation import Conversation
    from harness.tcp.ends import End


class NotShown(Exception):  # noqa: N818 - an outcome, not an error
    """The capture does not show what was asked for."""


@dataclass(frozen=True, slots=True)
class Options:
    """A segment's TCP options; None where one is absent.

    Attributes:
        mss: maximum segment size (RFC 9293 §3.7.1), bytes.
        window_scale: shift count (RFC 7323 §2).
        sack_permitted: RFC 2018.
        sack: whether SACK blocks are there.
        timestamps: (TSval, TSecr) (RFC 7323 §3).
    """

    mss: int | None
    window_scale: int | None
    sack_permitted: bool
    sack: bool
    timestamps: tuple[int, int] | None


class Segment:
    """One segment of a conversation: a view of one row."""

    __slots__ = ("_conversation", "_row", "frame", "sender")

    def __init__(self, conversation: "Conversation", row: int) -> None:
        self._conversation = conversation
        self._row = row
        self.frame = int(conversation.segments_columns.frame[conversation.rows.rows[row]])
        self.sender: End = "initiator" if conversation.rows.forward[row] else "responder"

    def _column(self, name: str) -> int:
        return self._conversation.column(name)[self._row]

    def _where(self, field: str) -> Where:
        return Where(self.frame, self.sender, field)

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame it was captured in."""
        return (self.frame,)

    @property
    def row(self) -> int:
        """Its place in the conversation, from 0."""
        return self._row

    @property
    def time(self) -> int:
        """When it was captured: nanoseconds since the epoch."""
        return self._column("time")

    @property
    def bits(self) -> int:
        """All its flags, as bits of `harness.tcp.flags`."""
        return self._column("flags")

    @property
    def flags(self) -> Flags:
        """All its flags, in tcpdump's letters."""
        return Flags(self.bits, self._where("flags"))

    @property
    def control(self) -> Flags:
        """Its flags without PSH and ECN's: what it does to the connection."""
        return Flags(self.bits & ~ADVISORY, self._where("flags"))

    @property
    def has_ack(self) -> bool:
        """Whether the flag ACK is set."""
        return bool(self.bits & ACK)

    @property
    def has_fin(self) -> bool:
        """Whether the flag FIN is set."""
        return bool(self.bits & FIN)

    @property
    def has_rst(self) -> bool:
        """Whether the flag RST is set."""
        return bool(self.bits & RST)

    @property
    def has_syn(self) -> bool:
        """Whether the flag SYN is set."""
        return bool(self.bits & SYN)

    @property
    def seq(self) -> Seq:
        """Its sequence number.

        Raises:
            NotShown: the capture does not hold it (tcpdump's text has none for an empty ACK).
        """
        if not self._column("seq_shown"):
            raise NotShown(f"the capture does not hold the seq of frame {self.frame}")
        return self._place

    @property
    def _place(self) -> Seq:
        return Seq(self._column("seq"), self._where("seq"))

    @property
    def ack(self) -> Seq:
        """Its acknowledgement number: the field as it stands, whether or not the flag ACK is set."""
        return Seq(self._column("ack"), self._where("ack"))

    @property
    def len(self) -> Length:
        """Its payload in bytes."""
        return Length(self._column("length"), self._where("length"))

    @property
    def window(self) -> int:
        """The window field, not scaled."""
        return self._column("window")

    @property
    def end(self) -> Seq:
        """The sequence number after it: seq + payload, + 1 for a SYN, + 1 for a FIN (RFC 9293 §3.4)."""
        end = self._place + int(self.len) if self.len else self._place
        return end + 1 if self.bits & (SYN | FIN) else end

    @property
    def relative(self) -> tuple[int, int, int | None]:
        """(seq, end, ack) counted from the ISNs, as in Wireshark; ack is None where the flag is off."""
        numbers, row = self._conversation.numbers, self._row
        ack = int(numbers.ack[row]) if self.has_ack else None
        return int(numbers.position[row]), int(numbers.end[row]), ack

    @property
    def expected_seq(self) -> Seq:
        """The number its sender had reached before it: where new data must begin."""
        before = int(self._conversation.numbers.sent_row[self._row])
        if before == NONE:
            return self._place
        return self._conversation.at(before).end

    @property
    def offset(self) -> int:
        """Its seq minus `expected_seq`: 0 in sequence, > 0 a gap before it, < 0 sent before."""
        numbers = self._conversation.numbers
        if numbers.sent_row[self._row] == NONE:
            return 0
        return int(numbers.position[self._row] - numbers.sent[self._row])

    @property
    def is_elsewhere(self) -> bool:
        """Whether it stands elsewhere than where its sender had got to, as far as the capture shows."""
        return bool(self._column("seq_shown")) and self.offset != 0

    @property
    def repeats(self) -> bool:
        """Whether all it occupies had been sent before, from a boundary: a retransmission."""
        conversation, row = self._conversation, self._row
        numbers = conversation.numbers
        if numbers.end[row] <= numbers.position[row] or numbers.end[row] > numbers.sent[row]:
            return False
        return conversation.is_boundary(self.sender, int(numbers.position[row]), before=row)

    @property
    def came_late(self) -> bool:
        """Whether it is an empty ACK that a later segment of its sender overtook.

        It stands where its sender's stream had once got to, and acknowledges nothing that is news any more. A host
        with two CPUs may well send an ACK on one of them while a program sends data on the other.
        """
        conversation, row = self._conversation, self._row
        numbers = conversation.numbers
        return (
            self.offset < 0
            and numbers.end[row] == numbers.position[row]
            and not self.has_rst
            and bool(numbers.ack[row] <= numbers.acked[row])
            and conversation.is_boundary(self.sender, int(numbers.position[row]), before=row)
        )

    @property
    def in_place(self) -> bool:
        """Whether its numbers fit its sender's stream.

        It begins where the stream had got to; or it is sent again, whole; or the network lost or reordered something:
        it leaves a hole that later segments fill exactly, or fills such a hole, or is an ACK that came late.
        """
        conversation, offset = self._conversation, self.offset
        if offset == 0 or self.repeats or self.came_late:
            return True
        numbers, row = conversation.numbers, self._row
        start, stop = int(numbers.position[row]), int(numbers.end[row])
        if offset > 0:
            return conversation.is_filled_later(self.sender, int(numbers.sent[row]), start, after=row)
        on_boundary = any(conversation.is_boundary(self.sender, place, before=row) for place in (start, stop))
        return stop > start and on_boundary and conversation.is_free(self.sender, start, stop, before=row)

    @property
    def sent_again_after(self) -> int | None:
        """How long after its sender had got this far it repeats some of that, in ns; None if it repeats nothing.

        A frame that was merely captured twice (equal in every field, IP identification included) repeats nothing.
        """
        conversation = self._conversation
        before = int(conversation.numbers.sent_row[self._row])
        if before == NONE or not (self.repeats or self.offset < 0) or self._is_copy_of(conversation.at(before)):
            return None
        return self.time - conversation.at(before).time

    def _is_copy_of(self, other_one: "Segment") -> bool:
        fields = ("ip_id", "seq", "ack", "flags", "window", "length", "tsval", "tsecr")
        return all(self._column(name) == other_one._column(name) for name in fields)  # noqa: SLF001 - of its own class

    @property
    def highest_sent_by_peer(self) -> Seq | None:
        """How far the other end had sent before it, None if nothing of that end was captured before."""
        row = int(self._conversation.numbers.peer_sent_row[self._row])
        return None if row == NONE else self._conversation.at(row).end

    @property
    def acked_before(self) -> Seq | None:
        """The highest ack its sender had sent before it, if any."""
        row = int(self._conversation.numbers.acked_row[self._row])
        return None if row == NONE else self._conversation.at(row).ack

    @property
    def options(self) -> Options:
        """Its TCP options.

        Raises:
            NotShown: the capture holds no options (a text listing may not).
        """
        if not self._conversation.segments_columns.options_shown:
            raise NotShown(f"the capture does not hold TCP options (frame {self.frame})")

        def present(name: str) -> int | None:
            value = self._column(name)
            return None if value == ABSENT else value

        tsval, tsecr = present("tsval"), present("tsecr")
        return Options(
            mss=present("mss"),
            window_scale=present("wscale"),
            sack_permitted=bool(self._column("sack_permitted")),
            sack=bool(self._column("sack")),
            timestamps=None if tsval is None or tsecr is None else (tsval, tsecr),
        )

    @property
    def payload(self) -> bytes:
        """Its payload's bytes.

        Raises:
            NotShown: the capture does not hold them all.
        """
        held = self._conversation.segments_columns.payload(int(self._conversation.rows.rows[self._row]))
        if held is None or len(held) < self.len:
            raise NotShown(f"the capture does not hold the payload of frame {self.frame}")
        return held

    def __repr__(self) -> str:
        seq, end, ack = self.relative
        acks = "" if ack is None else f" ack {ack}"
        return f"<frame {self.frame} {self.sender}: {self.flags} {seq}:{end}({int(self.len)}){acks}>"
