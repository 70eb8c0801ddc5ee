"""Both hosts' captures of a connection as SVG: each segment slopes from when it was sent to when it arrived.

Down, every sending and every arrival has its own step, in the order of the initiator's clock: arrows that cross were on
their way at the same time. The times of both stand at their ends, so that the steps need not be in proportion.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from harness.language import _, ngettext
from harness.reports.both import BothViews
from harness.reports.ladder import kind_of, labels
from harness.reports.page.equations import end_word
from harness.reports.page.lifelines import LEFT, RIGHT, arrow, heads
from harness.tcp.conversation import End, other
from harness.tcp.vantage import Crossing, Sight

DRAWN_WHOLE = 160  # segments: no more are folded
MOST_DRAWN = 400
_AT_THE_ENDS = 8
_TOP = 60
_STEP = 26  # for a segment and its words
_ARRIVAL = 12  # for an arrival, which has none
_BOTTOM = 18


class _Event(NamedTuple):
    """A segment is sent, or arrives."""

    order: int
    leaves: bool  # of two at one time, the arrival comes first: it may be what the other answers
    place: int  # of its crossing
    sight: Sight
    end: End  # where that was seen
    time: int  # nanoseconds, by the initiator's clock


def crossings_svg(views: BothViews) -> Markup:
    """Draw it."""
    drawn = _drawn(views)
    events = sorted(_events(views, drawn))
    tops: dict[tuple[int, bool], int] = {}
    y, texts = _TOP - _STEP, list[str]()
    reached = -1  # the last place that is drawn
    for event in events:
        if (event.place, True) in tops:
            y += _ARRIVAL
        else:
            y += _STEP
            if event.place > reached + 1:
                texts.append(_fold(y, event.place - reached - 1))
                y += _STEP
            reached = max(reached, event.place)
        tops[event.place, event.leaves] = y
        texts.append(_time(event, events[0].time, y))
    height = y + _BOTTOM
    arrows = [(views.joined.crossings[place], *_from_to(tops, place)) for place in drawn]
    title = escape(_("The segments, as both hosts captured them"))
    read = escape(_("Time goes down. Each arrow leaves when its segment was sent and ends when it arrived."))
    parts = [
        f'<svg class="ladder" width="100%" height="{height}" role="group" aria-label="{title}">\n<desc>{read}</desc>\n',
        heads(views.near.initiator, views.near.responder),
        *(f'<line class="life" x1="{x}" x2="{x}" y1="40" y2="{height}"/>\n' for x in (LEFT, RIGHT)),
        *texts,
        *(_arrow(views, one, begin, end) for one, begin, end in arrows),
        *(_label(views, one, begin) for one, begin, _end in arrows),
        "</svg>",
    ]
    return Markup("".join(parts))  # noqa: S704 - made of numbers, words of ours, and what is escaped


def _drawn(views: BothViews) -> list[int]:
    """The places of the crossings that are drawn: of many, those that say something, and both ends of the story."""
    crossings = views.joined.crossings
    count = len(crossings)
    if count <= DRAWN_WHOLE:
        return list(range(count))
    telling = [
        place
        for place, one in enumerate(crossings)
        if not one.arrived or one.sent is None or one.times_arrived > 1 or kind_of(views.segment(one)) == "control"
    ]
    chosen = {*range(_AT_THE_ENDS), *range(count - _AT_THE_ENDS, count), *telling[: MOST_DRAWN - 2 * _AT_THE_ENDS]}
    return sorted(chosen)


def _from_to(tops: Mapping[tuple[int, bool], int], place: int) -> tuple[int, int]:
    """How far down an arrow begins and ends; level where one end of it was not seen."""
    left, arrived = tops.get((place, True)), tops.get((place, False))
    begin = left if left is not None else arrived or 0
    return begin, arrived if arrived is not None else begin


def _events(views: BothViews, drawn: list[int]) -> Iterator[_Event]:
    """What is to be drawn; nothing arrives before it was sent, however well the clocks are known."""
    joined = views.joined
    for place in drawn:
        one = joined.crossings[place]
        sent = joined.by_initiators_clock(one.sent, at=one.sender) if one.sent else None
        if one.sent and sent is not None:
            yield _Event(sent, True, place, one.sent, one.sender, sent)
        for sight in one.arrived[:1]:
            receiver = other(one.sender)
            time = joined.by_initiators_clock(sight, at=receiver)
            earliest = time if sent is None else sent + 1
            yield _Event(max(time, earliest) if joined.clocks else earliest, False, place, sight, receiver, time)


def _time(event: _Event, began: int, y: int) -> str:
    """When something was seen, and as which frame, beside the lifeline of that host."""
    x, anchor, step = (LEFT, "end", -10) if event.end == "initiator" else (RIGHT, "start", 10)
    milliseconds, number = f"{(event.time - began) / 1e6:.3f}", f'<tspan class="number">#{event.sight.frame}</tspan>'
    words = f"{milliseconds} {number}" if event.end == "initiator" else f"{number} {milliseconds}"
    return f'<text class="seen" x="{x}" dx="{step}" y="{y + 4}" text-anchor="{anchor}">{words}</text>\n'


def _arrow(views: BothViews, one: Crossing, begin: int, end: int) -> str:
    kind = kind_of(views.segment(one)) + (" lost" if one.is_lost else "")
    drawn = arrow(begin, end, forward=one.sender == "initiator", whole=not one.is_lost)
    return f'<g class="segment {kind}" aria-hidden="true">{drawn}</g>\n'


def _label(views: BothViews, one: Crossing, y: int) -> str:
    """What a segment is and how long it took: above all arrows."""
    segment, took = views.segment(one), views.said(one)
    label, *_shorter = labels(segment)
    way = _("{one} to {two}").format(one=end_word(one.sender), two=end_word(other(one.sender)))
    mark = '<tspan class="mark">✗ </tspan>' if one.is_lost else ""
    return (
        f'<g class="segment {kind_of(segment)}"><title>{escape(f"{way}, {label}, {took}")}</title>'
        f'<text class="label" x="50%" y="{y - 4}" text-anchor="middle">{mark}{escape(label)} '
        f'<tspan class="number">{escape(took)}</tspan></text></g>\n'
    )


def _fold(y: int, count: int) -> str:
    words = ngettext("{count} segment", "{count} segments", count)
    return f'<text class="note" x="50%" y="{y + 2}" text-anchor="middle">{escape(words.format(count=count))}</text>\n'
