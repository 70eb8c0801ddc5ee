"""How a connection is to go: what either end does, in which order, and what of it is lost."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from harness.errors import HarnessError

Side = Literal["i", "r"]  # initiator, responder
BOTH_WAYS: tuple[tuple[Side, Side], ...] = (("i", "r"), ("r", "i"))
RESPONDERS = 10000  # an initiator's port + this is its responder's
OPEN = "r: listen; i: connect, = ESTABLISHED; r: accept, = ESTABLISHED; "


@dataclass(frozen=True, order=True, slots=True)
class Loss:
    """What of a connection is lost.

    Attributes:
        sender: whose segments.
        kind: "syn", "syn-ack", "ack" (nothing but an ACK), "ack-of-fin" (the same, when the peer has sent a FIN),
            "data" (what carries PSH), "fin" or "rst".
        times: the first so many; 0: all.
        seen: whether the captures show it (lost at its receiver) or not (it never left its sender).
        surely: whether it must have happened; otherwise it is a net under what otherwise would hang on time.
    """

    sender: Side
    kind: str
    times: int = 1
    seen: bool = True
    surely: bool = True

    @property
    def place(self) -> tuple[Side, str]:
        """The host and the hook where it is dropped."""
        other: Side = "r" if self.sender == "i" else "i"
        return (other, "input") if self.seen else (self.sender, "output")

    @property
    def name(self) -> str:
        """As part of a set's name."""
        place = f"{'seen' if self.seen else 'unseen'}_{'sure' if self.surely else 'unsure'}"
        return f"{self.sender}_{self.kind.replace('-', '_')}_{self.times}_{place}"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a connection goes.

    Attributes:
        name: of the shape.
        script: what either end does, in order: "i: VERB ARGUMENT, VERB ARGUMENT; r: …"; the verbs stand in
            `harness.traffic.program`. It may have parts, divided by "|": each begins when all connections are done
            with theirs before it. Where *released_first* is set there are four: before the network is held, while it
            is, when what one side has sent has arrived, and when all has.
        initiator: the states that the kernel must have gone through for the shape to have occurred, abbreviated;
            several lives of one 4-tuple are divided by "/", alternatives by "or".
        responder: likewise.
        losses: what is lost.
        times: how many connections.
        released_first: whose packets arrive first, in the shapes whose packets cross.
        close: how the capture must name its close (`Conversation.close`), where the shape is about that.
    """

    name: str
    script: str
    initiator: str
    responder: str
    losses: tuple[Loss, ...] = ()
    times: int = 4
    released_first: Side | None = None
    close: str | None = None

    @property
    def parts(self) -> int:
        """How many parts its script has."""
        return self.script.count("|") + 1

    def part(self, number: int) -> list[tuple[Side, list[list[Any]]]]:
        """The steps of one part: who, and what, as `harness.traffic.program` is told."""
        found: list[tuple[Side, list[list[Any]]]] = []
        for turn in filter(None, map(str.strip, self.script.split("|")[number].split(";"))):
            side, _, steps = turn.partition(":")
            if side not in ("i", "r"):
                raise HarnessError(f"shape {self.name}: {turn!r} begins neither with i: nor with r:")
            found.append(("i" if side == "i" else "r", [_step(step.split()) for step in steps.split(",")]))
        grouped = groupby(found, lambda turn: turn[0])
        return [(side, [step for _, steps in turns for step in steps]) for side, turns in grouped]


def _step(words: list[str]) -> list[Any]:
    verb, argument = words[0], words[1] if len(words) > 1 else None
    return [verb, int(argument) if argument and argument.isdigit() else argument]


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection, or several lives of one 4-tuple."""

    shape: Shape
    port: int

    def ports(self, side: Side) -> tuple[int, int]:
        """Its local and its remote port, seen from that side."""
        both = (self.port, self.port + RESPONDERS)
        return both if side == "i" else both[::-1]


@dataclass(frozen=True, slots=True)
class Scene:
    """One connection of a lab's experiment.

    Attributes:
        name: short, with hyphens.
        title: what the student reads.
        shape: how it goes.
        slow: whether it is played with --slow only: it takes a minute or more.
    """

    name: str
    title: str
    shape: Shape
    slow: bool = False
