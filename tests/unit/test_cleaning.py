"""What `./invoke clean` removes on this machine: what is marked and dead, and nothing else."""

import os
import subprocess
import sys
import time
from pathlib import Path

from harness.cleaning import removed_here
from harness.hosts.keys import new_key_pair
from harness.hosts.leftovers import KEY_LINE, Removed, parse_removed


def ended() -> int:
    """The number of a process that has just ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_unfinished_run_folders(tmp_path: Path) -> None:
    """Those of processes that are gone; not those of running ones, nor what only looks similar."""
    dead, alive = ended(), os.getpid()
    gone = tmp_path / f".time-wait-{dead}-123.partial"
    stay = [
        tmp_path / f".handshake-{alive}-123.partial",
        tmp_path / f".handshake-{dead}.partial",
        tmp_path / f"handshake-{dead}-123.partial",
        tmp_path / "20260101T000000Z-handshake",
    ]
    for folder in (gone, *stay):
        folder.mkdir()
        (folder / "capture.pcap").touch()
    said = list(removed_here(tmp_path, tmp_path / "none"))
    assert f"the unfinished run folder {gone}" in said
    assert sorted(tmp_path.iterdir()) == sorted(stay)


def test_folders_of_machines(tmp_path: Path) -> None:
    """Those that no process names, once they are not young any more."""
    named, young, dead, other = (
        tmp_path / name
        for name in ("machines-of-tcp-lab-a", "machines-of-tcp-lab-b", "machines-of-tcp-lab-c", "machines")
    )
    for folder in (named, young, dead, other):
        folder.mkdir()
        if folder is not young:
            os.utime(folder, (time.time() - 3600,) * 2)
    script = "import sys; print('here', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(named)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout
        keeper.stdout.readline()
        said = list(removed_here(tmp_path / "none", tmp_path))
        keeper.communicate()
    assert f"the machines' folder {dead}" in said
    assert sorted(tmp_path.iterdir()) == sorted([named, young, other])


def test_what_a_sweep_says() -> None:
    """Each thing has its run's id; other lines are nobody's."""
    text = "noise\n== removed 0123abcd /tmp/tcp-lab-0123abcd.abcdef\n== alone\n== removed nobody x\n"
    assert parse_removed(text) == [Removed("0123abcd", "/tmp/tcp-lab-0123abcd.abcdef")]


def test_the_mark_of_a_key_is_the_one_that_is_written() -> None:
    """The pattern finds the line that a run writes, and not a user's own with a similar comment."""
    key = new_key_pair().public
    lines = [
        f'from="192.168.1.63",no-agent-forwarding,no-port-forwarding,no-X11-forwarding {key} tcp-lab-0123abcd',
        f"{key} tcp-lab-0123abcd",
        f'from="192.168.1.63" {key} ann tcp-lab-0123abcd',
        f'from="*.example" {key} tcp-lab-0123abcd',
    ]
    done = subprocess.run(
        ["grep", f"{KEY_LINE}[0-9a-f]*$"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == lines[:1]
