"""Play connections: a program on each host does what their scripts say, at the same time for all of them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.hosts.host import Host, RemoteProcess
from harness.traffic.network import Network
from harness.traffic.shapes import BOTH_WAYS, Connection, Side
from harness.waiting import wait_for

SECONDS = 40.0  # a deadline for all connections' steps, not an expectation
_ROUNDS = 3  # of answers to what has crossed, until there are none
PROGRAM = Path(__file__).with_name("program.py")


class Programs:
    """The two programs that make the connections."""

    def __init__(self, processes: dict[Side, RemoteProcess]) -> None:
        self._processes = processes
        self._tokens = count()
        self._taken = dict.fromkeys(processes, 0)
        self._answers: dict[int, dict[str, Any]] = {}

    def ask(self, side: Side, **message: Any) -> int:
        """Send an order; its token."""
        token = next(self._tokens)
        self._processes[side].send(json.dumps({"token": token, **message}) + "\n")
        return token

    def answers(self) -> dict[int, dict[str, Any]]:
        """All answers so far, by token."""
        for side, process in self._processes.items():
            lines = process.output()[self._taken[side] :]
            whole = lines[: lines.rfind("\n") + 1]
            self._taken[side] += len(whole)
            self._answers.update((answer["token"], answer) for answer in map(json.loads, whole.splitlines()))
            if not process.runs:
                said = one_line(process.output("stderr")) or "nothing"
                raise HarnessError(f"{process.host.role}: the program of its connections ended; it said: {said}")
        return self._answers

    def lives(self, side: Side) -> dict[tuple[int, int], list[dict[str, Any]]]:
        """What went through that side's sockets, one after another, by local and remote port."""
        token = self.ask(side, lives=True)
        answer: dict[str, Any] = wait_for("the sockets' counts", lambda: self.answers().get(token), seconds=SECONDS)
        return {(local, remote): lives for local, remote, lives in answer["lives"]}

    def report(self, side: Side) -> dict[tuple[int, int], list[tuple[float, str | None]]]:
        """What that side saw in /proc/net/tcp."""
        token = self.ask(side, report=True)
        answer: dict[str, Any] = wait_for("a report", lambda: self.answers().get(token), seconds=SECONDS)
        return {(local, remote): [(t, s) for t, s in changes] for local, remote, changes in answer["report"]}

    def play(self, connections: list[Connection], part: int, seconds: float = SECONDS) -> None:
        """Play one part of all these connections' scripts at the same time.

        Raises:
            HarnessError: a step failed, or not all were done in so many seconds.
        """
        left = {connection: connection.shape.part(part) for connection in connections}
        waiting: dict[Connection, int] = {}

        def go_on() -> bool:
            answers = self.answers()
            for connection, turns in list(left.items()):
                token = waiting.get(connection)
                if token is not None:
                    if token not in answers:
                        continue
                    done = turns.pop(0)
                    if "error" in answers[token]:
                        raise HarnessError(f"connection {connection.shape.name!r}: {done}: {answers[token]['error']}")
                if not turns:
                    del left[connection]
                    continue
                side, steps = turns[0]
                local, remote = connection.ports(side)
                waiting[connection] = self.ask(side, local=local, remote=remote, steps=steps)
            return not left

        try:
            wait_for("the connections", go_on, seconds=seconds)
        except HarnessError as error:
            stuck = "; ".join(f"{connection.shape.name} at {turns[0]}" for connection, turns in left.items() if turns)
            raise HarnessError(f"{error}; waiting: {one_line(stuck or 'none', 600)}") from None


def play_all(both: Programs, network: Network, connections: list[Connection], seconds: float = SECONDS) -> None:
    """Play whole scripts, all at the same time; those whose packets cross on the way after the others.

    Raises:
        HarnessError: a connection went another way than its script, or took more than so many seconds.
    """
    in_order = [one for one in connections if one.shape.released_first is None]
    for part in range(max((one.shape.parts for one in in_order), default=0)):
        both.play([one for one in in_order if part < one.shape.parts], part, seconds)
    if len(in_order) < len(connections):
        network.be_patient()
    for sides in BOTH_WAYS:
        crossing = [one for one in connections if one.shape.released_first == sides[0]]
        if not crossing:
            continue
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


@contextmanager
def programs(hosts: dict[Side, Host]) -> Iterator[Programs]:
    """Start both programs."""
    source = PROGRAM.read_text(encoding="utf-8")
    with ExitStack() as stack:
        processes: dict[Side, RemoteProcess] = {}
        for side, host in hosts.items():
            other = hosts["r" if side == "i" else "i"]
            command = ("python3", "-I", "-S", "-c", source, host.entry.address, other.entry.address)
            processes[side] = stack.enter_context(host.start(*command))
        yield Programs(processes)
