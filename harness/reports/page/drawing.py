"""The ladder as SVG: two lifelines, both ends' states as spans along them, and an arrow a segment.

Down, each segment has a step. A class's pages are drawn by the thousand: this is put together by hand, not by
templates. Everything in it is a number or a word of ours, or has gone through `escape`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

from harness.language import _, ngettext
from harness.reports.page.equations import end_word
from harness.reports.page.folding import Fold, Item
from harness.reports.page.lifelines import LEFT, RIGHT, arrow, heads
from harness.tcp.conversation import TWICE, Conversation
from harness.tcp.flags import ACK, FIN, RST, SYN, letters

if TYPE_CHECKING:
    from harness.tcp.states import State

_TOP = 54
_STEP = 27
_LINE = 8  # an arrow is so far below its words
_MORE = 17  # for a second line
_FOLD = 44
_BOTTOM = 22
_32_BITS = 1 << 32
_TAG = re.compile("<[^>]*>")


@dataclass(frozen=True, slots=True)
class Marking:
    """What checks say of a frame.

    Attributes:
        checks: the ids of the checks that failed on it.
        field: which of its fields is wrong; empty if that is not known.
        should_say: what that ought to be, in relative and in absolute numbers; empty likewise.
    """

    checks: tuple[str, ...]
    field: str = ""
    should_say: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is drawn.

    Attributes:
        conversation: whose segments.
        items: which of them, and what is folded.
        name: its name in ids; "" for a drawing that nothing on the page points at.
        title: what the drawing is, for those who do not see it.
        description: how it is read, likewise.
        marked: what is wrong: frame → marking.
        notes: what is to be said of rows.
        states: whether both ends' states are shown.
    """

    conversation: Conversation
    items: Sequence[Item]
    name: str
    title: str
    description: str
    marked: Mapping[int, Marking] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)
    states: bool = True


def ladder_svg(of: Ladder) -> Markup:
    """Draw it."""
    conversation = of.conversation
    copies = arrivals(conversation, of.items)
    tops, height = _layout(of)
    head = (
        f'<svg class="ladder" width="100%" height="{height}" role="group" aria-label="{escape(of.title)}">\n'
        f"<desc>{escape(of.description)}</desc>\n"
        f"{heads(conversation.initiator, conversation.responder)}"
    )
    parts = [head]
    if of.states:
        parts.append('<text class="time" x="4" y="32">ms</text>\n')
    bottom = height - _BOTTOM + 14
    if not of.states:
        parts += _lifelines(bottom)
    arrows = _Arrows(of, copies, dict(zip(of.items, tops, strict=True)))
    for item, y in zip(of.items, tops, strict=True):
        parts.append(_fold_line(item, y) if isinstance(item, Fold) else arrows.drawn(item, y))
    if of.states:
        parts += ['<g class="spans">\n', *_spans(of, tops, bottom), "</g>\n"]
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - see above: made of numbers, words of ours, and what is escaped


def _layout(of: Ladder) -> tuple[list[int], int]:
    """How far down each item stands, and how high all is."""
    frames, tops, y = of.conversation.column("frame"), list[int](), _TOP
    for item in of.items:
        if isinstance(item, Fold):
            tops.append(y + 4)
            y += _FOLD
            continue
        tops.append(y)
        marking = of.marked.get(frames[item])
        y += _height(marking, noted=item in of.notes)
    return tops, y + _BOTTOM - _STEP + 18


def _height(marking: Marking | None, *, noted: bool) -> int:
    """How much room a segment takes, with what stands below its arrow."""
    return _STEP + (_MORE if marking and marking.should_say[0] else 0) + (_MORE - 4 if noted else 0)


# -- states ------------------------------------------------------------------------------------------------------------


def _lifelines(bottom: int) -> Iterator[str]:
    for x in (LEFT, RIGHT):
        yield f'<line class="life" x1="{x}" x2="{x}" y1="40" y2="{bottom}"/>\n'


