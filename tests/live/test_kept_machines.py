"""Machines that stay up: `up`, runs that use them, `ssh`, and `down`, after which there is nothing."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.cli import NOT_JUDGED
from harness.grading.judging import labs
from harness.grading.nonces import Assignment, nonce
from harness.hosts import kept
from tests.live.conftest import Lab
from tests.live.machines import SECONDS, SECONDS_EACH, alone, built, machines, quick, wait_until_gone
from tests.live.watching import ROOT, Finished

__all__ = ["SECONDS_EACH", "alone", "built", "quick"]  # fixtures, and the deadline of each test

Go = Callable[..., Finished]


@pytest.fixture
def go(start: Lab) -> Iterator[Go]:
    """Run ./invoke to its end; what is up in the end is ended."""

    def to_its_end(*arguments: str | Path) -> Finished:
        return start(*arguments).finish(seconds=SECONDS)

    yield to_its_end
    kept.down()


def _look_private() -> None:
    """Nobody else can read the keys."""
    for path in (kept.folder(), kept.folder() / "vm"):
        assert path.stat().st_mode & 0o077 == 0
    for name in ("id_ed25519", "pair.json"):
        assert (kept.folder() / "vm" / name).stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("quick")
def test_from_up_to_down(go: Go, start: Lab, tmp_path: Path) -> None:
    """Runs use the machines that are up, one after another; `ssh` leads there; `down` leaves nothing."""
    finished = go("up", "--provider", "vm")
    assert finished.status == 0, finished
    assert "two machines are up\n" in finished.stdout
    there = machines()
    assert len(there) == 2
    _look_private()

    again = go("up", "--provider", "vm")
    assert (again.status, again.stdout.splitlines()[0]) == (0, "two machines are up already")

    by_hand = go("ssh", "--host", "server", "--command", "ssh 192.168.1.64 hostname")
    assert (by_hand.status, by_hand.stdout, by_hand.stderr) == (0, "client\n", "")
    assert go("ssh", "--host", "client", "--command", "exit 7").status == 7

    inventory = (ROOT / "inventory.yaml").read_text(encoding="utf-8").replace("192.168.1.64", "192.168.1.65")
    (tmp_path / "inventory.yaml").write_text(inventory, encoding="utf-8")
    for task in ("up", "run-handshake-lab"):
        refusal = go(task, "--provider", "vm", "--inventory", tmp_path / "inventory.yaml").refusal
        assert "the client's machine that is up has 192.168.1.64 port 22 on ens33, but" in refusal
        assert refusal.endswith("wants 192.168.1.65 port 22 on ens33; run ./invoke down first")

    word = nonce(b"a secret of sixteen bytes", "tcp-lab", "handshake", "ada")
    assignment = Assignment("tcp-lab", "handshake", "ada", word)
    (tmp_path / "assignment.yaml").write_text(assignment.to_yaml(), encoding="utf-8")
    assigned = ("--assignment", tmp_path / "assignment.yaml")
    one = start("run-handshake-lab", "--provider", "vm", "--keep", "--out", tmp_path / "one", "--json", *assigned)
    other = start("run-handshake-lab", "--provider", "vm", "--out", tmp_path / "other", "--json")
    for run in (one, other):  # the one that comes second waits
        finished = run.finish(seconds=SECONDS)
        assert (finished.status, finished.complaints) == (0, [])
        assert json.loads(finished.stdout)["score"] == 100
    assert word.encode() in (tmp_path / "one" / "capture.pcap").read_bytes()
    assert word.encode() not in (tmp_path / "other" / "capture.pcap").read_bytes()
    assert machines().keys() == there.keys()

    (client,) = [pid for pid, words in machines().items() if "tcp-lab-client" in words]
    os.kill(client, signal.SIGKILL)
    refusal = go("run-handshake-lab", "--provider", "vm", "--out", tmp_path / "again").refusal
    assert refusal.startswith("vm: the client's machine that was up has died; its console's last: ")
    assert refusal.endswith("; run ./invoke down")
    assert not (tmp_path / "again").exists()

    assert go("down").stdout == "the machines are down\n"
    assert not wait_until_gone()
    assert go("down").stdout == "no machines were up\n"
    assert go("ssh", "--host", "server").refusal == "no machines are up; start them: ./invoke up --provider vm"


@pytest.mark.usefixtures("quick")
def test_every_lab(go: Go, tmp_path: Path) -> None:
    """All points in each of them, as on namespaces; what came too late on a busy machine is no mark, and done again."""
    assert go("up", "--provider", "vm").status == 0
    for lab in labs():
        words = ("run", "--lab", lab, "--provider", "vm", "--out", tmp_path / lab, "--json")
        done = go(*words)
        if done.status == NOT_JUDGED:
            done = go(*words)
        results = json.loads(done.stdout)
        lost = [check for check in results["checks"] if check["outcome"] != "passed"]
        assert (done.status, results["score"], lost) == (0, 100, []), done


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_up_that_was_stopped(go: Go, start: Lab, number: signal.Signals) -> None:
    """Ctrl-C while they boot ends them; after kill -9 `down` does."""
    running = start("up", "--provider", "vm")
    running.wait_for_step("boot two machines", seconds=SECONDS)
    while len(machines()) < 2:
        assert running.process.poll() is None
    os.killpg(running.process.pid, number)
    running.process.wait(30)
    if number == signal.SIGKILL:
        assert len(machines()) == 2
        assert go("down").stdout == "the machines are down\n"
    assert not wait_until_gone()


def test_namespaces_do_not_stay(go: Go, tmp_path: Path) -> None:
    """Only machines can stay up; what asks it of namespaces is refused, and nothing is run."""
    refusal = go("run-handshake-lab", "--keep", "--out", tmp_path / "run").refusal
    assert refusal == "only machines stay up, and the provider is embedded; with --provider vm it works"
    assert not (tmp_path / "run").exists()
