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
from harness.hosts.host import Host, Testbed, together
from harness.hosts.lock import alone
from harness.hosts.testbeds import testbed_for
from harness.interrupts import stop_if_asked
from harness.inventory import Inventory
from harness.kernel_states import HostStates
from harness.observer import Observer, observing
from harness.preflight import HostFacts, preflight
from harness.runs import (
    CAPTURE,
    CLIENT_CAPTURE,
    RUN,
    RUN_SCHEMA,
    STATES,
    STATES_SCHEMA,
    RunFolder,
    dump_json,
    listing_file,
)
from harness.session import FourTuple, prepared, session
from harness.tcpdump import Capture, Captured, capturing
from harness.waiting import wait_for

CLOSE_SECONDS = 15.0  # where the network loses what is sent, it is sent again after ever longer times


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
        captured_by_client: the client host's capture, if one was asked for.
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
    captured_by_client: Captured | None = None

    @property
    def nonce_is_on_the_wire(self) -> bool:
        """Whether the assignment's nonce stands in clear in the capture."""
        return self.assignment is not None and self.assignment.nonce.encode() in self.captured.pcap

    def write(self, folder: RunFolder) -> None:
        """Write the capture, run.json and states.json."""
        folder.write(CAPTURE, self.captured.pcap)
        if self.captured_by_client:
            folder.write(CLIENT_CAPTURE, self.captured_by_client.pcap)
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
        if self.captured_by_client:
            document["client_capture"] = {
                "tcpdump_counters": self.captured_by_client.counters,
                "sha256": self.captured_by_client.sha256,
            }
        if self.assignment:
            document["assignment"] = {**asdict(self.assignment), "on_the_wire": self.nonce_is_on_the_wire}
        folder.write(RUN, dump_json(document))


def others_excluded(facts: dict[str, HostFacts]) -> str:
    """The end of a pcap-filter(7) expression that leaves out the connections which were there before the lab's.

    Those are other people's, and the harness's own, which may be on the lab link where it reaches one host by way of
    the other, or runs on one. Connections that are opened later are told apart by the lab's 4-tuple.
    """
    return "".join(f" and not port {port}" for port in sorted({port for one in facts.values() for port in one.others}))


def capture_filter(testbed: Testbed, facts: dict[str, HostFacts]) -> str:
    """The pcap-filter(7) expression for the lab's two hosts and port, without connections that are there already."""
    server, client = (host.entry for host in testbed.hosts)
    return f"host {server.address} and host {client.address} and tcp port {client.port}{others_excluded(facts)}"


def _shows_the_close(pcap: bytes, four_tuple: FourTuple) -> bool:
    """Whether the capture so far holds the end of the lab's connection."""
    from harness.captures.reading import read_capture
    from harness.tcp.conversation import conversations

    return any(
        conversation.initiator == four_tuple.initiator and conversation.is_over
        for conversation in conversations(read_capture(pcap, "the capture so far").segments)
    )


@contextmanager
def _capturing_on(
    hosts: tuple[Host, ...], directory: str, expression: str, facts: dict[str, HostFacts]
) -> Iterator[tuple[Capture, Capture | None]]:
    """Capture on one host, or on both."""
    with ExitStack() as stack:
        captures = [
            stack.enter_context(capturing(host, directory, expression, facts[host.role].tool)) for host in hosts
        ]
        yield captures[0], captures[1] if len(captures) > 1 else None


def _is_over(pcap: bytes, observer: Observer, four_tuple: FourTuple) -> bool:
    """Whether the capture shows the end, and both hosts are at it too: what was captured may be lost on its way."""
    return _shows_the_close(pcap, four_tuple) and observer.settled(four_tuple.initiator, four_tuple.responder)


def run_experiment(  # noqa: PLR0913 - one for each switch of the task
    inventory: Inventory,
    provider: str,
    close: str | None,
    announce: Announce,
    assignment: Assignment | None = None,
    *,
    own_key: bool = True,
    both: bool = False,
) -> Experiment:
    """Bring up the hosts, run the experiment, and take all down again.

    Args:
        inventory: the hosts.
        provider: who brings them up.
        close: "three", "four" or "as-is"; None for what suits the provider.
        announce: told each step as it begins.
        assignment: whose run it is; its nonce goes into the client host's SSH banner where the harness owns the sshd.
        own_key: False: the session is opened with the server host's own credentials.
        both: capture on the client host, too.

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
            stack.enter_context(alone(testbed, run_id, announce))
            facts = preflight(testbed, announce, both=both)
            ready = stack.enter_context(prepared(testbed, run_id, close, own_key=own_key))
        with timings.step("start tcpdump on the server host"):
            observer = stack.enter_context(observing(testbed, run_id))
            expression = capture_filter(testbed, facts)
            capture, second = stack.enter_context(
                _capturing_on(testbed.hosts if both else testbed.hosts[:1], ready.directory, expression, facts)
            )
        with timings.step("open ssh from server to client"):
            opened = stack.enter_context(session(testbed, ready, close))
        with timings.step("close it"):
            opened.end()
        with timings.step("wait for the close in the capture"):
            try:
                wait_for(
                    "the end of the connection in the capture",
                    lambda: not capture.process.runs or _is_over(capture.so_far(), observer, opened.four_tuple),
                    seconds=CLOSE_SECONDS,
                )
            except HarnessError:
                if not testbed.server.alive():
                    raise
                # Nothing ended: that is for the rubric to say.
        with timings.step("stop tcpdump, fetch the capture"):
            states, captured = together(observer.finish, capture.finish)
            captured_by_client = second.finish() if second else None
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
        commands={
            "tcpdump": list(capture.command),
            **({"tcpdump on the client host": list(second.command)} if second else {}),
            "ssh": list(opened.command),
        },
        details={"close_asked": close},
        captured_by_client=captured_by_client,
        timings=timings.seconds,
        began=began,
        assignment=assignment,
    )
