"""Passwords: from an environment variable that the inventory names, or typed at the terminal; kept nowhere."""

import os
import select
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError
from harness.interrupts import stop_if_asked
from harness.inventory import HostEntry, Inventory

_TERMINAL = Path("/dev/tty")
_SLICE_SECONDS = 0.1


@contextmanager
def _without_echo(terminal: int) -> Iterator[None]:
    """What is typed is not shown while the block runs."""
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO  # the local modes (termios(3))
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def typed(prompt: str) -> str | None:
    """A line that the user types without its being shown; None where there is no terminal.

    Not getpass: Ctrl-C is answered here, too. The prompt is a line of its own, above the steps that are shown live.
    """
    try:
        terminal = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        line = b""
        with _without_echo(terminal):
            sys.stderr.write(f"{prompt}\n")
            sys.stderr.flush()
            while not line.endswith(b"\n"):
                stop_if_asked()
                if select.select([terminal], [], [], _SLICE_SECONDS)[0]:
                    data = os.read(terminal, 1024)
                    if not data:
                        break
                    line += data
    finally:
        os.close(terminal)
    return line.decode(errors="surrogateescape").rstrip("\r\n")


def from_environment(inventory: Inventory, entry: HostEntry) -> str | None:
    """The password in the variable that the inventory names for a host; None if it names none.

    Raises:
        HarnessError: there is no such variable.
    """
    if entry.password_env is None:
        return None
    found = os.environ.get(entry.password_env)
    if not found:
        raise HarnessError(
            f"{inventory.path}: hosts.{entry.role}.password_env: the environment has no {entry.password_env}; "
            f"set it, or leave the key out to be asked"
        )
    return found
