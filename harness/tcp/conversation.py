"""A conversation: both ends, the segments between them, and what they amount to.

`Conversation` is what rubrics assert on. What the capture does not show raises `NotShown` from the accessor, so that
asserts are straight lines; a check that ran into it is *not shown*, never passed.
"""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.tcp import zeek
from harness.tcp.control import turned
from harness.tcp.ends import ENDS, End, other
from harness.tcp.flags import ACK, RST, SYN
from harness.tcp.relative import Relative, relative
from harness.tcp.segment import FIELDS, SHORTEST_TIMEOUT, TWICE, NotShown, Options, Segment, each_once
from harness.tcp.segments import ABSENT, Segments, bundles, capture_of, endpoint_text
from harness.tcp.splitting import EndKey, Rows, initiators, rows_of
from harness.tcp.states import State
from harness.tcp.stream import Stream
from harness.tcp.tracking import Tracker, completeness
from harness.tcp.verdict import Closer, Verdict, verdict
from harness.tcp.walk import Step, path

# What a rubric needs, from one place.
__all__ = [
    "ENDS", "SHORTEST_TIMEOUT", "TWICE", "Conversation", "End", "NotShown", "Options", "Segment", "Stream",
    "conversations", "conversations_of_many", "each_once", "other",
]  # fmt: skip

_BY_CHANCE = 7  # bytes: so many may be the same where nothing was sent again


