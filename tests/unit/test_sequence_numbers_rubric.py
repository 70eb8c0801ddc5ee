"""The rubric of the lab sequence-numbers: on good scripts, on legal ones that differ, and on wrong ones."""

from dataclasses import replace
from itertools import count
from typing import NamedTuple

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.flags import SYN
from harness.tcp.notation import parse
from harness.traffic.program import text
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

HIGHEST = 2**32 - 1
OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460,sackOK>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK>
+.001 > .  1:1(0) ack 1
"""


class Script(NamedTuple):
    """A connection: its segments, and both ISNs."""

    text: str
    isns: tuple[int, int] = (1000, 5000)

    def but(self, old: str, new: str) -> "Script":
        """The same with something else in one place."""
        assert self.text.count(old) == 1, (self.text.count(old), old)
        return self._replace(text=self.text.replace(old, new))


BOTH_WAYS = Script(f"""{OPEN}
+.1   > P. 1:2(1) ack 1
+.001 < .  1:1(0) ack 2
+.1   < P. 1:34(33) ack 2
+.001 > .  2:2(0) ack 34
+.1   > P. 2:153(151) ack 34
+.001 < P. 34:44(10) ack 153
+.04  > .  153:153(0) ack 44
+.1   > F. 153:153(0) ack 44
+.001 < .  44:44(0) ack 154
+.1   < F. 44:44(0) ack 154
+.001 > .  154:154(0) ack 45
""")
LATE = Script(f"""{OPEN}
+.1   > P. 101:201(100) ack 1
+.001 < .  1:1(0) ack 1
+.001 > P. 201:251(50) ack 1
+.001 < .  1:1(0) ack 1
+.2   > P. 1:101(100) ack 1
+.001 < .  1:1(0) ack 251
+.1   > F. 251:251(0) ack 1
+.001 < F. 1:1(0) ack 252
+.001 > .  252:252(0) ack 2
""")
WRAP = Script(
    f"""{OPEN}
+.1   > P. 1:31(30) ack 1
+.001 < .  1:1(0) ack 31
+.1   > P. 31:131(100) ack 1
+.001 < .  1:1(0) ack 131
+.1   > P. 131:151(20) ack 1
+.001 < .  1:1(0) ack 151
+.1   < F. 1:1(0) ack 151
+.001 > F. 151:151(0) ack 2
+.001 < .  2:2(0) ack 152
""",
    (HIGHEST - 49, 7),
)
ZERO = Script(
    f"""{OPEN}
