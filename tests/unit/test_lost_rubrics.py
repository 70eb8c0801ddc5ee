"""The rubrics of lost-syn and lost-last-ack: on good scripts, on legal ones that differ, and on wrong ones."""

from dataclasses import replace
from itertools import count

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

_OFFER = "win 64240 <mss 1460,sackOK,wscale 7,TS val {} ecr 0>"
_REST = """
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,wscale 7,TS val 7 ecr {}>
+.001 > .  1:1(0) ack 1 <TS val 9000 ecr 7>
+.1   > F. 1:1(0) ack 1 <TS val 9100 ecr 7>
+.001 < .  1:1(0) ack 2 <TS val 8 ecr 9100>
+.1   < F. 1:1(0) ack 2 <TS val 9 ecr 9100>
+.001 > .  2:2(0) ack 2 <TS val 9200 ecr 9>
"""


def opening(*waits: float) -> str:
    """A connection whose SYN is sent again after these waits."""
    syns = [f"+{wait} > S 0:0(0) {_OFFER.format(1000 * number)}" for number, wait in enumerate((0, *waits), 1)]
    return "\n".join(syns) + _REST.format(1000 * len(syns))


ONCE, TWICE = opening(1.03), opening(1.03, 2.05)

OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > .  1:1(0) ack 1
+.1   > F. 1:1(0) ack 1
+.001 < .  1:1(0) ack 2
+.1   < F. 1:1(0) ack 2
"""
ANSWERED = f"""{OPEN}
+.001 > .  2:2(0) ack 2
+.21  < F. 1:1(0) ack 2
+.001 > .  2:2(0) ack 2
"""
NOBODY = f"""{OPEN}
+.001 > .  2:2(0) ack 2
+.01  < R  2:2(0) win 1024
+.21  < F. 1:1(0) ack 2
+.001 > R  2:2(0) win 0
"""
SCRIPTS = {"lost-syn": [ONCE, TWICE], "lost-last-ack": [ANSWERED, NOBODY]}


def frames_of_scripts(scripts: list[str]) -> list[Frame]:
    """One capture of a connection a script."""
    frames, ports = [], count(10001)
    for script in scripts:
        port = next(ports)
        start, initiator, responder = 1_700_000_000 + 100 * port, f"192.168.1.63:{port}", f"192.168.1.64:{port + 10000}"
        frames += frames_of(parse(script, initiator=initiator, responder=responder, start=start))
    return frames


def judged_frames(lab: str, frames: list[Frame]) -> dict[str, Check]:
    found = conversations(read_capture(encode(frames), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of(lab, evidence)


def judged(lab: str, *scripts: str) -> dict[str, Check]:
    return judged_frames(lab, frames_of_scripts(list(scripts)))


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


@pytest.mark.parametrize("lab", SCRIPTS)
def test_100_points(lab: str) -> None:
    """In whatever order they come; each check has points and one line for the student."""
    for scripts in (SCRIPTS[lab], SCRIPTS[lab][::-1]):
        checks = judged(lab, *scripts)
        assert lost(checks) == {}
        assert sum(check.points for check in checks.values()) == 100
        assert all(check.points and check.title for check in checks.values())


LEGAL = {
    "Linux since 6.5: the second wait is as long as the first": ("lost-syn", ONCE, opening(1.03, 1.02)),
    "timers fire late": ("lost-syn", opening(1.4), opening(1.2, 2.6)),
    "the responder closes first": (
        "lost-last-ack",
        *(
            script[: script.index("+.1   >")] + script[script.index("+.1   >") :].translate(str.maketrans("<>", "><"))
            for script in (ANSWERED, NOBODY)
        ),
    ),
    "FIN and ACK in one": ("lost-last-ack", ANSWERED.replace("+.001 < .  1:1(0) ack 2\n", ""), NOBODY),
    "the second ACK is lost too": (
        "lost-last-ack",
        f"{ANSWERED}\n+.42 < F. 1:1(0) ack 2\n+.001 > . 2:2(0) ack 2",
        NOBODY,
    ),
    "no TIME-WAIT at all (tcp_max_tw_buckets 0)": ("lost-last-ack", ANSWERED, f"{OPEN}\n+.001 > R 2:2(0) win 0"),
}


@pytest.mark.parametrize("legal", LEGAL)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    lab, *scripts = LEGAL[legal]
    assert lost(judged(lab, *scripts)) == {}


def test_acks_of_time_wait_may_be_equal_in_all() -> None:
    """Linux gives them no IP identification: without timestamps nothing but the time tells them apart."""
    frames = [replace(frame, ip_id=0) for frame in frames_of_scripts(SCRIPTS["lost-last-ack"])]
    assert lost(judged_frames("lost-last-ack", frames)) == {}


@pytest.mark.parametrize("lab", SCRIPTS)
def test_frames_captured_twice_lose_nothing(lab: str) -> None:
    """Each frame twice, as a mirror port may have it: equal in all, some microseconds later."""
    frames = frames_of_scripts(SCRIPTS[lab])
    doubled = [twin for frame in frames for twin in (frame, replace(frame, time=frame.time + 5000))]
    assert lost(judged_frames(lab, doubled)) == {}


# The lab, which of its scripts is changed, what, to what, the check that must fail, and what it says.
WRONG = {
    "another ISN": ("lost-syn", 0, "+1.03 > S 0:0(0)", "+1.03 > S 9:9(0)", "the_same_syn_again[once]",
                    "seq 1009, but frame 1 seq 1000"),
    "no MSS": ("lost-syn", 0, "<mss 1460,sackOK,wscale 7,TS val 2000", "<sackOK,wscale 7,TS val 2000",
               "it_offers_the_same[once]", "frame 2 offers no MSS"),
    "no SACK": ("lost-syn", 1, "sackOK,wscale 7,TS val 3000", "wscale 7,TS val 3000",
                "it_offers_the_same[twice]", "differ in SACK"),
    "too early": ("lost-syn", 0, "+1.03", "+.5", "after_about_a_second[once]", "frame 2 comes 0.500 s after frame 1"),
    "too late": ("lost-syn", 1, "+1.03", "+3", "after_about_a_second[twice]", "comes 3.000 s after"),
    "no back-off": ("lost-syn", 1, "+2.05", "+.2", "backing_off", "comes 0.200 s after"),
    "neither same nor twice": ("lost-syn", 1, "+2.05", "+1.65", "backing_off", "comes 1.650 s after"),
    "data meanwhile": ("lost-syn", 0, "+1.03", "+.1 > P. 1:5(4) ack 0\n+1.03", "silence_meanwhile[once]",
                       "comes before the SYN-ACK"),
    "the first SYN was answered": ("lost-syn", 0, "ecr 2000", "ecr 1000", "the_last_one_is_answered[once]",
                                   "echoes 1000, but frame 2 said 2000"),
    "the SYN-ACK was lost too": ("lost-syn", 0, "+.001 < S.", "+.95 < S.", "the_last_one_is_answered[once]",
                                 "comes 0.950 s after"),
    "two numbers for two SYNs": ("lost-syn", 0, "0:0(0) ack 1 win", "0:0(0) ack 2 win", "then_it_opens[once]", "ack"),
    "the last ACK is missing": ("lost-syn", 1, "+.001 > .  2:2(0) ack 2 <TS val 9200 ecr 9>\n", "",
                                "and_closes[twice]", "no ACK of the responder's FIN"),
    "the FIN has another seq": ("lost-last-ack", 0, "+.21  < F. 1:1(0)", "+.21  < F. 2:2(0)",
                                "the_same_fin_again", "seq"),
    "the FIN comes at once": ("lost-last-ack", 0, "+.21", "+.01", "after_a_timeout", "ms before"),
    "another ACK": ("lost-last-ack", 0, "+.21  < F. 1:1(0) ack 2\n+.001 > .  2:2(0) ack 2",
                    "+.21  < F. 1:1(0) ack 2\n+.001 > .  2:2(0) ack 1", "each_fin_is_acknowledged", "ack"),
    "no second ACK": ("lost-last-ack", 0, "+.21  < F. 1:1(0) ack 2\n+.001 > .  2:2(0) ack 2",
                      "+.21  < F. 1:1(0) ack 2", "each_fin_is_acknowledged", "no ACK of the FIN of frame"),
    "a word too many": ("lost-last-ack", 0, "+.21 ", "+.1 < . 2:2(0) ack 2\n+.11 ", "nothing_else", "F."),
    "not opened": ("lost-last-ack", 0, "0:0(0) ack 1 win 65160", "0:0(0) ack 2 win 65160", "it_opens", "ack"),
    "the first FIN is not counted": ("lost-last-ack", 0, "< .  1:1(0) ack 2\n+.1   < F. 1:1(0) ack 2",
                                     "< .  1:1(0) ack 1\n+.1   < F. 1:1(0) ack 1", "it_closes", ""),
    "a RST with a number of its own": ("lost-last-ack", 1, "+.001 > R  2:2(0)", "+.001 > R  5:5(0)",
                                       "without_time_wait", "seq"),
    "a RST with ACK": ("lost-last-ack", 1, "> R  2:2(0) win 0", "> R. 2:2(0) ack 2 win 0", "without_time_wait", "R."),
    "a word after the RST": ("lost-last-ack", 1, "> R  2:2(0) win 0", "> R  2:2(0) win 0\n+.1 < F. 1:1(0) ack 2",
                             "refused_for_good", ""),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    lab, place, old, new, name, said = WRONG[wrong]
    scripts = list(SCRIPTS[lab])
    assert scripts[place].count(old) == 1
    scripts[place] = scripts[place].replace(old, new)
    found = lost(judged(lab, *scripts))
    assert said in found[name]


def test_every_check_is_taken_points_from_once() -> None:
    """Each check stands above as the one that must fail, in one of its scenes."""
    named = {name.split("[")[0] for *_, name, _ in WRONG.values()}
    checks = {name.split("[")[0] for lab, scripts in SCRIPTS.items() for name in judged(lab, *scripts)}
    assert checks - named == {"who_waits"}  # what fails it fails another too


@pytest.mark.parametrize("lab", SCRIPTS)
def test_one_connection_alone_shows_the_other_not(lab: str) -> None:
    """Nothing fails for want of evidence: what belongs to the other scene is not shown."""
    outcomes = set()
    for script in SCRIPTS[lab]:
        checks = judged(lab, script)
        assert {check.outcome for check in checks.values()} == {"passed", "not-shown"}
        outcomes |= {name for name, check in checks.items() if check.outcome == "passed"}
    assert outcomes == set(judged(lab, *SCRIPTS[lab]))
