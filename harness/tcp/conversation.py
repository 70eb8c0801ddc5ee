"""A conversation: both ends, the segments between them, and what they amount to.

`Conversation` is what rubrics assert on. What the capture does not show raises `NotShown` from the accessor, so that
asserts are straight lines; a check that ran into it is *not shown*, never passed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from harness.tcp import walk, zeek
from harness.tcp.arithmetic import NONE, Arithmetic, arithmetic
from harness.tcp.flags import ACK, ADVISORY, FIN, RST, SYN
from harness.tcp.segments import ABSENT, Segments, address_text
from harness.tcp.splitting import Rows, split
from harness.tcp.states import State
from harness.tcp.values import Flags, Length, Seq, Where

End = Literal["initiator", "responder"]
ENDS: tuple[End, End] = ("initiator", "responder")


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
        """Its sequence number."""
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
        end = self.seq + int(self.len) if self.len else self.seq
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
            return self.seq
        return self._conversation.at(before).end

    @property
    def offset(self) -> int:
        """Its seq minus `expected_seq`: 0 in sequence, > 0 a gap before it, < 0 sent before."""
        numbers = self._conversation.numbers
        if numbers.sent_row[self._row] == NONE:
            return 0
        return int(numbers.position[self._row] - numbers.sent[self._row])

    @property
    def repeats(self) -> bool:
        """Whether all it occupies had been sent before, from a boundary: a retransmission."""
        conversation, row = self._conversation, self._row
        numbers = conversation.numbers
        if numbers.end[row] <= numbers.position[row] or numbers.end[row] > numbers.sent[row]:
            return False
        return conversation.is_boundary(self.sender, int(numbers.position[row]), before=row)

    @property
    def in_place(self) -> bool:
        """Whether its numbers fit its sender's stream.

        It begins where the stream had got to; or it is sent again, whole; or it came early or late: it leaves a hole
        that later segments fill exactly, or fills such a hole (the network lost or reordered something).
        """
        conversation, offset = self._conversation, self.offset
        if offset == 0 or self.repeats:
            return True
        numbers, row = conversation.numbers, self._row
        start, stop = int(numbers.position[row]), int(numbers.end[row])
        if offset > 0:
            return conversation.is_filled_later(self.sender, int(numbers.sent[row]), start, after=row)
        return (
            stop > start
            and conversation.is_free(self.sender, start, stop, before=row)
            and conversation.is_boundary(self.sender, start, before=row)
        )

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


def other(end: End) -> End:
    """The other end."""
    return "responder" if end == "initiator" else "initiator"


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
        found = tuple(s for s in self._conversation.rows_in_order if s.sender == self.end)
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
        for segment in self._conversation.rows_in_order:
            if segment.sender == self.end and segment.has_syn:
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
        numbers = self._conversation.numbers
        for segment in self._conversation.rows_in_order:
            if (
                segment.sender != self.end
                and segment.has_ack
                and not segment.has_rst
                and numbers.ack[segment.row] >= numbers.end[fin.row]
            ):
                return self._show(segment)
        raise NotShown(f"the capture shows no ACK of the {self.end}'s FIN (frame {fin.frame})")

    @property
    def bytes(self) -> int:
        """Payload bytes, each counted once."""
        numbers, rows = self._conversation.numbers, self._conversation.rows
        own = rows.forward if self.end == "initiator" else ~rows.forward
        flags = self._conversation.segments_columns.flags[rows.rows]
        ends = numbers.end[own & (flags & RST == 0)]
        if not len(ends):
            return 0
        fin = bool((flags[own] & FIN != 0).any())
        return max(0, int(ends.max()) - 1 - fin)

    def acks_of(self, position: int) -> Iterator[Segment]:
        """The peer's segments that acknowledge more than *position* of this stream, in order."""
        numbers = self._conversation.numbers
        for segment in self._conversation.rows_in_order:
            if segment.sender != self.end and segment.has_ack and numbers.ack[segment.row] > position:
                yield self._show(segment)


