"""One segment of a conversation, for asserts and messages: a view of one row of its columns."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from harness.tcp.flags import ACK, ADVISORY, FIN, RST, SYN
from harness.tcp.known import NONE
from harness.tcp.values import Flags, Length, Seq

if TYPE_CHECKING:
    from harness.tcp.conversation import Conversation
    from harness.tcp.ends import End


class NotShown(Exception):  # noqa: N818 - an outcome, not an error
    """The capture does not show what was asked for."""


FIELDS = ("frame", "time", "flags", "seq", "seq_shown", "ack", "length", "window")


TWICE = 8_000_000  # ns: a frame captured twice comes twice within that, and nothing is sent again so soon
# ns. No system in wide use waits less before it sends again: FreeBSD 30 ms (net.inet.tcp.rexmit_min), Linux 200 ms.
SHORTEST_TIMEOUT = 30_000_000


class Options(NamedTuple):
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
    """One segment of a conversation: a view of one row.

    Rubrics ask the same of every segment again and again: what most of them ask is worked out at once.

    Attributes:
        row: its place in the conversation, from 0.
        frame: the frame it was captured in.
        sender: which end sent it.
        time: when it was captured: nanoseconds since the epoch.
        bits: all its flags, as bits of `harness.tcp.flags`.
        has_ack: whether that flag is set; likewise has_fin, has_rst and has_syn.
        control: its flags without PSH and ECN's: what it does to the connection, in tcpdump's letters.
        ack: its acknowledgement number: the field as it stands, whether or not the flag ACK is set.
        len: its payload in bytes.
        end: the sequence number after it: seq + payload, + 1 for a SYN, + 1 for a FIN (RFC 9293 §3.4).
        offset: its seq minus `expected_seq`: 0 in sequence, > 0 a gap before it, < 0 sent before.
        window: the window field, not scaled.
    """

    __slots__ = (
        "_conversation", "_place", "_seq_shown", "ack", "bits", "control", "end", "frame",
        "has_ack", "has_fin", "has_rst", "has_syn", "len", "offset", "row", "sender", "time", "window",
    )  # fmt: skip

    def __init__(
        self,
        conversation: "Conversation",
        row: int,
        sender: "End",
        fields: tuple[int, int, int, int, int, int, int, int],
        offset: int,
    ) -> None:
        """Make one from the values of `FIELDS`."""
        frame, time, bits, seq, seq_shown, ack, length, window = fields
        self._conversation = conversation
        self.row = row
        self.frame = frame
        self.sender: End = sender
        self.time = time
        self.bits = bits
        self.has_ack = bits & ACK != 0
        self.has_fin = bits & FIN != 0
        self.has_rst = bits & RST != 0
        self.has_syn = bits & SYN != 0
        self.control = Flags(bits & ~ADVISORY, (frame, sender, "flags"))
        place = (frame, sender, "seq")
        self._place = Seq(seq, place)
        self._seq_shown = seq_shown
        self.ack = Seq(ack, (frame, sender, "ack"))
        self.len = Length(length, (frame, sender, "length"))
        if bits & (SYN | FIN):
            self.end = Seq(seq + length + 1, place, (length, 1) if length else (1,))
        else:
            self.end = Seq(seq + length, place, (length,)) if length else self._place
        self.offset = offset
        self.window = window

    def _column(self, name: str) -> int:
        return self._conversation.column(name)[self.row]

    def _position(self, name: str) -> int:
        return self._conversation.positions(name)[self.row]

    @property
    def frames(self) -> tuple[int, ...]:
        """The frame it was captured in, as a tuple."""
        return (self.frame,)

    @property
    def flags(self) -> Flags:
        """All its flags, in tcpdump's letters."""
        return Flags(self.bits, (self.frame, self.sender, "flags"))

    @property
    def seq(self) -> Seq:
        """Its sequence number.

        Raises:
            NotShown: the capture does not hold it (tcpdump's text has none for an empty ACK).
        """
        if not self._seq_shown:
            raise NotShown(f"the capture does not hold the seq of frame {self.frame}")
        return self._place

    @property
    def relative(self) -> tuple[int, int, int | None]:
        """(seq, end, ack) counted from the ISNs, as in Wireshark; ack is None where the flag is off."""
        position, end, ack = self._conversation.relative_by_row[self.row]
        return position, end, ack if self.has_ack else None

    @property
    def expected_seq(self) -> Seq:
        """The number its sender had reached before it: where new data must begin."""
        before = self._position("sent_row")
        if before == NONE:
            return self._place
        return self._conversation.at(before).end

    @property
    def is_elsewhere(self) -> bool:
        """Whether it stands elsewhere than where its sender had got to, as far as the capture shows."""
        return bool(self._seq_shown) and self.offset != 0

    @property
    def repeats(self) -> bool:
        """Whether all it occupies had been sent before, from a boundary: a retransmission."""
        if self.offset >= 0:
            return False
        position, end = self._position("position"), self._position("end")
        if end <= position or end > self._position("sent"):
            return False
        return self._conversation.is_boundary(self.sender, position, before=self.row)

    @property
    def came_late(self) -> bool:
        """Whether it is an empty ACK that a later segment of its sender overtook.

        It stands where its sender's stream had once got to, and acknowledges nothing that is news any more. A host
        with two CPUs may well send an ACK on one of them while a program sends data on the other.
        """
        if self.offset >= 0:
            return False
        position = self._position("position")
        return (
            self._position("end") == position
            and not self.has_rst
            and self._position("ack") <= self._position("acked")
            and self._conversation.is_boundary(self.sender, position, before=self.row)
        )

    @property
    def is_keep_alive(self) -> bool:
        """Whether it only asks for an ACK: the last number sent again, with no byte or with any (RFC 9293 §3.8.4)."""
        if self.offset != -1 or self.has_syn or self.has_fin or self.has_rst:
            return False
        return self.len <= 1

    @property
    def in_place(self) -> bool:
        """Whether its numbers fit its sender's stream.

        It begins where the stream had got to; or it is sent again, whole; or the network lost or reordered something:
        it leaves a hole that later segments fill exactly, or fills such a hole, or is an ACK that came late; or it is
        sent again with what had been lost behind it, in one segment: time and bytes say so.
        """
        conversation, offset = self._conversation, self.offset
        if offset == 0 or self.repeats or self.came_late:
            return True
        row, start, stop = self.row, self._position("position"), self._position("end")
        if offset > 0:
            return conversation.is_filled_later(self.sender, self._position("sent"), start, after=row)
        began, ended = (conversation.is_boundary(self.sender, place, before=row) for place in (start, stop))
        if began and ended:  # what is sent again fills a hole and goes on
            return stop > start
        if began and stop > self._position("sent") and not self.has_syn:  # what is sent again may be cut anew
            late = (self.sent_again_after or 0) >= SHORTEST_TIMEOUT
            return late and conversation.has_bytes_sent_before(self)
        return stop > start and (began or ended) and conversation.is_free(self.sender, start, stop, before=row)

    @property
    def sent_again_after(self) -> int | None:
        """How long after its sender had got this far it repeats some of that, in ns; None if it repeats nothing.

        A frame that was merely captured twice (equal in every field, IP identification included) repeats nothing.
        """
        if self.offset >= 0:
            return None
        conversation, before = self._conversation, self._position("sent_row")
        if before == NONE or self._is_copy_of(conversation.at(before)):
            return None
        return self.time - conversation.at(before).time

    @property
    def is_copy(self) -> bool:
        """Whether it is a frame that was captured twice: its sender's equal one stands shortly before it."""
        conversation = self._conversation
        before = (conversation.at(row) for row in range(max(0, self.row - 3), self.row))
        return any(one.sender == self.sender and self._is_copy_of(one) for one in before)

    def _is_copy_of(self, other_one: "Segment") -> bool:
        fields = ("ip_id", "seq", "ack", "flags", "window", "length", "tsval", "tsecr")
        return all(self._column(name) == other_one._column(name) for name in fields)  # noqa: SLF001 - of its own class

    @property
    def highest_sent_by_peer(self) -> Seq | None:
        """How far the other end had sent before it, None if nothing of that end was captured before."""
        row = self._conversation.positions("peer_sent_row")[self.row]
        return None if row == NONE else self._conversation.rows_in_order[row].end

    @property
    def acked_before(self) -> Seq | None:
        """The highest ack its sender had sent before it, if any."""
        row = self._conversation.positions("acked_row")[self.row]
        return None if row == NONE else self._conversation.rows_in_order[row].ack

    @property
    def options(self) -> Options:
        """Its TCP options.

        Raises:
            NotShown: the capture holds no options (a text listing may not).
        """
        if not self._conversation.segments_columns.options_shown:
            raise NotShown(f"the capture does not hold TCP options (frame {self.frame})")
        return self._conversation.options_by_row[self.row]

    @property
    def payload(self) -> bytes:
        """Its payload's bytes.

        Raises:
            NotShown: the capture does not hold them all.
        """
        held = self._conversation.segments_columns.payload(int(self._conversation.rows.rows[self.row]))
        if held is None or len(held) < self.len:
            raise NotShown(f"the capture does not hold the payload of frame {self.frame}")
        return held

    def __repr__(self) -> str:
        seq, end, ack = self.relative
        acks = "" if ack is None else f" ack {ack}"
        return f"<frame {self.frame} {self.sender}: {self.flags} {seq}:{end}({int(self.len)}){acks}>"


def each_once(segments: Iterable[Segment]) -> list[Segment]:
    """Without frames that were merely captured twice.

    What a kernel sends for no socket, or for one in TIME-WAIT, may be equal in all: it has no numbers of a stream of IP
    packets, and without timestamps nothing but the time tells two such segments from one that was captured twice.
    """
    found: list[Segment] = []
    for segment in segments:
        same = (one for one in reversed(found) if one.bits == segment.bits and one.relative == segment.relative)
        before = next((one for one in same if one.sender == segment.sender), None)
        if not (before and segment.is_copy and segment.time - before.time < TWICE):
            found.append(segment)
    return found
