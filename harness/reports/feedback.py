"""What a student reads: the mark, each check, and why it did not pass; as Markdown and as one self-contained HTML page.

Whatever stems from a submission is hostile until escaped. In Markdown it stands in code spans and fences, in which
nothing is markup (CommonMark 0.31 §6.1 and §4.5); the rubric's titles are escaped (§2.4). In HTML it is text only, and
the page's own policy forbids scripts, pictures and the network (https://www.w3.org/TR/CSP3/#meta-element). Flags are
the teacher's and are not shown here.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape

from harness.grading.graded import Graded
from harness.grading.results import Check
from harness.reports.gradebook import number, printable

# outcome → (mark, word, what it means), in the order in which a student needs them. Colour only helps.
_OUTCOMES = {
    "failed": ("✗", "failed", "The packets are not as these ask."),
    "not-shown": ("?", "not shown", "What was handed in does not show what these look at, so they earn nothing."),
    "not-judged": ("!", "could not be judged", "Something went wrong while judging these: that is never a mark."),
    "passed": ("✓", "passed", "These hold."),
}
_MESSAGE = 1000
_FRAMES = 12
_PROBLEMS = 20
_LADDER_LINES = 400
_LADDER_WIDTH = 200

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--soft:#595959;--line:#c8c8c8;--shade:#f3f3f3;
--failed:#a40000;--not-shown:#704d00;--not-judged:#6b2c91;--passed:#1a6322}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--paper:#161616;--soft:#a8a8a8;--line:#484848;--shade:#232323;
--failed:#ff9d94;--not-shown:#ecc15c;--not-judged:#d9b3f0;--passed:#8ed698}}
body{color:var(--ink);background:var(--paper);font:1rem/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;
padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.mark{font-size:1.3rem;font-weight:600}.soft{color:var(--soft)}
ul{list-style:none;padding:0}li{border-left:.3rem solid var(--line);padding:.2rem 0 .2rem .8rem;margin:.5rem 0}
li p{margin:.2rem 0;font:.9rem/1.45 ui-monospace,monospace}
.failed{border-color:var(--failed)}.failed b{color:var(--failed)}
.not-shown{border-color:var(--not-shown)}.not-shown b{color:var(--not-shown)}
.not-judged{border-color:var(--not-judged)}.not-judged b{color:var(--not-judged)}
.passed{border-color:var(--passed)}.passed b{color:var(--passed)}
pre{background:var(--shade);padding:1rem;overflow-x:auto;font:.75rem/1.35 ui-monospace,monospace;overflow-wrap:normal}
@media print{:root{color-scheme:light;--ink:#000;--paper:#fff;--soft:#333;--failed:#000;--not-shown:#000;
--not-judged:#000;--passed:#000}body{max-width:none;margin:0}li{break-inside:avoid}
pre{white-space:pre;overflow:visible;font-size:6.5pt;background:none;padding:0}}
"""
_POLICY = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEAD = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    f"style-src 'sha256-{_POLICY}'; base-uri 'none'; form-action 'none'\">\n"
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    f"<style>{_STYLE}</style>\n<title>"
)

# All that can begin markup within a line; titles never stand at a line's begin.
_MARKUP = re.compile(r"([\\`*_\[\]<>&~!#|$^:])")
_LINK_LIKE = re.compile(r"@|://|www\.|#\d", re.IGNORECASE)  # what some renderers link even where it is escaped
_TICKS = re.compile("`+")


def _code(text: str, limit: int = _MESSAGE) -> str:
    """A printable Markdown code span: in it nothing is markup."""
    safe = printable(text, limit)
    if not safe.strip(" "):
        return "(empty)"
    if "`" not in safe:
        # A space at both ends would be stripped; one more on each side keeps them.
        return f"` {safe} `" if safe[0] == safe[-1] == " " else f"`{safe}`"
    fence = "`" * (max(map(len, _TICKS.findall(safe))) + 1)
    return f"{fence} {safe} {fence}"


@lru_cache(maxsize=4096)
def _markdown_title(title: str) -> str:
    safe = printable(title, _MESSAGE)
    return _code(safe) if _LINK_LIKE.search(safe) else _MARKUP.sub(r"\\\1", safe).strip() or "(empty)"


def _html(text: str, limit: int = _MESSAGE) -> str:
    return escape(printable(text, limit))


