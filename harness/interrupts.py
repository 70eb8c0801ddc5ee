"""Ctrl-C and SIGTERM: answered once, and never between starting a thing and owning it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def ignore() -> None:
    """From now on, neither is answered."""
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)


def let_in() -> None:
    """From now on the first of them raises KeyboardInterrupt, and what follows it is ignored."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        ignore()
        raise KeyboardInterrupt

    for number in INTERRUPTS:
        signal.signal(number, interrupted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


@contextmanager
def held_back() -> Iterator[None]:
    """What comes while the block runs is answered when it is left.

    The signals are not blocked, since a process that the block starts would inherit that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.signal(number, lambda *args: came.append(args)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for came_first, frame in came[:1]:
            answer = before[signal.Signals(came_first)]
            if callable(answer):
                answer(came_first, frame)
            elif answer is signal.SIG_DFL:
                signal.raise_signal(came_first)
