"""Ctrl-C and SIGTERM: answered once, and never at a moment that would leave something half-done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_AGAIN = signal.SIGALRM  # asks again for an interrupt that came at a bad moment
_AGAIN_SECONDS = 0.01
_stop = {"asked": False, "answered": False}


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


@contextmanager
def between_steps() -> Iterator[None]:
    """While the block runs, both are answered by `stop_if_asked` only, wherever that is called.

    An exception that is raised in the middle of threading's or paramiko's code can leave a lock taken for ever.
    """

    def ask(_number: int, _frame: FrameType | None) -> None:
        _stop["asked"] = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop.update(asked=False, answered=False)
    before = {number: signal.signal(number, ask) for number in (*INTERRUPTS, _AGAIN)}
    try:
        yield
    except Exception:
        stop_if_asked()  # the same Ctrl-C may have ended what failed
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _stop["asked"] else handler)


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt, once, if one of them came: what is undone because of it is undone in peace."""
    if _stop["asked"] and not _stop["answered"]:
        _stop["answered"] = True
        raise KeyboardInterrupt
