"""The outcome of judging one capture: `results.json`."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from harness.tcp.conversation import Conversation, NotShown

SCHEMA = "tcp-lab/results/v1"


class Check(NamedTuple):
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

    def not_judged(self, cause: str) -> "Results":
        """The same checks, none of which could be judged."""
        checks = tuple(check._replace(outcome="not-judged", score=None, message=cause) for check in self.checks)
        return replace(self, checks=checks, cause=cause)

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

    def head(self) -> dict[str, Any]:
        """What stands in results.json before the checks."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "lab": self.lab,
            "provider": self.provider,
            "outcome": self.outcome,
            "score": self.score,
            "max_score": self.max_score,
            "connection": self.connection,
        }
        return document | {"cause": self.cause} if self.cause else document

    def to_json(self) -> dict[str, Any]:
        """As it stands in results.json."""
        checks = [check._asdict() | {"frames": list(check.frames)} for check in self.checks]
        return {**self.head(), "checks": checks}


@lru_cache(maxsize=1 << 10)  # names and titles come again with every submission
def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@lru_cache(maxsize=1 << 8)  # many checks look at the same frames: all
def frame_list(frames: tuple[int, ...], separator: str) -> str:
    """Frames as text."""
    return separator.join(map(str, frames))


def _check_json(check: Check) -> str:
    score = "null" if check.score is None else check.score
    message = json.dumps(check.message, ensure_ascii=False) if check.message else '""'
    return (
        f'  {{"id": {_quoted(check.id)}, "title": {_quoted(check.title)}, "points": {check.points}, "score": {score}, '
        f'"outcome": "{check.outcome}", "frames": [{frame_list(check.frames, ", ")}], "message": {message}}}'
    )


def results_json(results: Results) -> str:
    """results.json: the document of `Results.to_json`, a line a check."""
    head = json.dumps(results.head(), ensure_ascii=False)[:-1]
    lines = ",\n".join(map(_check_json, results.checks))
    return f'{head}, "checks": [\n{lines}\n]}}\n'


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
