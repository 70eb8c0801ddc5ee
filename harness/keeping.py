"""What the tasks `up`, `ssh` and `down` do: machines that stay up, for several runs and for work by hand."""

import os
import shutil
import signal
from pathlib import Path
from typing import NoReturn

from harness.announcing import Announce
from harness.cli import progress, say
from harness.errors import HarnessError
from harness.hosts import kept
from harness.interrupts import INTERRUPTS, between_steps
from harness.inventory import Inventory, load_inventory
from harness.language import _

VM = "vm"
_NONE = "no machines are up; start them: ./invoke up --provider vm"


def keep_up(inventory: Inventory, provider: str, announce: Announce) -> bool:
    """Start two machines that stay up, unless they are up; whether they were.

    Raises:
        HarnessError: that provider's hosts cannot stay up, they cannot be made or did not boot, or others are up.
    """
    if provider != VM:
        raise HarnessError(f"only machines stay up, and the provider is {provider}; with --provider vm it works")
    return kept.up(inventory, announce)[1]


def up(inventory: Path, provider: str | None) -> int:
    """Start two machines that stay up; returns the exit status."""
    loaded = load_inventory(inventory)
    with between_steps(), progress(quiet=False) as announce:
        were_up = keep_up(loaded, provider or loaded.provider, announce)
    say(_("two machines are up already") if were_up else _("two machines are up"))
    for entry in (loaded.server, loaded.client):
        where = _("{address} on {interface}").format(address=entry.address, interface=entry.interface)
        say(f"  {entry.role}: {where}   ./invoke ssh --host {entry.role}")
    say(_("runs with --provider vm use them; ./invoke down ends them"))
    return 0


def down() -> int:
    """End the machines that are up; returns the exit status."""
    with between_steps():
        say(_("the machines are down") if kept.down() else _("no machines were up"))
    return 0


def log_in(host: str, command: str | None) -> NoReturn:
    """Log in to one of the machines that are up: this process becomes ssh(1).

    Raises:
        HarnessError: none are up, there is no such host, or no ssh.
    """
    there = kept.found()
    if there is None:
        raise HarnessError(_NONE)
    access = next((one for one in there.pair.accesses if one.entry.role == host), None)
    if access is None:
        raise HarnessError(f"--host {host}: known are server, client")
    if shutil.which("ssh") is None:
        raise HarnessError("ssh is not installed; run: sudo apt-get install openssh-client")
    options = {
        "IdentityFile": str(there.identity),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(there.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": access.known_hosts.split(" ", 1)[0],
        "StrictHostKeyChecking": "yes",
    }
    words = ["ssh", "-F", "none", "-p", str(access.port)]
    words += [word for key, value in options.items() for word in ("-o", f'{key}="{value}"')]
    words += [f"{access.entry.user}@127.0.0.1", *([command] if command else [])]
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    os.execvp("ssh", words)  # noqa: S606 - no shell is wanted
