"""The time–sequence plot of each direction (a Stevens graph), and both ends' states on the same clock."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from markupsafe import Markup

from harness.language import _
from harness.reports.page.equations import end_word
from harness.tcp.conversation import ENDS, Conversation
from harness.tcp.flags import ACK, FIN, RST, SYN

_WIDTH, _HEIGHT = 520, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 14, 30
_STRIP = 20
_TICKS = 5


class Strip(NamedTuple):
    """One end's states by one witness.

    Attributes:
        name: whose, and by whom.
        spans: (nanoseconds since the connection's first segment, state), in order.
    """

    name: str
    spans: tuple[tuple[int, str], ...]


def plot_svg(conversation: Conversation, side: int) -> Markup:
    """What one end sent (0 the initiator) over time, and what the other acknowledged of it."""
    times, flags = conversation.column("time"), conversation.column("flags")
    began, forward = times[0], conversation.forward
    lasted = max(1, max(times) - began)
    positions = conversation.relative_by_row
    sent = [row for row in range(len(times)) if forward[row] is (side == 0)]
    acks = [row for row in range(len(times)) if forward[row] is not (side == 0) and flags[row] & (ACK | RST) == ACK]
    values = [value for row in sent for value in positions[row][:2]] + [positions[row][2] for row in acks]
    low, high = (min(values), max(values)) if values else (0, 1)
    high = max(high, low + 1)

    def x(time: int) -> int:
        return round(_LEFT + (time - began) / lasted * (_WIDTH - _LEFT - _RIGHT))

    def y(position: float) -> int:
        return round(_HEIGHT - _BOTTOM - (position - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM))

    one, two = end_word(ENDS[side]), end_word(ENDS[1 - side])
    title = _("What the {one} sent over time, and what the {two} acknowledged of it").format(one=one, two=two)
    opening = (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<desc>{escape(_described(conversation, sent, acks))}</desc>\n"
    )
    parts = [opening, *(_grid(y(tick), f"{tick:,.0f}") for tick in _ticks(low, high))]
    for tick in _ticks(0, lasted / 1e6):
        place = f'x="{x(began + round(tick * 1e6))}" y="{_HEIGHT - 10}" text-anchor="middle"'
        parts.append(f'<text class="tick" {place}>{tick:,g}</text>')
    parts.append(f'<path class="acked" d="{_stairs([(x(times[row]), y(positions[row][2])) for row in acks])}"/>')
    # Where thousands are drawn at one place, one is enough.
    bars, again, control = dict[str, None](), dict[str, None](), dict[str, None]()
    for row in sent:
        begin, end, _ack = positions[row]
        bar = f"M{x(times[row])} {y(begin)}V{min(y(end), y(begin) - 2)}"
        is_again = conversation.positions("offset")[row] < 0 and end > begin
        if flags[row] & (SYN | FIN | RST):
            control[f"M{x(times[row]) - 3} {y(begin) - 3}h6v6h-6z"] = None
        elif end > begin:
            (again if is_again else bars)[bar] = None
    parts += (
        f'<path class="{kind}" d="{"".join(drawn)}"/>'
        for kind, drawn in (("sent", bars), ("again", again), ("control", control))
        if drawn
    )
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers, words of ours, and what is escaped


def _described(conversation: Conversation, sent: Sequence[int], acks: Sequence[int]) -> str:
    size = sum(conversation.column("length")[row] for row in sent)
    return _("{count} segments with {size} bytes, {acks} acknowledgements").format(
        count=len(sent), size=size, acks=len(acks)
    )


def _grid(y: int, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>\n'
    )


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round numbers from low to high, at most six."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    if isinstance(low, int) and isinstance(high, int):
        step = max(1, round(step))
    value = math.ceil(low / step) * step
    while value <= high:
        yield value
        value += step


def _stairs(points: Sequence[tuple[int, int]]) -> str:
    """A line that goes up where something new is acknowledged, and level between."""
    if not points:
        return ""
    path, level = [f"M{points[0][0]} {points[0][1]}"], points[0][1]
    for x, y in points[1:]:
        if y != level:
            path.append(f"H{x}V{y}")
            level = y
    path.append(f"H{points[-1][0]}")
    return "".join(path)


def strips_svg(strips: Sequence[Strip], lasted: int) -> Markup:
    """States as spans on the clock of the capture.

    Args:
        strips: one below the other.
        lasted: nanoseconds from the connection's first segment to its last.
    """
    width, height = 1000, len(strips) * (_STRIP + 16) + 18
    lasted = max(1, lasted)

    def x(time: int) -> int:
        return min(width, max(0, round(time / lasted * width * 0.96)))

    title = _("The states of both ends on the capture's clock, by the packets and by the kernels")
    parts = [f'<svg class="strips" width="100%" height="{height}" role="img" aria-label="{escape(title)}">\n']
    for number, strip in enumerate(strips):
        y = number * (_STRIP + 16) + 14
        parts.append(f'<text class="tick" x="0" y="{y - 3}">{escape(strip.name)}</text>')
        ends = [*(time for time, _state in strip.spans[1:]), lasted * 2]
        for (time, state), end in zip(strip.spans, ends, strict=True):
            left, right = x(time), x(end)
            if right <= left:
                continue
            words = _("{state} from {ms} ms").format(state=state, ms=f"{time / 1e6:.3f}")
            name = f'<text x="4" y="14">{escape(state)}</text>' if right - left > 8 * len(state) else ""
            parts.append(
                f'<svg x="{left / 10}%" y="{y}" width="{(right - left) / 10}%" height="{_STRIP}">'
                f"<title>{escape(words)}</title>"
                f'<rect class="span {escape(state.lower())}" width="100%" height="{_STRIP}"/>'
                f"{name}</svg>\n"
            )
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers, words of ours, and what is escaped


def inferred(conversation: Conversation, side: int) -> tuple[tuple[int, str], ...]:
    """An end's states by the packets, as a strip's spans."""
    times, found = conversation.column("time"), list[tuple[int, str]]()
    for time, states in zip(times, conversation.states_by_row, strict=True):
        if not found or found[-1][1] != states[side].value:
            found.append((time - times[0], states[side].value))
    return tuple(found)
