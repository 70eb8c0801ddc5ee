"""Decide an article's claims on the runs of its labs, inside pytest, in this process."""

from pathlib import Path

import pytest

from harness import pytest_plugin
from harness.claim_plugin import STATE, Decision
from harness.errors import HarnessError
from harness.grading.judging import run_quietly


class _Session:
    """The pytest plugin of one session: keeps what it decided."""

    def __init__(self) -> None:
        self.decided: dict[str, Decision] = {}
        self.error: str | None = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.error = f"{report.nodeid}: {str(report.longrepr).strip().splitlines()[-1]}"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.decided = session.config.stash[STATE].decided


def decide(cases: Path, runs: Path, claims: tuple[str, ...]) -> dict[str, Decision]:
    """What becomes of claims, by their ids.

    Args:
        cases: the pytest file with the claims' cases; see `harness.claim_plugin`.
        runs: a folder with the run folder of each lab, under its name.
        claims: which.

    Raises:
        HarnessError: the cases cannot be run, or there are none for a claim; that is never a verdict.
    """
    session = _Session()
    arguments = [str(cases), "--runs", str(runs), "--claims", ",".join(claims)]
    status = run_quietly(arguments, [pytest_plugin, session])
    if session.error or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise HarnessError(f"{cases}: {session.error or f'pytest ended with status {status}'}")
    lacking = [claim for claim in claims if claim not in session.decided]
    if lacking:
        raise HarnessError(f"{cases}: no case decides {', '.join(lacking)}")
    return session.decided
