"""Grading on a Dask cluster: a scheduler and two workers on this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.submissions import make_class
from harness.waiting import wait_for
from tests.live.test_grade import all_files, grade, gradebook

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(log: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of its own session, which is ended with all that it started."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def address_in(log: Path) -> str | None:
    """Where a scheduler says that it listens."""
    found = re.search(r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A scheduler's address."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install .[cluster]")
    log = tmp_path / "scheduler.log"
    words = (
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--no-show",
    )
    with running(log, sys.executable, *words):
        yield wait_for("the scheduler to listen", lambda: address_in(log), seconds=60)


@contextmanager
def worker(scheduler: str, folder: Path, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process without a nanny: when it is killed it stays away."""
    words = (
        "-m", "distributed.cli.dask_worker", scheduler, "--no-nanny", "--nthreads", "1", "--name", name,
        "--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(folder),
    )  # fmt: skip
    log = folder / f"{name}.log"
    with running(log, sys.executable, *words) as process:
        wait_for(f"worker {name} to register", lambda: "Registered to" in log.read_text(errors="replace"), seconds=60)
        yield process


def test_the_same_marks_though_a_worker_is_lost(tmp_path: Path, scheduler: str) -> None:
    """Byte for byte, feedback in another language included; one of two workers is killed half-way."""
    folder, alone, out = tmp_path / "submissions", tmp_path / "alone", tmp_path / "out"
    make_class(folder, 60, seed=21)
    grade(folder, alone, "--lang", "zh")
    program = (
        "import sys; from pathlib import Path; from harness.grading import cluster; cluster.AT_ONCE = 5\n"
        "from harness.grading.grader import Order, grade\n"
        "from harness.language import speaking\n"
        "with speaking('zh'):\n"
        f"    sys.exit(grade(Order('handshake', Path({str(folder)!r}), Path({str(out)!r}), cluster={scheduler!r})))"
    )
    with worker(scheduler, tmp_path, "one") as doomed, worker(scheduler, tmp_path, "two"):
        grading = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
        wait_for("some to be judged", lambda: len(list(out.glob("students/*"))) > 8, seconds=80)
        os.killpg(doomed.pid, signal.SIGKILL)
        assert grading.wait(timeout=80) == 0
    assert all_files(out) == all_files(alone)
    assert len(gradebook(out)) == 60
    assert all('<html lang="zh-CN">' in page.read_text()[:40] for page in out.glob("students/*/feedback.html"))


def test_nobody_there(tmp_path: Path) -> None:
    """One line, and grading can be begun anew without them."""
    make_class(tmp_path / "submissions", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    done = grade(tmp_path / "submissions", tmp_path / "out", "--cluster", f"tcp://127.0.0.1:{port}", status=2)
    assert done.stderr.startswith(f"--cluster tcp://127.0.0.1:{port}: no scheduler there")
    assert len(done.stderr.splitlines()) == 1
    grade(tmp_path / "submissions", tmp_path / "out")
