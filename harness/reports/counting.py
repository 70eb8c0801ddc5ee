"""How far a long work has come: a bar with rate and what is left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.language import _

_EVERY = 5.0  # seconds between lines where there is no terminal
_REDRAWN = 0.1  # seconds between drawings of the bar


def told(done: int, total: int, seconds: float) -> str:
    """How far it has come, in words: "120 of 500, 410 a second, 1 s left"."""
    rate = done / seconds if seconds > 0 else 0.0
    numbers = {"done": f"{done:,}", "total": f"{total:,}", "rate": f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"}
    if rate and done < total:
        left = f"{(total - done) / rate:.0f}"
        return _("{done} of {total}, {rate} a second, {left} s left").format(**numbers, left=left)
    return _("{done} of {total}, {rate} a second in {seconds} s").format(**numbers, seconds=f"{seconds:.1f}")


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be called with how many more are done. All is said on standard error."""
    if sys.stderr.isatty():
        with _bar(what, total) as advance:
            yield advance
        return
    began = said = time.monotonic()
    done = 0

    def advance_by(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.monotonic()
        if now - said >= _EVERY:
            said = now
            sys.stderr.write(f"· {what}: {told(done, total, now - began)}\n")

    yield advance_by
    sys.stderr.write(f"· {what}: {told(done, total, time.monotonic() - began)}\n")


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    # Drawn by whoever advances it: a thread of its own would be lost in the processes that are forked meanwhile.
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as progress:
        task = progress.add_task(what, total=total, told="")
        began = drawn = time.monotonic()
        done = 0

        def advance(count: int) -> None:
            nonlocal done, drawn
            done += count
            now = time.monotonic()
            progress.update(task, completed=done, told=told(done, total, now - began))
            if now - drawn >= _REDRAWN or done >= total:
                drawn = now
                progress.refresh()

        yield advance