+.1   > P. 1:41(40) ack 1
+.001 < .  1:1(0) ack 41
+.1   > F. 41:41(0) ack 1
+.001 < F. 1:1(0) ack 42
+.001 > .  42:42(0) ack 2
""",
    (HIGHEST, 5000),
)
SCRIPTS = (BOTH_WAYS, LATE, WRAP, ZERO)
TAKES = {
    BOTH_WAYS: {"one_byte_and_many"},
    LATE: {"what_comes_late_has_its_place"},
    WRAP: {"seq_goes_round", "ack_goes_round"},
    ZERO: {"zero_is_a_number"},
}


def frames_of_scripts(*scripts: Script) -> list[Frame]:
    """One capture of a connection a script; the bytes tell where they stand in their stream."""
    frames, ports = [], count(10001)
    for script in scripts:
        port = next(ports)
        initiator, responder = f"192.168.1.63:{port}", f"192.168.1.64:{port + 10000}"
        start = 1_700_000_000 + 100 * port
        for frame in frames_of(
            parse(script.text, initiator=initiator, responder=responder, start=start, isns=script.isns)
        ):
            isn = script.isns[0 if frame.sport == port else 1]
            place = (frame.seq - isn) % 2**32 - (not frame.flags & SYN)
            frames.append(replace(frame, payload=text(frame.sport, place, len(frame.payload))))
    return frames


def judged_frames(frames: list[Frame], snaplen: int = 262144) -> dict[str, Check]:
    found = conversations(read_capture(encode(frames, snaplen=snaplen), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of("sequence-numbers", evidence)


def judged(*scripts: Script) -> dict[str, Check]:
    return judged_frames(frames_of_scripts(*scripts))


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


def test_100_points() -> None:
    """In whatever order they come; each check has points and one line for the student."""
    for scripts in (SCRIPTS, SCRIPTS[::-1]):
        checks = judged(*scripts)
        assert lost(checks) == {}
        assert sum(check.points for check in checks.values()) == 100
        assert all(check.points and check.title.endswith(").") for check in checks.values())


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_scene_is_missed(script: Script) -> None:
    """Without one connection what it alone shows is not shown, and nothing else is lost."""
    checks = judged(*(other for other in SCRIPTS if other != script))
    assert {name: check.outcome for name, check in checks.items() if check.outcome != "passed"} == dict.fromkeys(
        TAKES[script], "not-shown"
    )


def test_frames_captured_twice_lose_nothing() -> None:
    frames = frames_of_scripts(*SCRIPTS)
    doubled = [twin for frame in frames for twin in (frame, replace(frame, time=frame.time + 5000))]
    assert lost(judged_frames(doubled)) == {}


def test_a_capture_without_payload_shows_all_but_the_bytes() -> None:
    """`tcpdump -s 66`: numbers and lengths are there."""
    checks = judged_frames(frames_of_scripts(*SCRIPTS), snaplen=66)
    assert {name: check.outcome for name, check in checks.items() if check.outcome != "passed"} == {
        "both_streams_are_whole": "not-shown"
    }


CLOSE = BOTH_WAYS.text[BOTH_WAYS.text.index("+.1   > F.") :]
# What may stand instead of one of them.
LEGAL = {
    "the original is captured too": (
        LATE,
        LATE.but("+.1   > P. 101:201", "+.1   > P. 1:101(100) ack 1\n+0 > P. 101:201"),
    ),
    "sent again with what follows": (LATE, LATE.but("+.2   > P. 1:101(100)", "+.2   > P. 1:201(200)")),
    "the receiver keeps nothing that comes too early": (
        LATE,
        LATE.but(
            "(0) ack 251\n+.1   > F.", "(0) ack 101\n+.2 > P. 101:251(150) ack 1\n+0 < . 1:1(0) ack 251\n+.1 > F."
        ),
    ),
    "the ACK comes with data": (BOTH_WAYS, BOTH_WAYS.but("+.001 < .  1:1(0) ack 2\n", "")),
    "the turn is where a segment ends": (WRAP, WRAP._replace(isns=(HIGHEST - 30, 7))),
    "one byte before the turn": (WRAP, WRAP._replace(isns=(HIGHEST - 1, HIGHEST))),
    "the responder closes first": (
        ZERO,
        ZERO.but(
            "+.1   > F. 41:41(0) ack 1\n+.001 < F. 1:1(0) ack 42\n+.001 > .  42:42(0) ack 2",
            "+.1 < F. 1:1(0) ack 41\n+.001 > F. 41:41(0) ack 2\n+.001 < . 2:2(0) ack 42",
        ),
    ),
    "the FIN has data": (
        ZERO,
        ZERO.but(
            "> F. 41:41(0) ack 1\n+.001 < F. 1:1(0) ack 42\n+.001 > .  42:42(0)",
            "> FP. 41:46(5) ack 1\n+.001 < F. 1:1(0) ack 47\n+.001 > . 47:47(0)",
        ),
    ),
    "a full window": (
        BOTH_WAYS,
        BOTH_WAYS.but("+.001 < P. 34:44(10)", "+.001 < . 34:34(0) ack 100 win 0\n+.1 < P. 34:44(10)"),
    ),
    "several in one frame": (
        BOTH_WAYS,
        BOTH_WAYS.but(
            CLOSE,
            """