class Conversation:
    """One conversation of a capture.

    Attributes:
        segments_columns: the capture's columns.
        rows: which rows are its own.
        numbers: their arithmetic.
        initiator: "IP:PORT" of the end that opened (RFC 9293: the active opener).
        responder: "IP:PORT" of the other end.
        looked_at: the frames handed out so far; see `fresh_view`.
    """

    def __init__(self, columns: Segments, rows: Rows) -> None:
        self.segments_columns = columns
        self.rows = rows
        self.numbers: Arithmetic = arithmetic(columns, rows)
        self.looked_at: set[int] = set()
        self._columns: dict[str, list[int]] = {}
        self.initiator = f"{address_text(rows.initiator[0])}:{rows.initiator[1]}"
        self.responder = f"{address_text(rows.responder[0])}:{rows.responder[1]}"

    # -- segments ------------------------------------------------------------------------------------------------

    def fresh_view(self) -> "Conversation":
        """The same conversation, with all that is worked out already, and nothing looked at yet."""
        # What every check needs is worked out once, for all views.
        _ = self.rows_in_order, self.states_by_row, self._boundaries, self.close
        view = object.__new__(Conversation)
        view.__dict__.update(self.__dict__, looked_at=set())
        return view

    def column(self, name: str) -> list[int]:
        """One of the capture's columns, as far as it is this conversation's, as a list."""
        if name not in self._columns:
            self._columns[name] = getattr(self.segments_columns, name)[self.rows.rows].tolist()
        return self._columns[name]

    @cached_property
    def rows_in_order(self) -> tuple[Segment, ...]:
        """All segments, without counting as looked at."""
        return tuple(Segment(self, row) for row in range(len(self.rows.rows)))

    def shown(self, *segments: Segment) -> tuple[Segment, ...]:
        """Hand segments out: a check that gets them has looked at their frames."""
        self.looked_at.update(segment.frame for segment in segments)
        return segments

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All, in capture order."""
        return self.shown(*self.rows_in_order)

    def at(self, row: int) -> Segment:
        """The segment in a row of this conversation."""
        return self.rows_in_order[row]

    @property
    def initiator_stream(self) -> Stream:
        """What the initiator sent."""
        return Stream(self, "initiator")

    @property
    def responder_stream(self) -> Stream:
        """What the responder sent."""
        return Stream(self, "responder")

    def stream(self, end: End) -> Stream:
        """What one end sent."""
        return Stream(self, end)

    @property
    def streams(self) -> tuple[Stream, Stream]:
        """Both, the initiator's first."""
        return self.initiator_stream, self.responder_stream

    def _first(self, sender: End, what: str, rows: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Segment:
        own = self.rows.forward if sender == "initiator" else ~self.rows.forward
        found = np.flatnonzero(own & rows)
        if not len(found):
            raise NotShown(f"the capture does not show {what}")
        return self.shown(self.at(int(found[0])))[0]

    @cached_property
    def _flags(self) -> "np.ndarray[tuple[int], np.dtype[np.uint16]]":
        return self.segments_columns.flags[self.rows.rows]

    @property
    def syn(self) -> Segment:
        """The initiator's first SYN.

        Raises:
            NotShown: it was not captured.
        """
        return self._first("initiator", "the initiator's SYN", self._flags & SYN != 0)

    @property
    def syn_ack(self) -> Segment:
        """The responder's first SYN with ACK.

        Raises:
            NotShown: it was not captured.
        """
        return self._first("responder", "the responder's SYN-ACK", self._flags & (SYN | ACK) == (SYN | ACK))

    @property
    def handshake_ack(self) -> Segment:
        """The third step: the initiator's first segment after the SYN-ACK that is no SYN.

        Raises:
            NotShown: it, or the SYN-ACK, was not captured.
        """
        after = np.arange(len(self._flags)) > self.syn_ack.row
        return self._first("initiator", "the third segment of the handshake", after & (self._flags & SYN == 0))

    @property
    def resets(self) -> tuple[Segment, ...]:
        """All segments with RST."""
        return self.shown(*(s for s in self.rows_in_order if s.has_rst))

    # -- arithmetic ----------------------------------------------------------------------------------------------

    @cached_property
    def _boundaries(self) -> tuple[dict[int, int], dict[int, int]]:
        """For each end: position → the first row in which a segment begins or ends there."""
        found: tuple[dict[int, int], dict[int, int]] = ({}, {})
        starts, ends = self.numbers.position.tolist(), self.numbers.end.tolist()
        for row, forward in enumerate(self.rows.forward.tolist()):
            place = found[0 if forward else 1]
            place.setdefault(starts[row], row)
            place.setdefault(ends[row], row)
        return found

    def is_boundary(self, end: End, position: int, *, before: int) -> bool:
        """Whether one of that end's segments captured before the row begins or ends at the position."""
        return self._boundaries[ENDS.index(end)].get(position, before) < before

    def _occupied(self, end: End) -> list[tuple[int, int, int]]:
        """(begin, end, row) of each of that end's segments that occupies any numbers."""
        own = self.rows.forward if end == "initiator" else ~self.rows.forward
        rows = np.flatnonzero(own & (self._flags & RST == 0) & (self.numbers.end > self.numbers.position))
        return list(
            zip(
                self.numbers.position[rows].tolist(),
                self.numbers.end[rows].tolist(),
                rows.tolist(),
                strict=True,
            )
        )

    def is_filled_later(self, end: End, start: int, stop: int, after: int) -> bool:
        """Whether that end's segments captured after the row cover all from *start* to *stop*, and begin there."""
        pieces = sorted((a, b) for a, b, row in self._occupied(end) if row > after and a >= start and b <= stop)
        reached = start
        for a, b in pieces:
            if a > reached:
                return False
            reached = max(reached, b)
        return reached == stop

    def is_free(self, end: End, start: int, stop: int, before: int) -> bool:
        """Whether none of that end's segments captured before the row covers anything from *start* to *stop*."""
        return all(row >= before or b <= start or a >= stop for a, b, row in self._occupied(end))

    # -- what it amounts to --------------------------------------------------------------------------------------

    @cached_property
    def _walk(self) -> tuple[tuple[State, State], list[walk.Step]]:
        return walk.walk(self.segments_columns, self.rows, self.numbers)

    def states(self, end: End) -> tuple[State, ...]:
        """The states (RFC 9293 figure 5) that end went through, inferred from the segments."""
        first, steps = self._walk
        index = ENDS.index(end)
        return tuple(walk.path(first[index], steps, index))

    @cached_property
    def states_by_row(self) -> tuple[tuple[State, State], ...]:
        """Both ends' states after each segment."""
        first, steps = self._walk
        now = list(first)
        by_row: list[tuple[State, State]] = []
        waiting = iter(steps)
        pending = next(waiting, None)
        for row in range(len(self.rows.rows)):
            while pending is not None and pending.row == row:
                now[pending.end] = pending.state
                pending = next(waiting, None)
            by_row.append((now[0], now[1]))
        return tuple(by_row)

    @property
    def illegal(self) -> tuple[walk.Step, ...]:
        """The steps that RFC 9293 does not know."""
        return tuple(taken for taken in self._walk[1] if taken.illegal)

    @cached_property
    def open(self) -> str:
        """How it was opened.

        "three-way"; "simultaneous" (both sent a SYN of their own); "refused" (RST answers the SYN); "unanswered";
        "incomplete" (no third step); "not-shown" (the capture starts later).
        """
        bits, forward = self._flags, self.rows.forward
        syn, syn_ack = bits & (SYN | ACK) == SYN, bits & (SYN | ACK) == (SYN | ACK)
        if not (forward & syn).any():
            return "not-shown"
        acks = (bits & ACK != 0) & (bits & RST == 0) & (self.numbers.ack >= 1)
        if (~forward & syn).any() and (acks & forward).any() and (acks & ~forward).any():
            return "simultaneous"
        if (~forward & syn_ack).any():
            return "three-way" if (forward & acks).any() else "incomplete"
        if (~forward & (bits & RST != 0)).any():
            return "refused"
        if not (~forward).any() and not acks.any():
            return "unanswered"
        return "incomplete" if (~forward & syn).any() else "not-shown"

    def _fins(self) -> tuple[Segment | None, Segment | None]:
        def fin(stream: Stream) -> Segment | None:
            try:
                return stream.fin
            except NotShown:
                return None

        return fin(self.initiator_stream), fin(self.responder_stream)

    def _acceptable_reset(self) -> Segment | None:
        """The first RST that its receiver had to take before both FINs were acknowledged."""
        for taken in self._walk[1]:
            if taken.event == "rcv-RST" and taken.illegal is None and taken.state in (State.CLOSED, State.LISTEN):
                before = self.states_by_row[taken.row - 1][taken.end] if taken.row else State.CLOSED
                if before not in (State.CLOSED, State.LISTEN, State.TIME_WAIT):
                    return self.at(taken.row)
        return None

    @cached_property
    def close(self) -> str:
        """How it was closed.

        "four-segment": the second FIN acknowledges the first, which an earlier segment had already acknowledged;
        "three-segment": the second FIN is the first to acknowledge the first; "simultaneous": neither FIN
        acknowledges the other; "half-closed": one FIN; "reset": an acceptable RST before both FINs were
        acknowledged; "open": none of these.
        """
        fins = self._fins()
        if self._acceptable_reset() is not None:
            return "reset"
        if fins[0] is None or fins[1] is None:
            return "open" if fins[0] is fins[1] else "half-closed"
        first, second = sorted((fins[0], fins[1]), key=lambda segment: segment.row)
        numbers = self.numbers
        covered = int(numbers.end[first.row])
        if not second.has_ack or numbers.ack[second.row] < covered:
            return "simultaneous"
        already = int(numbers.acked[second.row])
        return "four-segment" if already >= covered else "three-segment"

    @cached_property
    def closer(self) -> Literal["initiator", "responder", "both"] | None:
        """The active closer: who sent the first FIN ("both" on a simultaneous close); on a reset who sent the RST."""
        if self.close == "simultaneous":
            return "both"
        if self.close == "reset":
            reset = self._acceptable_reset()
            return None if reset is None else reset.sender
        fins = [fin for fin in self._fins() if fin is not None]
        return min(fins, key=lambda segment: segment.row).sender if fins else None

    @property
    def active_closers(self) -> tuple[End, ...]:
        """Who must hold TIME-WAIT (RFC 9293 §3.6): the active closer, or both."""
        if self.closer == "both":
            return ENDS
        return () if self.closer is None or self.close == "reset" else (self.closer,)

    @cached_property
    def is_over(self) -> bool:
        """Whether nothing more is to come: both FINs acknowledged, or an acceptable RST."""
        if self.close == "reset":
            return True
        try:
            return all(bool(stream.fin_ack) for stream in self.streams)
        except NotShown:
            return False

    @cached_property
    def _zeek(self) -> tuple[str, str]:
        return zeek.describe(self.segments_columns, self.rows, self.numbers)

    @property
    def conn_state(self) -> str:
        """Zeek's conn_state."""
        return self._zeek[0]

    @property
    def history(self) -> str:
        """Zeek's history."""
        return self._zeek[1]

    @cached_property
    def completeness(self) -> int:
        """Wireshark's tcp.completeness: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST."""
        bits = self._flags
        length = self.segments_columns.length[self.rows.rows]
        plain_ack = (bits & ACK != 0) & (bits & (SYN | FIN | RST) == 0)
        seen = (
            (bits & (SYN | ACK) == SYN).any(),
            (bits & (SYN | ACK) == (SYN | ACK)).any(),
            plain_ack.any(),
            (length > 0).any(),
            (bits & FIN != 0).any(),
            (bits & RST != 0).any(),
        )
        return sum(1 << bit for bit, there in enumerate(seen) if there)


def conversations(segments: Segments) -> list[Conversation]:
    """All conversations of a capture, in order of their first frame."""
    return [Conversation(segments, rows) for rows in split(segments)]
