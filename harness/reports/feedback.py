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
from harness.language import TAGS, _, ngettext, speaking, spoken
from harness.messages import translated
from harness.reports.gradebook import number, printable
from harness.reports.ladder import in_words

# outcome → mark, in the order in which a student needs them. Colour only helps.
_MARKS = {"failed": "✗", "not-shown": "?", "not-judged": "!", "passed": "✓"}
_JUDGED_NOT = "could not be judged: "
_SAID_ALREADY = {"not-shown": "not shown: ", "not-judged": _JUDGED_NOT}  # messages that begin with their outcome
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
    '<!DOCTYPE html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "style-src 'sha256-{policy}'; base-uri 'none'; form-action 'none'\">\n"
    '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
    "<style>{style}</style>\n<title>"
)

# All that can begin markup within a line; titles never stand at a line's begin.
_MARKUP = re.compile(r"([\\`*_\[\]<>&~!#|$^:])")
_LINK_LIKE = re.compile(r"@|://|www\.|#\d", re.IGNORECASE)  # what some renderers link even where it is escaped
_TICKS = re.compile("`+")


def _word(outcome: str) -> str:
    words = {
        "failed": _("failed"),
        "not-shown": _("not shown"),
        "not-judged": _("could not be judged"),
        "passed": _("passed"),
    }
    return words[outcome]


def _meaning(outcome: str) -> str:
    meanings = {
        "failed": _("The packets are not as these ask."),
        "not-shown": _("What was handed in does not show what these look at, so they earn nothing."),
        "not-judged": _("Something went wrong while judging these: that is never a mark."),
        "passed": _("These hold."),
    }
    return meanings[outcome]


def _code(text: str, limit: int = _MESSAGE) -> str:
    """A printable Markdown code span: in it nothing is markup."""
    safe = printable(text, limit)
    if not safe.strip(" "):
        return _("(empty)")
    if "`" not in safe:
        # A space at both ends would be stripped; one more on each side keeps them.
        return f"` {safe} `" if safe[0] == safe[-1] == " " else f"`{safe}`"
    fence = "`" * (max(map(len, _TICKS.findall(safe))) + 1)
    return f"{fence} {safe} {fence}"


@lru_cache(maxsize=4096)
def _markdown_title(title: str) -> str:
    safe = printable(title, _MESSAGE)
    return _code(safe) if _LINK_LIKE.search(safe) else _MARKUP.sub(r"\\\1", safe).strip() or _("(empty)")


def _html(text: str, limit: int = _MESSAGE) -> str:
    return escape(printable(text, limit))


@lru_cache(maxsize=4096)
def _rows(title: str, points: int, score: int | None, outcome: str, language: str) -> tuple[str, str]:
    """A check's own line in both formats; the same for most of a class, so made once."""
    with speaking(language):
        mark, word, told = _MARKS[outcome], _word(outcome), translated(title)
        worth = f" · {'-' if score is None else score}/{points}" if points else ""
        return (
            f"- {mark} **{word}**{worth} · {_markdown_title(told)}\n",
            f'<li class="{outcome}"><b>{mark} {word}</b>{worth} · {_html(told)}',
        )


def _said(outcome: str, message: str) -> str:
    """A check's message without the words that its section says already."""
    return translated(message.removeprefix(_SAID_ALREADY.get(outcome, "")))


def _frames(check: Check) -> str:
    if not check.frames:
        return ""
    shown = ", ".join(map(str, check.frames[:_FRAMES]))
    more = len(check.frames) - _FRAMES
    if more > 0:
        return _("frames {frames} and {more} more").format(frames=shown, more=more)
    return ngettext("frame {frames}", "frames {frames}", len(check.frames)).format(frames=shown)


def _mark_line(graded: Graded) -> str:
    if graded.score is None:
        return _("Could not be judged: no mark")
    return _("{score} of {most} points").format(score=number(graded.score), most=graded.results.max_score)


