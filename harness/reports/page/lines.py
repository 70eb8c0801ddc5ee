"""The listing under a ladder: a line a segment as tcpdump has it, its arithmetic, and the checks that failed on it.

Put together by hand, for the reason that `drawing` gives; everything is a number, a word of ours, or escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from markupsafe import Markup

from harness.language import _
from harness.reports.page.drawing import Marking
from harness.reports.page.equations import Equation, Equations
from harness.reports.page.folding import Fold, Item
from harness.tcp.conversation import Conversation


def listing_html(
    conversation: Conversation,
    items: Sequence[Item],
    lines: Mapping[int, str],
    marked: Mapping[int, Marking],
    titles: Mapping[str, str],
) -> Markup:
    """The items of a list.

    Args:
        conversation: whose segments.
        items: those that are drawn, and what is folded.
        lines: tcpdump's line of each row.
        marked: what is wrong, by frame.
        titles: the checks' titles by their ids.
    """
    equations, frames = Equations(conversation), conversation.column("frame")
    parts = []
    for item in items:
        if isinstance(item, Fold):
            words = _("frames {first}–{last}").format(first=item.first_frame, last=item.last_frame)
            parts.append(f'<li class="folded">… {escape(words)}</li>\n')
            continue
        frame = frames[item]
        marking = marked.get(frame)
        parts.append(
            f'<li id="line-{frame}"{" class=wrong" if marking else ""}><a href="#frame-{frame}">{frame}</a> '
            f"<code>{escape(lines[item])}</code>{_sum(frame, equations.of(item))}"
        )
        if marking:
            parts += _checks(marking, titles)
        parts.append("</li>\n")
    return Markup("".join(parts))  # noqa: S704 - see above


def _sum(frame: int, of: tuple[Equation, ...]) -> str:
    sources = " ".join(map(str, dict.fromkeys(source for one in of for source in one.frames)))
    said = "".join(
        f'<span class="{"fits" if one.fits else "odd"}"><span class="relative">{escape(one.relative)}</span>'
        f'<span class="absolute">{escape(one.absolute)}</span></span>'
        for one in of
    )
    return f'<p id="sum-{frame}" class="sum" data-from="{sources}">{said}</p>'


def _checks(marking: Marking, titles: Mapping[str, str]) -> Iterator[str]:
    for check in marking.checks:
        yield f'<a class="back" href="#{check}">✗ {escape(titles[check])}</a>'
