"""Run a lab's rubric on evidence, inside pytest, in this process."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.config import default_plugins

from harness import pytest_plugin
from harness.errors import HarnessError
from harness.grading.results import Check, Results, describe_connection
from harness.pytest_plugin import EVIDENCE, VERDICT, Evidence

LABS = Path(__file__).resolve().parents[2] / "labs"


class _Judge:
    """The pytest plugin of one judging: brings the evidence, takes the verdicts."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self.checks: list[Check] = []
        self.errors: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[EVIDENCE] = self._evidence

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors.append(f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        verdict = item.stash.get(VERDICT, None)
        if verdict is None:
            self.errors.append(f"{item.nodeid}: not run")
            return
        earned = {"passed": verdict.points, "not-judged": None}.get(verdict.outcome, 0)
        self.checks.append(
            Check(
                id=item.name.removeprefix("test_"),
                title=verdict.title,
                points=verdict.points,
                score=earned,
                outcome=verdict.outcome,
                frames=verdict.frames,
                message=verdict.message,
            )
        )


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def warm_up() -> None:
    """Import pytest's own plugins ahead of the first judging."""
    for name in default_plugins:
        importlib.import_module(f"_pytest.{name}")


def rubric_folder(lab: str) -> Path:
    """Where a lab's rubric stands.

    Raises:
        HarnessError: there is no such lab; names those there are.
    """
    known = sorted(path.parent.name for path in LABS.glob("*/test_*.py"))
    if lab not in known:
        raise HarnessError(f"no lab {lab!r}; there are: {', '.join(sorted(set(known)))}")
    return LABS / lab


def judge(lab: str, evidence: Evidence, provider: str | None = None) -> Results:
    """Judge evidence by a lab's rubric.

    Raises:
        HarnessError: the rubric itself cannot be run; that is never a mark.
    """
    judging = _Judge(evidence)
    arguments = [
        str(rubric_folder(lab)),
        "--config-file=/dev/null",
        f"--rootdir={LABS.parent}",
        "--strict-markers",
        *(f"-pno:{name}" for name in ("terminal", "cacheprovider", "capture", "logging", "warnings", "faulthandler")),
    ]
    with _environment("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"):
        status = pytest.main(arguments, plugins=[pytest_plugin, judging])
    if judging.errors or not judging.checks or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        why = judging.errors[0] if judging.errors else f"pytest ended with status {int(status)}"
        raise HarnessError(f"the rubric of lab {lab!r} cannot be run: {why}")
    return Results(lab, provider, describe_connection(evidence.conversation), tuple(judging.checks))
