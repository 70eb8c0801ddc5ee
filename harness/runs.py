"""The run folder: the border between machines and judgement. All that is kept of a run is here."""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.kernel_states import Clock, HostStates, SocketState

if TYPE_CHECKING:
    from harness.tcp.conversation import Conversation, End

CAPTURE = "capture.pcap"
CLIENT_CAPTURE = "capture-client.pcap"  # of a run with two vantage points
RUN = "run.json"
STATES = "states.json"
RUN_SCHEMA = "tcp-lab/run/v1"
PARTIAL = ".partial"  # how the names of files end that are being written
STATES_SCHEMA = "tcp-lab/states/v1"


def listing_file(name: str) -> str:
    """The file of what tcpdump showed on a terminal."""
    return f"{name}.txt"


def lost_packets(counters: Mapping[str, int]) -> str | None:
    """Why a capture is no evidence, if tcpdump's counters say so (tcpdump(1), at the end of DESCRIPTION).

    Args:
        counters: "captured", "received_by_filter", "dropped_by_kernel", "dropped_by_interface", as far as printed; and
            "left_in_buffer": how many came at the very end, after what was waited for; and "before_the_filter": how
            many of others' came before tcpdump had its filter (`harness.tcpdump`).
    """
    lost = counters.get("dropped_by_kernel", 0) + counters.get("dropped_by_interface", 0)
    if lost:
        return f"tcpdump lost {lost} packets: the capture is no evidence"
    captured, received = counters.get("captured"), counters.get("received_by_filter")
    if captured is None or received is None:
        return "tcpdump did not print its counters: the capture is no evidence"
    if captured + counters.get("left_in_buffer", 0) + counters.get("before_the_filter", 0) != received:
        return f"tcpdump captured {captured} of {received} packets: the capture is no evidence"
    return None


def dump_json(document: object) -> str:
    """JSON as all files of the project have it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file for its owner only (mode 0600): whole or not at all, in place of what was there.

    Raises:
        HarnessError: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    work = f"{path.parent}/.{os.getpid()}-{time.monotonic_ns()}{PARTIAL}"
    try:
        _write_new(work, data)
        os.replace(work, path)  # noqa: PTH105 - a grading writes thousands: what a Path of each costs counts
    except BaseException as error:
        with suppress(OSError):
            os.unlink(work)  # noqa: PTH108 - likewise
        if isinstance(error, OSError):
            raise HarnessError(f"{path}: cannot write it: {error.strerror}") from None
        raise


def _write_new(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def assignment_in(document: object) -> dict[str, str]:
    """The assignment that a run.json from anywhere tells of: those of course, lab, student and nonce that are texts."""
    found = document.get("assignment") if isinstance(document, dict) else None
    keys = ("course", "lab", "student", "nonce")
    return {key: found[key] for key in keys if isinstance(found.get(key), str)} if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a live run recorded beside its capture.

    Attributes:
        document: run.json.
        states: what each host's kernel said, by role.
        listings: what tcpdump showed on a terminal, by name, where the lab asks for that.
    """

    document: dict[str, Any]
    states: dict[str, HostStates]
    listings: dict[str, str] = field(default_factory=dict)

    def of(self, initiator: str, responder: str) -> "RunRecord":
        """The same run, of another of its connections."""
        return replace(self, document={**self.document, "four_tuple": {"initiator": initiator, "responder": responder}})

    @property
    def initiator(self) -> str:
        """The "IP:PORT" of the end that opened the lab's connection."""
        return str(self.document["four_tuple"]["initiator"])

    @property
    def responder(self) -> str:
        """The "IP:PORT" of the other end."""
        return str(self.document["four_tuple"]["responder"])

    def address(self, role: str) -> str:
        """A host's address on the lab link."""
        return str(self.document["hosts"][role]["address"])

    def _ends(self, end: str) -> tuple[HostStates, str, str]:
        local, remote = (self.initiator, self.responder)[:: 1 if end == "initiator" else -1]
        role = next(r for r in ("server", "client") if local.startswith(self.address(r) + ":"))
        return self.states[role], local, remote

    def _of(self, rows: tuple[SocketState, ...] | None, local: str, remote: str) -> list[SocketState]:
        return [row for row in rows or () if (row.local, row.remote) == (local, remote)]

    def final_state(self, end: str) -> str:
        """The state an end's socket was in after the close; CLOSED if it is gone.

        Raises:
            NotShown: nobody looked.
        """
        from harness.tcp.conversation import NotShown

        states, local, remote = self._ends(end)
        if states.final is None:
            raise NotShown(f"there is no ss on the {end}'s host: nobody looked at its sockets after the close")
        found = self._of(states.final, local, remote)
        return found[-1].state if found else "CLOSED"

    def traced_states(self, end: str) -> list[str] | None:
        """Every state the kernel's trace shows, in order; None if the trace could not be read."""
        states, local, remote = self._ends(end)
        if states.trace is None:
            return None
        return [row.state for row in _changes(self._of(states.trace, local, remote))]

    def sampled_states(self, end: str) -> list[str]:
        """The states seen by sampling, in order.

        Raises:
            NotShown: nobody sampled.
        """
        from harness.tcp.conversation import NotShown

        states, local, remote = self._ends(end)
        if states.samples is None:
            raise NotShown(f"there is no ss on the {end}'s host: its socket states were not sampled")
        return [row.state for row in self._sightings(states, local, remote)]

    def samples(self, end: str) -> list[SocketState]:
        """Every sight of an end's socket by ss(8), with its timer.

        Raises:
            NotShown: nobody sampled.
        """
        from harness.tcp.conversation import NotShown

        states, local, remote = self._ends(end)
        if states.samples is None:
            raise NotShown(f"there is no ss on the {end}'s host: its socket states were not sampled")
        return [*self._of(states.samples, local, remote), *self._of(states.final, local, remote)]

    def _sightings(self, states: HostStates, local: str, remote: str) -> list[SocketState]:
        return _changes([*self._of(states.samples, local, remote), *self._of(states.final, local, remote)])

    def timed_states(self, end: str) -> tuple[list[SocketState], Clock | None]:
        """Each state of an end's socket with its time, and how well that is known.

        By the kernel's trace: when it began. Without a trace, or with one whose clock was not measured: when ss(8)
        first saw it, and None.

        Raises:
            NotShown: nobody looked.
        """
        from harness.tcp.conversation import NotShown

        states, local, remote = self._ends(end)
        if states.trace is not None and states.clock is not None:
            return _changes(self._of(states.trace, local, remote)), states.clock
        if states.samples is None:
            raise NotShown(f"there is no ss on the {end}'s host, and no trace on a clock that was measured")
        return self._sightings(states, local, remote), None

    def on_the_captures_clock(self, end: str) -> bool:
        """Whether an end's host has the clock that the capture's times are of: the server host's, or its machine's."""
        _, local, _ = self._ends(end)
        return self.document.get("provider") == "embedded" or local.startswith(self.address("server") + ":")

    def doubt(self, end: str, inferred: Sequence[str]) -> str:
        """How the kernel's states of an end differ from those inferred from the packets; empty if they do not.

        Raises:
            NotShown: nobody looked.
        """
        traced = self.traced_states(end)
        if traced is None:
            # Samples see what lasted long enough: each state seen, in this order.
            rest, seen = iter(inferred), self.sampled_states(end)
            agrees = all(state in rest for state in seen)
            return "" if agrees else f"the {end} was seen in {seen}, the packets say {list(inferred)}"
        # The kernel hands TIME-WAIT to a smaller socket and calls the big one closed; one that was closed all along has
        # no transition at all.
        kernel = [state for state in inferred[1:] if state != "TIME-WAIT"]
        if list(inferred) != ["CLOSED"] and kernel[-1:] != ["CLOSED"]:
            kernel.append("CLOSED")
        return "" if traced == kernel else f"the {end}'s kernel went through {traced}, the packets say {kernel}"

    def doubts(self, conversations: "Iterable[Conversation]", end: "End") -> list[str]:
        """The `doubt` of one end of each of these connections of the run, where there is one.

        Raises:
            NotShown: nobody looked.
        """
        found = []
        for one in conversations:
            states = [str(state) for state in one.states(end)]
            if doubt := self.of(one.initiator, one.responder).doubt(end, states):
                found.append(f"{one.initiator}: {doubt}")
        return found


