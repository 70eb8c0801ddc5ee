"""A host: a small object over a shell on another machine.

`Host` is what the experiment knows: run a command, start one, fetch a file. paramiko lives behind it, in `ssh.py`.
"""

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from harness.errors import HarnessError, LostError, one_line
from harness.interrupts import stop_if_asked
from harness.inventory import HostEntry

_PID = "tcp-lab-pid:"
SLICE_SECONDS = 0.1  # no wait is longer without a look at whether it is to stop
T = TypeVar("T")
U = TypeVar("U")


class Channel(Protocol):
    """What is needed of one remote command's channel (paramiko.Channel has it)."""

    def recv(self, nbytes: int, /) -> bytes:
        """Some of standard output; empty at its end."""

    def recv_stderr(self, nbytes: int, /) -> bytes:
        """Some of standard error; empty at its end."""

    def sendall(self, data: bytes, /) -> None:
        """Write to standard input."""

    def shutdown_write(self) -> None:
        """Close standard input."""

    def recv_exit_status(self) -> int:
        """Wait for the exit status; -1 if there is none."""

    def close(self) -> None:
        """Close the channel."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended: its exit status (-1: ended by a signal) and both outputs."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


class RemoteProcess:
    """A command running on a host; both of its output streams are drained all the time.

    Used as a context manager: leaving the block stops it (SIGTERM) if it still runs.
    """

    def __init__(self, host: "Host", argv: tuple[str, ...], channel: Channel) -> None:
        self.host = host
        self.argv = argv
        self.pid: int | None = None
        self._channel = channel
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._open = 2
        self._changed = threading.Condition()
        for name, recv in (("stdout", channel.recv), ("stderr", channel.recv_stderr)):
            threading.Thread(target=self._drain, args=(name, recv), daemon=True).start()

    def _drain(self, name: str, recv: Callable[[int], bytes]) -> None:
        with suppress(OSError, EOFError):
            while data := recv(1 << 16):
                with self._changed:
                    self._output[name] += data
                    self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    @property
    def runs(self) -> bool:
        """Whether it still has an output that is open."""
        return self._open > 0

    def output(self, name: str = "stdout") -> str:
        """What the command has printed so far on "stdout" or "stderr"."""
        with self._changed:
            return self._output[name].decode(errors="replace")

    def wait_for_output(self, what: str, sought: str, name: str = "stdout", *, seconds: float = 10) -> str:
        """Wait until *sought* stands in the output; returns all of that stream so far.

        Raises:
            HarnessError: the command ended or the deadline passed without it; says what the command said instead.
        """
        wanted = sought.encode()
        deadline = time.monotonic() + seconds
        with self._changed:
            while wanted not in self._output[name]:
                left = deadline - time.monotonic()
                if not self._open or left <= 0:
                    said = one_line(self._output["stderr"].decode(errors="replace")) or "nothing"
                    ended = "ended" if not self._open else f"did not answer in {seconds:g} s"
                    raise HarnessError(f"{self.host.role}: {self.argv[0]} {ended} before {what}; it said: {said}")
                stop_if_asked()
                self._changed.wait(min(left, SLICE_SECONDS))
            return self._output[name].decode(errors="replace")

    def await_pid(self) -> None:
        """Take the line that names the pid (see `Host.start`) out of the output."""
        self.wait_for_output("its pid was known", _PID)
        with self._changed:
            while not (found := re.search(_PID.encode() + rb"(\d+)\r?\n", self._output["stdout"])):
                self._changed.wait(1)
            self.pid = int(found[1])
            del self._output["stdout"][: found.end()]  # and what a login shell's start-up files print before it

    def send(self, text: str) -> None:
        """Write to the command's standard input; nowhere, once it has ended: who waits for its output hears why.

        Raises:
            HarnessError: the connection to the host was lost.
        """
        with self.host.errors(f"writing to {self.argv[0]}"):
            try:
                self._channel.sendall(text.encode())
            except OSError:  # "Socket is closed": the channel is
                if not self.host.alive():
                    raise

    def end_input(self) -> None:
        """Close the command's standard input."""
        with self.host.errors(f"writing to {self.argv[0]}"):
            self._channel.shutdown_write()

    def wait(self, *, seconds: float = 30) -> Completed:
        """Wait until the command has ended.

        Raises:
            HarnessError: it did not end in time, or the connection to the host was lost.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._open:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise HarnessError(f"{self.host.role}: {self.argv[0]} did not end in {seconds:g} s")
                stop_if_asked()
                self._changed.wait(min(left, SLICE_SECONDS))
            stdout, stderr = bytes(self._output["stdout"]), self._output["stderr"].decode(errors="replace")
        status = self._channel.recv_exit_status()
        self._channel.close()
        if status < 0 and not self.host.alive():  # no status: ended by a signal, or the host is gone
            raise LostError(f"{self.host.role}: the connection was lost while {self.argv[0]} ran; is the host up?")
        return Completed(status, stdout, stderr)

    def stop(self, signal: str = "TERM", *, seconds: float = 10) -> Completed:
        """Send a signal to this very process (never by name: namespaces share the machine's processes) and wait."""
        if self._open and self.pid is not None:
            self.host.run("kill", f"-{signal}", str(self.pid), check=False)
        return self.wait(seconds=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            try:
                self.stop()
            except HarnessError:
                if error is None:  # else the first error says it better
                    raise
        with suppress(HarnessError), self.host.errors("closing"):
            self._channel.close()


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """One host of the lab.

    Attributes:
        entry: its line of the inventory.
        host_key: its pinned public host key, "TYPE BASE64".
        open_channel: opens a channel on which a command line runs; (command, with a pty) → channel.
        errors: context manager that turns the transport's errors into `HarnessError`, given what was being done.
        alive: whether the connection to the host stands.
    """

    entry: HostEntry
    host_key: str
    open_channel: Callable[[str, bool], Channel]
    errors: Callable[[str], "ErrorBorder"]
    alive: Callable[[], bool]

    @property
    def role(self) -> str:
        """Either "server" or "client"."""
        return self.entry.role

    def start(self, *argv: str, pty: bool = False) -> RemoteProcess:
        """Start a command; its pid is known when this returns.

        The command line is quoted here and nowhere else, and runs under a POSIX shell whatever the login shell is.
        """
        script = f'echo "{_PID}$$"; exec "$@"'
        command = shlex.join(["exec", "sh", "-c", script, "sh", *argv])
        with self.errors(f"starting {argv[0]}"):
            process = RemoteProcess(self, argv, self.open_channel(command, pty))
        process.await_pid()
        return process

    def run(self, *argv: str, stdin: str | bytes = "", check: bool = True, seconds: float = 30) -> Completed:
        """Run a command to its end.

        Raises:
            HarnessError: it could not be run, did not end in time, or (with *check*) its status is not 0.
        """
        # Without input no end of it is sent: where that comes after the command and its channel have ended, sshd breaks
        # the whole connection ("ieof packet referred to nonexistent channel"); paramiko does not look at what has come.
        command = shlex.join(argv) + ("" if stdin else " </dev/null")
        with self.errors(f"running {argv[0]}"):
            process = RemoteProcess(self, argv, self.open_channel(command, False))
            if stdin:
                process._channel.sendall(stdin.encode() if isinstance(stdin, str) else stdin)  # noqa: SLF001
                process.end_input()
        done = process.wait(seconds=seconds)
        if check and done.status:
            said = one_line(done.stderr or done.text) or "nothing"
            raise HarnessError(f"{self.role}: {argv[0]} ended with status {done.status}; it said: {said}")
        return done

    def shell(self, script: str, *args: str, stdin: str | bytes = "", check: bool = True) -> Completed:
        """Run a POSIX shell script; *args* are its $1, $2 and so on."""
        return self.run("sh", "-c", script, "sh", *args, stdin=stdin, check=check)

    def fetch(self, path: str) -> bytes:
        """The bytes of a file (cat over a channel: needs nothing of the host, sftp often is not there)."""
        return self.run("cat", "--", path, seconds=120).stdout


class ErrorBorder(Protocol):
    """A context manager that lets no foreign exception through."""

    def __enter__(self) -> None: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Testbed:
    """Two hosts, ready.

    Attributes:
        provider: which provider made it.
        server: the host that opens the session and captures.
        client: the host it connects to.
        owned: whether the harness made these hosts (and so may set routes and the like as it pleases).
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    provider: str
    server: Host
    client: Host
    owned: bool

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both, server first."""
        return self.server, self.client


def together(one: Callable[[], T], two: Callable[[], U]) -> tuple[T, U]:
    """Run two calls at once, and wait for both; the first one's error is raised."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(two)
        return one(), other.result()


@contextmanager
def undone_by(host: Host, undo: str, *args: str) -> Iterator[None]:
    """Run a shell script on the host when the block is left, whatever happens; a lost host is not an error then."""
    try:
        yield
    finally:
        with suppress(HarnessError):
            host.shell(undo, *args, check=False)
