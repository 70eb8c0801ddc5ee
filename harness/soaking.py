"""The handshake lab many times over, with each kind of close, one after another or many at once: what goes wrong."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.cli import ROOT, say
from harness.errors import HarnessError, one_line
from harness.hosts.testbeds import FOREIGN, PROVIDERS
from harness.interrupts import between_steps
from harness.inventory import load_inventory
from harness.language import _
from harness.messages import translated
from harness.reports.counting import counting
from harness.session import CLOSES
from harness.waiting import wait_for

_SECONDS = 900.0  # a deadline for one run
_ENDING_SECONDS = 60.0
_PASSED = "passed"
_KINDS = ("passed", "failed", "could not be judged")


@dataclass(slots=True)
class Memory:
    """How much memory one run took at most, in bytes, each page shared by n processes counted as 1/n (PSS, proc(5)).

    Attributes:
        harness: of the harness itself.
        testbed: of all that it started: namespaces' processes, or machines.
    """

    harness: int = 0
    testbed: int = 0

    def look(self, pid: int, children: dict[int, list[int]]) -> None:
        """Measure it now."""
        below, waiting = [], list(children.get(pid, ()))
        while waiting:
            below.append(waiting.pop())
            waiting += children.get(below[-1], ())
        self.harness = max(self.harness, _pss(pid))
        self.testbed = max(self.testbed, sum(map(_pss, below)))


@dataclass(slots=True)
class Run:
    """One run that was started.

    Attributes:
        process: ./invoke run-handshake-lab.
        folder: where its run folder is to be.
        close: how its session is closed.
        output: what it prints.
        memory: what it took.
        deadline: when it must have ended, by the monotonic clock.
    """

    process: "subprocess.Popen[bytes]"
    folder: Path
    close: str
    output: Any
    memory: Memory = field(default_factory=Memory)
    deadline: float = field(default_factory=lambda: time.monotonic() + _SECONDS)

    def outcome(self) -> tuple[str, str]:
        """Its kind of outcome, one of `_KINDS`, and what is to be said of it."""
        self.output.seek(0)
        said = self.output.read().decode(errors="replace")
        try:
            results, _ = json.JSONDecoder().raw_decode(said, said.index("{"))
        except ValueError:
            return _KINDS[2], one_line(said) or f"it ended with status {self.process.returncode}"
        if results["outcome"] == "passed":
            return _PASSED, ""
        if results["outcome"] == "not-judged":
            return _KINDS[2], one_line(results.get("cause", ""))
        missed = [f"{check['id']} {check['outcome']}" for check in results["checks"] if check["outcome"] != "passed"]
        return _KINDS[1], ", ".join(missed)


def _pss(pid: int) -> int:
    """A process's share of memory, in bytes; 0 if it is gone or not ours to see."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def _children() -> dict[int, list[int]]:
    """Of each process its children."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            parent = int(path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            found.setdefault(parent, []).append(int(path.parent.name))
    return found


def _start(number: int, close: str, folder: Path, inventory: Path, provider: str) -> Run:
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the run has ended
    run = folder / f"{number:04}"
    switches = ("--inventory", str(inventory), "--provider", provider, "--close", close, "--out", str(run), "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "run-handshake-lab", *switches],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for us, who pass it on
    )
    return Run(process, run, close, output)


@contextmanager
def _ended(running: list[Run]) -> Iterator[None]:
    """Whatever happens, no run goes on."""
    try:
        yield
    finally:
        for run in running:
            run.process.send_signal(signal.SIGINT)
        for run in running:
            try:
                run.process.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
            run.output.close()


def _look(running: list[Run]) -> bool:
    """Measure what runs; whether one has ended.

    Raises:
        HarnessError: one does not end.
    """
    children = _children()
    for run in running:
        run.memory.look(run.process.pid, children)
        if run.process.poll() is None and time.monotonic() > run.deadline:
            raise HarnessError(f"soak: {run.folder.name} did not end in {_SECONDS:g} s")
    return any(run.process.poll() is not None for run in running)


def _tell(found: dict[tuple[str, str], list[Path]], memories: list[Memory], seconds: float) -> None:
    """What came of it, by kind."""
    names = dict(zip(_KINDS, (_("{count} passed"), _("{count} failed"), _("{count} could not be judged")), strict=True))
    for (kind, why), folders in sorted(found.items(), key=lambda one: (_KINDS.index(one[0][0]), -len(one[1]))):
        kept = "" if kind == _PASSED else f"  ({', '.join(str(one) for one in folders[:3] if one.exists())})"
        told = f": {translated(why)}" if why else ""
        say(f"  {names[kind].format(count=len(folders))}{told}{kept.replace('  ()', '')}")
    if memories:
        testbed, harness = (max(getattr(one, name) for one in memories) / (1 << 20) for name in ("testbed", "harness"))
        words = _("in {seconds} s; at most {testbed} MB of memory for a testbed, {harness} MB for its harness")
        say(words.format(seconds=f"{seconds:.0f}", testbed=f"{testbed:.0f}", harness=f"{harness:.0f}"))


def soak(runs: int, at_once: int, inventory: Path, provider: str | None, out: Path | None) -> int:
    """Run the lab so often; returns 0 if each run passed, else 1.

    Passed runs' folders are removed, the others stay.

    Raises:
        HarnessError: the numbers make no sense, or the inventory is bad.
    """
    if not 1 <= at_once <= runs:
        raise HarnessError(f"soak: --runs {runs} --at-once {at_once}: at least one at once, and no more than there are")
    loaded = load_inventory(inventory)
    chosen = provider or loaded.provider
    if chosen not in PROVIDERS:
        raise HarnessError(f"--provider {one_line(chosen, 40)}: known are: {', '.join(PROVIDERS)}")
    closes = ("as-is",) if chosen in FOREIGN else CLOSES
    folder = out or ROOT / "runs" / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-soak"
    found: dict[tuple[str, str], list[Path]] = {}
    memories: list[Memory] = []
    began = time.monotonic()
    words = _("soak: {runs} runs of the lab handshake on {provider}, {at_once} at once")
    say(words.format(runs=runs, provider=chosen, at_once=at_once))
    sys.stdout.flush()
    waiting, running = list(range(runs)), list[Run]()
    try:
        with between_steps(), _ended(running), counting(_("runs"), runs) as count:
            folder.mkdir(parents=True, exist_ok=True)
            while waiting or running:
                while waiting and len(running) < at_once:
                    number = waiting.pop(0)
                    running.append(_start(number + 1, closes[number % len(closes)], folder, inventory, chosen))
                wait_for("a run to end", lambda: _look(running), seconds=_SECONDS + _ENDING_SECONDS, interval=0.05)
                for run in [run for run in running if run.process.poll() is not None]:
                    running.remove(run)
                    outcome = run.outcome()
                    run.output.close()
                    found.setdefault(outcome, []).append(run.folder)
                    memories.append(run.memory)
                    if outcome[0] == _PASSED:
                        shutil.rmtree(run.folder, ignore_errors=True)
                    count(1)
    finally:
        with suppress(OSError):
            folder.rmdir()  # if nothing stays
        _tell(found, memories, time.monotonic() - began)
    return 0 if set(found) == {(_PASSED, "")} else 1