def _counts(graded: Graded) -> str:
    outcomes = [check.outcome for check in graded.results.checks]
    counts = [
        _("{count} {outcome}").format(count=outcomes.count(outcome), outcome=_word(outcome))
        for outcome in _MARKS
        if outcome in outcomes
    ]
    if not counts:
        return _("No check was made")
    total = ngettext("{count} check", "{count} checks", len(outcomes)).format(count=len(outcomes))
    return _("{total}: {counts}").format(total=total, counts=_(", ").join(counts))


def duration(seconds: int) -> str:
    """A time as its two largest units: "1 day 2 h", "5 min", "40 s"."""
    parts = list[str]()
    for size in (86400, 3600, 60, 1):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(_unit(size, count))
        elif parts:
            break
    return " ".join(parts[:2]) or _unit(1, 0)


def _unit(size: int, count: int) -> str:
    """So many days, hours, minutes or seconds."""
    if size == 86400:
        return ngettext("{count} day", "{count} days", count).format(count=count)
    words = {3600: _("{count} h"), 60: _("{count} min"), 1: _("{count} s")}
    return words[size].format(count=count)


def lateness_line(graded: Graded) -> str:
    """When it came and what that cost, in one line; empty without a late policy."""
    late = graded.lateness
    if late is None:
        return ""
    if not late.seconds and not late.penalty:
        return _("Handed in on time")
    if not late.penalty:
        words = _("Handed in {time} late: nothing taken off")
    elif graded.results.score is None:
        words = _("Handed in {time} late: {points} points taken off")
    else:
        words = _("Handed in {time} late: {points} points of the {earned} earned taken off")
    earned = number(graded.results.score)
    return words.format(time=duration(late.seconds), points=number(late.penalty), earned=earned)


def _cause(graded: Graded) -> str:
    return translated(graded.results.cause.removeprefix(_JUDGED_NOT))


def _problems(graded: Graded) -> tuple[Iterable[str], int]:
    return map(translated, graded.problems[:_PROBLEMS]), max(0, len(graded.problems) - _PROBLEMS)


@lru_cache(maxsize=4)  # both formats draw the same one
def _ladder(ladder: tuple[str, ...], language: str) -> str:
    """The ladder's text; unlike in `printable` its lines keep their spaces, which hold the drawing together."""
    with speaking(language):
        lines = [in_words(line) for line in ladder[:_LADDER_LINES]]
        if not "".join(lines).isprintable() or max(map(len, lines)) > _LADDER_WIDTH:
            lines = ["".join(c if c.isprintable() else "?" for c in line[:_LADDER_WIDTH]) for line in lines]
        if len(ladder) > _LADDER_LINES:
            lines.append(_("… and {more} more lines").format(more=len(ladder) - _LADDER_LINES))
        return "\n".join(lines)


def outcome_words(outcome: str) -> str:
    """What a student reads for an outcome: its mark and its word."""
    return f"{_MARKS[outcome]} {_word(outcome)}"


def summary_lines(graded: Graded) -> list[str]:
    """The mark, what it is made of, and what went wrong, as plain printable lines, for other systems: in English."""
    lines = [f"{printable(graded.results.lab)}: {_mark_line(graded)}", _counts(graded)]
    if graded.results.cause:
        lines.append(f"Could not be judged: {printable(_cause(graded), _MESSAGE)}")
    if late := lateness_line(graded):
        lines.append(late)
    shown, more = _problems(graded)
    lines += [f"Could not be read: {printable(problem, _MESSAGE)}" for problem in shown]
    return [*lines, f"… and {more} more"] if more else lines


def missed_lines(graded: Graded) -> Iterator[str]:
    """Each check that did not pass, and why, as plain printable lines, for other systems: in English."""
    for check in graded.results.checks:
        if check.outcome != "passed":
            earned = "-" if check.score is None else str(check.score)
            title = printable(check.title or check.id)
            said = printable(_said(check.outcome, check.message), _MESSAGE)
            yield f"{outcome_words(check.outcome)} {earned}/{check.points} {title}{': ' if said else ''}{said}"


def _by_outcome(graded: Graded) -> dict[str, list[Check]]:
    groups: dict[str, list[Check]] = {outcome: [] for outcome in _MARKS}
    for check in graded.results.checks:
        groups[check.outcome].append(check)
    return groups


def _who(student: str, source: str) -> str:
    return _("Student {student}, handed in {source}.").format(student=student, source=source)


