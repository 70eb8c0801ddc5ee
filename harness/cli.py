"""The border between tasks and the terminal: one clear line for every error, colour and progress only on a terminal."""

import functools
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from harness import interrupts
from harness.errors import HarnessError, one_line
from harness.language import ENGLISH, _, language, speaking
from harness.messages import translated

F = TypeVar("F", bound=Callable[..., Any])
NOT_JUDGED = 2
ROOT = Path(__file__).resolve().parents[1]


def say(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(text + "\n")


def command(body: F) -> F:
    """A task's body: what goes wrong in it becomes one line on standard error and exit status 2.

    Ctrl-C and SIGTERM count as such at any moment: the wrapper blocks both while Python starts, here they are let in.
    The first is answered; what follows it, or comes after the body, is ignored: cleaning up is not interrupted.
    """

    @functools.wraps(body)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        with speaking(ENGLISH):
            if status := _status(functools.partial(body, *args, **kwargs)):
                sys.exit(status)

    return wrapped  # type: ignore[return-value]


def speaking_command(body: F) -> F:
    """A `command` that speaks to people: it has a switch --lang more; without it, it speaks the locale's language."""

    @functools.wraps(body)
    def wrapped(*args: Any, lang: str | None = None, **kwargs: Any) -> None:
        try:
            chosen = language(lang)
        except HarnessError as error:
            complain(str(error))
            sys.exit(NOT_JUDGED)
        with speaking(chosen):
            if status := _status(functools.partial(body, *args, **kwargs)):
                sys.exit(status)

    given = inspect.signature(body)
    more = inspect.Parameter("lang", inspect.Parameter.KEYWORD_ONLY, default=None)
    wrapped.__signature__ = given.replace(parameters=[*given.parameters.values(), more])  # type: ignore[attr-defined]
    return wrapped  # type: ignore[return-value]


def _status(body: Callable[[], int | None]) -> int | None:
    """A task's exit status; says what went wrong in it."""
    try:
        interrupts.let_in()
        status = body()
        interrupts.ignore()
    except KeyboardInterrupt:
        complain(_("interrupted: everything started was stopped, nothing was judged"))
        return NOT_JUDGED
    except HarnessError as error:
        complain(one_line(translated(str(error)), 1000))
        return NOT_JUDGED
    except BrokenPipeError:  # the reader of our output has gone (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_JUDGED
    except OSError as error:  # the terminal or a disk that is full
        name = f"{error.filename}: " if error.filename else ""
        complain(one_line(f"{name}{error.strerror or error}"))
        return NOT_JUDGED
    return status


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def width() -> int:
    """Columns to write in: the terminal's, at least 60; 80 where there is none."""
    return max(60, min(shutil.get_terminal_size((80, 24)).columns, 120)) if is_terminal() else 80


def print_styled(lines: Iterable[tuple[str, str]]) -> None:
    """Print (text, style) lines; styled on a terminal only."""
    if not is_terminal() or "NO_COLOR" in os.environ:
        for text, _style in lines:
            say(text.rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=max(width(), 60))
    for text, style in lines:
        console.print(Text(text, style=style), no_wrap=True, crop=False, overflow="ignore")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A live list of steps with timings on a terminal, plain lines elsewhere, nothing when *quiet*.

    Yields what is to be called with each step's name as it begins. Progress goes to standard error.
    """
    if quiet:
        yield lambda _name: None
    elif not sys.stderr.isatty():
        yield lambda name: complain(f"· {translated(name)}")
    else:
        from harness.reports.steps import live_steps

        with live_steps() as announce:
            yield lambda name: announce(translated(name))
