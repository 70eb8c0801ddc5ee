"""A graded submission: all that the gradebook, the feedback and the exports are made of."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from harness.grading.results import Check, Results, frame_list


class Flag(NamedTuple):
    """Something for a human to look at. Never a mark.

    Attributes:
        kind: a short word with hyphens, such as "copy" or "bad-checksum".
        message: what was seen, in one printable line.
        frames: the frames in which.
    """

    kind: str
    message: str
    frames: tuple[int, ...] = ()


class Lateness(NamedTuple):
    """When a submission came, and what that costs.

    Attributes:
        seconds: after the deadline and its grace; 0 if in time.
        penalty: points taken off.
    """

    seconds: int = 0
    penalty: float = 0


@dataclass(frozen=True, slots=True)
class Graded:
    """One student's submission, graded.

    Attributes:
        student: who handed it in.
        source: what was handed in, relative to the folder of all submissions.
        content: SHA-256 of what was handed in, in hex.
        results: the outcome of every check and question.
        ladder: the lab's connection drawn as text, a line each; empty if there is none.
        provenance: "wire" (the student's nonce in the sshd's banner), "signed" (by the student's enrolled key), "run"
            (the nonce in run.json only) or "none".
        flags: what a human should look at.
        problems: what could not be read of it, a printable line each.
        lateness: None without a late policy.
    """

    student: str
    source: str
    content: str
    results: Results
    ladder: tuple[str, ...] = ()
    provenance: str = "none"
    flags: tuple[Flag, ...] = ()
    problems: tuple[str, ...] = ()
    lateness: Lateness | None = None

    @property
    def score(self) -> float | None:
        """Points earned, less the penalty for lateness, never below 0; None if it could not be judged."""
        earned = self.results.score
        if earned is None or self.lateness is None:
            return earned
        return max(0.0, earned - self.lateness.penalty)

    def dumps(self) -> str:
        """All of it as text, for `loads`: tens of thousands are kept and carried between processes."""
        of = self.results
        fields = (
            (self.student, self.source, self.content, self.ladder, self.provenance, self.flags, self.problems),
            (of.lab, of.provider, of.connection, of.cause),
            [(*check[:5], frame_list(check.frames, " "), check.message) for check in of.checks],
            self.lateness,
        )
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> "Graded":
        """The inverse of `dumps`."""
        (student, source, content, ladder, provenance, flags, problems), of, checks, lateness = json.loads(text)
        lab, provider, connection, cause = of
        made = tuple(
            Check(name, title, points, score, outcome, _frames(frames), message)
            for name, title, points, score, outcome, frames, message in checks
        )
        return cls(
            student,
            source,
            content,
            Results(lab, provider, connection, made, cause),
            tuple(ladder),
            provenance,
            tuple(Flag(kind, message, tuple(frames)) for kind, message, frames in flags),
            tuple(problems),
            Lateness(*lateness) if lateness else None,
        )


@lru_cache(maxsize=1 << 8)  # many checks look at the same frames: all
def _frames(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