@lru_cache(maxsize=4096)
def _rows(title: str, points: int, score: int | None, outcome: str) -> tuple[str, str]:
    """A check's own line in both formats; the same for most of a class, so made once."""
    mark, word, _ = _OUTCOMES[outcome]
    worth = f" · {'-' if score is None else score}/{points}" if points else ""
    return (
        f"- {mark} **{word}**{worth} · {_markdown_title(title)}\n",
        f'<li class="{outcome}"><b>{mark} {word}</b>{worth} · {_html(title)}',
    )


def _said(outcome: str, message: str) -> str:
    """A check's message without the words that its section says already."""
    return message.removeprefix(f"{_OUTCOMES[outcome][1]}: ")


def _frames(check: Check) -> str:
    if not check.frames:
        return ""
    shown = ", ".join(map(str, check.frames[:_FRAMES]))
    more = len(check.frames) - _FRAMES
    return f"{'frame' if len(check.frames) == 1 else 'frames'} {shown}{f' and {more} more' if more > 0 else ''}"


def _mark_line(graded: Graded) -> str:
    score = graded.score
    return "Could not be judged: no mark" if score is None else f"{number(score)} of {graded.results.max_score} points"


def _counts(graded: Graded) -> str:
    outcomes = [check.outcome for check in graded.results.checks]
    counts = [f"{outcomes.count(outcome)} {word}" for outcome, (_, word, _) in _OUTCOMES.items() if outcome in outcomes]
    total = f"{len(outcomes)} check{'' if len(outcomes) == 1 else 's'}"
    return f"{total}: {', '.join(counts)}" if counts else "No check was made"


