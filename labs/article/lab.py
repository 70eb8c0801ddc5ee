"""The article's experiment, with its two commands as it prints them: tcpdump in one terminal, ssh in another.

The listing is made three times: while ssh connects, while a second ssh window is typed into as well, and while the
session is closed by typing `exit`. A capture of everything is made beside it, with what six packets do not show.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.announcing import Announce
from harness.captures.reading import read_capture
from harness.errors import HarnessError, one_line
from harness.experiment import Experiment, Timings, capture_filter, others_excluded
from harness.grading.nonces import Assignment
from harness.hosts.host import Host, RemoteProcess, Testbed, together, undone_by
from harness.hosts.lock import alone
from harness.hosts.testbeds import testbed_for
from harness.inventory import Inventory
from harness.observer import observing
from harness.preflight import HostFacts, preflight
from harness.reports.ladder import StyledLine
from harness.runs import RunRecord
from harness.session import CONNECTION, FourTuple, Prepared, prepared, ssh_options
from harness.tcp.conversation import ENDS, Conversation, conversations, other
from harness.tcpdump import Capture, capturing
from harness.waiting import wait_for
from labs.article.side_by_side import side_by_side

PRINTED = Path(__file__).with_name("printed")  # the article's listings
OPENS_OR_CLOSES = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0"  # pcap-filter(7)
_TRIES = 5  # to see a connection opened while nobody else opens one
SECONDS = 20.0  # a deadline for each step at the terminals

# Standard input: the configuration. On hosts of the harness's own nobody else has one.
_CONFIGURE = """
umask 077
mkdir -p ~/.ssh && [ ! -e ~/.ssh/config ] && cat >~/.ssh/config
"""
_UNDO_CONFIGURE = "rm -f ~/.ssh/config"
# tcpdump(1) gives root's rights up before it opens a file: the shell opens it.
_READ = 'file=$1; shift; exec "$@" <"$file"'


@dataclass(frozen=True, slots=True)
class Window:
    """An ssh session at a terminal.

    Attributes:
        process: ssh.
        four_tuple: from `$SSH_CONNECTION`.
    """

    process: RemoteProcess
    four_tuple: FourTuple

    def type(self, keys: str) -> None:
        """Type as a person does: each key when the far end has echoed the one before.

        Raises:
            HarnessError: there was no echo.
        """
        for key in keys:
            before = len(self.process.output())
            self.process.send(key)
            wait_for(
                f"the echo of the key {key!r}",
                lambda before=before: self._shows_more_than(before),  # type: ignore[misc]
                seconds=SECONDS,
            )

    def _shows_more_than(self, before: int) -> bool:
        """Whether more characters than that stand on the terminal."""
        shown = self.process.output()
        if len(shown) <= before and not self.process.runs:
            raise HarnessError(f"server: ssh ended while it was typed into; it said: {one_line(shown)}")
        return len(shown) > before

    def close(self) -> None:
        """Type `exit` and wait for the end of ssh.

        Raises:
            HarnessError: it did not end.
        """
        self.type("exit")
        self.process.send("\n")
        self.process.wait(seconds=SECONDS)


@contextmanager
def _configured(testbed: Testbed, ready: Prepared) -> Iterator[tuple[str, ...]]:
    """The ssh command that needs no more than is printed in the article, while the block runs.

    On hosts of others it names a configuration file of this run (ssh_config(5)): theirs is not touched.
    """
    server, client = testbed.hosts
    lines = [f"{key} {value}" for key, value in ssh_options(ready).items()]
    text = "\n".join((*lines, f"Port {client.entry.port}", ""))
    there = f"{client.entry.user}@{client.entry.address}"
    if testbed.owned:
        with undone_by(server, _UNDO_CONFIGURE):
            server.shell(_CONFIGURE, stdin=text)
            yield "ssh", there
    else:
        path = f"{ready.directory}/ssh_config"
        server.shell('cat >"$1"', path, stdin=text)
        yield "ssh", "-F", path, there


@contextmanager
def _connecting(server: Host, command: tuple[str, ...]) -> Iterator[RemoteProcess]:
    """Ssh at a terminal; it may still be connecting."""
    with server.start(*command, pty=True) as process:
        yield process


def _logged_in(process: RemoteProcess) -> Window:
    """Wait for the shell, and ask it for the connection's ends.

    Raises:
        HarnessError: ssh could not log in; says what it said.
    """
    with suppress(HarnessError):  # where it has ended already, it is told below what it said
        process.send('echo "lab-connection:$SSH_CONNECTION:lab"\n')

    def told() -> FourTuple | None:
        found = CONNECTION.search(process.output())
        if not found and not process.runs:
            raise HarnessError(f"server: ssh ended before it logged in; it said: {one_line(process.output())}")
        return FourTuple(f"{found[1]}:{found[2]}", f"{found[3]}:{found[4]}") if found else None

    return Window(process, wait_for("the shell at the far end", told, seconds=SECONDS))


def _all_acknowledged(conversation: Conversation) -> bool:
    """Whether each end has acknowledged all that the other has sent: then nothing is on its way."""
    for end in ENDS:
        sent = [segment.relative[1] for segment in conversation.sent_by[end]]
        acked = [segment.relative[2] or 0 for segment in conversation.sent_by[other(end)]]
        if max(sent, default=0) > max(acked, default=0):
            return False
    return True


def _await(what: str, capture: Capture, windows: tuple[Window, ...], condition: Callable[[Conversation], bool]) -> None:
    """Wait until the capture so far shows it of the connections of these windows."""
    ours = {window.four_tuple.initiator for window in windows}

    def holds() -> bool:
        found = conversations(read_capture(capture.so_far(), "the capture so far").segments)
        return all(condition(one) for one in found if one.initiator in ours)

    wait_for(what, holds, seconds=SECONDS)


def _listing(server: Host, command: tuple[str, ...], meanwhile: Callable[[], None]) -> str:
    """What the first terminal shows of tcpdump while something is done in the second."""
    with server.start(*command, pty=True) as process:
        process.wait_for_output("it listened", "listening on")
        meanwhile()
        process.wait(seconds=SECONDS)
    return process.output().replace("\r\n", "\n")


def _listing_command(
    testbed: Testbed, facts: dict[str, HostFacts], windows: tuple[Window, ...] = ()
) -> tuple[str, ...]:
    """The article's tcpdump; on hosts of others with what keeps other people's connections out of its six packets.

    Args:
        testbed: the hosts.
        facts: what preflight learned of them.
        windows: whose packets are to be listed, once that is known.
    """
    server, client = testbed.hosts
    port, ours = str(client.entry.port), ""
    prefix = facts["server"].tool.prefix
    if not testbed.owned:
        ends = " or ".join(f"port {window.four_tuple.initiator.rpartition(':')[2]}" for window in windows)
        ours = f"and host {client.entry.address}" + (f" and ({ends})" if ends else others_excluded(facts))
    return (*prefix, "tcpdump", "-n", "-c", "6", "-S", "port", port, *ours.split(), "-i", server.entry.interface)


def _is_undisturbed(listing: str, session: Window) -> bool:
    """Whether all packets of a listing are the session's (tcpdump writes "ADDRESS.PORT")."""
    end = ".".join(session.four_tuple.initiator.rsplit(":", 1))
    packets = [line for line in listing.splitlines() if " IP " in line]
    return all(end in line for line in packets)


