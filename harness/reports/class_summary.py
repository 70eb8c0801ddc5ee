"""A whole class on the terminal: outcomes, scores, the checks that fail most, and what needs a human."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from harness.grading.graded import Graded
from harness.language import _, ngettext
from harness.messages import translated
from harness.reports.columns import left, wrap
from harness.reports.gradebook import number, printable
from harness.reports.ladder import StyledLine

_BINS = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"
_HARDEST = 10  # checks listed
_NAMED = 10  # students named for each thing to look at
_KINDS = 50  # of flags kept apart; more would be no list for a human


@dataclass(frozen=True, slots=True)
class _Check:
    """How a check went in the class, among those for whom it could be judged."""

    title: str
    failed: Fraction
    not_shown: Fraction

    @property
    def lost(self) -> Fraction:
        return self.failed + self.not_shown


@dataclass(slots=True)
class _Seen:
    """Something that a human should look at: how often, and the first few students."""

    count: int = 0
    students: list[str] = field(default_factory=list)

    def add(self, student: str) -> None:
        self.count += 1
        if len(self.students) < _NAMED:
            self.students.append(printable(student, 60))


def quantile(counts: Counter[Fraction], share: Fraction) -> Fraction:
    """The value below which a *share* of all values lies, exact.

    Between two values it is interpolated as in `statistics.quantiles(..., method="inclusive")`; 1/2 is the median.

    Args:
        counts: how often each value occurs; at least one does.
        share: 0 to 1.
    """
    place = share * (counts.total() - 1)
    index, between = divmod(place, 1)
    lower: Fraction | None = None
    passed = 0
    for value in sorted(counts):
        passed += counts[value]
        if lower is None and passed > index:
            lower = value
        if lower is not None and (passed > index + 1 or not between):
            return lower + (value - lower) * between
    raise ValueError("no values")


class ClassSummary:
    """Counts submissions as they are graded; memory grows with the scores that occur, not with the class."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._scores: Counter[tuple[int, int]] = Counter()  # hundredths of a point, and the maximum
        self._titles: dict[str, str] = {}
        self._checks: Counter[tuple[str, str]] = Counter()  # id and outcome
        self._provenance: Counter[str] = Counter()
        self._unjudged = _Seen()
        self._flags: dict[str, _Seen] = {}
        self._late = 0

    def add(self, graded: Graded) -> None:
        """Count one submission."""
        results, score = graded.results, graded.score
        self._outcomes[results.outcome] += 1
        self._provenance[graded.provenance] += 1
        if score is None:
            self._unjudged.add(graded.student)
        else:
            self._scores[round(score * 100), results.max_score] += 1
        if graded.lateness is not None and graded.lateness.seconds:
            self._late += 1
        self._checks.update([(check.id, check.outcome) for check in results.checks])
        for check in results.checks:
            if check.id not in self._titles:
                self._titles[check.id] = printable(translated(check.title or check.id))
        for kind in dict.fromkeys(flag.kind for flag in graded.flags):
            known = kind if kind in self._flags or len(self._flags) < _KINDS else _("of other kinds")
            self._flags.setdefault(known, _Seen()).add(graded.student)

    def lines(self, width: int) -> Iterator[StyledLine]:
        """The summary as (line, style); no line is longer than *width*, which is at least 60 columns."""
        total = self._outcomes.total()
        yield ngettext("{count} submission", "{count} submissions", total).format(count=total), "bold"
        for outcome, mark, words, style in (
            ("passed", "✓", _("passed all"), "green"),
            ("failed", "✗", _("did not pass all"), "red"),
            ("not-judged", "!", _("could not be judged"), "magenta"),
        ):
            if count := self._outcomes[outcome]:
                yield f" {mark} {count:>6}  {words}", style
        if self._late:
            yield f"   {self._late:>6}  {_('came late')}", "yellow"
        if self._scores:
            yield "", ""
            yield from self._score_lines(width)
        yield from self._check_lines(width)
        if total:
            yield "", ""
            counted = (f"{printable(name, 30)} {count}" for name, count in self._provenance.most_common())
            words = _("where they come from: {counts}").format(counts=", ".join(counted))
            yield from _wrapped(words, width, "  ", "")
        if self._unjudged.count or self._flags:
            yield "", ""
            yield from self._human_lines(width)

    def _score_lines(self, width: int) -> Iterator[StyledLine]:
        # Submissions that were judged by more checks (live runs) have another maximum: then only shares compare.
        most = {maximum for _, maximum in self._scores}
        shares: Counter[Fraction] = Counter()
        for (score, maximum), count in self._scores.items():
            shares[Fraction(score, 100 * maximum) if maximum else Fraction(0)] += count
        scale = most.pop() if (in_points := len(most) == 1) else 100
        mean = sum((share * count for share, count in shares.items()), Fraction(0)) / shares.total()
        low, median, high = (quantile(shares, Fraction(quarter, 4)) for quarter in (1, 2, 3))
        told = [number(float(round(value * scale, 2))) for value in (mean, median, low, high)]
        head = _("scores of {most} points") if in_points else _("scores in % (the maximum is not the same for all)")
        yield head.format(most=scale), "bold"
        names = ("mean", "median", "low", "high")
        words = _("mean {mean}, median {median}, the middle half from {low} to {high}")
        yield "  " + words.format(**dict(zip(names, told, strict=True))), ""
        bins = [0] * _BINS
        for share, count in shares.items():
            bins[min(int(share * _BINS), _BINS - 1)] += count
        room = width - 14 - len(str(max(bins)))  # beside the label and the count
        for index, count in enumerate(bins):
            eighths = -(-count * room * 8 // max(bins))
            bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
            yield f"  {index * 10:>3}–{index * 10 + 10:<3} % │{bar} {count}", "" if count else "dim"

    def _hardest(self) -> list[_Check]:
        checks = []
        for name, title in self._titles.items():
            failed, not_shown, passed = (self._checks[name, outcome] for outcome in ("failed", "not-shown", "passed"))
            judged = failed + not_shown + passed
            if failed or not_shown:
                checks.append(_Check(title, Fraction(failed, judged), Fraction(not_shown, judged)))
        return sorted(checks, key=lambda check: check.lost, reverse=True)[:_HARDEST]

    def _check_lines(self, width: int) -> Iterator[StyledLine]:
        hardest = self._hardest()
        if not hardest:
            return
        yield "", ""
        yield _("checks that earn least"), "bold"
        yield f"  {left(_('failed'), 8)}{_('not shown')}", "dim"
        for check in hardest:
            first, *rest = wrap(check.title, width - 22)
            yield f"   {round(100 * check.failed):>3} %      {round(100 * check.not_shown):>3} %   {first}", ""
            yield from ((" " * 22 + line, "") for line in rest)

    def _human_lines(self, width: int) -> Iterator[StyledLine]:
        yield _("for you to look at"), "bold"
        if self._unjudged.count:
            yield from _seen_lines(_("could not be judged"), self._unjudged, width)
        for kind, seen in sorted(self._flags.items(), key=lambda item: -item[1].count):
            yield from _seen_lines(printable(kind, 40), seen, width)


def _seen_lines(name: str, seen: _Seen, width: int) -> Iterator[StyledLine]:
    more = seen.count - len(seen.students)
    students = ", ".join(seen.students) + (_(", … and {more} more").format(more=more) if more else "")
    yield from _wrapped(f"  {name} ({seen.count}): {students}", width, "    ", "yellow")


def _wrapped(text: str, width: int, indent: str, style: str) -> Iterator[StyledLine]:
    yield from ((line, style) for line in wrap(text, width, indent=indent))
