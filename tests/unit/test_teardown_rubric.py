"""The rubric of the lab teardown: each check passes on its own ending, fails on a wrong one, and shows nothing else."""

from itertools import count

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.judging import checks_of
from tests.pcaps import encode, frames_of

OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > .  1:1(0) ack 1
"""
GOOD = {
    "four_segments": f"""{OPEN}
+.1   > F. 1:1(0) ack 1
+.001 < .  1:1(0) ack 2
+.1   < F. 1:1(0) ack 2
+.001 > .  2:2(0) ack 2
""",
    "three_segments": f"""{OPEN}
+.1   > F. 1:1(0) ack 1
+.001 < F. 1:1(0) ack 2
+.001 > .  2:2(0) ack 2
""",
    "simultaneous_close": f"""{OPEN}
+.1   > F. 1:1(0) ack 1
+.001 < F. 1:1(0) ack 1
+.001 < .  2:2(0) ack 2
+.001 > .  2:2(0) ack 2
""",
    "half_close": f"""{OPEN}
+.1   > F. 1:1(0) ack 1
+.001 < .  1:1(0) ack 2
+.1   < P. 1:11(10) ack 2
+.001 > .  2:2(0) ack 11
+.1   < F. 11:11(0) ack 2
+.001 > .  2:2(0) ack 12
""",
    "abort": f"""{OPEN}
+.1   > R. 1:1(0) ack 1
""",
    "unread_data": f"""{OPEN}
+.1   > P. 1:101(100) ack 1
+.001 < .  1:1(0) ack 101
+.1   < R. 1:1(0) ack 101
""",
    "closed_port": """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < R. -5000:-5000(0) ack 1 win 0