def _changes(rows: Iterable[SocketState]) -> list[SocketState]:
    """Those whose state is not that of the row before."""
    return [next(same) for _, same in groupby(rows, lambda row: row.state)]


def read_run(folder: Path) -> RunRecord:
    """Read run.json and states.json of a run folder.

    Raises:
        HarnessError: it is not a run folder.
    """
    try:
        document = json.loads((folder / RUN).read_text(encoding="utf-8"))
        states = json.loads((folder / STATES).read_text(encoding="utf-8"))
        listings = {
            name: (folder / listing_file(name)).read_text(encoding="utf-8", errors="replace")
            for name in document.get("listings", ())
            if name.isalpha()
        }
        hosts = {role: HostStates.from_json(said) for role, said in states["hosts"].items()}
        read = RunRecord(document, hosts, listings)
        _ = read.initiator, read.responder, read.address("server"), read.address("client")
    except OSError as error:
        raise HarnessError(f"{folder}: not a run folder: {error.filename}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HarnessError(f"{folder}: not a run folder: {RUN} or {STATES} is damaged") from None
    return read


class RunFolder:
    """A run folder being written: a hidden folder beside the final one, which appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file.

        Raises:
            HarnessError: the disk is full, or the like.
        """
        path = self.path / name
        try:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise HarnessError(f"{path}: cannot write the run folder: {error.strerror}") from None


def _final_place(out: Path | None, root: Path, lab: str) -> Iterator[Path]:
    """Where the folder may stand, best first."""
    if out is not None:
        yield out
        return
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{lab}"
    yield root / name
    for n in range(2, 1000):
        yield root / f"{name}-{n}"


@contextmanager
def new_run_folder(out: Path | None, root: Path, lab: str) -> Iterator[tuple[RunFolder, list[Path]]]:
    """A folder to write a run into; it takes its final name when the block is left without an error.

    Args:
        out: the final place, if the user named one; must not hold anything.
        root: the folder of all runs otherwise.
        lab: the lab's name, part of the folder's.

    Yields:
        The folder, and a list to which the final path is added when it is known.

    Raises:
        HarnessError: the place is taken, or cannot be made.
    """
    parent = out.parent if out is not None else root
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError(f"{out}: exists already and is not an empty folder; a run never overwrites another")
    work = parent / f".{lab}-{os.getpid()}-{time.monotonic_ns()}.partial"
    final: list[Path] = []
    try:
        parent.mkdir(parents=True, exist_ok=True)
        work.mkdir()
    except OSError as error:
        raise HarnessError(f"{parent}: cannot make the run folder: {error.strerror}") from None
    try:
        yield RunFolder(work), final
        for place in _final_place(out, root, lab):
            try:
                work.rename(place)  # onto an empty folder, or nothing
            except OSError:
                continue
            final.append(place)
            break
        else:
            raise HarnessError(f"{out or root}: cannot place the run folder there; is it taken by another run?")
    finally:
        shutil.rmtree(work, ignore_errors=True)
