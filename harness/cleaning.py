"""Remove what runs that were killed have left: on hosts that exist already, and on this machine."""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.cli import ROOT, say
from harness.hosts.leftovers import SWEEP, parse_removed
from harness.interrupts import between_steps
from harness.inventory import load_inventory
from harness.language import _
from harness.messages import translated

_PARTIAL = re.compile(r"\.[a-z-]+-(\d+)-\d+\.partial")  # see `harness.runs.new_run_folder`
_MACHINES = "machines-of-tcp-lab-*"  # see `harness.hosts.vm`
_YOUNG_SECONDS = 600.0  # a machine that is being started is named by no process yet
# A testbed within this machine has its own /tmp and home; the kernel's trace it shares. It may not be mounted here.
_TRACES = f"""
{SWEEP}
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
sweep_traces "$any_run"
"""


def _dead_traces() -> Iterator[str]:
    """Remove the kernel's trace instances of testbeds that were killed as a whole; only root can make any."""
    if os.geteuid() == 0 and shutil.which("unshare"):
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _TRACES], capture_output=True, text=True, check=False, timeout=30
        )
        yield from (f"{one.what} of run {one.run_id}" for one in parse_removed(done.stdout))


def _unfinished_runs(runs: Path) -> Iterator[str]:
    """Remove the folders of runs whose process is gone."""
    for folder in sorted(runs.glob(".*.partial")):
        found = _PARTIAL.fullmatch(folder.name)
        if found and folder.is_dir() and not Path("/proc", found[1]).exists():
            shutil.rmtree(folder, ignore_errors=True)
            yield _("the unfinished run folder {folder}").format(folder=folder)


def _dead_machines(temporary: Path) -> Iterator[str]:
    """Remove the folders of virtual machines that no process names any more."""
    for folder in sorted(temporary.glob(_MACHINES)):
        if folder.stat().st_uid != os.geteuid() or time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:
            continue
        if not any(str(folder).encode() in command for command in _commands()):
            shutil.rmtree(folder, ignore_errors=True)
            yield _("the machines' folder {folder}").format(folder=folder)


def _commands() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def removed_here(runs: Path, temporary: Path) -> Iterator[str]:
    """Remove what was left on this machine; says each thing that was.

    Args:
        runs: the folder of all runs.
        temporary: where virtual machines have their files.
    """
    yield from _unfinished_runs(runs)
    yield from _dead_machines(temporary)
    yield from _dead_traces()


def clean(inventory: Path, provider: str | None) -> int:
    """Remove leftovers, and list them; returns 0.

    Args:
        inventory: its file.
        provider: in place of the inventory's.

    Raises:
        HarnessError: a host cannot be reached, or is in use.
    """
    loaded = load_inventory(inventory)
    any_was = False
    for what in removed_here(ROOT / "runs", Path(tempfile.gettempdir())):
        say(_("this machine: {what}").format(what=what))
        any_was = True
    if (provider or loaded.provider) == "hosts":
        from harness.hosts.existing import existing
        from harness.hosts.lock import alone

        with (
            between_steps(),
            existing(loaded) as testbed,
            alone(testbed, secrets.token_hex(4), lambda _: None, patience=0) as found,
        ):
            for role, things in found.items():
                for one in things:
                    say(f"{role}: {translated(one.what)}")
                    any_was = True
    if not any_was:
        say(_("nothing was left"))
    return 0