def _sentence(text: str) -> str:
    return _("{sentence}.").format(sentence=text)


def feedback_markdown(graded: Graded) -> str:
    """All that a student is told, as Markdown (https://spec.commonmark.org/0.31.2/); UTF-8 can always encode it."""
    results = graded.results
    parts = [
        f"# {_('Lab {lab}: {mark}').format(lab=_markdown_title(results.lab), mark=_mark_line(graded))}\n\n",
        f"{_who(_code(graded.student), _code(graded.source))}\n\n{_sentence(_counts(graded))}\n",
    ]
    if results.cause:
        parts.append(f"\n## {_('Could not be judged')}\n\n{_code(_cause(graded))}\n")
    late = lateness_line(graded)
    if late:
        parts.append(f"\n{_sentence(late)}\n")
    if graded.problems:
        shown, more = _problems(graded)
        parts.append(f"\n## {_('What could not be read of it')}\n\n")
        parts += [f"- {_code(problem)}\n" for problem in shown]
        if more:
            parts.append(f"- {_('… and {more} more').format(more=more)}\n")
    for outcome, checks in _by_outcome(graded).items():
        if not checks:
            continue
        parts.append(f"\n## {_word(outcome).capitalize()}\n\n{_meaning(outcome)}\n\n")
        for check in checks:
            parts.append(_rows(check.title or check.id, check.points, check.score, outcome, spoken())[0])
            if check.message:
                frames = _frames(check)
                parts.append(f"  - {_code(_said(outcome, check.message))}{f' ({frames})' if frames else ''}\n")
    if graded.ladder:
        drawn = _ladder(graded.ladder, spoken())
        fence = "`" * (max(map(len, _TICKS.findall(drawn)), default=2) + 1) if "```" in drawn else "```"
        parts.append(f"\n## {_('The connection')}\n\n{fence}text\n{drawn}\n{fence}\n")
    return "".join(parts)


def feedback_html(graded: Graded) -> str:
    """All that a student is told, as one HTML page that loads nothing; for light, dark and paper."""
    results = graded.results
    lab = _html(results.lab)
    mark = _mark_line(graded)
    parts = [
        _HEAD.format(tag=TAGS[spoken()], policy=_POLICY, style=_STYLE),
        f"{lab}: {mark}</title>\n</head>\n<body>\n<main>\n<h1>{_('Lab {lab}').format(lab=lab)}</h1>\n",
        f'<p class="mark">{mark}</p>\n',
        f"<p>{_who(f'<bdi>{_html(graded.student)}</bdi>', f'<bdi>{_html(graded.source)}</bdi>')}</p>\n",
        f"<p>{_sentence(_counts(graded))}</p>\n",
    ]
    if results.cause:
        parts.append(f"<h2>{_('Could not be judged')}</h2>\n<p>{_html(_cause(graded))}</p>\n")
    late = lateness_line(graded)
    if late:
        parts.append(f"<p>{_sentence(late)}</p>\n")
    if graded.problems:
        shown, more = _problems(graded)
        parts.append(f"<h2>{_('What could not be read of it')}</h2>\n<ul>\n")
        parts += [f"<li>{_html(problem)}</li>\n" for problem in shown]
        parts.append(f"<li>{_('… and {more} more').format(more=more)}</li>\n</ul>\n" if more else "</ul>\n")
    for outcome, checks in _by_outcome(graded).items():
        if not checks:
            continue
        parts.append(f'<h2>{_word(outcome).capitalize()}</h2>\n<p class="soft">{_meaning(outcome)}</p>\n<ul>\n')
        for check in checks:
            parts.append(_rows(check.title or check.id, check.points, check.score, outcome, spoken())[1])
            if check.message:
                frames = _frames(check)
                parts.append(f"<p>{_html(_said(outcome, check.message))}{f' ({frames})' if frames else ''}</p>")
            parts.append("</li>\n")
        parts.append("</ul>\n")
    if graded.ladder:
        drawn = escape(_ladder(graded.ladder, spoken()))
        parts.append(f'<h2>{_("The connection")}</h2>\n<pre tabindex="0">{drawn}</pre>\n')
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)
