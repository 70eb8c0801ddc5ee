"""The experiment of a lab that is made of scenes: connections to order between the two hosts, all in one capture."""

import platform
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from runpy import run_path
from typing import Any

from harness.errors import HarnessError
from harness.experiment import Announce, Timings
from harness.grading.nonces import Assignment
from harness.hosts.host import Host, together, undone_by
from harness.hosts.testbeds import FOREIGN, testbed_for
from harness.inventory import Inventory
from harness.kernel_states import HostStates
from harness.observer import observing
from harness.preflight import HostFacts, preflight
from harness.runs import CAPTURE, RUN, RUN_SCHEMA, STATES, STATES_SCHEMA, RunFolder, dump_json
from harness.tcpdump import Captured, capturing
from harness.traffic.network import Network
from harness.traffic.playing import programs
from harness.traffic.shapes import BOTH_WAYS, RESPONDERS, Connection, Loss, Scene, Side
from harness.waiting import wait_for

_LOWEST_PORT, _HUNDREDS = 10000, 90  # below what the kernel hands out by itself
_ROUNDS = 3  # of answers to what has crossed, until there are none
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SceneRun:
    """What the experiment brought home.

    Attributes:
        lab: the lab's name.
        run_id: names the run on both hosts.
        provider: who provided the hosts.
        entries: the inventory's line of each host, by role.
        facts: kernels and tools, by role.
        connections: scene → the connection's ends, "IP:PORT": (initiator, responder).
        lost: scene → how many segments were dropped on purpose.
        captured: the capture.
        states: what each host's kernel said, by role.
        command: the capture's command line.
        timings: seconds by step.
        began: seconds since the epoch.
        assignment: whose run it is, if one was given.
    """

    lab: str
    run_id: str
    provider: str
    entries: dict[str, dict[str, Any]]
    facts: dict[str, HostFacts]
    connections: dict[str, tuple[str, str]]
    lost: dict[str, int]
    captured: Captured
    states: dict[str, HostStates]
    command: list[str]
    timings: dict[str, float]
    began: float
    assignment: Assignment | None = None
    nonce_is_on_the_wire = False  # there is no banner in these connections

    def write(self, folder: RunFolder) -> None:
        """Write the capture, run.json and states.json."""
        folder.write(CAPTURE, self.captured.pcap)
        folder.write("listing.txt", self.captured.listing)
        hosts = {role: said.to_json() for role, said in self.states.items()}
        folder.write(STATES, dump_json({"schema": STATES_SCHEMA, "hosts": hosts}))
        ends = {
            name: {"initiator": initiator, "responder": responder, "dropped": self.lost[name]}
            for name, (initiator, responder) in self.connections.items()
        }
        first = next(iter(ends.values()))
        document = {
            "schema": RUN_SCHEMA,
            "lab": self.lab,
            "run_id": self.run_id,
            "provider": self.provider,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "hosts": {role: {**self.entries[role], **asdict(self.facts[role])} for role in self.entries},
            "harness": {"python": platform.python_version(), "kernel": platform.release()},
            "four_tuple": {end: first[end] for end in ("initiator", "responder")},
            "connections": ends,
            "commands": {"tcpdump": self.command},
            "tcpdump_counters": self.captured.counters,
            "capture_sha256": self.captured.sha256,
            "timings": self.timings,
        }
        if self.assignment:
            document["assignment"] = {**asdict(self.assignment), "on_the_wire": False}
        folder.write(RUN, dump_json(document))


def scenes_of(folder: Path) -> tuple[Scene, ...]:
    """The scenes that a lab's lab.py declares.

    Raises:
        HarnessError: it declares none.
    """
    path = folder / "lab.py"
    found = run_path(str(path)).get("SCENES") if path.exists() else None
    if not isinstance(found, tuple) or not all(isinstance(scene, Scene) for scene in found) or not found:
        raise HarnessError(f"{path}: a lab's experiment is a tuple SCENES of Scene there")
    return found


