"""Reports: the ladder, the verdict, results.json, junit.xml."""

from xml.etree import ElementTree as ET

import pytest

from harness.grading.results import Check, Results
from harness.reports.junit import junit
from harness.reports.ladder import ladder
from harness.reports.text import report
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse

SCRIPT = """
+0     > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
+.001  < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 9 ecr 1,wscale 7>
+.001  > .  1:1(0) ack 1
+.001  > P. 1:1449(1448) ack 1
+.001  < .  1:1(0) ack 1449
+.1    > F. 1449:1449(0) ack 1
+0     < F. 1:1(0) ack 1450
+0     > .  1450:1450(0) ack 2
"""
PASSED = Check("a", "A check", 4, 4, "passed", (1, 2), "")
FAILED = Check("b", "Another check", 3, 0, "failed", (3,), "frame 3 (initiator) ack 7, but expected 8")
NOT_SHOWN = Check("c", "A third", 2, 0, "not-shown", (), "not shown: the capture does not show it")
NOT_JUDGED = Check("d", "A fourth", 1, None, "not-judged", (), "could not be judged: KeyError: 'x'")


@pytest.fixture
def conversation() -> Conversation:
    (found,) = conversations(parse(SCRIPT, isns=(481914174, 4294967295)))
    return found


def results(*checks: Check) -> Results:
    return Results("handshake", None, None, checks)


@pytest.mark.parametrize("width", [60, 72, 80, 120])
@pytest.mark.parametrize("absolute", [False, True])
def test_ladder_fits(conversation: Conversation, width: int, absolute: bool) -> None:
    """One line a segment, after two of heads; none longer than the width; every arrow tells flags and ack."""
    lines = [line.text for line in ladder(conversation, width=width, absolute=absolute)]
    assert len(lines) == 2 + 8
    assert max(map(len, lines)) <= width
    assert all("[" in line for line in lines[2:])
    assert "ack" in lines[-1]


def test_ladder_shows_numbers_and_states(conversation: Conversation) -> None:
    """Relative numbers by default, those of the wire on demand; a state where it begins, then a bar."""
    relative = [line.text for line in ladder(conversation, width=100)]
    assert "seq 1:1449 ack 1 len 1448" in relative[5]
    assert relative[2].rstrip().endswith("LISTEN")
    assert "SYN-SENT" in relative[2]
    assert relative[6].count("│") == 2
    assert "TIME-WAIT" in relative[-1]
    assert relative[-1].rstrip().endswith("CLOSED")
    absolute = [line.text for line in ladder(conversation, width=100, absolute=True)]
    assert "seq 481914174" in absolute[2]
    assert "ack 0" in absolute[4]  # the responder's ISN + 1 wraps


def test_verdict_names_each_outcome(conversation: Conversation) -> None:
    """The last line sums up; what did not pass says why and on which frames."""
    text = "\n".join(line for line, _ in report(results(PASSED, FAILED, NOT_SHOWN), conversation, width=80))
    assert text.splitlines()[-1] == "failed: 4 of 9 points (1 passed, 1 failed, 1 not shown)"
    assert "[frames 3] frame 3 (initiator) ack 7, but expected 8" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_check_that_could_not_be_judged_is_no_mark() -> None:
    """One such check: no score, status 2; the maximum stays."""
    judged = results(PASSED, FAILED, NOT_JUDGED)
    assert (judged.outcome, judged.score, judged.max_score, judged.exit_status) == ("not-judged", None, 8, 2)
    lines = [line for line, _ in report(judged, None, width=80)]
    assert lines[-1] == "could not be judged: KeyError: 'x'"


@pytest.mark.parametrize(
    ("checks", "outcome", "status"),
    [
        ((PASSED,), "passed", 0),
        ((PASSED, FAILED), "failed", 1),
        ((PASSED, NOT_SHOWN), "failed", 1),
        ((), "not-judged", 2),
    ],
)
def test_outcome_and_exit_status(checks: tuple[Check, ...], outcome: str, status: int) -> None:
    """0 all passed, 1 something failed or was not shown, 2 could not be judged."""
    assert (results(*checks).outcome, results(*checks).exit_status) == (outcome, status)


def test_junit_is_xml_whatever_the_messages() -> None:
    """Failures, errors and properties; characters that XML forbids are replaced."""
    hostile = FAILED._replace(message='<b>&"\x00\x1b[31m\ud800')
    root = ET.fromstring(junit(results(PASSED, hostile, NOT_SHOWN, NOT_JUDGED)))  # noqa: S314 - our own
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "1")
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.get("message") == '<b>&"??[31m?'
    properties = {p.get("name"): p.get("value") for p in suite[0].iter("property")}
    assert properties == {"points": "4", "outcome": "passed", "frames": "1 2"}


def test_results_json_has_the_documented_keys() -> None:
    """The contract of results.json; frames are a list."""
    document = results(PASSED, FAILED).to_json()
    assert list(document) == ["schema", "lab", "provider", "outcome", "score", "max_score", "connection", "checks"]
    assert document["schema"] == "tcp-lab/results/v1"
    assert list(document["checks"][0]) == ["id", "title", "points", "score", "outcome", "frames", "message"]
    assert document["checks"][0]["frames"] == [1, 2]
