"""Rubrics for tests that judge many small captures: each lab's is collected once a process, not once a capture."""

from functools import cache

from harness.evidence import Evidence
from harness.grading.judging import Judge, with_judge
from harness.grading.results import Check


@cache
def judge_of(lab: str) -> Judge:
    """A lab's rubric, collected."""
    return with_judge(lab, lambda judge: judge)


def checks_of(lab: str, evidence: Evidence) -> dict[str, Check]:
    """What a lab's rubric says of a piece of evidence, by the checks' ids."""
    return {check.id: check for check in judge_of(lab)(evidence)}
