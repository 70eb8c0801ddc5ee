"""What the benchmarks share: run a command, and tell what it took."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness import interrupts

ROOT = Path(__file__).resolve().parent.parent
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took: wall seconds, and its peak memory in MB."""

    seconds: float
    peak: float


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def cost_of(*command: str) -> Cost:
    """Run a command in the repository's root; what it took.

    The peak is wait4(2)'s, over the process and each that it waited for; it is never less than this process's own.

    Raises:
        SystemExit: it could not be started or failed; one line with the last it said.
    """
    name = " ".join(command)
    with tempfile.TemporaryFile() as stderr:
        begin = time.perf_counter()
        process = None
        try:
            with interrupts.held_back():
                process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr
                )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        except OSError as error:
            raise SystemExit(f"benchmark: {name}: {error.strerror}") from None
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                process.wait()
        taken = time.perf_counter() - begin
        if process.returncode:
            stderr.seek(0)
            said = stderr.read().decode(errors="replace").strip().splitlines() or ["nothing on stderr"]
            raise SystemExit(f"benchmark: {name} ended with status {process.returncode}; it said: {said[-1]}")
    return Cost(taken, usage.ru_maxrss * 1024 / MB)