class Conversation:
    """One conversation of a capture.

    Attributes:
        segments_columns: the capture's columns.
        rows: which rows are its own.
        numbers: their arithmetic.
        control_rows: which of its rows are control segments (harness.tcp.control).
        script: their codes.
        history: Zeek's history.
        completeness: Wireshark's tcp.completeness: 1 SYN, 2 SYN-ACK, 4 ACK, 8 data, 16 FIN, 32 RST.
        reuses_ports: whether an earlier conversation of the capture had the same addresses and ports.
        initiator: "IP:PORT" of the end that opened (RFC 9293: the active opener).
        responder: "IP:PORT" of the other end.
        looked_at: the frames handed out so far; see `fresh_view`.
    """

    def __init__(  # noqa: PLR0913
        self,
        columns: Segments,
        rows: Rows,
        numbers: Relative,
        control_rows: tuple[int, ...],
        script: tuple[int, ...],
        history: str,
        *,
        completeness: int,
        reuses_ports: bool,
    ) -> None:
        self.segments_columns = columns
        self.rows = rows
        self.numbers = numbers
        self.control_rows = control_rows
        self.script = script
        self.history = history
        self.completeness = completeness
        self.reuses_ports = reuses_ports
        self.looked_at: set[int] = set()
        self._columns: dict[str, list[int]] = {}
        self._positions: dict[str, list[int]] = {}
        self.initiator = endpoint_text(*rows.initiator, columns.ipv6)
        self.responder = endpoint_text(*rows.responder, columns.ipv6)

    def __repr__(self) -> str:
        # It stands in the messages of failed asserts, and these must be the same at every run.
        return f"<conversation {self.initiator} → {self.responder}>"

    # -- segments ------------------------------------------------------------------------------------------------

    def fresh_view(self, looked_at: set[int] | None = None) -> "Conversation":
        """The same conversation, with all that is worked out already, and nothing looked at yet.

        Args:
            looked_at: where to note what is looked at, if several share that.
        """
        # What every check needs is worked out once, for all views.
        _ = (
            self.sent_by,
            self.options_by_row,
            self.relative_by_row,
            self._all_frames,
            self.frames_of,
            self.first_fin,
            self.first_fin_ack,
            self.states_by_row,
            self._boundaries,
            self._verdict,
        )
        view = object.__new__(Conversation)
        view.__dict__.update(self.__dict__, looked_at=set() if looked_at is None else looked_at)
        return view

    def forget_segments(self) -> None:
        """Let go of the segments, which are made again when asked for.

        They refer to their conversation, and it to them: without this circle both are freed at once, and the garbage
        collector, which would need a tenth of a grading's time, finds nothing to do.
        """
        for name in ("rows_in_order", "sent_by", "first_fin", "first_fin_ack"):
            self.__dict__.pop(name, None)

    def column(self, name: str) -> list[int]:
        """One of the capture's columns, as far as it is this conversation's, as a list."""
        if name not in self._columns:
            self._columns[name] = getattr(self.segments_columns, name)[self.rows.rows].tolist()
        return self._columns[name]

    def positions(self, name: str) -> list[int]:
        """One of the columns of `numbers`, as a list."""
        if name not in self._positions:
            self._positions[name] = getattr(self.numbers, name).tolist()
        return self._positions[name]

    @cached_property
    def relative_by_row(self) -> list[tuple[int, int, int]]:
        """Where each of its segments begins and ends, and what it acknowledges: see `Relative`."""
        return list(zip(*map(self.positions, ("position", "end", "ack")), strict=True))

    @cached_property
    def forward(self) -> list[bool]:
        """For each of its rows, whether the initiator sent it."""
        found: list[bool] = self.rows.forward.tolist()
        return found

    @cached_property
    def rows_in_order(self) -> tuple[Segment, ...]:
        """All segments, without counting as looked at."""
        fields = zip(*(self.column(name) for name in FIELDS), strict=True)
        rows = enumerate(zip(self.forward, fields, self.positions("offset"), strict=True))
        return tuple(
            Segment(self, row, "initiator" if forward else "responder", values, offset)
            for row, (forward, values, offset) in rows
        )

    def shown(self, *segments: Segment) -> tuple[Segment, ...]:
        """Hand segments out: a check that gets them has looked at their frames."""
        self.looked_at.update([segment.frame for segment in segments])
        return segments

    def show(self, segment: Segment) -> Segment:
        """Hand one out, likewise."""
        self.looked_at.add(segment.frame)
        return segment

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All, in capture order."""
        self.looked_at.update(self._all_frames)
        return self.rows_in_order

    def sent(self, end: End) -> tuple[Segment, ...]:
        """All that an end sent."""
        self.looked_at.update(self.frames_of[end])
        return self.sent_by[end]

    def at(self, row: int) -> Segment:
        """The segment in a row of this conversation."""
        return self.rows_in_order[row]

    @cached_property
    def options_by_row(self) -> tuple[Options, ...]:
        """The TCP options of each of its segments."""
        mss, scale = ([None if it == ABSENT else it for it in self.column(name)] for name in ("mss", "wscale"))
        stamps = zip(self.column("tsval"), self.column("tsecr"), strict=True)
        timestamps = [None if ABSENT in both else both for both in stamps]
        permitted, sack = (map(bool, self.column(name)) for name in ("sack_permitted", "sack"))
        return tuple(map(Options, mss, scale, permitted, sack, timestamps))

    @cached_property
    def _all_frames(self) -> tuple[int, ...]:
        return tuple(sorted(self.column("frame")))

    @property
    def frames_looked_at(self) -> tuple[int, ...]:
        """`looked_at` in order."""
        everything = len(self.looked_at) == len(self._all_frames) and self.looked_at.issuperset(self._all_frames)
        return self._all_frames if everything else tuple(sorted(self.looked_at))

    @cached_property
    def sent_by(self) -> dict[End, tuple[Segment, ...]]:
        """What each end sent, without counting as looked at."""
        return {end: tuple(s for s in self.rows_in_order if s.sender == end) for end in ENDS}

    @cached_property
    def frames_of(self) -> dict[End, tuple[int, ...]]:
        """The frames of `sent_by`."""
        return {end: tuple([s.frame for s in self.sent_by[end]]) for end in ENDS}

    @cached_property
    def first_fin(self) -> dict[End, Segment | None]:
        """Each end's first FIN, without counting as looked at."""
        return {end: next((s for s in self.sent_by[end] if s.has_fin), None) for end in ENDS}

    @cached_property
    def first_fin_ack(self) -> dict[End, Segment | None]:
        """The peer's first segment that acknowledges each end's FIN, without counting as looked at."""
        acks, found = self.positions("ack"), dict[End, Segment | None].fromkeys(ENDS)
        for end, fin in self.first_fin.items():
            if fin is not None:
                stop = fin.relative[1]
                covering = (s for s in self.sent_by[other(end)] if acks[s.row] >= stop)
                found[end] = next((s for s in covering if s.has_ack and not s.has_rst), None)
        return found

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

    def _first(self, what: str, found: Iterable[Segment]) -> Segment:
        for segment in found:
            return self.show(segment)
        raise NotShown(f"the capture does not show {what}")

    @cached_property
    def _flags(self) -> NDArray[np.uint16]:
        return self.segments_columns.flags[self.rows.rows]

    @property
    def syn(self) -> Segment:
        """The initiator's first SYN.

        Raises:
            NotShown: it was not captured.
        """
        return self._first("the initiator's SYN", (s for s in self.sent_by["initiator"] if s.has_syn))

    @property
    def syn_ack(self) -> Segment:
        """The responder's first SYN with ACK.

        Raises:
            NotShown: it was not captured.
        """
        found = (s for s in self.sent_by["responder"] if s.has_syn and s.has_ack)
        return self._first("the responder's SYN-ACK", found)

    @property
    def handshake_ack(self) -> Segment:
        """The third step: the initiator's first segment after the SYN-ACK that is no SYN.

        Raises:
            NotShown: it, or the SYN-ACK, was not captured.
        """
        row = self.syn_ack.row
        found = (s for s in self.sent_by["initiator"] if s.row > row and not s.has_syn)
        return self._first("the third segment of the handshake", found)

    @property
    def resets(self) -> tuple[Segment, ...]:
        """All segments with RST."""
        return self.shown(*(s for s in self.rows_in_order if s.has_rst))

    # -- arithmetic ----------------------------------------------------------------------------------------------

    @cached_property
    def _boundaries(self) -> tuple[dict[int, int], dict[int, int]]:
        """For each end: position → the first row in which a segment begins or ends there."""
        found: tuple[dict[int, int], dict[int, int]] = ({}, {})
        starts, ends = self.positions("position"), self.positions("end")
        for row, forward in enumerate(self.forward):
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
        """Whether that end's segments captured after the row cover all from *start* to *stop*, and begin there.

        One may go on behind *stop* with what had been sent before it: what is sent again is cut anew.
        """
        sent = self.positions("sent")
        pieces = sorted(
            (a, b)
            for a, b, row in self._occupied(end)
            if row > after and start <= a < stop and (b <= stop or b <= sent[row])
        )
        reached = start
        for a, b in pieces:
            if a > reached:
                return False
            reached = max(reached, b)
        return reached >= stop

    def is_free(self, end: End, start: int, stop: int, before: int) -> bool:
        """Whether none of that end's segments captured before the row covers anything from *start* to *stop*."""
        return all(row >= before or b <= start or a >= stop for a, b, row in self._occupied(end))

    def has_bytes_sent_before(self, segment: Segment) -> bool:
        """Whether a segment has the same bytes as its sender's segments captured before had in the same places.

        A few may be the same by chance. Where the capture holds no bytes at all, they are taken for the same.
        """
        begin, stop = (self.positions(name)[segment.row] for name in ("position", "end"))
        held, same, comparable = self._bytes(segment.row), 0, False
        for a, b, row in self._occupied(segment.sender):
            if row >= segment.row or a >= stop or b <= begin:
                continue
            before = self._bytes(row)
            comparable = comparable or bool(held and before) or bool(self._flags[row] & SYN)
            first = max(a, begin)
            there, here = before[first - a :], held[first - begin :]
            size = min(len(there), len(here))
            if there[:size] != here[:size]:
                return False
            same += size
        return same > _BY_CHANCE or not comparable

    def _bytes(self, row: int) -> bytes:
        return self.segments_columns.payload(int(self.rows.rows[row])) or b""

    # -- what it amounts to --------------------------------------------------------------------------------------

    @cached_property
    def _verdict(self) -> Verdict:
        acks = (self._flags & (ACK | RST) == ACK) & self.rows.forward
        return verdict(self.script, initiator_acked=bool(acks.any()))

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Every event at either end, in order of the segments."""
        return tuple(Step(self.control_rows[step.row], *step[1:]) for step in self._verdict.steps)

    def states(self, end: End) -> tuple[State, ...]:
        """The states (RFC 9293 figure 5) that end went through, inferred from the segments."""
        index = ENDS.index(end)
        return tuple(path(self._verdict.first[index], self._verdict.steps, index))

    @cached_property
    def states_by_row(self) -> tuple[tuple[State, State], ...]:
        """Both ends' states after each segment."""
        now = list(self._verdict.first)
        by_row: list[tuple[State, State]] = []
        for step in self._verdict.steps:
            row = self.control_rows[step.row]
            by_row += [(now[0], now[1])] * (row - len(by_row))  # up to it, nothing has changed
            now[step.end] = step.state
        by_row += [(now[0], now[1])] * (len(self.rows.rows) - len(by_row))
        return tuple(by_row)

    @property
    def illegal(self) -> tuple[Step, ...]:
        """The steps that RFC 9293 does not know."""
        return tuple(step for step in self.steps if step.illegal)

    @property
    def open(self) -> str:
        """How it was opened: see `harness.tcp.verdict.Verdict`."""
        return self._verdict.open

    @property
    def close(self) -> str:
        """How it was closed: see `harness.tcp.verdict.Verdict`."""
        return self._verdict.close

    @property
    def closer(self) -> Closer | None:
        """The active closer: who sent the first FIN ("both" on a simultaneous close); on a reset who sent the RST."""
        return self._verdict.closer

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

    @property
    def conn_state(self) -> str:
        """Zeek's conn_state."""
        data = bool(self.segments_columns.length[self.rows.rows].any())
        return zeek.conn_state(self.script, self.history, data=data)


