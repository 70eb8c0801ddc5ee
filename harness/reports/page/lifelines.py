"""What every ladder on a page is made of: two lifelines with their heads, and arrows between them, as SVG.

Across, all is in percent, so that the drawing takes the width that it is given and its letters keep their size.
"""

from html import escape

from harness.reports.page.equations import end_word

LEFT, RIGHT = "22%", "78%"
_TORN = "64%", "36%"  # where an arrow stops that does not come across, to the right and to the left


def heads(initiator: str, responder: str) -> str:
    """Both ends' names and addresses, over their lifelines."""
    return (
        f'<text class="end" x="{LEFT}" y="16" text-anchor="middle">{end_word("initiator")}</text>'
        f'<text class="end" x="{RIGHT}" y="16" text-anchor="middle">{end_word("responder")}</text>\n'
        f'<text class="address" x="{LEFT}" y="32" text-anchor="middle">{escape(initiator)}</text>'
        f'<text class="address" x="{RIGHT}" y="32" text-anchor="middle">{escape(responder)}</text>\n'
    )


def arrow(y: int, there: int, *, forward: bool, whole: bool = True) -> str:
    """An arrow from one lifeline to the other, or to where it is lost: there it ends in a cross.

    Args:
        y: how far down it begins.
        there: how far down it ends.
        forward: whether it leads from the initiator to the responder.
        whole: whether it comes across.
    """
    begin, end = (LEFT, RIGHT) if forward else (RIGHT, LEFT)
    head = "M-6 0l-10 -4.5v9z" if forward else "M6 0l10 -4.5v9z"
    if not whole:
        end, head = _TORN[0 if forward else 1], "M-6 -6l12 12m0 -12l-12 12"
    # A nested drawing, since only that can be put at so many percent.
    return (
        f'<line x1="{begin}" y1="{y}" x2="{end}" y2="{there}"/>'
        f'<svg x="{end}" y="{there}" overflow="visible" width="1" height="1"><path d="{head}"/></svg>'
    )
