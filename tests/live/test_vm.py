"""Two QEMU machines: the labs as on namespaces, and a machine that dies is no mark."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness.cli import NOT_JUDGED
from tests.live.conftest import Lab
from tests.live.machines import SECONDS, SECONDS_EACH, alone, built, machines, wait_until_gone

__all__ = ["SECONDS_EACH", "alone", "built"]  # fixtures, and the deadline of each test


def test_the_handshake_lab(start: Lab, tmp_path: Path) -> None:
    """The same lab, the same rubric: all points, from two kernels that share nothing; nothing is left."""
    told = []
    for folder in (tmp_path / "run", tmp_path / "again"):
        finished = start("run-handshake-lab", "--provider", "vm", "--out", folder, "--json").finish(seconds=SECONDS)
        told.append(finished.stdout)
        if finished.status != NOT_JUDGED:  # without KVM, beside other tests, a step may come too late: told, no mark
            break
    assert (finished.status, finished.complaints) == (0, []), told
    results = json.loads(finished.stdout)
    assert (results["provider"], results["outcome"], results["score"]) == ("vm", "passed", 100)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["hosts"]["server"]["kernel"] == run["hosts"]["client"]["kernel"] != f"Linux {os.uname().release}"
    states = json.loads((folder / "states.json").read_text(encoding="utf-8"))
    assert all(host["trace"] for host in states["hosts"].values())
    assert not wait_until_gone()


def test_a_machine_that_dies(start: Lab, tmp_path: Path) -> None:
    """It is could not be judged, in one line with the last lines of its console; nothing is left."""
    running = start("run-handshake-lab", "--provider", "vm", "--out", tmp_path / "run")
    running.wait_for_step("check both hosts", seconds=SECONDS)
    (client,) = [pid for pid, words in machines().items() if "tcp-lab-client" in words]
    os.kill(client, signal.SIGKILL)
    refusal = running.finish(seconds=SECONDS).refusal
    assert refusal.startswith("vm: the client's machine died (")
    assert "tcp-lab: ready" in refusal
    assert list(tmp_path.iterdir()) == []
    assert not wait_until_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_nothing_is_left_of_one_that_was_stopped(start: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """Neither a machine nor its folder, while they boot."""
    running = start("run-handshake-lab", "--provider", "vm", "--out", tmp_path / "run")
    running.wait_for_step("boot two machines", seconds=SECONDS)
    deadline = time.monotonic() + 30
    while len(machines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (words, _) = machines().values()
    (disk,) = [word for word in words if word.startswith("file=/")]
    folder = Path(disk.removeprefix("file=").partition(".qcow2")[0])
    assert folder.parent.is_dir()
    os.killpg(running.process.pid, number)
    running.process.wait(30)
    assert not wait_until_gone()
    assert running.watch.wait_until_gone(15.0) == []
    end = time.monotonic() + 10
    while folder.parent.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not folder.parent.exists()