def _spans(of: Ladder, tops: Sequence[int], bottom: int) -> Iterator[str]:
    """Both lifelines, as a span for each state, with its name where it begins."""
    by_row = of.conversation.states_by_row
    for side, x in enumerate((LEFT, RIGHT)):
        began: list[tuple[int, State]] = []
        for item, y in zip(of.items, tops, strict=True):
            row = item.last if isinstance(item, Fold) else item
            state = by_row[row][side]
            if not began or began[-1][1] is not state:
                began.append((y + _LINE, state))
        began[0] = (40, began[0][1])
        ends = [*(y for y, _state in began[1:]), bottom]
        for (y, state), end in zip(began, ends, strict=True):
            names = f'x="{x}" dx="-10" text-anchor="end"' if side == 0 else f'x="{x}" dx="10" text-anchor="start"'
            yield (
                f'<rect class="span {state.value.lower()}" x="{x}" y="{y}" width="9" height="{end - y}" '
                f'transform="translate(-4.5)"/><text class="state" {names} y="{y + 15}">{state.value}</text>\n'
            )


# -- arrows ------------------------------------------------------------------------------------------------------------


def arrivals(conversation: Conversation, items: Iterable[Item]) -> dict[int, int]:
    """Segments that were captured at both ends: the row where one was sent → the row where it arrived.

    Such a capture is merged from two; each frame is in it twice, at its sender first.
    """
    times, ids, forward = conversation.column("time"), conversation.column("ip_id"), conversation.forward
    ends, flags = conversation.positions("end"), conversation.column("flags")
    drawn = {item for item in items if isinstance(item, int)}
    found: dict[int, int] = {}
    arrived: set[int] = set()
    for row in sorted(drawn):
        for before in range(row - 1, max(-1, row - 4), -1):
            alike = forward[before] is forward[row] and flags[before] == flags[row] and ends[before] == ends[row]
            if not alike or before in found or before in arrived or before not in drawn:
                continue
            if (ids[row] > 0 or times[row] - times[before] < TWICE) and conversation.at(row).is_copy:
                found[before] = row
                arrived.add(row)
                break
    return found


