"""A process whose terminal is the test's."""

import os
import pty
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.watching import SECONDS


@dataclass
class Terminal:
    """What the test's end of a terminal hears and says."""

    descriptor: int
    pid: int
    said: str = ""
    statuses: list[int] = field(default_factory=list)

    def hear(self, sought: str | None = None) -> str:
        """All that was shown up to a text; None: to the end."""
        deadline = time.monotonic() + SECONDS
        heard = ""
        while sought is None or sought not in heard:
            assert time.monotonic() < deadline, f"{sought!r} never came: {heard[-500:]}"
            try:
                heard += os.read(self.descriptor, 4096).decode(errors="replace")
            except OSError:  # the other end is closed
                assert sought is None, f"ended before {sought!r}: {heard}"
                break
        self.said += heard
        return heard

    def type(self, keys: str) -> None:
        """As a user does."""
        os.write(self.descriptor, keys.encode())

    def status(self) -> int:
        """Wait for the end."""
        self.hear()
        self.statuses.append(os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]))
        return self.statuses[0]


@contextmanager
def at_a_terminal(command: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command at a terminal of its own."""
    words = [str(word) for word in command]
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, dict(environment))  # noqa: S606
    terminal = Terminal(descriptor, pid)
    try:
        yield terminal
    finally:
        os.close(descriptor)
        if not terminal.statuses:
            os.waitpid(pid, 0)
