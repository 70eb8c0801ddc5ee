"""Ctrl-C and SIGTERM: answered once, and never at a moment that would leave something half-done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = signal.SIGALRM  # asks again for an interrupt that came at a bad moment
_AGAIN_SECONDS = 0.01


def ignore() -> None:
    """From now on, neither is answered."""
    for number in (*INTERRUPTS, _AGAIN):
        signal.signal(number, signal.SIG_IGN)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether the main thread is inside the import system.

    An exception there can leave an import lock taken, for which another importing thread then waits for ever.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _interrupted(_number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        return
    ignore()
    raise KeyboardInterrupt


def let_in() -> None:
    """From now on the first of them raises KeyboardInterrupt, and what follows it is ignored."""
    for number in (*INTERRUPTS, _AGAIN):
        signal.signal(number, _interrupted)
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
    held = (*INTERRUPTS, _AGAIN)
    before = {number: signal.signal(number, lambda *args: came.append(args)) for number in held}
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
