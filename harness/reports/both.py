"""Two captures of one connection as one ladder: both.txt and vantage.json of a run folder."""

from collections.abc import Iterator
from typing import Any

from harness.language import _
from harness.messages import translated
from harness.reports.columns import right
from harness.reports.ladder import labels
from harness.tcp.conversation import Conversation, Segment, other
from harness.tcp.vantage import Clocks, Crossing, Joined, Sight, join, sights

SCHEMA = "tcp-lab/vantage/v1"
_WIRE = 13
_TIME = 10
_FRAME = 4


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.6f}"


def _span(nanoseconds: int) -> str:
    """A short time, in the unit that suits it."""
    if abs(nanoseconds) < 10_000_000:
        return f"{nanoseconds / 1e3:.0f} µs"
    return f"{nanoseconds / 1e6:.1f} ms"


class BothViews:
    """One connection, captured on both hosts.

    Args:
        near: as the initiator's host captured it.
        far: as the responder's host did.
    """

    def __init__(self, near: Conversation, far: Conversation) -> None:
        self.near = near
        self._views = {"initiator": near, "responder": far}
        self.joined: Joined = join(sights(near, near.initiator), sights(far, near.initiator))

    def segment(self, crossing: Crossing) -> Segment:
        """The segment itself, by its sender's capture if that has it."""
        if crossing.sent:
            return self._views[crossing.sender].rows_in_order[crossing.sent.row]
        return self._views[other(crossing.sender)].rows_in_order[crossing.arrived[0].row]

    @property
    def lost(self) -> list[Crossing]:
        """What was sent and never arrived."""
        return [one for one in self.joined.crossings if one.is_lost]

    @property
    def repeated(self) -> list[Crossing]:
        """What arrived more than once."""
        return [one for one in self.joined.crossings if one.times_arrived > 1]

    @property
    def unsent(self) -> list[Crossing]:
        """What arrived, and was not seen being sent."""
        return [one for one in self.joined.crossings if one.sent is None]

    def document(self) -> dict[str, Any]:
        """vantage.json; times are seconds since the epoch by the host that captured, spans are seconds."""
        clocks = self.joined.clocks

        def seen(sight: Sight) -> dict[str, Any]:
            return {"frame": sight.frame, "time": sight.time / 1e9}

        segments = []
        for one in self.joined.crossings:
            segment, wire = self.segment(one), self.joined.on_the_wire(one)
            begin, end, ack = segment.relative
            segments.append(
                {
                    "sender": one.sender,
                    "flags": str(segment.flags),
                    "seq": begin,
                    "end": end,
                    "ack": ack,
                    "length": int(segment.len),
                    "sent": seen(one.sent) if one.sent else None,
                    "arrived": [seen(sight) for sight in one.arrived],
                    "in_pieces": one.in_pieces,
                    "on_the_wire": None if wire is None else wire / 1e9,
                    "lost": one.is_lost,
                }
            )
        return {
            "schema": SCHEMA,
            "initiator": self.near.initiator,
            "responder": self.near.responder,
            "clocks": clocks
            and {
                "responder_ahead": clocks.ahead / 1e9,
                "within": clocks.within / 1e9,
                "agree": clocks.agree,
            },
            "segments": segments,
            "lost": len(self.lost),
            "arrived_again": len(self.repeated),
            "not_seen_sent": len(self.unsent),
        }

    def _ends_of(self, crossing: Crossing) -> tuple[Sight | None, Sight | None]:
        """The sights at the initiator's and at the responder's host."""
        arrived = crossing.arrived[0] if crossing.arrived else None
        return (crossing.sent, arrived) if crossing.sender == "initiator" else (arrived, crossing.sent)

    def said(self, crossing: Crossing) -> str:
        """What is to be said of a segment's way: how long it took, or that it never arrived."""
        if crossing.is_lost:
            return _("never arrived")
        if crossing.sent is None:
            return _("not seen sent")
        wire = self.joined.on_the_wire(crossing)
        words = "?" if wire is None else _span(wire)
        return f"{words} ×{crossing.times_arrived}" if crossing.times_arrived > 1 else words

    def lines(self, width: int, doubt: str | None = None) -> Iterator[tuple[str, str]]:
        """The ladder with its styles; each line has the times at both hosts, both by the initiator's clock.

        Args:
            width: columns.
            doubt: why the responder's capture may lack something.
        """
        yield from ((line, "bold" if doubt and not number else "") for number, line in enumerate(self.told(doubt)))
        yield "", ""
        side = _TIME + 1 + _FRAME
        middle = width - 2 * side - _WIRE - 3
        yield f"{self.near.initiator:<{side + middle // 2}}{self.near.responder:>{middle - middle // 2 + side}}", "bold"
        seconds, number = right(_("seconds"), _TIME), f"{'#':>{_FRAME}}"
        yield f"{seconds} {number}{'':{middle + 2}}{number} {seconds}", "bold"
        began: int | None = None
        for one in self.joined.crossings:
            seen = []
            for sight, end in zip(self._ends_of(one), ("initiator", "responder"), strict=True):
                if sight is None:
                    seen.append(("", ""))
                    continue
                time = self.joined.by_initiators_clock(sight, at="initiator" if end == "initiator" else "responder")
                began = time if began is None else began
                seen.append((_seconds(time - began), str(sight.frame)))
            (left_time, left_frame), (right_time, right_frame) = seen
            here = f"{left_time:>{_TIME}} {left_frame:>{_FRAME}}"
            there = f"{right_frame:>{_FRAME}} {right_time:>{_TIME}}"
            arrow = _arrow(self.segment(one), one, middle)
            yield f"{here} {arrow} {there} {right(self.said(one), _WIRE)}", "red" if one.is_lost else ""
        yield "", ""
        yield from ((line, "") for line in self.summary())

    def told(self, doubt: str | None = None) -> Iterator[str]:
        """What is to be known before one looks: what may be missing, and how the clocks were matched."""
        if doubt:
            yield _("What never arrived may have arrived all the same: on the responder's host {doubt}").format(
                doubt=translated(doubt)
            )
        yield from _told(self.joined.clocks)

    def summary(self) -> Iterator[str]:
        """How many segments were lost or came twice, and how long they took."""
        total = len(self.joined.crossings)
        yield _(
            "{total} segments: {lost} never arrived, {repeated} arrived more than once, {unsent} not seen being sent"
        ).format(total=total, lost=len(self.lost), repeated=len(self.repeated), unsent=len(self.unsent))
        for end in ("initiator", "responder"):
            wires = [
                wire
                for one in self.joined.crossings
                if one.sender == end and (wire := self.joined.on_the_wire(one)) is not None
            ]
            if wires:
                wires.sort()
                yield _("from the {end}: {least} to {most} on the wire, the middle one {middle}").format(
                    end=translated(end),
                    least=_span(wires[0]),
                    most=_span(wires[-1]),
                    middle=_span(wires[len(wires) // 2]),
                )


def in_order(one: Conversation, other: Conversation) -> BothViews:
    """Two captures of a connection, of which nobody said which is the initiator's host's.

    In the wrong order, segments would have arrived before they were sent.
    """
    views = BothViews(one, other)
    if views.joined.clocks is None or views.joined.clocks.agree:
        return views
    turned = BothViews(other, one)
    return turned if turned.joined.clocks and turned.joined.clocks.agree else views


def _told(clocks: Clocks | None) -> Iterator[str]:
    """How the clocks were matched."""
    if clocks is None:
        yield _("In one direction no segment is in both captures: the clocks cannot be compared.")
        return
    told = (
        _("The responder's clock is {seconds} s ahead of the initiator's, within {within}.")
        if clocks.ahead >= 0
        else _("The responder's clock is {seconds} s behind the initiator's, within {within}.")
    )
    yield told.format(seconds=_seconds(abs(clocks.ahead)), within=_span(clocks.within))
    yield _("All times are by the initiator's clock.")
    if not clocks.agree:
        yield _("One difference does not fit all segments: a clock was set, or they ran apart, by that much.")


def _arrow(segment: Segment, crossing: Crossing, width: int) -> str:
    """The arrow of a segment; one that never arrives has no head."""
    words = next((text for text in labels(segment) if len(text) <= width - 4), "")
    line = f" {words} ".center(width - 2, "─")
    head = "✗" if crossing.is_lost else "▶" if crossing.sender == "initiator" else "◀"
    start = "·" if crossing.sent is None else "─"
    return f"{start}{line}{head}" if crossing.sender == "initiator" else f"{head}{line}{start}"
