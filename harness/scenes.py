"""The experiment of a lab that is made of scenes: connections to order between the two hosts, all in one capture."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from runpy import run_path
from typing import Any

from harness.announcing import Announce
from harness.errors import HarnessError
from harness.experiment import Experiment, Timings
from harness.grading.nonces import Assignment
from harness.hosts.host import Host, together, undone_by
from harness.hosts.lock import alone
from harness.hosts.testbeds import testbed_for
from harness.inventory import Inventory
from harness.observer import observing
from harness.preflight import preflight
from harness.session import FourTuple
from harness.tcpdump import capturing
from harness.traffic.network import Network
from harness.traffic.playing import SECONDS, play_all, programs
from harness.traffic.shapes import RESPONDERS, Connection, Scene, Side
from harness.waiting import wait_for

_LOWEST_PORT, _HUNDREDS = 11000, 80  # below what the kernel hands out by itself
_SECONDS = 10.0
_PATIENCE = "15s"  # each step of releasing packets takes a login shell, on a machine without KVM half a second
_LACKS = """
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || echo root
for tool in ip nft sysctl python3; do command -v "$tool" >/dev/null || echo "$tool"; done
"""
_SLOW_SECONDS = 120.0  # a deadline: TIME-WAIT's 60 s are the longest wait of any scene


def own(folder: Path, name: str) -> Callable[..., Any] | None:
    """A function of a lab's lab.py, if it has one of that name.

    `run` is its experiment, if that is not made of scenes: called with the lab's name, the inventory, the provider,
    what announces steps, and the assignment or None, it returns an `Experiment`. `report` is what else is to be shown
    of a run: called with the lab's conversation, the run's record and the width, it yields styled lines.
    """
    found = run_path(str(folder / "lab.py")).get(name) if (folder / "lab.py").exists() else None
    return found if callable(found) else None


def scenes_of(folder: Path, *, slow: bool = False) -> tuple[Scene, ...]:
    """The scenes that a lab's lab.py declares; the slow ones only if they are asked for.

    Raises:
        HarnessError: it declares none.
    """
    path = folder / "lab.py"
    found = run_path(str(path)).get("SCENES") if path.exists() else None
    if not isinstance(found, tuple) or not all(isinstance(scene, Scene) for scene in found) or not found:
        raise HarnessError(f"{path}: a lab's experiment is a tuple SCENES of Scene there")
    return tuple(scene for scene in found if slow or not scene.slow)


def run_scenes(  # noqa: PLR0913
    lab: str,
    scenes: tuple[Scene, ...],
    inventory: Inventory,
    provider: str,
    announce: Announce,
    assignment: Assignment | None = None,
) -> Experiment:
    """Bring up the hosts, play all scenes, and take all down again.

    Raises:
        HarnessError: it could not be done.
    """
    timings = Timings(announce)
    run_id, began = secrets.token_hex(4), time.time()
    with ExitStack() as stack:
        with timings.step("bring up the two hosts"):
            testbed = stack.enter_context(testbed_for(inventory, provider, None, announce))
        hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
        with timings.step("check both hosts"):
            stack.enter_context(alone(testbed, run_id, announce))
            facts = preflight(testbed, announce)
            for host in hosts.values():
                _check(lab, host)
        folders = {side: stack.enter_context(_folder_on(host, run_id)) for side, host in hosts.items()}
        first = stack.enter_context(ports_of_our_own())
        made = {scene.name: Connection(scene.shape, first + n) for n, scene in enumerate(scenes)}
        network = Network.of(hosts, folders, made.values(), _PATIENCE)
        with timings.step("set up the link"):
            stack.enter_context(network.in_force())
        last = first + RESPONDERS + len(scenes)
        with timings.step("start tcpdump on the server host"):
            observer = stack.enter_context(observing(testbed, run_id, (first, last)))
            expression = f"host {testbed.server.entry.address} and host {testbed.client.entry.address} and tcp"
            expression += f" portrange {first}-{last}"
            capture = stack.enter_context(capturing(testbed.server, folders["i"], expression, facts["server"].tool))
        with timings.step("play the scenes"):
            with programs(hosts) as both:
                seconds = _SLOW_SECONDS if any(scene.slow for scene in scenes) else SECONDS
                play_all(both, network, list(made.values()), seconds)
                lives = {side: both.lives(side) for side in hosts}
            dropped = _dropped(network, made)
        with timings.step("stop tcpdump, fetch the capture"):
            _wait_until_written(capture.so_far)
            states, captured = together(observer.finish, capture.finish)
        with timings.step("take all down"):
            stack.close()
    addresses = {side: host.entry.address for side, host in hosts.items()}
    ends = {
        name: FourTuple(f"{addresses['i']}:{one.port}", f"{addresses['r']}:{one.port + RESPONDERS}")
        for name, one in made.items()
    }
    sides: dict[Side, str] = {"i": "initiator", "r": "responder"}
    connections = {
        name: {
            **asdict(ends[name]),
            "dropped": dropped[name],
            "lives": {end: lives[side].get(one.ports(side), []) for side, end in sides.items()},
        }
        for name, one in made.items()
    }
    return Experiment(
        lab=lab,
        run_id=run_id,
        provider=testbed.provider,
        entries={host.role: asdict(host.entry) for host in testbed.hosts},
        facts=facts,
        four_tuple=next(iter(ends.values())),
        captured=captured,
        states=states,
        commands={"tcpdump": list(capture.command)},
        details={"connections": connections},
        timings=timings.seconds,
        began=began,
        assignment=assignment,
    )


@contextmanager
def ports_of_our_own() -> Iterator[int]:
    """The first of a hundred ports that no other run on this machine uses while the block runs.

    Another run has the same addresses, and its sockets stand in the same kernel's trace. Who has a hundred holds an
    abstract socket (unix(7)) of that name, which goes when its process does.

    Raises:
        HarnessError: all are taken.
    """
    hundreds = list(range(_HUNDREDS))
    secrets.SystemRandom().shuffle(hundreds)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        for hundred in hundreds:
            first = _LOWEST_PORT + 100 * hundred
            try:
                held.bind(f"\0tcp-lab-ports-{first}")
            except OSError:
                continue
            yield first
            return
    raise HarnessError(f"{_HUNDREDS} runs at once are too many for one machine; run it again when one has ended")


def _check(lab: str, host: Host) -> None:
    """Whether a host has what scenes take.

    Raises:
        HarnessError: it has not; says what it lacks.
    """
    lacks = host.shell(_LACKS).text.split()
    if lacks:
        raise HarnessError(
            f"{host.role} ({host.entry.address}): the lab {lab} sets routes and packet filters on both hosts and plays "
            f"connections there; it lacks: {', '.join(lacks)}"
        )


@contextmanager
def _folder_on(host: Host, run_id: str) -> Iterator[str]:
    """A folder of our own on a host, while the block runs."""
    with undone_by(host, 'rm -rf "/tmp/tcp-lab-$1".??????', run_id):
        yield host.shell('umask 077; exec mktemp -d "/tmp/tcp-lab-$1.XXXXXX"', run_id).text.strip()


def _dropped(network: Network, made: dict[str, Connection]) -> dict[str, int]:
    """How many segments of each scene were dropped on purpose.

    Raises:
        HarnessError: one that had to be dropped was not: then the scene did not take place.
    """
    lost = network.lost()
    found = dict.fromkeys(made, 0)
    for name, connection in made.items():
        for loss in connection.shape.losses:
            times = [connection.port in lost[loss, number] for number in range(1, (loss.times or 1) + 1)]
            found[name] += sum(times)
            if loss.surely and not all(times):
                raise HarnessError(f"scene {name}: what was to be lost ({loss.name}) was not; run it again")
    return found


def _wait_until_written(so_far: Callable[[], bytes]) -> None:
    """Until the capture has not grown between two looks."""
    sizes = [-1]

    def still() -> bool:
        sizes.append(len(so_far()))
        return sizes[-1] == sizes[-2]

    wait_for("the capture to be written", still, seconds=_SECONDS)