def run_scenes(  # noqa: PLR0913
    lab: str,
    scenes: tuple[Scene, ...],
    inventory: Inventory,
    provider: str,
    announce: Announce,
    assignment: Assignment | None = None,
) -> SceneRun:
    """Bring up the hosts, play all scenes, and take all down again.

    Raises:
        HarnessError: it could not be done.
    """
    timings = Timings(announce)
    run_id, began = secrets.token_hex(4), time.time()
    with ExitStack() as stack:
        if provider in FOREIGN:
            raise _not_ours(lab)
        with timings.step("bring up the two hosts"):
            testbed = stack.enter_context(testbed_for(inventory, provider, None))
        if not testbed.owned:
            raise _not_ours(lab)
        with timings.step("check both hosts"):
            facts = preflight(testbed)
        hosts: dict[Side, Host] = {"i": testbed.server, "r": testbed.client}
        # Another run on this machine has the same addresses, and its sockets stand in the same kernel's trace.
        first = _LOWEST_PORT + 100 * secrets.randbelow(_HUNDREDS)
        made = {scene.name: Connection(scene.shape, first + n) for n, scene in enumerate(scenes)}
        losses: dict[Loss, list[int]] = {}
        for connection in made.values():
            for loss in connection.shape.losses:
                losses.setdefault(loss, []).append(connection.port)
        network = Network(hosts, losses)
        with timings.step("set up the link"):
            network.set_up()
        last = first + RESPONDERS + len(scenes)
        folder = stack.enter_context(_folder_on(testbed.server, run_id))
        with timings.step("start tcpdump on the server host"):
            observer = stack.enter_context(observing(testbed, run_id, (first, last)))
            expression = f"host {testbed.server.entry.address} and host {testbed.client.entry.address} and tcp"
            capture = stack.enter_context(capturing(testbed.server, folder, f"{expression} portrange {first}-{last}"))
        with timings.step("play the scenes"):
            _play(hosts, network, list(made.values()))
            dropped = _dropped(network, made)
        with timings.step("stop tcpdump, fetch the capture"):
            _wait_until_written(capture.so_far)
            states, captured = together(observer.finish, capture.finish)
        with timings.step("take all down"):
            stack.close()
    addresses = {side: host.entry.address for side, host in hosts.items()}
    return SceneRun(
        lab=lab,
        run_id=run_id,
        provider=testbed.provider,
        entries={host.role: asdict(host.entry) for host in testbed.hosts},
        facts=facts,
        connections={
            name: (f"{addresses['i']}:{one.port}", f"{addresses['r']}:{one.port + RESPONDERS}")
            for name, one in made.items()
        },
        lost=dropped,
        captured=captured,
        states=states,
        command=list(capture.command),
        timings=timings.seconds,
        began=began,
        assignment=assignment,
    )


def _not_ours(lab: str) -> HarnessError:
    return HarnessError(
        f"the lab {lab} sets routes and packet filters, which the harness does on hosts of its own only: "
        "--provider embedded"
    )


@contextmanager
def _folder_on(host: Host, run_id: str) -> Iterator[str]:
    """A folder of our own on a host, while the block runs."""
    with undone_by(host, 'rm -rf "/tmp/tcp-lab-$1".??????', run_id):
        yield host.shell('umask 077; exec mktemp -d "/tmp/tcp-lab-$1.XXXXXX"', run_id).text.strip()


def _play(hosts: dict[Side, Host], network: Network, connections: list[Connection]) -> None:
    """All of them at the same time; those whose packets cross on the way after the others."""
    with programs(hosts) as both:
        both.play([one for one in connections if one.shape.released_first is None], 0)
        for sides in BOTH_WAYS:
            crossing = [one for one in connections if one.shape.released_first == sides[0]]
            if not crossing:
                continue
            network.be_patient()
            both.play(crossing, 0)
            for side in sides:
                network.hold(side)
            both.play(crossing, 1)
            network.let_go(sides[0])
            both.play(crossing, 2)
            # By turns: while one side's packets leave, no answer of the other's makes it send one that overtakes them.
            for side in sides[::-1] * _ROUNDS:
                network.let_go(side)
            for side in sides[::-1]:
                network.release(side)
            both.play(crossing, 3)


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
