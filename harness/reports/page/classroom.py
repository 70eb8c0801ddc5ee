"""A class, counted for its page: who got what, which checks earn least, and what a human should look at."""

from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from harness.grading.graded import Graded
from harness.language import _, ngettext
from harness.messages import translated
from harness.reports.feedback import outcome_words
from harness.reports.gradebook import number, printable

_BINS = 10
_HARDEST = 15
_MOST_LISTED = 5000  # students; all stand in gradebook.csv
_MOST_FLAGGED = 500  # flags of one kind
_KINDS = 50


class Student(NamedTuple):
    """A line of the table."""

    name: str
    link: str
    score: str
    most: int
    outcome: str
    words: str
    flags: str


class Flagged(NamedTuple):
    """One thing that a human should look at."""

    name: str
    link: str
    message: str
    frames: str


class Hard(NamedTuple):
    """A check that not all hold; shares are in percent of those for whom it could be judged."""

    title: str
    failed: int
    not_shown: int


class Classroom:
    """Counts submissions as they come."""

    def __init__(self, page_of: Callable[[str], str]) -> None:
        """Begin with nobody.

        Args:
            page_of: the name of a student's page in the student's folder.
        """
        self._page_of = page_of
        self.count = 0
        self.students: list[Student] = []
        self.flagged: dict[str, list[Flagged]] = {}
        self.flag_counts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self._shares: Counter[float] = Counter()
        self._scores: list[float] = []
        self._most: set[int] = set()
        self._titles: dict[str, str] = {}
        self._checks: Counter[tuple[str, str]] = Counter()

    def add(self, graded: Graded) -> None:
        """Count one."""
        results, score = graded.results, graded.score
        self.count += 1
        self.outcomes[results.outcome] += 1
        name = printable(graded.student, 80)
        link = f"students/{quote(graded.student, safe='', errors='replace')}/{quote(self._page_of(graded.student))}"
        if score is not None and results.max_score:
            self._shares[min(int(_BINS * score / results.max_score), _BINS - 1)] += 1
            self._scores.append(score)
            self._most.add(results.max_score)
        for check in results.checks:
            self._titles.setdefault(check.id, check.title or check.id)
            self._checks[check.id, check.outcome] += 1
        for flag in graded.flags:
            kind = flag.kind if flag.kind in self.flagged or len(self.flagged) < _KINDS else _("of other kinds")
            self.flag_counts[kind] += 1
            of_kind = self.flagged.setdefault(kind, [])
            if len(of_kind) < _MOST_FLAGGED:
                frames = ", ".join(map(str, flag.frames[:12])) + (", …" if len(flag.frames) > 12 else "")
                of_kind.append(Flagged(name, link, printable(translated(flag.message)), frames))
        if len(self.students) < _MOST_LISTED:
            kinds = ", ".join(dict.fromkeys(printable(flag.kind, 40) for flag in graded.flags))
            words = outcome_words(results.outcome)
            self.students.append(Student(name, link, number(score), results.max_score, results.outcome, words, kinds))

    @property
    def middle(self) -> str:
        """The mean and the median, in words; empty where they cannot be compared, or nobody was judged."""
        if len(self._most) != 1 or not self._scores:
            return ""
        mean = sum(self._scores) / len(self._scores)
        words = _("mean {mean}, median {median}, of {most} points")
        return words.format(
            mean=number(round(mean, 2)), median=number(round(median(self._scores), 2)), most=next(iter(self._most))
        )

    @property
    def hardest(self) -> list[Hard]:
        """The checks that earn least."""
        found = []
        for name, title in self._titles.items():
            failed, unseen, passed = (self._checks[name, outcome] for outcome in ("failed", "not-shown", "passed"))
            if failed or unseen:
                judged = failed + unseen + passed
                shares = round(100 * failed / judged), round(100 * unseen / judged)
                found.append(Hard(printable(translated(title)), *shares))
        return sorted(found, key=lambda one: one.failed + one.not_shown, reverse=True)[:_HARDEST]

    @property
    def distribution(self) -> Markup:
        """How many reached how much, as bars."""
        counts = [self._shares[place] for place in range(_BINS)]
        most = max(*counts, 1)
        title = _("How many students reached how much")
        said = "; ".join(f"{place * 10}–{place * 10 + 10} %: {count}" for place, count in enumerate(counts))
        size = f'width="100%" height="{_BINS * 24}"'
        parts = [f'<svg class="distribution" {size} role="img" aria-label="{title}"><desc>{said}</desc>\n']
        for place, count in enumerate(counts):
            y = (_BINS - 1 - place) * 24
            students = ngettext("{count} student", "{count} students", count).format(count=count)
            parts.append(
                f'<text x="86" y="{y + 16}" text-anchor="end">{place * 10}–{place * 10 + 10} %</text>'
                f'<svg x="96" y="{y + 3}" width="44%" height="18">'
                f'<rect width="{100 * count / most:.1f}%" height="18"/></svg>'
                f'<text x="100%" y="{y + 16}" text-anchor="end">{students}</text>\n'
            )
        parts.append("</svg>")
        return Markup("".join(parts))  # noqa: S704 - numbers and words of ours
