"""The state diagram of RFC 9293 (figure 5), with the path that each end took."""

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from markupsafe import Markup

from harness.language import _
from harness.reports.page.equations import end_word
from harness.tcp.conversation import ENDS, Conversation
from harness.tcp.states import TABLE, Event, State

_WIDTH, _HEIGHT = 460, 452
_BOX = (102, 26)
# Where the middle of each state's box stands. CLOSED is drawn twice, as in the RFC: at the begin and at the end.
_END = "end"
_PLACES: dict[State | str, tuple[int, int]] = {
    State.CLOSED: (230, 24),
    State.LISTEN: (230, 86),
    State.SYN_RECEIVED: (66, 148),
    State.SYN_SENT: (394, 148),
    State.ESTABLISHED: (230, 210),
    State.FIN_WAIT_1: (66, 272),
    State.CLOSE_WAIT: (394, 272),
    State.FIN_WAIT_2: (66, 348),
    State.CLOSING: (230, 348),
    State.LAST_ACK: (394, 348),
    State.TIME_WAIT: (148, 424),
    _END: (394, 424),
}
_SHORT = {
    Event.SND_SYN: "snd SYN",
    Event.SND_SYN_ACK: "snd SYN-ACK",
    Event.RCV_SYN: "rcv SYN",
    Event.RCV_SYN_ACK: "rcv SYN-ACK",
    Event.RCV_ACK_OF_SYN: "rcv ACK of SYN",
    Event.SND_FIN: "snd FIN",
    Event.RCV_FIN: "rcv FIN",
    Event.RCV_ACK_OF_FIN: "rcv ACK of FIN",
    Event.SND_RST: "snd RST",
    Event.RCV_RST: "rcv RST",
    Event.TIMEOUT: "2 MSL",
}
_Edge = tuple[State, State]
# What the figure draws: the table's transitions but for RST, which leads to CLOSED from almost everywhere, and for a
# FIN that comes with the ACK of a SYN. Of these, what was taken is drawn all the same.
_NOT_DRAWN = (Event.SND_RST, Event.RCV_RST)
EDGES: dict[_Edge, Event] = {
    (state, after): event
    for (state, event), after in reversed(TABLE.items())
    if isinstance(after, State)
    and after is not state
    and event not in _NOT_DRAWN
    and (state, event) != (State.SYN_RECEIVED, Event.RCV_FIN)
}


def taken(conversation: Conversation, end: int) -> list[tuple[_Edge, Event, int]]:
    """The transitions of one end (0 the initiator), each with its event and the frame it is inferred from."""
    states = conversation.states(ENDS[end])
    steps = [step for step in conversation.steps if step.end == end]
    frames, found, at = conversation.column("frame"), list[tuple[_Edge, Event, int]](), 0
    for before, after in pairwise(states):
        for place in range(at, len(steps)):
            if steps[place].state is after:
                found.append(((before, after), steps[place].event, frames[steps[place].row]))
                at = place + 1
                break
    return found


def diagram_svg(conversation: Conversation) -> Markup:
    """Draw it."""
    paths = [taken(conversation, end) for end in (0, 1)]
    went = " ".join(
        f"{end_word(end)}: {' → '.join(state.value for state in conversation.states(end))}." for end in ENDS
    )
    opening = (
        f'<svg class="diagram" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(_("The state diagram of RFC 9293, with the path that each end took"))}">'
        f"<desc>{escape(went)}</desc>\n"
    )
    parts = [opening]
    of_edge: dict[_Edge, list[tuple[int, int, Event, int]]] = {edge: [] for edge in EDGES}
    for end, path in enumerate(paths):
        for number, (edge, event, frame) in enumerate(path, 1):
            of_edge.setdefault(edge, []).append((end, number, event, frame))
    for edge, went_by in sorted(of_edge.items(), key=lambda item: bool(item[1])):  # those that were taken lie on top
        parts += _edge(edge, went_by)
    visited = [set(conversation.states(end)) for end in ENDS]
    closed = [bool(path) and path[-1][0][1] is State.CLOSED for path in paths]
    for state, place in _PLACES.items():
        here = [closed[end] if state == _END else state in visited[end] for end in (0, 1)]
        if state is State.CLOSED:  # the one above is where an end begins
            here = [
                bool(one) and conversation.states(end)[0] is State.CLOSED for end, one in zip(ENDS, here, strict=True)
            ]
        parts.append(_box("CLOSED" if state == _END else str(state), place, here))
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704 - numbers, words of ours, and what is escaped


def _box(name: str, place: tuple[int, int], here: list[bool]) -> str:
    width, height = _BOX
    x, y = place[0] - width // 2, place[1] - height // 2
    kind = "both" if all(here) else "one" if here[0] else "two" if here[1] else "none"
    return (
        f'<g class="box {kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>'
        f'<text x="{place[0]}" y="{place[1] + 4}" text-anchor="middle">{name}</text></g>\n'
    )


def _edge(edge: _Edge, went_by: list[tuple[int, int, Event, int]]) -> Iterator[str]:
    """An arrow between two boxes; bold, with a badge for each end that went there."""
    is_last = edge[1] is State.CLOSED
    one, two = _PLACES[edge[0]], _PLACES[_END if is_last else edge[1]]
    (x1, y1), (x2, y2) = _rim(one, two), _rim(two, one)
    events = dict.fromkeys([one[2] for one in went_by] or [EDGES[edge]])
    length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
    ux, uy = (x2 - x1) / length, (y2 - y1) / length
    head = (
        f"M{x2:.1f} {y2:.1f}L{x2 - 9 * ux - 4 * uy:.1f} {y2 - 9 * uy + 4 * ux:.1f}"
        f"L{x2 - 9 * ux + 4 * uy:.1f} {y2 - 9 * uy - 4 * ux:.1f}z"
    )
    kind = "taken" if went_by else "free"
    if edge not in EDGES:
        kind += " extra"
    yield f'<g class="edge {kind}"><path d="{head}"/>'
    yield f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2 - 6 * ux:.1f}" y2="{y2 - 6 * uy:.1f}"/>'
    x, y, name = (x1 + x2) / 2, (y1 + y2) / 2, " / ".join(_SHORT[event] for event in events)
    yield f'<text x="{x:.1f}" y="{y - (11 if went_by else 2):.1f}" text-anchor="middle">{name}</text>'
    for place, (end, number, _event, frame) in enumerate(went_by):
        yield _badge(x + (place - (len(went_by) - 1) / 2) * 30, y, end, number, frame)
    yield "</g>\n"


def _badge(x: float, y: float, end: int, number: int, frame: int) -> str:
    """The number of an end's step, beside its arrow: round for the initiator, square for the responder."""
    words = _("{end}, step {number}: frame {frame}").format(end=end_word(ENDS[end]), number=number, frame=frame)
    return (
        f'<g class="badge {"one" if end == 0 else "two"}"><title>{escape(words)}</title>'
        f'<rect x="{x - 13:.1f}" y="{y - 7:.1f}" width="26" height="15" rx="{7 if end == 0 else 2}"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{"i" if end == 0 else "r"}{number}</text></g>'
    )


def _rim(box: tuple[int, int], towards: tuple[int, int]) -> tuple[float, float]:
    """Where the line from a box's middle to another leaves the box."""
    dx, dy = towards[0] - box[0], towards[1] - box[1]
    if not dx and not dy:
        return box
    scale = min(_BOX[0] / 2 / abs(dx) if dx else 9.0, _BOX[1] / 2 / abs(dy) if dy else 9.0)
    return box[0] + dx * scale, box[1] + dy * scale
