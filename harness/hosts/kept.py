"""Machines that stay up from one run to the next: `up` starts them, `down` ends them.

They stand in a folder of their own with all that is needed to reach them. Their keepers end them when something is
written into their pipes; that they run is known by locks that keeper and QEMU hold, which no crash can leave behind. A
run that uses them has another lock, so that two do not share one kernel's trace, rules and capture.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.announcing import Announce
from harness.errors import HarnessError
from harness.hosts.image import image, images
from harness.hosts.machines import Machine, accelerator, kept_machine, start_kept
from harness.hosts.pair import Pair, planned
from harness.inventory import Inventory
from harness.waiting import wait_for

_PAIR = "pair.json"  # written last: what has it is whole
_TURN_SECONDS = 60.0


def folder() -> Path:
    """Where they are: the user's, whatever clone of the project started them (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "tcp-lab"


@dataclass(frozen=True, slots=True)
class Kept:
    """Two machines that are up.

    Attributes:
        place: where their files are.
        pair: how they are reached.
        machines: both, server first.
    """

    place: Path
    pair: Pair
    machines: list[Machine]

    @property
    def identity(self) -> Path:
        """The private key's file."""
        return self.place / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The file that pins both host keys."""
        return self.place / "known_hosts"

    def check(self, inventory: Inventory) -> None:
        """Whether both are there, and the inventory's.

        Raises:
            HarnessError: one has died, or they have other addresses, ports or interfaces.
        """
        for machine in self.machines:
            if not machine.runs:
                raise HarnessError(
                    f"vm: the {machine.role}'s machine that was up has died; its console's last: "
                    f"{machine.last_words}; run ./invoke down"
                )
        for one, entry in zip(self.pair.accesses, (inventory.server, inventory.client), strict=True):
            made = one.entry
            if (made.address, made.port, made.interface) != (entry.address, entry.port, entry.interface):
                raise HarnessError(
                    f"vm: the {made.role}'s machine that is up has {made.address} port {made.port} on "
                    f"{made.interface}, but {inventory.path} wants {entry.address} port {entry.port} on "
                    f"{entry.interface}; run ./invoke down first"
                )


def found() -> Kept | None:
    """The machines that are up; None if there are none."""
    place = folder() / "vm"
    try:
        pair = Pair.read(place / _PAIR)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    machines = [kept_machine(one.entry.role, place, one.port) for one in pair.accesses]
    return Kept(place, pair, machines) if any(machine.runs for machine in machines) else None


@contextmanager
def ours() -> Iterator[None]:
    """The machines are only ours while the block runs; another run that uses them is waited for.

    Raises:
        HarnessError: it did not end in time.
    """
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder() / "lock").open("a+", encoding="ascii") as lock:

        def got() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        try:
            wait_for("the machines that are up", got, seconds=_TURN_SECONDS)
        except HarnessError:
            lock.seek(0)
            raise HarnessError(
                f"vm: the machines that are up are in use by process {lock.read().strip() or '?'}, and still were "
                f"after {_TURN_SECONDS:g} s; wait until it has ended"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def up(inventory: Inventory, announce: Announce) -> tuple[Kept, bool]:
    """Start two machines that stay; also whether they were up already.

    Raises:
        HarnessError: they cannot be made or did not boot, or other machines are up.
    """
    with ours():
        if there := found():
            there.check(inventory)
            return there, True
        place = folder() / "vm"
        _clear(place)
        pair, plans = planned(inventory)
        built = image(announce)
        accelerated = accelerator(built, images())
        place.mkdir(mode=0o700)
        announce("boot two machines")
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, place, ignore_errors=True)
            machines = []
            for plan in plans:
                machine = start_kept(plan, place, built, accelerated)
                undo.callback(machine.stop)
                machines.append(machine)
            for machine in machines:
                machine.wait_until_ready()
            kept = Kept(place, pair.at({machine.role: machine.port for machine in machines}), machines)
            kept.identity.touch(mode=0o600)
            kept.identity.write_text(pair.private_key, encoding="ascii")
            kept.known_hosts.write_text("".join(f"{one.known_hosts}\n" for one in pair.accesses), encoding="ascii")
            kept.pair.write(place / _PAIR)
            undo.pop_all()  # from now on they are `down`'s
        return kept, False


def down() -> bool:
    """End the machines that are up; whether there were any.

    Raises:
        HarnessError: a run uses them.
    """
    if not folder().exists():
        return False
    with ours():
        return _clear(folder() / "vm")


def _clear(place: Path) -> bool:
    """End what runs of the machines in a folder, and remove it; whether there was anything."""
    if not place.exists():
        return False
    for role in ("server", "client"):
        with suppress(OSError):
            kept_machine(role, place, 0).stop()
    shutil.rmtree(place, ignore_errors=True)
    return True