""",
}
POINTS = 100

# Check: what is changed in its good script, to what, and what the check says of it.
WRONG = {
    "the first ACK stands behind the second FIN": ("four_segments", "< .  1:1(0) ack 2", "< .  2:2(0) ack 2", "seq"),
    "the last ACK goes too far": ("four_segments", "2:2(0) ack 2", "2:2(0) ack 3", "is more than was sent"),
    "the FIN leaves a gap": ("three_segments", "< F. 1:1(0)", "< F. 2:2(0)", "does not stand where"),
    "data behind the FIN": ("four_segments", "> .  2:2(0) ack 2", "> P. 2:6(4) ack 2", "comes behind the FIN"),
    "a word after the last ACK": (
        "three_segments", "> .  2:2(0) ack 2\n", "> .  2:2(0) ack 2\n+0 < . 2:2(0) ack 2\n", "comes after the last ACK"
    ),
    "a RST after all": (
        "four_segments", "> .  2:2(0) ack 2\n", "> .  2:2(0) ack 2\n+0 < R. 2:2(0) ack 2\n", "aborts what was"
    ),
    "an urgent FIN": ("simultaneous_close", "> F. 1:1(0)", "> FU. 1:1(0)", "urgent"),
    "an ACK that leaves the FIN's number open": (
        "half_close", "2:2(0) ack 12", "2:2(0) ack 13", "is more than was sent"
    ),
    "data that does not follow": ("half_close", "< P. 1:11(10)", "< P. 4:14(10)", "does not stand where"),
    "a RST that is elsewhere": ("abort", "> R. 1:1(0)", "> R. 4:4(0)", "does not stand where"),
    "an answer to the RST": ("abort", "> R. 1:1(0) ack 1\n", "> R. 1:1(0) ack 1\n+0 < . 1:1(0) ack 1\n", "comes after"),
    "a RST with FIN": ("unread_data", "< R. 1:1(0)", "< FR. 1:1(0)", "R."),
    "a RST with another number": ("closed_port", "-5000:-5000(0)", "-4999:-4999(0)", "not 0"),
    "a word after the refusal": ("closed_port", "win 0\n", "win 0\n+0 > . 1:1(0) ack 1\n", None),
}  # fmt: skip


def judged(*captures: list[str]) -> list[dict[str, Check]]:
    """Each capture, a list of scripts, judged: its checks by name."""
    found = []
    for scripts in captures:
        frames, ports = [], count(10001)
        for script in scripts:
            port = next(ports)
            one, two = f"192.168.1.63:{port}", f"192.168.1.64:{port + 10000}"
            frames += frames_of(parse(script, start=1_700_000_000 + port, initiator=one, responder=two))
        of = conversations(read_capture(encode(frames), "made").segments)
        found.append(Evidence(lab_conversation(of, "made"), conversations=tuple(of)))
    return [checks_of("teardown", evidence) for evidence in found]


def outcomes(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.outcome for name, check in checks.items()}


def test_all_seven_earn_all_points() -> None:
    """In whatever order they come; each check has points and one line for the student."""
    scripts = list(GOOD.values())
    for checks in judged(scripts, scripts[::-1], scripts + scripts):
        assert {name: check.message for name, check in checks.items() if check.outcome != "passed"} == {}
        assert list(checks) == list(GOOD)
        assert sum(check.points for check in checks.values()) == POINTS
        assert all(check.points and check.title.endswith(".") for check in checks.values())


def test_each_check_asks_for_its_own_ending() -> None:
    """Alone, each ending passes its check, and shows nothing to the six others."""
    for name, checks in zip(GOOD, judged(*([script] for script in GOOD.values())), strict=True):
        assert outcomes(checks) == {other: "passed" if other == name else "not-shown" for other in GOOD}


def test_each_ending_is_missed() -> None:
    """Of seven connections one is missing: its check is not shown, says what is missing, and nothing else is lost."""
    without = [[script for other, script in GOOD.items() if other != name] for name in GOOD]
    for name, checks in zip(GOOD, judged(*without), strict=True):
        assert outcomes(checks) == {other: "not-shown" if other == name else "passed" for other in GOOD}
        assert "the capture shows no " in checks[name].message


def test_every_check_can_fail() -> None:
    assert {name for name, *_ in WRONG.values()} == set(GOOD)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_fails(wrong: str) -> None:
    """One connection of the seven is wrong: its check fails and says how; the others keep their points."""
    name, old, new, said = WRONG[wrong]
    assert GOOD[name].count(old) == 1
    (checks,) = judged([script.replace(old, new) if name == other else script for other, script in GOOD.items()])
    assert checks[name].outcome == "failed", checks[name].message
    assert (said or "") in checks[name].message
    assert {other for other, outcome in outcomes(checks).items() if outcome != "passed"} == {name}


def test_one_kind_is_not_taken_for_another() -> None:
    """A half-closed connection is no four-segment close, and data that crosses the first FIN no half-close."""
    crossing = f"""{OPEN}
    +.1   > F. 1:1(0) ack 1
    +.001 < P. 1:11(10) ack 1
    +.001 < .  11:11(0) ack 2
    +.001 > .  2:2(0) ack 11
    +.1   < F. 11:11(0) ack 2
    +.001 > .  2:2(0) ack 12
    """
    (checks,) = judged([crossing])
    assert outcomes(checks) == {name: "passed" if name == "four_segments" else "not-shown" for name in GOOD}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("four_segments", "< .  1:1(0) ack 2", "< .  1:1(0) ack 1"),  # then the second FIN is the first to acknowledge
        ("four_segments", "+.1   < F. 1:1(0) ack 2\n+.001 > .  2:2(0) ack 2\n", ""),
        ("three_segments", "+.001 > .  2:2(0) ack 2\n", ""),
        ("simultaneous_close", "< F. 1:1(0) ack 1", "< F. 1:1(0) ack 2"),
        ("half_close", "+.1   < F. 11:11(0) ack 2\n+.001 > .  2:2(0) ack 12\n", ""),
        ("abort", "> R. 1:1(0)", "> F. 1:1(0)"),
        ("unread_data", "< R. 1:1(0)", "< F. 1:1(0)"),
        ("closed_port", "ack 1 win 0", "ack 2 win 0"),  # it refuses another SYN
    ],
)
def test_what_ends_otherwise_is_not_shown(name: str, old: str, new: str) -> None:
    """What ends in another way, or has not ended yet, is no proof of the ending that is asked for."""
    assert GOOD[name].count(old) == 1
    (checks,) = judged([script.replace(old, new) if name == other else script for other, script in GOOD.items()])
    assert checks[name].outcome == "not-shown", checks[name].message
    assert {other for other, outcome in outcomes(checks).items() if outcome != "passed"} == {name}


def test_a_close_that_is_cut_short_is_no_abort() -> None:
    """Who has sent FIN and gets data all the same sends RST: none of the seven, and no harm to the others."""
    cut_short = f"{OPEN}+.1 > F. 1:1(0) ack 1\n+.001 < P. 1:11(10) ack 2\n+.001 > R 2:2(0)\n"
    (checks,) = judged([cut_short, *GOOD.values()])
    assert set(outcomes(checks).values()) == {"passed"}


def test_a_capture_without_the_handshake_shows_nothing() -> None:
    """A connection of which the beginning is missing counts for no ending."""
    late = GOOD["four_segments"].replace(OPEN, "")
    (checks,) = judged([late])
    assert set(outcomes(checks).values()) == {"not-shown"}
