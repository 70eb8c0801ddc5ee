"""What harness.waiting promises: the value, the deadline, and how often it looks."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import NoReturn

import pytest

from harness import waiting
from harness.errors import HarnessError
from harness.waiting import wait_for


class Clock:
    """A clock that only sleeping moves; it remembers every sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give harness.waiting, and nobody else, a clock of its own."""
    clock = Clock()
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep))
    return clock


def never() -> None:
    """Look, and find nothing."""


def true_at_call(number: int) -> Callable[[], int | None]:
    """Make a condition that holds from its *number*th call on."""
    calls = itertools.count(1)

    def condition() -> int | None:
        call = next(calls)
        return call if call >= number else None

    return condition


@pytest.mark.parametrize("value", [1, "ready", ["a"], {"a": 1}, object(), True])
def test_returns_the_conditions_own_value_without_sleeping(clock: Clock, value: object) -> None:
    """A condition that holds at once costs no time, and its very value is handed back."""
    assert wait_for("it", lambda: value, seconds=5) is value
    assert clock.sleeps == []


@pytest.mark.parametrize("calls", [1, 2, 3, 10])
def test_returns_the_first_true_value(clock: Clock, calls: int) -> None:
    """It sleeps once between two calls, and makes no call after the first that holds."""
    assert wait_for("it", true_at_call(calls), seconds=5) == calls
    assert len(clock.sleeps) == calls - 1


@pytest.mark.parametrize("nothing", [None, 0, "", [], False])
def test_goes_on_while_the_value_is_false(clock: Clock, nothing: object) -> None:
    """Whatever is false is "not yet": an empty answer is never returned."""
    answers: list[object] = [nothing, nothing, "yes"]
    assert wait_for("it", lambda: answers.pop(0), seconds=5) == "yes"
    assert len(clock.sleeps) == 2


@pytest.mark.parametrize(("seconds", "shown"), [(5, "5 s"), (5.0, "5 s"), (0.25, "0.25 s"), (0, "0 s"), (120, "120 s")])
@pytest.mark.usefixtures("clock")
def test_deadline_error_names_the_condition_and_the_time(seconds: float, shown: str) -> None:
    """The deadline's error is one line that says how long it waited, and for what."""
    with pytest.raises(HarnessError) as caught:
        wait_for("the server's sshd to listen", never, seconds=seconds)
    assert str(caught.value) == f"waited {shown} for the server's sshd to listen, in vain"


@pytest.mark.parametrize("seconds", [0.001, 0.05, 1, 5])
def test_gives_up_at_the_deadline(clock: Clock, seconds: float) -> None:
    """It waits the whole time it was given, and at most one pause (50 ms) longer."""
    start = clock.now
    with pytest.raises(HarnessError):
        wait_for("it", never, seconds=seconds)
    assert seconds <= clock.now - start + 1e-9
    assert clock.now - start <= seconds + 0.05 + 1e-9


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_deadline_already_past_still_looks_once(clock: Clock, seconds: float) -> None:
    """No time to wait means no sleep, but what holds already is found."""
    assert wait_for("it", true_at_call(1), seconds=seconds) == 1
    with pytest.raises(HarnessError):
        wait_for("it", true_at_call(2), seconds=seconds)
    assert clock.sleeps == []


def test_looks_once_more_after_the_last_sleep(clock: Clock) -> None:
    """What came true during the last pause is found, though the deadline passed meanwhile."""
    assert wait_for("it", true_at_call(2), seconds=0.001) == 2
    assert clock.sleeps == [0.005]


def test_the_default_interval_doubles_up_to_50_ms(clock: Clock) -> None:
    """The pauses are 5, 10, 20, 40 and then 50 ms for ever."""
    wait_for("it", true_at_call(9), seconds=5)
    assert clock.sleeps == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.05, 0.05, 0.05, 0.05])


@pytest.mark.parametrize("interval", [0.0001, 0.001, 0.005, 0.03, 0.05])
def test_an_interval_doubles_and_never_exceeds_50_ms(clock: Clock, interval: float) -> None:
    """Each pause is twice the one before, unless that is more than 50 ms."""
    wait_for("it", true_at_call(15), seconds=5, interval=interval)
    assert clock.sleeps[0] == interval
    assert max(clock.sleeps) <= 0.05
    assert clock.sleeps[-1] == 0.05
    for before, after in itertools.pairwise(clock.sleeps):
        assert after == pytest.approx(min(2 * before, 0.05))


def test_every_wait_starts_at_its_own_interval(clock: Clock) -> None:
    """One long wait does not slow the next one down."""
    for _ in range(2):
        clock.sleeps.clear()
        wait_for("it", true_at_call(4), seconds=5)
        assert clock.sleeps == pytest.approx([0.005, 0.01, 0.02])


@pytest.mark.parametrize("error", [HarnessError("the host is gone"), ValueError("odd"), KeyboardInterrupt()])
def test_the_conditions_own_error_ends_the_wait(clock: Clock, error: BaseException) -> None:
    """A condition that raises is not asked again: its error passes unchanged."""

    def condition() -> NoReturn:
        raise error

    with pytest.raises(type(error)) as caught:
        wait_for("it", condition, seconds=5)
    assert caught.value is error
    assert clock.sleeps == []