class _Arrows:
    """Draws one after another."""

    def __init__(self, of: Ladder, arrivals: Mapping[int, int], tops: Mapping[Item, int]) -> None:
        conversation = of.conversation
        self._of, self._tops = of, tops
        self._arrivals, self._departures = arrivals, {there: here for here, there in arrivals.items()}
        self._frames, self._flags = conversation.column("frame"), conversation.column("flags")
        self._lengths, self._forward = conversation.column("length"), conversation.forward
        self._times, self._began = conversation.column("time"), conversation.column("time")[0]
        self._positions = conversation.relative_by_row
        self._on_the_wire = list(zip(conversation.column("seq"), conversation.column("ack"), strict=True))
        self._seq_shown = conversation.column("seq_shown")
        self._ways = (
            _("{one} to {two}").format(one=end_word("initiator"), two=end_word("responder")),
            _("{one} to {two}").format(one=end_word("responder"), two=end_word("initiator")),
        )
        self._words = _("frame {frame}, {way}, {label}")
        self._wrong = _("wrong")

    def drawn(self, row: int, y: int) -> str:
        frame, forward = self._frames[row], self._forward[row]
        marking = self._of.marked.get(frame)
        kind, name = self._kind(row), self._of.name
        label = self._label(row, marking, absolute=False)
        title = self._words.format(frame=frame, way=self._ways[0 if forward else 1], label=_plain(label))
        if marking:
            title = f"{self._wrong}: {title}"
        height = _height(marking, noted=row in self._of.notes)
        ids = f' id="frame-{frame}" href="#line-{frame}" aria-describedby="sum-{frame}"' if name else ""
        tag = "a" if name else "g"
        begin = (
            f'<{tag} class="segment {kind}{" wrong" if marking else ""}"{ids}><title>{escape(title)}</title>'
            f'<rect class="hit" x="0" y="{y - 12}" width="100%" height="{height}" rx="4"/>'
        )
        parts = [begin]
        if self._of.states:
            parts.append(f'<text class="time" x="4" y="{y + 4}">{(self._times[row] - self._began) / 1e6:.3f}</text>')
        if row not in self._departures:  # else it was drawn where it was sent
            parts.append(self._line(row, y + _LINE))
        mark = '<tspan class="mark">✗ </tspan>' if marking else ""
        number = f'<tspan class="number">{frame}</tspan>'
        if row in self._departures:
            place = "98%" if forward else "2%"
            parts.append(f'<text class="arrival" x="{place}" y="{y + 4}" text-anchor="middle">{number}</text>')
        else:
            parts.append(
                f'<text class="label relative" x="50%" y="{y + 3}" text-anchor="middle">{mark}{number} {label}</text>'
                f'<text class="label absolute" x="50%" y="{y + 4}" text-anchor="middle">{mark}{number} '
                f"{self._label(row, marking, absolute=True)}</text>"
            )
        parts += self._below(row, y, marking)
        parts.append(f"</{tag}>\n")
        return "".join(parts)

    def _below(self, row: int, y: int, marking: Marking | None) -> Iterator[str]:
        """What stands under an arrow."""
        if marking and marking.should_say[0]:
            for numbers, said in zip(("relative", "absolute"), marking.should_say, strict=True):
                words = escape(_("should say {value}").format(value=said))
                yield f'<text class="should {numbers}" x="50%" y="{y + 23}" text-anchor="middle">{words}</text>'
            y += _MORE
        if note := self._of.notes.get(row):
            yield f'<text class="note" x="50%" y="{y + 20}" text-anchor="middle">{escape(note)}</text>'

    def _line(self, row: int, y: int) -> str:
        there = self._arrivals.get(row)
        y2 = y if there is None else self._tops[there] + _LINE
        return arrow(y, y2, forward=self._forward[row])

    def _kind(self, row: int) -> str:
        if self._flags[row] & (SYN | FIN | RST):
            return "control"
        return "data" if self._lengths[row] else "ack"

    def _label(self, row: int, marking: Marking | None, *, absolute: bool) -> str:
        """A segment in tcpdump's words, the field that is wrong marked; what a narrow page leaves out marked too."""
        begin, end, ack = self._positions[row]
        bits, length = self._flags[row], self._lengths[row]
        if absolute:
            size, (begin, ack) = end - begin, self._on_the_wire[row]
            end = (begin + size) % _32_BITS
        words = {"flags": f"[{letters(bits)}]"}
        if length:
            more = f'<tspan class="wide">:{end}</tspan>' if absolute else f":{end}"
            words["seq"] = f'<tspan class="wide">seq </tspan>{begin}{more}'
        elif bits & (SYN | FIN | RST) or (marking and marking.field == "seq"):
            words["seq"] = f"seq {begin}"
        if not self._seq_shown[row]:
            words.pop("seq", None)
        if bits & ACK:
            words["ack"] = f"ack {ack}"
        if length:
            words["length"] = f'<tspan class="wide">len {length}</tspan>'
        if marking and marking.field in words:
            words[marking.field] = f'<tspan class="bad">{words[marking.field]}</tspan>'
        return " ".join(words.values())


def _plain(label: str) -> str:
    """A label without its markup."""
    return _TAG.sub("", label)


def _fold_line(fold: Fold, y: int) -> str:
    """What is folded, in one line: frames 12–480: 469 segments, 680,000 bytes, initiator → responder."""
    first = _("frames {first}–{last}: {count} segments").format(
        first=fold.first_frame, last=fold.last_frame, count=f"{fold.segments:,}"
    )
    ends = end_word("initiator"), end_word("responder")
    ways = [
        ngettext("{count} byte {sender} → {receiver}", "{count} bytes {sender} → {receiver}", size).format(
            count=f"{size:,}", sender=one, receiver=two
        )
        for size, one, two in zip(fold.bytes, ends, ends[::-1], strict=True)
        if size
    ]
    return (
        f'<g class="fold"><rect x="{LEFT}" width="56%" y="{y - 12}" height="36" rx="6"/>'
        f'<text x="50%" y="{y + 3}" text-anchor="middle">{escape(first)}</text>'
        f'<text class="bytes" x="50%" y="{y + 18}" text-anchor="middle">{escape(", ".join(ways))}</text></g>\n'
    )
