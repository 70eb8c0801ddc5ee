"""The outcome of judging one capture: `results.json`."""

from dataclasses import asdict, dataclass
from typing import Any

from harness.tcp.conversation import Conversation, NotShown

SCHEMA = "tcp-lab/results/v1"


@dataclass(frozen=True, slots=True)
class Check:
    """One check's outcome.

    Attributes:
        id: the check's name in the rubric, without "test_".
        title: what the student reads.
        points: what it is worth.
        score: what was earned: points or 0; None if it could not be judged.
        outcome: "passed", "failed", "not-shown" or "not-judged".
        frames: the frames it looked at (for a failure: failed on).
        message: why it did not pass; empty if it did.
    """

    id: str
    title: str
    points: int
    score: int | None
    outcome: str
    frames: tuple[int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Results:
    """All of a rubric's outcomes on one capture.

    Attributes:
        lab: the lab's name.
        provider: who ran the hosts; None for a capture from elsewhere.
        connection: the lab's connection in the field's names; None if there is none.
        checks: in the rubric's order.
        cause: why it could not be judged; empty if it could.
    """

    lab: str
    provider: str | None
    connection: dict[str, Any] | None
    checks: tuple[Check, ...]
    cause: str = ""

    @property
    def outcome(self) -> str:
        """Either "passed" (all), "failed" (one failed or was not shown) or "not-judged" (one could not be judged)."""
        outcomes = {check.outcome for check in self.checks}
        if self.cause or not self.checks or "not-judged" in outcomes:
            return "not-judged"
        return "passed" if outcomes == {"passed"} else "failed"

    @property
    def max_score(self) -> int:
        """The sum of all points; never moves with the outcomes."""
        return sum(check.points for check in self.checks)

    @property
    def score(self) -> int | None:
        """Points earned; None if it could not be judged: that is never a mark."""
        if self.outcome == "not-judged":
            return None
        return sum(check.score or 0 for check in self.checks)

    @property
    def exit_status(self) -> int:
        """0 all passed, 1 something failed or was not shown, 2 could not be judged."""
        return {"passed": 0, "failed": 1, "not-judged": 2}[self.outcome]

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "lab": self.lab,
            "provider": self.provider,
            "outcome": self.outcome,
            "score": self.score,
            "max_score": self.max_score,
            "connection": self.connection,
            "checks": [{**asdict(check), "frames": list(check.frames)} for check in self.checks],
        }
        if self.cause:
            document["cause"] = self.cause
        return document


def describe_connection(conversation: Conversation) -> dict[str, Any]:
    """The connection as results.json has it; an ISN that the capture does not show is null."""

    def isn(end: str) -> int | None:
        try:
            return conversation.stream("initiator" if end == "initiator" else "responder").isn.value
        except NotShown:
            return None

    return {
        "initiator": conversation.initiator,
        "responder": conversation.responder,
        "initiator_isn": isn("initiator"),
        "responder_isn": isn("responder"),
        "open": conversation.open,
        "close": conversation.close,
        "closer": conversation.closer,
        "conn_state": conversation.conn_state,
        "history": conversation.history,
        "completeness": conversation.completeness,
    }
