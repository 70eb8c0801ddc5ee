"""Which of a capture's connections are drawn, and what stands beside each: its ladder, its listing, its facts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.language import _, ngettext
from harness.reports.gradebook import printable
from harness.reports.page.drawing import Ladder, Marking, arrivals, ladder_svg
from harness.reports.page.equations import end_word
from harness.reports.page.findings import Finding
from harness.reports.page.folding import folded
from harness.reports.page.lines import listing_html
from harness.reports.page.listing import lines_of
from harness.runs import RunRecord
from harness.tcp.conversation import Conversation
from harness.tcp.notes import notes

_MOST_DRAWN = 12  # connections of a capture without a run, and lives of one scene
_LONGEST_LINE = 500
_NOTED = 200  # segments of a conversation that has notes drawn; of bulk data they are too many

Named = tuple[str, tuple[Conversation, ...]]  # a scene's name, "" for a capture's only one; one after another


@dataclass(frozen=True, slots=True)
class Life:
    """One connection, drawn.

    Attributes:
        facts: how it opened and closed, in a line.
        names: what Zeek and Wireshark call it.
        ladder: as SVG.
        listing: the items of a list.
        filter: Wireshark's, for this connection alone.
        frames: those that are drawn.
        both_ends: whether segments were captured at both ends.
    """

    facts: str
    names: str
    ladder: Markup
    listing: Markup
    filter: str
    frames: frozenset[int]
    both_ends: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene's connections, drawn."""

    name: str
    lives: tuple[Life, ...]


def chosen(
    main: Conversation, found: Sequence[Conversation], run: RunRecord | None, pointed_at: Callable[[Conversation], bool]
) -> list[Named]:
    """What is to be drawn: a run's scenes; else the main one, and those that a failed check points at.

    Args:
        main: the lab's conversation.
        found: all of the capture.
        run: what was recorded beside it.
        pointed_at: whether a failed check points at a conversation.
    """
    scenes = run.document.get("connections") if run else None
    if scenes:
        by_ends: dict[frozenset[str], list[Conversation]] = {}
        for one in found:
            by_ends.setdefault(frozenset({one.initiator, one.responder}), []).append(one)
        return [
            (name, tuple(by_ends.get(frozenset({ends["initiator"], ends["responder"]}), [])[:_MOST_DRAWN]))
            for name, ends in scenes.items()
        ]
    others = [one for one in found if one is not main]
    if len(others) >= _MOST_DRAWN:
        others = [one for one in others if pointed_at(one)][: _MOST_DRAWN - 1]
    drawn = sorted([main, *others], key=lambda one: one.column("frame")[0])
    if len(drawn) == 1:
        return [("", (main,))]
    return [(f"{one.initiator} → {one.responder}", (one,)) for one in drawn]


def facts_of(conversation: Conversation) -> str:
    """How a connection opened and closed, in a line."""
    count = len(conversation.rows.rows)
    said = [
        ngettext("{count} segment", "{count} segments", count).format(count=f"{count:,}"),
        _("open: {how}").format(how=conversation.open),
        _("close: {how}").format(how=conversation.close),
    ]
    if conversation.closer:
        closer = _("both ends") if conversation.closer == "both" else end_word(conversation.closer)
        said.append(_("closed by: {end}").format(end=closer))
    return " · ".join(said)


def _names(conversation: Conversation) -> str:
    """What Zeek and Wireshark call it."""
    names = (conversation.conn_state, conversation.history, conversation.completeness)
    return "conn_state {} · history {} · completeness {}".format(*names)


def drawn(
    conversation: Conversation,
    marked: Mapping[int, Marking],
    wanted: Iterable[int],
    titles: Mapping[str, str],
    printed: Sequence[str],
) -> Life:
    """A connection, drawn whole.

    Args:
        conversation: which.
        marked: what is wrong, by frame.
        wanted: frames that are not folded.
        titles: the checks' titles by their ids.
        printed: tcpdump's own listing of the whole capture, a line a frame; empty if there is none.
    """
    items = folded(conversation, frozenset(wanted))
    frames = conversation.column("frame")
    said = notes(conversation) if len(frames) <= _NOTED else []
    noted = {row: ", ".join(names).replace("_", " ") for row, names in enumerate(said) if names}
    ends = f"{conversation.initiator} → {conversation.responder}"
    ladder = Ladder(
        conversation,
        items,
        "ladder",
        _("The segments between {ends}").format(ends=ends),
        _("Time goes down. The initiator's lifeline is on the left, the responder's on the right."),
        {frame: marking for frame, marking in marked.items() if frame in set(frames)},
        noted,
    )
    lines = lines_of(conversation, (item for item in items if isinstance(item, int)))
    if printed:
        lines = {row: _printed(printed, frames[row], line) for row, line in lines.items()}
    return Life(
        facts_of(conversation),
        _names(conversation),
        ladder_svg(ladder),
        listing_html(conversation, items, lines, marked, titles),
        connection_filter(conversation),
        frozenset(frames[item] for item in items if isinstance(item, int)),
        bool(arrivals(conversation, items)),
    )


def _printed(printed: Sequence[str], frame: int, own: str) -> str:
    """What tcpdump printed of a frame, if that line is of this frame: its flags and length are the same."""
    line = printed[frame - 1] if frame <= len(printed) else ""
    flags = own[own.index("Flags [") : own.index("]") + 1]
    return printable(line, _LONGEST_LINE) if flags in line and line.endswith(own[own.rindex("length ") :]) else own


def connection_filter(conversation: Conversation) -> str:
    """A display filter for a connection (wireshark-filter(4))."""
    (one, port_one), (two, port_two) = (
        end.rpartition(":")[::2] for end in (conversation.initiator, conversation.responder)
    )
    family = "ipv6" if "[" in one else "ip"
    hosts = f"{family}.addr == {one.strip('[]')} && {family}.addr == {two.strip('[]')}"
    return f"{hosts} && tcp.port == {port_one} && tcp.port == {port_two}"


def markings(findings: Iterable[Finding]) -> dict[int, Marking]:
    """What the failed checks say of each frame; of a frame's fields the first that was said is shown."""
    found: dict[int, Marking] = {}
    for one in findings:
        for frame in one.blames:
            before = found.get(frame, Marking(()))
            says = one.wrong if one.wrong and one.wrong.frame == frame else None
            use = says is not None and not before.field
            found[frame] = Marking(
                (*before.checks, one.anchor),
                says.field if says and use else before.field,
                says.should_say if says and use else before.should_say,
            )
    return found