def conversations(segments: Segments, tracker: Tracker | None = None) -> list[Conversation]:
    """All conversations of a whole capture, in order of their first frame.

    Args:
        segments: the capture's columns.
        tracker: a new one, to be asked for the summaries too.
    """
    if not len(segments):
        return []
    tracker = tracker or Tracker()
    piece = tracker.take_all(segments)
    batch, control = piece.batch, piece.control
    low = initiators(segments, batch)
    numbers = relative(batch, piece.numbers, piece.ends, low)
    rows = rows_of(segments, batch)
    low_of = np.empty(len(low), np.bool_)
    low_of[batch.conversation] = low
    histories = zeek.histories(tracker.letters, low_of, tracker.known.whole["first_by_low"][: len(low)])
    stops = np.append(batch.start, len(batch.rows)).tolist()
    bounds = np.searchsorted(control.places, stops).tolist()
    group = batch.group[control.places]
    codes = turned(control.codes, low[group]).tolist()
    control_rows = (control.places - batch.start[group]).tolist()
    shown = completeness(tracker.known.whole[: len(rows)]).tolist()
    found: list[Conversation] = []
    used: set[frozenset[EndKey]] = set()
    for number, at in enumerate(np.argsort(batch.conversation).tolist()):
        script = slice(bounds[at], bounds[at + 1])
        ports = frozenset((rows[number].initiator, rows[number].responder))
        found.append(
            Conversation(
                segments,
                rows[number],
                numbers[at],
                tuple(control_rows[script]),
                tuple(codes[script]),
                histories[number],
                completeness=shown[number],
                reuses_ports=ports in used,
            )
        )
        used.add(ports)
    return found


def conversations_of_many(captures: list[Segments]) -> list[list[Conversation]]:
    """Each capture's conversations, as `conversations`: working out many small ones together costs a tenth."""
    found: list[list[Conversation]] = [[] for _ in captures]
    for places, segments in bundles(captures):
        for conversation in conversations(segments):
            found[places[capture_of(conversation.rows.initiator[0])]].append(conversation)
    return found
