"""What developers run: tests, lint, benchmarks, the lock file."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.cli import ROOT, say
from harness.errors import HarnessError

BIN = Path(sys.executable).parent
BENCHMARKS = ROOT / "benchmarks"
PYTHON_CODE = ("harness", "labs", "tests", "benchmarks", "tasks.py")


def _run(argv: Sequence[str]) -> int:
    """Run a tool in the project's folder; Ctrl-C reaches it too, and it gets 20 s to end by itself."""
    process = subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, "PATH": f"{BIN}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.terminate()
            return process.wait()


def test(args: str = "", *, machines: bool = False) -> int:
    """Run pytest on the tests, in parallel and in random order; returns its status.

    Args:
        args: more arguments for pytest.
        machines: whether all tests of virtual machines are run, also where these are slow.
    """
    workers = str(max(2, min(os.cpu_count() or 2, 8)))
    return _run([str(BIN / "pytest"), "-n", workers, "-q", *["--machines"] * machines, *shlex.split(args)])


def fuzz(minutes: int) -> int:
    """Fuzz the capture readers; returns 0 if nothing was found.

    Raises:
        HarnessError: there is no time to do it in.
    """
    if minutes < 1:
        raise HarnessError(f"--minutes {minutes}: at least 1")
    return _run([sys.executable, "-m", "tests.fuzz.fuzz_readers", "--minutes", str(minutes)])


def lint(*, fix: bool = False) -> int:
    """Run ruff (format, lint) and mypy; returns the first status that is not 0."""
    ruff = str(BIN / "ruff")
    commands = [
        [ruff, "format", *([] if fix else ["--check"]), *PYTHON_CODE],
        [ruff, "check", *(["--fix"] if fix else []), *PYTHON_CODE],
        [str(BIN / "mypy")],
    ]
    return next((status for status in map(_run, commands) if status), 0)


def lock() -> int:
    """Write requirements.lock, with hashes and without index addresses."""
    uv = shutil.which("uv")
    if uv is None:
        raise HarnessError("uv is not installed; run: pip install uv")
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    ]
    command += ["--no-emit-index-url", "--no-annotate", "--group", "dev", "pyproject.toml"]
    return _run([*command, "-o", "requirements.lock", "--custom-compile-command", "./invoke lock"])


def bench(what: str, rounds: int) -> int:
    """Run a benchmark; returns its status.

    Raises:
        HarnessError: there is no such benchmark; names those there are.
    """
    known = sorted(path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py"))
    if what not in known:
        raise HarnessError(f"no benchmark {what!r}; there are: {', '.join(known)}")
    if rounds < 1:
        raise HarnessError(f"--rounds {rounds}: at least 1")
    say(f"benchmark {what}: {rounds} rounds")
    sys.stdout.flush()
    script = f"from benchmarks.bench_{what} import main; main({rounds})"
    return _run([sys.executable, "-c", script])