def _switches(server: Host, capture: Capture, port: int) -> dict[str, dict[str, object]]:
    """What tcpdump does with each switch that the article explains: on the capture, and -I where it captures."""
    told = {}
    for name, words in {
        "-c": ("-n", "-c", "3"),
        "-n": ("-n", "-c", "1"),
        "without -n": ("-c", "1"),
        "-S": ("-n", "-S", "-c", "3"),
        "without -S": ("-n", "-c", "3"),
        "port": ("-n", "-c", "3", "port", str(port)),
        "another port": ("-n", "-c", "3", "not", "port", str(port)),
    }.items():
        done = server.run("sh", "-c", _READ, "sh", capture.path, "tcpdump", *words, "-r", "-", check=False)
        told[name] = {"command": ["tcpdump", *words, "-r", "-"], "status": done.status, "stdout": done.text}
        told[name]["stderr"] = done.stderr
    command = ("timeout", "3", "tcpdump", "-n", "-c", "1", "-I", server.entry.interface)
    done = server.run(*command, check=False)
    told["-I"] = {"command": list(command), "status": done.status, "stdout": done.text, "stderr": done.stderr}
    return told


def run(
    lab: str, inventory: Inventory, provider: str, announce: Announce, assignment: Assignment | None = None
) -> Experiment:
    """Bring up the hosts, do what the article does, and take all down again.

    Raises:
        HarnessError: it could not be done.
    """
    timings = Timings(announce)
    run_id, began = secrets.token_hex(4), time.time()
    banner = assignment.nonce if assignment else None
    with ExitStack() as stack:
        with timings.step("bring up the two hosts"):
            testbed = stack.enter_context(testbed_for(inventory, provider, banner, announce))
        server, client = testbed.hosts
        with timings.step("check both hosts"):
            stack.enter_context(alone(testbed, run_id, announce))
            facts = preflight(testbed, announce)
            ready = stack.enter_context(prepared(testbed, run_id, "as-is"))
            ssh = stack.enter_context(_configured(testbed, ready))
        with timings.step("start tcpdump on the server host"):
            observer = stack.enter_context(observing(testbed, run_id))
            expression = capture_filter(testbed, facts)
            capture = stack.enter_context(capturing(server, ready.directory, expression, facts["server"].tool))
        tcpdump = _listing_command(testbed, facts)
        listings = {}
        with timings.step("list six packets while ssh connects"):
            for _ in range(_TRIES):
                opening: list[RemoteProcess] = []
                listings["connect"] = _listing(
                    server,
                    tcpdump,
                    lambda opening=opening: opening.append(  # type: ignore[misc]
                        stack.enter_context(_connecting(server, ssh))
                    ),
                )
                session = _logged_in(opening[0])
                if _is_undisturbed(listings["connect"], session):
                    break
                session.close()  # somebody else connected at that very moment
        with timings.step("open a second window"):
            window = _logged_in(stack.enter_context(_connecting(server, ssh)))
            later = tcpdump if testbed.owned else _listing_command(testbed, facts, (session, window))
            _await("all to be acknowledged", capture, (session, window), _all_acknowledged)
        with timings.step("list six packets while both are typed into"):

            def type_into_both() -> None:
                for typed_into in (window, session) * 2:  # by turns: three packets a key are all that there may be
                    typed_into.type(" ")

            listings["disturbed"] = _listing(server, later, type_into_both)
            _await("all to be acknowledged", capture, (session, window), _all_acknowledged)
        with timings.step("list six packets while the session is closed"):
            listings["exit"] = _listing(server, later, session.close)
        with timings.step("close the window, wait for the closes in the capture"):
            window.close()
            _await("the end of both connections in the capture", capture, (session, window), lambda one: one.is_over)
            switches = _switches(server, capture, client.entry.port)
        with timings.step("stop tcpdump, fetch the capture"):
            states, captured = together(observer.finish, capture.finish)
        with timings.step("take all down"):
            stack.close()
    return Experiment(
        lab=lab,
        run_id=run_id,
        provider=testbed.provider,
        entries={host.role: asdict(host.entry) for host in testbed.hosts},
        facts=facts,
        four_tuple=session.four_tuple,
        captured=captured,
        states=states,
        commands={"tcpdump": list(capture.command), "ssh": list(ssh), "listing": list(tcpdump)},
        details={"window": asdict(window.four_tuple), "switches": switches},
        listings=listings,
        timings=timings.seconds,
        began=began,
        assignment=assignment,
    )


def report(conversation: Conversation, record: RunRecord, *, width: int) -> Iterator[StyledLine]:
    """The article's two listings beside those of a run, and how the close would have been seen.

    Args:
        conversation: the lab's connection.
        record: the run, with its listings.
        width: columns.
    """
    for printed, name, title in (("handshake", "connect", "connecting"), ("teardown", "exit", "leaving")):
        yield f"── {title}: {' '.join(record.document['commands']['listing'])} ".ljust(width, "─"), "bold"
        text = (PRINTED / f"{printed}.txt").read_text(encoding="utf-8")
        yield from side_by_side(text, record.listings[name], width=width)
        yield "", ""
    closing = [segment for segment in conversation.segments if segment.has_fin or segment.has_rst]
    if closing:
        after = [segment.frame for segment in conversation.segments if segment.row >= closing[0].row]
        yield f"The close takes {len(after)} packets, frames {after[0]} to {after[-1]} of the capture. To see it:", ""
        interface, port = record.document["hosts"]["server"]["interface"], record.document["hosts"]["client"]["port"]
        yield f"tcpdump -n -S -i {interface} 'port {port} and {OPENS_OR_CLOSES}'", "bold"
        yield "", ""
