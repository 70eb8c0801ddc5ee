"""Many runs: twenty testbeds at once, and what is said of runs that went wrong."""

import re
from pathlib import Path

import pytest

from tests.live.conftest import Lab

SECONDS_EACH = 300


@pytest.mark.usefixtures("namespaces")
def test_twenty_testbeds_at_once(start: Lab, tmp_path: Path) -> None:
    """All pass, nothing is kept of them, and the memory that a testbed takes is told."""
    finished = start("soak", "--runs", "20", "--at-once", "20", "--out", tmp_path / "soak").finish(seconds=250)
    assert finished.status == 0, finished
    said = finished.stdout.splitlines()
    assert said[:2] == ["soak: 20 runs of the lab handshake on embedded, 20 at once", "  20 passed"]
    told = re.fullmatch(r"in \d+ s; at most (\d+) MB of memory for a testbed, (\d+) MB for its harness", said[2])
    assert told
    assert 1 <= int(told[1]) <= 200
    assert not (tmp_path / "soak").exists()


def test_runs_that_go_wrong(start: Lab, tmp_path: Path) -> None:
    """By kind, with the reason: here hosts that cannot be reached; status 1."""
    (tmp_path / "known_hosts").touch()
    hosts = "".join(
        f"  {role}: {{address: 127.0.0.{last}, user: root, port: 1, interface: ens33}}\n"
        for role, last in (("server", 1), ("client", 2))
    )
    (tmp_path / "inventory.yaml").write_text(f"provider: hosts\nhosts:\n{hosts}", encoding="utf-8")
    finished = start("soak", "--runs", "2", "--inventory", tmp_path / "inventory.yaml", home=tmp_path).finish()
    assert finished.status == 1
    why = "server (root@127.0.0.1 port 1): connecting: "
    assert finished.stdout.splitlines()[1].startswith(f"  2 could not be judged: {why}")


@pytest.mark.parametrize(
    ("switches", "said"),
    [
        (["--runs", "0"], "soak: --runs 0 --at-once 1: at least one at once, and no more than there are"),
        (
            ["--runs", "2", "--at-once", "3"],
            "soak: --runs 2 --at-once 3: at least one at once, and no more than there ",
        ),
        (["--runs", "many"], "--runs many: want a whole number"),
        (["--provider", "nope"], "--provider nope: known are: embedded, hosts, vm"),
    ],
)
def test_bad_orders(start: Lab, switches: list[str], said: str) -> None:
    """One line, status 2, nothing run."""
    finished = start("soak", *switches).finish()
    assert finished.refusal.startswith(said)
    assert finished.stdout == ""