def duration(seconds: int) -> str:
    """A time as its two largest units: "1 day 2 h", "5 min", "40 s"."""
    parts = []
    for size, word in ((86400, "day"), (3600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {word}{'s' if word == 'day' and count > 1 else ''}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def lateness_line(graded: Graded) -> str:
    """When it came and what that cost, in one line; empty without a late policy."""
    late = graded.lateness
    if late is None:
        return ""
    if not late.seconds and not late.penalty:
        return "Handed in on time"
    earned = graded.results.score
    of = "" if earned is None else f" of the {number(earned)} earned"
    cost = f"{number(late.penalty)} points{of} taken off" if late.penalty else "nothing taken off"
    return f"Handed in {duration(late.seconds)} late: {cost}"


def _cause(graded: Graded) -> str:
    return graded.results.cause.removeprefix("could not be judged: ")


def _problems(graded: Graded) -> tuple[Iterable[str], int]:
    return graded.problems[:_PROBLEMS], max(0, len(graded.problems) - _PROBLEMS)


@lru_cache(maxsize=4)  # both formats draw the same one
def _ladder(ladder: tuple[str, ...]) -> str:
    """The ladder's text; unlike in `printable` its lines keep their spaces, which hold the drawing together."""
    lines = list(ladder[:_LADDER_LINES])
    if not "".join(lines).isprintable() or max(map(len, lines)) > _LADDER_WIDTH:
        lines = ["".join(c if c.isprintable() else "?" for c in line[:_LADDER_WIDTH]) for line in lines]
    if len(ladder) > _LADDER_LINES:
        lines.append(f"… and {len(ladder) - _LADDER_LINES} more lines")
    return "\n".join(lines)


def outcome_words(outcome: str) -> str:
    """What a student reads for an outcome: its mark and its word."""
    mark, word, _ = _OUTCOMES[outcome]
    return f"{mark} {word}"


def summary_lines(graded: Graded) -> list[str]:
    """The mark, what it is made of, and what went wrong, as plain printable lines."""
    lines = [f"{printable(graded.results.lab)}: {_mark_line(graded)}", _counts(graded)]
    if graded.results.cause:
        lines.append(f"Could not be judged: {printable(_cause(graded), _MESSAGE)}")
    if late := lateness_line(graded):
        lines.append(late)
    shown, more = _problems(graded)
    lines += [f"Could not be read: {printable(problem, _MESSAGE)}" for problem in shown]
    return [*lines, f"… and {more} more"] if more else lines


def missed_lines(graded: Graded) -> Iterator[str]:
    """Each check that did not pass, and why, as plain printable lines."""
    for check in graded.results.checks:
        if check.outcome != "passed":
            earned = "-" if check.score is None else str(check.score)
            title = printable(check.title or check.id)
            said = printable(_said(check.outcome, check.message), _MESSAGE)
            yield f"{outcome_words(check.outcome)} {earned}/{check.points} {title}{': ' if said else ''}{said}"


def _by_outcome(graded: Graded) -> dict[str, list[Check]]:
    groups: dict[str, list[Check]] = {outcome: [] for outcome in _OUTCOMES}
    for check in graded.results.checks:
        groups[check.outcome].append(check)
    return groups


def feedback_markdown(graded: Graded) -> str:
    """All that a student is told, as Markdown (https://spec.commonmark.org/0.31.2/); UTF-8 can always encode it."""
    results = graded.results
    parts = [
        f"# Lab {_markdown_title(results.lab)}: {_mark_line(graded)}\n\n",
        f"Student {_code(graded.student)}, handed in {_code(graded.source)}.\n\n{_counts(graded)}.\n",
    ]
    if results.cause:
        parts.append(f"\n## Could not be judged\n\n{_code(_cause(graded))}\n")
    late = lateness_line(graded)
    if late:
        parts.append(f"\n{late}.\n")
    if graded.problems:
        shown, more = _problems(graded)
        parts.append("\n## What could not be read of it\n\n")
        parts += [f"- {_code(problem)}\n" for problem in shown]
        if more:
            parts.append(f"- … and {more} more\n")
    for outcome, checks in _by_outcome(graded).items():
        if not checks:
            continue
        _, word, meaning = _OUTCOMES[outcome]
        parts.append(f"\n## {word.capitalize()}\n\n{meaning}\n\n")
        for check in checks:
            parts.append(_rows(check.title or check.id, check.points, check.score, outcome)[0])
            if check.message:
                frames = _frames(check)
                parts.append(f"  - {_code(_said(outcome, check.message))}{f' ({frames})' if frames else ''}\n")
    if graded.ladder:
        drawn = _ladder(graded.ladder)
        fence = "`" * (max(map(len, _TICKS.findall(drawn)), default=2) + 1) if "```" in drawn else "```"
        parts.append(f"\n## The connection\n\n{fence}text\n{drawn}\n{fence}\n")
    return "".join(parts)


def feedback_html(graded: Graded) -> str:
    """All that a student is told, as one HTML page that loads nothing; for light, dark and paper."""
    results = graded.results
    lab = _html(results.lab)
    mark = _mark_line(graded)
    parts = [
        f"{_HEAD}{lab}: {mark}</title>\n</head>\n<body>\n<main>\n<h1>Lab {lab}</h1>\n",
        f'<p class="mark">{mark}</p>\n<p>Student <bdi>{_html(graded.student)}</bdi>, handed in ',
        f"<bdi>{_html(graded.source)}</bdi>.</p>\n<p>{_counts(graded)}.</p>\n",
    ]
    if results.cause:
        parts.append(f"<h2>Could not be judged</h2>\n<p>{_html(_cause(graded))}</p>\n")
    late = lateness_line(graded)
    if late:
        parts.append(f"<p>{late}.</p>\n")
    if graded.problems:
        shown, more = _problems(graded)
        parts.append("<h2>What could not be read of it</h2>\n<ul>\n")
        parts += [f"<li>{_html(problem)}</li>\n" for problem in shown]
        parts.append(f"<li>… and {more} more</li>\n</ul>\n" if more else "</ul>\n")
    for outcome, checks in _by_outcome(graded).items():
        if not checks:
            continue
        _, word, meaning = _OUTCOMES[outcome]
        parts.append(f'<h2>{word.capitalize()}</h2>\n<p class="soft">{meaning}</p>\n<ul>\n')
        for check in checks:
            parts.append(_rows(check.title or check.id, check.points, check.score, outcome)[1])
            if check.message:
                frames = _frames(check)
                parts.append(f"<p>{_html(_said(outcome, check.message))}{f' ({frames})' if frames else ''}</p>")
            parts.append("</li>\n")
        parts.append("</ul>\n")
    if graded.ladder:
        parts.append(f'<h2>The connection</h2>\n<pre tabindex="0">{escape(_ladder(graded.ladder))}</pre>\n')
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)
