"""What decides a claim, drawn: the frames of a run that it names as a ladder, and tcpdump's lines of them beside it."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from harness.evidence import Evidence
from harness.language import _
from harness.reports.page.connections import connection_filter
from harness.reports.page.drawing import Ladder, ladder_svg
from harness.reports.page.findings import filter_of, ranges_of
from harness.reports.page.listing import lines_of
from harness.tcp.conversation import Conversation

_MOST = 12  # segments of one connection that are drawn
_MOST_CONNECTIONS = 4


class Drawn(NamedTuple):
    """Some frames of one connection.

    Attributes:
        ends: whose they are.
        ladder: as SVG.
        lines: tcpdump's, those that are drawn.
        more: how many are not.
        filter: Wireshark's, for all of them.
    """

    ends: str
    ladder: Markup
    lines: tuple[str, ...]
    more: int
    filter: str


def exhibits(evidence: Evidence, frames: Sequence[int]) -> list[Drawn]:
    """The frames of a run's capture, by their connections."""
    wanted, found = frozenset(frames), list[Drawn]()
    for conversation in evidence.conversations:
        rows = [row for row, frame in enumerate(conversation.column("frame")) if frame in wanted]
        if rows:
            found.append(_drawn(conversation, rows))
    return found[:_MOST_CONNECTIONS]


def _drawn(conversation: Conversation, rows: list[int]) -> Drawn:
    numbers, shown = conversation.column("frame"), rows[:_MOST]
    ends = f"{conversation.initiator} → {conversation.responder}"
    description = _("Segments that decide; what stands between them is left out.")
    ladder = Ladder(
        conversation, shown, "", _("The segments between {ends}").format(ends=ends), description, states=False
    )
    lines = lines_of(conversation, shown)
    frames = filter_of(ranges_of(tuple(numbers[row] for row in rows)))
    return Drawn(
        ends,
        ladder_svg(ladder),
        tuple(f"{numbers[row]:>4}  {line}" for row, line in lines.items()),
        len(rows) - len(shown),
        frames or connection_filter(conversation),
    )
