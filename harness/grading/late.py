"""What a late submission costs: a policy as a small YAML file, and the arithmetic.

    due: 2026-11-20T23:59:00+01:00     # required; with an offset or Z
    grace: 15m                         # nothing is late within it (s, m, h, d; default 0)
    per: day                           # or hour: the penalty is for each one begun (default day)
    penalty: 10%                       # or points, such as 5 (default 0)
    of: maximum                        # or earned: what a percentage is of (default maximum)
    max_penalty: 50%                   # the penalty never exceeds this (default: all that was earned)
    closes: 2026-11-27T23:59:00+01:00  # after this moment all that was earned is lost (default never)

Times are RFC 3339's (https://www.rfc-editor.org/rfc/rfc3339#section-5.6). Percentages are of the maximum unless the
policy says otherwise: then a day costs everyone the same.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml

from harness.errors import HarnessError, one_line
from harness.grading.graded import Lateness

T = TypeVar("T")
_KEYS = ("due", "grace", "per", "penalty", "of", "max_penalty", "closes")
_SIZE_LIMIT = 8192  # bytes; a policy has seven lines
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d)?(\.\d{1,6})?(Z|z|[+-]\d\d:\d\d)?")
_SPAN = re.compile(r"(\d{1,6})\s*(s|m|h|d)")
_AMOUNT = re.compile(r"(\d{1,6}(?:\.\d{1,4})?)\s*(%?)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PERIODS = {"day": 86400, "hour": 3600}


@dataclass(frozen=True, slots=True)
class Amount:
    """A penalty.

    Attributes:
        value: points, or percent.
        percent: which of both.
    """

    value: Fraction
    percent: bool

    def points(self, base: int) -> Fraction:
        """In points, where *base* is 100 %."""
        return self.value * base / 100 if self.percent else self.value


@dataclass(frozen=True, slots=True)
class LatePolicy:
    """What lateness costs.

    Attributes:
        due: the deadline, in seconds since 1970 (UTC), exact.
        grace: seconds after it in which nothing is late.
        per: seconds in the period that each penalty is for, once it began.
        penalty: for each period begun.
        of_earned: a percentage is of what was earned, not of the maximum.
        max_penalty: the most there is; None is all that was earned.
        closes: from after this moment all is lost, in seconds since 1970; None is never.
    """

    due: Fraction
    grace: int = 0
    per: int = 86400
    penalty: Amount = Amount(Fraction(0), percent=False)
    of_earned: bool = False
    max_penalty: Amount | None = None
    closes: Fraction | None = None


class _Loader(yaml.BaseLoader):
    """A mapping of texts, as written. Aliases, and whatever is inside of something, are refused where they begin."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias (*name) is not allowed here; write the value")
        if parent is None and not self.check_event(yaml.MappingStartEvent):
            self._refuse(f"expected a mapping with the keys {', '.join(_KEYS)}")
        if parent is not None and not self.check_event(yaml.ScalarEvent):
            self._refuse("expected one value, not a list or a mapping")
        return super().compose_node(parent, index)

    def _refuse(self, problem: str) -> NoReturn:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _read(path: Path, where: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise HarnessError(f"{where}: cannot read the late policy: {error.strerror}") from None
    except ValueError as error:  # a NUL in the path
        raise HarnessError(f"{where}: cannot read the late policy: {error}") from None
    if len(content) > _SIZE_LIMIT:
        raise HarnessError(f"{where}: larger than {_SIZE_LIMIT} bytes: not a late policy")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise HarnessError(f"{where}: the late policy is not UTF-8 text") from None


def _values(text: str, where: str) -> dict[str, str]:
    """The file's keys and values as they are written, each key known and there once."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise HarnessError(f"{where}:{line}: {one_line(error.problem or 'not YAML')}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise HarnessError(f"{where}: not YAML: {one_line(str(error))}") from None
    known = ", ".join(_KEYS)
    if not isinstance(root, yaml.MappingNode):  # an empty file
        raise HarnessError(f"{where}: expected a mapping with the keys {known}")
    values: dict[str, str] = {}
    for key_node, value_node in root.value:
        key = key_node.value
        line = key_node.start_mark.line + 1
        if key not in _KEYS:
            raise HarnessError(f"{where}:{line}: unknown key {one_line(repr(key), 60)}; known are: {known}")
        if key in values:
            raise HarnessError(f"{where}:{line}: duplicate key {key!r}")
        values[key] = value_node.value.strip()
    return values


def _bad(where: str, key: str, found: str, expected: str) -> NoReturn:
    raise HarnessError(f"{where}: {key}: expected {expected}, found {one_line(repr(found), 80)}")


def _moment(where: str, key: str, text: str) -> Fraction:
    expected = "a time such as 2026-11-20T23:59:00+01:00"
    found = _TIME.fullmatch(text)
    if not found:
        _bad(where, key, text, expected)
    if not found[3]:
        _bad(where, key, text, "a time with its offset from UTC, such as 2026-11-20T23:59:00+01:00 or …Z")
    try:
        since = datetime.fromisoformat(text.upper()) - _EPOCH
    except (ValueError, OverflowError):  # the 31st of a month with 30 days; an hour before the year 1
        _bad(where, key, text, expected)
    return Fraction(since // timedelta(microseconds=1), 1_000_000)


def _span(where: str, key: str, text: str) -> int:
    parts = _SPAN.findall(text)
    if text != "0" and (not parts or _SPAN.sub("", text).strip()):
        _bad(where, key, text, "a time span such as 15m, 2h or 1d")
    return sum(int(count) * _UNITS[unit] for count, unit in parts)


def _amount(where: str, key: str, text: str) -> Amount:
    found = _AMOUNT.fullmatch(text)
    if not found:
        _bad(where, key, text, "a percentage such as 10%, or points such as 5")
    amount = Amount(Fraction(found[1]), found[2] == "%")
    if amount.percent and amount.value > 100:
        _bad(where, key, text, "at most 100%")
    return amount


def _choice(where: str, key: str, text: str, choices: dict[str, T]) -> T:
    if text not in choices:
        _bad(where, key, text, " or ".join(choices))
    return choices[text]


def read_late_policy(path: Path) -> LatePolicy:
    """Read and check a late policy.

    Raises:
        HarnessError: one line with the file, the key, and what was expected or which keys are known.
    """
    where = str(path) if str(path).isprintable() else repr(str(path))  # a path may hold a line's end
    values = _values(_read(path, where), where)
    if "due" not in values:
        raise HarnessError(f"{where}: missing key 'due'; known are: {', '.join(_KEYS)}")
    due = _moment(where, "due", values["due"])
    grace = _span(where, "grace", values.get("grace", "0"))
    closes = _moment(where, "closes", values["closes"]) if "closes" in values else None
    if closes is not None and closes < due + grace:
        _bad(where, "closes", values["closes"], "a time not before due and its grace")
    return LatePolicy(
        due=due,
        grace=grace,
        per=_choice(where, "per", values.get("per", "day"), _PERIODS),
        penalty=_amount(where, "penalty", values.get("penalty", "0")),
        of_earned=_choice(where, "of", values.get("of", "maximum"), {"maximum": False, "earned": True}),
        max_penalty=_amount(where, "max_penalty", values["max_penalty"]) if "max_penalty" in values else None,
        closes=closes,
    )


def lateness(policy: LatePolicy, handed_in: float | None, max_score: int, earned: int) -> Lateness:
    """How late a submission is, and what that costs: never more than was earned.

    The arithmetic is exact; the penalty is rounded to hundredths of a point at the end, a half to the even neighbour.

    Args:
        policy: what lateness costs.
        handed_in: when it came, in seconds since 1970 (UTC); None if nobody knows: that costs nothing.
        max_score: points there are.
        earned: points earned.
    """
    if handed_in is None:
        return Lateness()
    came = Fraction(handed_in)
    late = came - policy.due - policy.grace
    if late <= 0:
        return Lateness()
    if policy.closes is not None and came > policy.closes:
        return Lateness(ceil(late), earned)
    base = earned if policy.of_earned else max_score
    penalty = policy.penalty.points(base) * ceil(late / policy.per)
    if policy.max_penalty is not None:
        penalty = min(penalty, policy.max_penalty.points(base))
    return Lateness(ceil(late), float(round(min(penalty, Fraction(earned)), 2)))