+.1   > P. 153:4497(4344) ack 44
+.001 < .  44:44(0) ack 3049
+.001 < .  44:44(0) ack 4497
+.1   > F. 4497:4497(0) ack 44
+.001 < F. 44:44(0) ack 4498
+.001 > .  4498:4498(0) ack 45
""",
        ),
    ),
    "a keep-alive with a byte": (
        BOTH_WAYS,
        BOTH_WAYS.but(CLOSE, f"+7200 > . 152:153(1) ack 44\n+.001 < . 44:44(0) ack 153\n{CLOSE}"),
    ),
    "an ACK overtaken by data": (
        BOTH_WAYS,
        BOTH_WAYS.but(
            "+.001 > .  2:2(0) ack 34\n+.1   > P. 2:153(151) ack 34",
            "+.1 > P. 2:153(151) ack 34\n+0 > . 2:2(0) ack 34",
        ),
    ),
    "no MSS is told": (ZERO, ZERO.but("> S  0:0(0) win 64240 <mss 1460,sackOK>", "> S  0:0(0) win 64240")),
    "Fast Open besides": (
        ZERO,
        ZERO._replace(
            text=f"""
+0    > S  0:5(5) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 6 win 65160 <mss 1460>
+.001 > .  6:6(0) ack 1
+.1   > P. 6:41(35) ack 1
{ZERO.text[ZERO.text.index("+.001 < .  1:1(0) ack 41") :]}"""
        ),
    ),
}


@pytest.mark.parametrize("legal", LEGAL)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    instead_of, changed = LEGAL[legal]
    assert lost(judged(changed, *(other for other in SCRIPTS if other != instead_of))) == {}


# The script, what is changed in it, to what, the check that must fail, and what it says.
WRONG = {
    "the SYN takes two numbers": (BOTH_WAYS, "< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2", "a_syn_takes_one_number",
                                  "ack 1002, but frame 1 seq 1000 + 1 = 1001"),
    "the SYN-ACK takes none": (BOTH_WAYS, "+.001 > .  1:1(0) ack 1\n", "+.001 > .  1:1(0) ack 0\n",
                               "a_syn_takes_one_number", "ack 5000, but frame 2 seq 5000 + 1 = 5001"),
    "another ISN": (ZERO, "+.001 < S.", "+.001 > S 9:9(0)\n+.001 < S.", "a_syn_takes_one_number", "seq"),
    "the FIN takes two numbers": (BOTH_WAYS, "> .  154:154(0) ack 45", "> .  154:154(0) ack 46",
                                  "a_fin_takes_one_number", "ack 5046, but frame 13 seq 5044 + 1 = 5045"),
    "a word behind the FIN": (BOTH_WAYS, "+.001 > .  154:154(0) ack 45", "+.001 > P. 154:159(5) ack 45",
                              "a_fin_takes_one_number", "goes on behind the FIN of frame 11"),
    "a number is left out": (BOTH_WAYS, "< P. 34:44(10)", "< P. 35:45(10)", "each_byte_takes_one_number",
                             "seq 5035, but frame 6 seq 5001 + 33 = 5034"),
    "an ACK takes a number": (BOTH_WAYS, "> .  153:153(0) ack 44", "> .  155:155(0) ack 44",
                              "each_byte_takes_one_number", "takes a number though it is empty"),
    "seq + 1 of 33 bytes": (BOTH_WAYS, "+.001 > .  2:2(0) ack 34", "+.001 > .  2:2(0) ack 2",
                            "ack_names_what_is_expected_next", "names the middle of a segment"),
    "packets are counted": (BOTH_WAYS, "> P. 2:153(151) ack 34", "> P. 2:153(151) ack 3",
                            "ack_names_what_is_expected_next", "names the middle of a segment"),
    "what was not sent": (BOTH_WAYS, "< P. 34:44(10) ack 153", "< P. 34:44(10) ack 154",
                          "ack_names_what_is_expected_next", "but no more was sent than frame 8 seq 1002 + 151"),
    "an ack is taken back": (BOTH_WAYS, "< P. 34:44(10) ack 153", "< P. 34:44(10) ack 1",
                             "ack_names_what_is_expected_next", "is less than the responder had acknowledged before"),
    "a segment without ACK": (BOTH_WAYS, "> P. 2:153(151) ack 34", "> P 2:153(151)",
                              "ack_names_what_is_expected_next", "has the flag ACK off"),
    "seq + 1 of 151 bytes": (BOTH_WAYS, "< P. 34:44(10) ack 153", "< P. 34:44(10) ack 3", "one_byte_and_many",
                             "ack 1003, but frame 8 seq 1002 + 151 = 1153"),
    "the FIN is too far": (ZERO, "> F. 41:41(0) ack 1\n+.001 < F. 1:1(0) ack 42\n+.001 > .  42:42",
                           "> F. 42:42(0) ack 1\n+.001 < F. 1:1(0) ack 43\n+.001 > .  43:43",
                           "the_numbers_count_the_bytes", "seq 41, but frame 1 seq 4294967295 + 41 = 40"),
    "a hole": (LATE, "> P. 201:251(50)", "> P. 211:251(40)", "both_streams_are_whole",
               "does not show bytes 201 to 210 of the initiator"),
    "too little is acknowledged": (LATE, "+.001 < .  1:1(0) ack 251", "+.001 < . 1:1(0) ack 50\n+.1 < . 1:1(0) ack 251",
                                   "what_comes_late_has_its_place", "leaves some of"),
    "a gap at the turn": (WRAP, "> P. 131:151(20)", "> P. 132:151(19)", "seq_goes_round",
                          "seq 82, but frame 6 seq 4294967277 + 100 = 81"),
    "the ack stops at the turn": (WRAP, "< .  1:1(0) ack 131", "< .  1:1(0) ack 50", "ack_goes_round",
                                  "ack 0 is the end of nothing"),
    "number 0 is left out": (ZERO, "> P. 1:41(40)", "> P. 2:41(39)", "zero_is_a_number",
                             "seq 1, but frame 1 seq 4294967295 + 1 = 0"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    script, old, new, name, said = WRONG[wrong]
    found = lost(judged(script.but(old, new), *(other for other in SCRIPTS if other != script)))
    assert said in found.get(name, f"{found}")


def test_other_bytes_under_the_same_numbers() -> None:
    """What is sent again must be the same."""
    frames = frames_of_scripts(
        LATE.but("+.2   > P. 1:101(100)", "+.1 > P. 1:101(100) ack 1\n+.1 > P. 1:101(100)"), BOTH_WAYS, WRAP, ZERO
    )
    again = frames[8]
    assert again.seq == frames[7].seq
    frames[8] = replace(again, payload=again.payload[:10] + b"!" + again.payload[11:])
    assert lost(judged_frames(frames)) == {
        "both_streams_are_whole": "<frame 9 initiator: P. 1:101(100) ack 1> has another byte 11 than was sent before "
        "under the same number"
    }


def test_every_check_is_taken_points_from_once() -> None:
    assert {name for *_, name, _ in WRONG.values()} == set(judged(*SCRIPTS))


def test_what_is_cut_short_shows_nothing() -> None:
    """Without its SYN, its end or its data, or ended by RST, a connection is no evidence, and none against another."""
    beginning = Script(BOTH_WAYS.text.partition("+.1   > F.")[0])
    end = Script("+.1   > P. 2:153" + BOTH_WAYS.text.partition("+.1   > P. 2:153")[2])
    reset = BOTH_WAYS.but("> .  154:154(0) ack 45", "> R  154:154(0)")
    empty = Script(f"{OPEN}+.1 > F. 1:1(0) ack 1\n+.001 < F. 1:1(0) ack 2\n+.001 > . 2:2(0) ack 2")
    for script in (beginning, end, reset, empty):
        assert {check.outcome for check in judged(script).values()} == {"not-shown"}
        assert lost(judged(script, *SCRIPTS)) == {}
