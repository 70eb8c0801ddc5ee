"""Both ends' states and sequence numbers over time: the diagram, the plots, and the kernels' own word beside them."""

from typing import Any

from harness.kernel_states import SAMPLE_SECONDS
from harness.language import _
from harness.messages import translated
from harness.reports.page.diagram import diagram_svg
from harness.reports.page.equations import end_word
from harness.reports.page.plot import Strip, inferred, plot_svg, strips_svg
from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, NotShown


def drawings_of(conversation: Conversation, run: RunRecord | None) -> dict[str, Any]:
    """What the page shows of a connection's states and times.

    Args:
        conversation: which.
        run: what a live run recorded beside it.
    """
    times = conversation.column("time")
    strips, table, sources = list[Strip](), list[tuple[int, str, str]](), list[str]()
    for side, end in enumerate(ENDS):
        name = end_word(end)
        strips.append(Strip(_("{end}, by the packets").format(end=name), inferred(conversation, side)))
        if run is None:
            continue
        spans, source = _kernels(conversation, run, side)
        sources.append(f"{name}: {source}")
        if spans:
            strips.append(Strip(_("{end}, by its kernel").format(end=name), spans))
            table += [(time, name, state) for time, state in spans]
    ends = end_word("initiator"), end_word("responder")
    return {
        "diagram": diagram_svg(conversation),
        "plots": [
            {"caption": f"{ends[side]} → {ends[1 - side]}", "drawing": plot_svg(conversation, side)} for side in (0, 1)
        ],
        "strips": strips_svg(strips, max(times) - times[0]),
        "states": [(f"{time / 1e6:.3f}", name, state) for time, name, state in sorted(table)],
        "sources": sources,
    }


def _kernels(conversation: Conversation, run: RunRecord, side: int) -> tuple[tuple[tuple[int, str], ...], str]:
    """An end's states as its kernel told them, since the first segment; and how exact that is, or why none are."""
    of = run.of(conversation.initiator, conversation.responder)
    try:
        rows, clock = of.timed_states(ENDS[side])
    except NotShown as error:
        return (), translated(str(error))
    except (StopIteration, KeyError):  # the run knows no host of that address
        return (), _("nobody looked")
    if clock is None:
        source = _("ss every {ms} ms: a state stands where it was first seen").format(ms=f"{SAMPLE_SECONDS * 1e3:.0f}")
    else:
        source = _("the kernel's trace, its clock matched within {within} µs").format(
            within=f"{clock.within * 1e6:.1f}"
        )
    if not of.on_the_captures_clock(ENDS[side]):
        source += _("; by its own host's clock, which was not compared with the capture's")
    began = conversation.column("time")[0]
    return tuple((round(row.time * 1e6) * 1000 - began, row.state) for row in rows), source
