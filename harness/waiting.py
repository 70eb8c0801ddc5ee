"""Waiting for a named condition with a deadline: the only place that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import HarnessError
from harness.interrupts import stop_if_asked

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None], *, seconds: float, interval: float = 0.005) -> T:
    """Return the condition's first true value.

    Args:
        what: the condition in words, for the error: "waited 5 s for <what>".
        condition: called until it returns something true.
        seconds: the deadline.
        interval: pause between two calls, in seconds; it doubles up to 50 ms.

    Raises:
        HarnessError: the deadline passed.
    """
    deadline = time.monotonic() + seconds
    while True:
        stop_if_asked()
        if value := condition():
            return value
        if time.monotonic() >= deadline:
            raise HarnessError(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(interval)
        interval = min(interval * 2, 0.05)
