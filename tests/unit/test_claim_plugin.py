"""Claims are decided by the first case that holds, in the order of the file; what cannot be decided is not shown."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.claim_plugin import Decision, Exhibit
from harness.errors import HarnessError
from harness.grading.deciding import decide

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "tests" / "data" / "reproduced"
ALL = (ROOT / "labs" / "article" / "test_claims.py").read_text(encoding="utf-8").count("\ndef test_c")
HEAD = "import pytest\nfrom harness.tcp.conversation import NotShown\n"

Decided = Callable[..., dict[str, Decision]]


@pytest.fixture
def decided(tmp_path: Path) -> Decided:
    """What becomes of claims by such cases."""

    def by(cases: str, *claims: str) -> dict[str, Decision]:
        (tmp_path / "test_claims.py").write_text(HEAD + cases, encoding="utf-8")
        return decide(tmp_path / "test_claims.py", RUNS, claims or ("C01",))

    return by


def test_the_first_that_holds_decides(decided: Decided) -> None:
    """Those after it are not tried; of those before it stays why they did not hold, and no evidence."""
    found = decided(
        "def test_c01_confirmed(runs, evidence):\n"
        "    evidence(runs['article'], runs['article'].conversation.segments, 'of a case that fails')\n"
        "    assert 1 == 2, 'one is not two'\n"
        "def test_c01_qualified(runs, evidence):\n"
        "    '''It does,\n\n    more or less.'''\n"
        "    one = runs['article'].conversation\n"
        "    evidence(runs['article'], [one.handshake_ack, one.syn, one.syn], 'these')\n"
        "    evidence(runs['article'], [], 'and what no frame shows')\n"
        "def test_c01_refuted():\n"
        "    raise KeyError('it is tried')\n"
    )
    evidence = (Exhibit("article", (1, 3), "these"), Exhibit("article", (), "and what no frame shows"))
    against = ("not confirmed: one is not two",)
    assert found == {"C01": Decision("C01", "qualified", "It does, more or less.", evidence, against)}


def test_the_order_is_that_of_the_file(decided: Decided) -> None:
    """Not that of the verdicts; and not that which another plugin makes of it."""
    cases = "def test_c01_refuted(): pass\ndef test_c01_confirmed(): pass\n"
    assert decided(cases)["C01"].verdict == "refuted"


@pytest.mark.parametrize("hook", ["", "(tryfirst=True)", "(trylast=True)"])
def test_a_plugin_that_shuffles_changes_nothing(decided: Decided, tmp_path: Path, hook: str) -> None:
    mark = f"@pytest.hookimpl{hook}\n" if hook else ""
    (tmp_path / "conftest.py").write_text(
        f"import pytest\n{mark}def pytest_collection_modifyitems(items):\n    items.reverse()\n"
    )
    found = decided(
        "def test_c01_confirmed(): assert not 1, 'no'\n"
        "def test_c01_qualified(): assert not 2, 'nor this'\n"
        "def test_c01_refuted(): pass\n"
        "def test_c02_confirmed(): pass\ndef test_c02_refuted(): pass\n",
        "C01",
        "C02",
    )
    assert {claim: decision.verdict for claim, decision in found.items()} == {"C01": "refuted", "C02": "confirmed"}
    assert found["C01"].against == ("not confirmed: no", "not qualified: nor this")


def test_not_shown_ends_it(decided: Decided) -> None:
    found = decided(
        "def test_c01_confirmed(): assert not 1, 'no'\n"
        "def test_c01_qualified(): raise NotShown('nobody looked')\n"
        "def test_c01_refuted(): pass\n"
    )
    assert found["C01"] == Decision("C01", "not-shown", "nobody looked", (), ("not confirmed: no",))


def test_of_which_none_holds(decided: Decided) -> None:
    """Nothing is guessed: why each of its cases does not hold is what is said."""
    found = decided(
        "def test_c01_confirmed():\n    '''It does.'''\n    assert not 1, 'so far'\n"
        "def test_c01_refuted():\n    '''It does not.'''\n    values = [1]\n    assert values == [2]\n"
    )["C01"]
    against = ("not confirmed: so far", "not refuted: [1] == [2]")
    assert found == Decision("C01", "not-shown", f"none of its cases holds: {'; '.join(against)}", (), against)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('connections')", "it could not be decided: KeyError: 'connections'"),
        ("(one,) = ()", "it could not be decided: ValueError: "),
        ("pytest.skip('not today')", "it could not be decided: Skipped: not today"),
        ("pytest.xfail('not today')", "it could not be decided: XFailed: not today"),
        ("pytest.fail('so it is')", "it could not be decided: Failed: so it is"),
        ("runs['no-such-lab']", "the lab no-such-lab: there is no run of it"),
        ("runs['delayed-syn'].scene('no-such')", "the run of delayed-syn has no scene 'no-such'"),
        ("runs['delayed-syn'].listed('connect')", "the run of delayed-syn has no listing 'connect'"),
    ],
)
def test_what_goes_wrong_in_a_case(decided: Decided, body: str, said: str) -> None:
    """It is no verdict, whatever the cases after it would say; other claims are decided all the same."""
    found = decided(
        f"def test_c01_confirmed(runs):\n    {body}\ndef test_c01_refuted(): pass\ndef test_c02_confirmed(): pass\n",
        "C01",
        "C02",
    )
    assert (found["C01"].verdict, found["C01"].evidence) == ("not-shown", ())
    assert found["C01"].note.startswith(said)
    assert found["C02"].verdict == "confirmed"


def test_only_the_claims_that_are_asked_for(decided: Decided) -> None:
    cases = "def test_c01_confirmed(): raise KeyError('it is tried')\ndef test_c02_confirmed(): pass\n"
    assert set(decided(cases, "C02")) == {"C02"}


@pytest.mark.parametrize(
    ("cases", "said"),
    [
        ("def test_c02_confirmed(): pass\n", r"test_claims\.py: "),
        ("def test_c01_perhaps(): pass\n", r"test_claims\.py: no case decides C01"),
        ("def test_c01_confirmed(no_such_fixture): pass\n", "no case decides C01"),
        ("def test_c01_confirmed()\n", "SyntaxError"),
        ("import no_such_module\n", "no_such_module"),
    ],
)
def test_cases_that_cannot_be_run(decided: Decided, cases: str, said: str) -> None:
    """That is never a verdict."""
    with pytest.raises(HarnessError, match=said):
        decided(cases)


# -- as a command ------------------------------------------------------------------------------------------------------


def run_pytest(*arguments: str | Path) -> tuple[int, str]:
    """Status and last line of pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout.splitlines()[-1]


def test_without_runs_only_the_rubric_is_judged() -> None:
    """`pytest labs/article --capture FILE` leaves the cases out."""
    good = min((ROOT / "labs" / "article" / "good").glob("*.pcap"))
    status, last = run_pytest("labs/article", "--capture", good)
    assert status == 0, last
    assert "passed" in last
    assert "skipped" not in last
    assert int(last.split(" deselected")[0].split()[-1]) >= ALL
    status, last = run_pytest("labs/article/test_claims.py")
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert f"{ALL} deselected" in last


def test_with_runs_the_claims_are_decided() -> None:
    """One case of each claim passes, the others are skipped, whatever shuffles them."""
    status, last = run_pytest("labs/article/test_claims.py", "--runs", RUNS, "--claims", "c10,C16,C20")
    assert (status, last.split(" in ")[0]) == (0, f"3 passed, 4 skipped, {ALL - 7} deselected")


def test_a_claim_that_is_not_shown_is_a_failure(tmp_path: Path) -> None:
    status, last = run_pytest("labs/article/test_claims.py", "--runs", tmp_path, "--claims", "C10")
    assert (status, last.split(" in ")[0]) == (1, f"1 failed, 1 skipped, {ALL - 2} deselected")
