"""The verdict on the terminal: the ladder, the checks with points, the sum."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.grading.results import Results
from harness.language import _
from harness.messages import translated
from harness.reports.columns import wrap
from harness.reports.ladder import KIND_STYLES, StyledLine, ladder
from harness.tcp.conversation import Conversation

# outcome → (mark, style); the mark alone tells, colour only helps
_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "not-shown": ("?", "yellow"),
    "not-judged": ("!", "magenta"),
}
_VERDICTS = {"passed": "green", "failed": "red", "not-judged": "magenta"}


def verdict_line(results: Results) -> str:
    """The whole outcome in one line."""
    if results.outcome == "not-judged":
        cause = results.cause or next(c.message for c in results.checks if c.outcome == "not-judged")
        said = translated(cause.removeprefix("could not be judged: "))
        return _("could not be judged: {cause}").format(cause=said)
    checks = results.checks
    words = {
        "passed": _("{count} passed"),
        "failed": _("{count} failed"),
        "not-shown": _("{count} not shown"),
        "not-judged": _("{count} not judged"),
    }
    counts = {outcome: sum(c.outcome == outcome for c in checks) for outcome in words}
    told = _(", ").join(words[outcome].format(count=n) for outcome, n in counts.items() if n)
    line = (
        _("passed: {score} of {most} points ({counts})")
        if results.outcome == "passed"
        else _("failed: {score} of {most} points ({counts})")
    )
    return line.format(score=results.score, most=results.max_score, counts=told)


def check_lines(results: Results, width: int) -> Iterator[StyledLine]:
    """The checks, each with its points and, where it did not pass, why."""
    for check in results.checks:
        mark, style = _MARKS[check.outcome]
        earned = "-" if check.score is None else str(check.score)
        points = f"{earned}/{check.points}" if check.points else ""
        lines = wrap(translated(check.title), width - 10) or [check.id]
        yield f" {mark} {points:>5}  {lines[0]}", style
        yield from ((f"          {line}", style) for line in lines[1:])
        if check.message:
            frames = f"{', '.join(map(str, check.frames[:8]))}{', …' if len(check.frames) > 8 else ''}"
            where = _("[frames {frames}]").format(frames=frames) + " " if check.frames else ""
            said = wrap(where + translated(check.message), width - 12)
            yield from ((f"            {line}", style) for line in said)


def _how(conversation: Conversation) -> str:
    """How a connection was opened and closed, and by whom."""
    words = (
        _("open: {open} · close: {close}, closed by {closer}")
        if conversation.closer
        else _("open: {open} · close: {close}")
    )
    closer = translated(conversation.closer or "")
    return words.format(open=conversation.open, close=conversation.close, closer=closer)


def report(
    results: Results, conversation: Conversation | None, *, width: int, absolute: bool = False
) -> Iterator[StyledLine]:
    """The whole report as (line, style); a style is one of rich's."""
    if conversation is not None:
        for line in ladder(conversation, width=width, absolute=absolute):
            yield line.text, KIND_STYLES[line.kind]
        yield "", ""
        yield _how(conversation), "bold"
        names = (conversation.conn_state, conversation.history, conversation.completeness)
        yield "conn_state {} · history {} · completeness {}".format(*names), ""
        yield "", ""
    yield from check_lines(results, width)
    yield "", ""
    yield verdict_line(results), f"bold {_VERDICTS[results.outcome]}"


def scene_lines(
    scenes: Mapping[str, Mapping[str, Any]], found: Iterable[Conversation], *, width: int, absolute: bool = False
) -> Iterator[StyledLine]:
    """A ladder for each of a run's scenes.

    Args:
        scenes: name → ends, as run.json has them.
        found: the capture's conversations.
        width: columns.
        absolute: see `ladder`.
    """
    by_ends: dict[tuple[str, str], list[Conversation]] = {}
    for one in found:
        by_ends.setdefault((one.initiator, one.responder), []).append(one)
    for name, ends in scenes.items():
        yield f"── {name} ".ljust(width, "─"), "bold"
        lives = by_ends.get((ends["initiator"], ends["responder"]), [])
        if not lives:
            yield _("not in the capture"), "yellow"
        for conversation in lives:  # one after another, where the same addresses and ports were used again
            for line in ladder(conversation, width=width, absolute=absolute):
                yield line.text, KIND_STYLES[line.kind]
            yield _how(conversation), "bold"
            yield "", ""
