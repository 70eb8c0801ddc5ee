"""Run the front door as its user does, and see what of it is left on the machine."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0  # a deadline, not an expectation: a run takes two or three
PROGRESS = "· "
_RUN_ID = re.compile(r"\btcp-lab-([0-9a-f]{8})\b")


@dataclass(frozen=True)
class Seen:
    """One process, as /proc has it."""

    pid: int
    namespace: str
    environment: bytes
    command: str


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # ended meanwhile, or not ours


def processes() -> Iterator[Seen]:
    """All processes of this machine, those in other PID namespaces too."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            namespace = str((folder / "ns/pid").readlink())
        except OSError:
            namespace = ""
        command = _read(folder / "cmdline").replace(b"\0", b" ").decode(errors="replace")
        yield Seen(int(folder.name), namespace, _read(folder / "environ"), command)


@dataclass
class Watch:
    """Recognises what was started with its PATH, and all that lives in PID namespaces made from there.

    The holder and the sshds get the harness's PATH; what runs under sshd does not, but is in the holder's namespace.
    """

    marker: str = field(default_factory=lambda: f"/tcp-lab-test-{uuid.uuid4().hex}")
    namespaces: dict[str, int] = field(default_factory=dict)  # kept open: their numbers are given out again
    run_ids: set[str] = field(default_factory=set)

    @property
    def path(self) -> str:
        """A PATH that is this one's only."""
        return f"{os.environ['PATH']}:{self.marker}"

    def look(self) -> list[Seen]:
        """What is there now."""
        own = str(Path("/proc/self/ns/pid").readlink())
        everything = [process for process in processes() if process.pid != os.getpid()]
        marked = [process for process in everything if self.marker.encode() in process.environment]
        for process in marked:
            if process.namespace not in {own, "", *self.namespaces}:
                self._keep(process)
        found = marked + [p for p in everything if p.namespace in self.namespaces and p not in marked]
        self.run_ids |= {run_id for process in found for run_id in _RUN_ID.findall(process.command)}
        return found

    def _keep(self, process: Seen) -> None:
        """Hold a process's PID namespace."""
        try:
            held = os.open(f"/proc/{process.pid}/ns/pid", os.O_RDONLY)
        except OSError:
            return  # ended meanwhile
        # The number may be another process's by now.
        if process.namespace == str(Path(f"/proc/self/fd/{held}").readlink()):
            self.namespaces[process.namespace] = held
        else:
            os.close(held)

    def close(self) -> None:
        """End what is left, each process by its id, and let go of the namespaces."""
        for process in self.look():
            try:
                os.kill(process.pid, signal.SIGKILL)
            except OSError:
                continue
        for held in self.namespaces.values():
            os.close(held)
        self.namespaces.clear()

    def wait_until_gone(self, seconds: float) -> list[Seen]:
        """Wait until nothing is there; what is there still at the deadline."""
        deadline = time.monotonic() + seconds
        while (left := self.look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def left_traces(self) -> list[str]:
        """The kernel's trace instances of the runs seen; nothing where tracefs cannot be mounted."""
        return [name for name in trace_instances() or () if any(run_id in name for run_id in self.run_ids)]


def trace_instances() -> list[str] | None:
    """The names of tracefs's instances, looked at in a mount namespace of our own; None if it cannot be mounted."""
    if os.geteuid() != 0:
        return None
    script = "mount -t tracefs tracefs /sys/kernel/tracing && ls /sys/kernel/tracing/instances"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    return None if done.returncode else done.stdout.split()


@dataclass(frozen=True)
class Finished:
    """An ended ./invoke."""

    status: int
    stdout: str
    stderr: str

    @property
    def complaints(self) -> list[str]:
        """What stands on standard error but the progress lines."""
        return [line for line in self.stderr.splitlines() if not line.startswith(PROGRESS)]

    @property
    def refusal(self) -> str:
        """The one line that says why it could not be judged; asserts that it is one, and the last."""
        assert self.status == 2, self
        assert len(self.complaints) == 1, self.stderr
        assert self.stderr.splitlines()[-1] == self.complaints[0]
        return self.complaints[0]


class Invocation:
    """A running ./invoke, in a session of its own.

    Args:
        arguments: the task and its switches.
        watch: recognises it.
        patch: Python that runs first, in the same process; then the wrapper is left out.
        prefix: a command that runs it.
        home: the HOME it sees.
    """

    def __init__(
        self,
        *arguments: str | Path,
        watch: Watch,
        patch: str | None = None,
        prefix: Sequence[str] = (),
        home: Path | None = None,
    ) -> None:
        self.watch = watch
        self._stdout = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        if patch is None:
            front_door = [str(ROOT / "invoke")]
        else:
            run = f"{patch}\nfrom invoke.main import program\nprogram.run()"
            front_door = [sys.executable, "-c", run, "--search-root", str(ROOT)]
        # Whoever started the tests in the background had SIGINT ignored; its user at a terminal has not.
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT,TERM", *prefix, *front_door, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
            env={**os.environ, "PATH": watch.path, **({"HOME": str(home)} if home else {})},
        )

    def said(self) -> str:
        """What stands on standard error so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode()

    def wait_for_step(self, name: str, *, seconds: float = SECONDS) -> None:
        """Wait until a step is announced."""
        deadline = time.monotonic() + seconds
        while f"{PROGRESS}{name}" not in self.said():
            assert self.process.poll() is None, f"ended before {name!r}: {self.said()}"
            assert time.monotonic() < deadline, f"{name!r} never came: {self.said()}"
            time.sleep(0.002)

    def wait_for_python(self) -> None:
        """Wait until the wrapper has become Python."""
        deadline = time.monotonic() + SECONDS
        command = Path(f"/proc/{self.process.pid}/cmdline")
        while not _read(command).split(b"\0")[0].endswith(b"python"):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.001)

    def finish(self, *, seconds: float = SECONDS) -> Finished:
        """Wait for its end."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"did not end in {seconds:g} s; it said: {self.said()}"
            self.watch.look()
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        self._stdout.seek(0)
        return Finished(self.process.returncode, self._stdout.read().decode(), self.said())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._stdout.close()
        self._stderr.close()
