"""What an experiment brings home; and that of the handshake lab: one ssh session, from SYN to the last ACK."""

import platform
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.announcing import Announce
from harness.errors import HarnessError
from harness.grading.nonces import Assignment
from harness.hosts.host import Testbed, together
from harness.hosts.testbeds import testbed_for
from harness.interrupts import stop_if_asked
from harness.inventory import Inventory
from harness.kernel_states import HostStates
from harness.observer import observing
from harness.preflight import HostFacts, preflight
from harness.runs import CAPTURE, RUN, RUN_SCHEMA, STATES, STATES_SCHEMA, RunFolder, dump_json, listing_file
from harness.session import FourTuple, prepared, session
from harness.tcpdump import Captured, capturing
from harness.waiting import wait_for

CLOSE_SECONDS = 5.0


@dataclass(slots=True)
class Timings:
    """How long each step took, in seconds, in order; announces each as it begins."""

    announce: Announce
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        stop_if_asked()
        self.announce(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(time.perf_counter() - began, 4)


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one experiment brought home.

    Attributes:
        lab: the lab's name.
        run_id: names the run on both hosts.
        provider: who provided the hosts.
        entries: the inventory's line of each host, by role.
        facts: kernels and tools, by role.
        four_tuple: the lab's connection; the first of several.
        captured: the capture.
        states: what each host's kernel said, by role.
        commands: the command lines of the capture and of whatever else was run.
        details: what only this lab's experiment has to tell, as it stands in run.json.
        timings: seconds by step.
        began: seconds since the epoch.
        assignment: whose run it is, if one was given.
        listings: what tcpdump showed on a terminal, by name.
    """

    lab: str
    run_id: str
    provider: str
    entries: dict[str, dict[str, Any]]
    facts: dict[str, HostFacts]
    four_tuple: FourTuple
    captured: Captured
    states: dict[str, HostStates]
    commands: dict[str, list[str]]
    details: dict[str, Any]
    timings: dict[str, float]
    began: float
    assignment: Assignment | None = None
    listings: dict[str, str] = field(default_factory=dict)

    @property
    def nonce_is_on_the_wire(self) -> bool:
        """Whether the assignment's nonce stands in clear in the capture."""
        return self.assignment is not None and self.assignment.nonce.encode() in self.captured.pcap

    def write(self, folder: RunFolder) -> None:
        """Write the capture, run.json and states.json."""
        folder.write(CAPTURE, self.captured.pcap)
        folder.write("listing.txt", self.captured.listing)
        for name, text in self.listings.items():
            folder.write(listing_file(name), text)
        folder.write(
            STATES,
            dump_json(
                {
                    "schema": STATES_SCHEMA,
                    "hosts": {role: said.to_json() for role, said in self.states.items()},
                }
            ),
        )
        document = {
            "schema": RUN_SCHEMA,
            "lab": self.lab,
            "run_id": self.run_id,
            "provider": self.provider,
            "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began)),
            "hosts": {role: {**self.entries[role], **asdict(self.facts[role])} for role in self.entries},
            "harness": {"python": platform.python_version(), "kernel": platform.release()},
            "four_tuple": asdict(self.four_tuple),
            **self.details,
            **({"listings": list(self.listings)} if self.listings else {}),
            "commands": self.commands,
            "tcpdump_counters": self.captured.counters,
            "capture_sha256": self.captured.sha256,
            "timings": self.timings,
        }
        if self.assignment:
            document["assignment"] = {**asdict(self.assignment), "on_the_wire": self.nonce_is_on_the_wire}
        folder.write(RUN, dump_json(document))


def capture_filter(testbed: Testbed) -> str:
    """The pcap-filter(7) expression for the lab's two hosts and port; the harness's own traffic is not in it."""
    server, client = (host.entry for host in testbed.hosts)
    return f"host {server.address} and host {client.address} and tcp port {client.port}"


def _shows_the_close(pcap: bytes, four_tuple: FourTuple) -> bool:
    """Whether the capture so far holds the end of the lab's connection."""
    from harness.captures.reading import read_capture
    from harness.tcp.conversation import conversations

    return any(
        conversation.initiator == four_tuple.initiator and conversation.is_over
        for conversation in conversations(read_capture(pcap, "the capture so far").segments)
    )


def run_experiment(
    inventory: Inventory, provider: str, close: str | None, announce: Announce, assignment: Assignment | None = None
) -> Experiment:
    """Bring up the hosts, run the experiment, and take all down again.

    Args:
        inventory: the hosts.
        provider: who brings them up.
        close: "three", "four" or "as-is"; None for what suits the provider.
        announce: told each step as it begins.
        assignment: whose run it is; its nonce goes into the client host's SSH banner where the harness owns the sshd.

    Raises:
        HarnessError: it could not be done; one line with the host, what was expected and what to do.
    """
    timings = Timings(announce)
    run_id, began = secrets.token_hex(4), time.time()
    banner = assignment.nonce if assignment else None
    with ExitStack() as stack:
        with timings.step("bring up the two hosts"):
            testbed = stack.enter_context(testbed_for(inventory, provider, banner, announce))
        close = close or ("four" if testbed.owned else "as-is")
        with timings.step("check both hosts"):
            facts = preflight(testbed)
            ready = stack.enter_context(prepared(testbed, run_id, close))
        with timings.step("start tcpdump on the server host"):
            observer = stack.enter_context(observing(testbed, run_id))
            capture = stack.enter_context(capturing(testbed.server, ready.directory, capture_filter(testbed)))
        with timings.step("open ssh from server to client"):
            opened = stack.enter_context(session(testbed, ready, close))
        with timings.step("close it"):
            opened.end()
        with timings.step("wait for the close in the capture"):
            try:
                wait_for(
                    "the end of the connection in the capture",
                    lambda: _shows_the_close(capture.so_far(), opened.four_tuple),
                    seconds=CLOSE_SECONDS,
                )
            except HarnessError:
                if not testbed.server.alive():
                    raise
                # Nothing ended: that is for the rubric to say.
        with timings.step("stop tcpdump, fetch the capture"):
            states, captured = together(observer.finish, capture.finish)
        with timings.step("take all down"):
            stack.close()
    return Experiment(
        lab="handshake",
        run_id=run_id,
        provider=testbed.provider,
        entries={host.role: asdict(host.entry) for host in testbed.hosts},
        facts=facts,
        four_tuple=opened.four_tuple,
        captured=captured,
        states=states,
        commands={"tcpdump": list(capture.command), "ssh": list(opened.command)},
        details={"close_asked": close},
        timings=timings.seconds,
        began=began,
        assignment=assignment,
    )
