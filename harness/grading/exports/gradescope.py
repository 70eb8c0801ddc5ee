"""Gradescope: results.json, as its autograders write it.

https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format: `score` on top, or else on every test, is
required, and the top one overrides the sum of the tests. So a mark stands on top, with the penalty for lateness taken
off; and who could not be judged has `score` nowhere: that is no mark, and not 0.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from harness.grading.exports.naming import file_name
from harness.grading.graded import Graded
from harness.grading.results import Check
from harness.reports.feedback import outcome_words, summary_lines
from harness.reports.gradebook import printable

_MESSAGE = 1000
_STATUS = {"passed": "passed", "failed": "failed", "not-shown": "failed"}


def _test(number: int, check: Check, *, scored: bool) -> dict[str, Any]:
    test: dict[str, Any] = {
        "max_score": check.points,
        "name": printable(check.title or check.id),
        "number": str(number),
        "output": f"{outcome_words(check.outcome)}{': ' if check.message else ''}{printable(check.message, _MESSAGE)}",
        "output_format": "text",
        "tags": [check.outcome],
        "visibility": "visible",
        "extra_data": {"id": printable(check.id), "frames": list(check.frames)},
    }
    if scored:
        test["score"] = check.score or 0
    if check.outcome in _STATUS:
        test["status"] = _STATUS[check.outcome]
    return test


def results_document(graded: Graded) -> dict[str, Any]:
    """One submission's results.json; without any `score` if it could not be judged."""
    score = graded.score
    document: dict[str, Any] = {
        "output": "\n".join(summary_lines(graded)),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {
            "lab": printable(graded.results.lab),
            "outcome": graded.results.outcome,
            "sha256": printable(graded.content),
        },
    }
    if graded.results.checks:
        document["tests"] = [
            _test(number, check, scored=score is not None) for number, check in enumerate(graded.results.checks, 1)
        ]
    if score is not None:
        document["score"] = round(score, 2)
    return document


def gradescope(lab: str, graded: Iterable[Graded]) -> Iterator[tuple[str, bytes]]:
    """`gradescope/<lab>/<student>/results.json` for each."""
    for one in graded:
        text = json.dumps(results_document(one), ensure_ascii=False, separators=(",", ":"))
        yield f"gradescope/{file_name(lab)}/{file_name(one.student)}/results.json", text.encode() + b"\n"
