"""The rubric of old-duplicate: on a good script, on legal ones that differ, and on wrong ones."""

import re
from dataclasses import replace

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

OLD = """
+0    > S  0:0(0) win 64240 <mss 1460,TS val 100 ecr 0>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460,TS val 700 ecr 100>
+.001 > .  1:1(0) ack 1 <TS val 101 ecr 700>
+.1   > P. 1:21(20) ack 1 <TS val 200 ecr 700>
+.001 < .  1:1(0) ack 21 <TS val 800 ecr 200>
+.1   < F. 1:1(0) ack 21 <TS val 900 ecr 200>
+.001 > .  21:21(0) ack 2 <TS val 301 ecr 900>
+.1   > F. 21:21(0) ack 2 <TS val 400 ecr 900>
+.001 < .  2:2(0) ack 22 <TS val 1000 ecr 400>
"""
DATA = f"""{OLD}
+.5   > P. 1:21(20) ack 1 <TS val 200 ecr 700>
+.001 < .  2:2(0) ack 22 <TS val 1500 ecr 400>
+.001 > R  22:22(0) win 0
"""
SYN = f"""{OLD}
+.5   > S  0:0(0) win 64240 <mss 1460,TS val 100 ecr 0>
+.001 < .  2:2(0) ack 22 <TS val 1500 ecr 400>
+.001 > R  22:22(0) win 0
"""
NEW = """
+0    > S  0:0(0) win 64240 <mss 1460,TS val 2000 ecr 0>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460,TS val 2700 ecr 2000>
+.001 > .  1:1(0) ack 1 <TS val 2001 ecr 2700>
+.1   > P. 1:41(40) ack 1 <TS val 2200 ecr 2700>
+.001 < .  1:1(0) ack 41 <TS val 2800 ecr 2200>
+.1   < P. 1:31(30) ack 41 <TS val 2900 ecr 2200>
+.001 > .  41:41(0) ack 31 <TS val 2301 ecr 2900>
"""
GOOD = {"data": DATA, "SYN": SYN, "old": OLD, "new": NEW}
PORTS = {"data": 1, "SYN": 2, "old": 3, "new": 3}
ISNS = 1000, 5000
NEW_ISNS = 900_000, 5000 + 65539


def captured(scripts: dict[str, str], *, isns: tuple[int, int] = NEW_ISNS, later: float = 1) -> list[Frame]:
    """One capture of these connections; the last has the ports of the one before, and comes so many seconds later."""
    frames: list[Frame] = []
    for name, script in scripts.items():
        start = 1_700_000_000 + 100 * PORTS[name] + (later if name == "new" else 0)
        ends = f"192.168.1.63:{10000 + PORTS[name]}", f"192.168.1.64:{20000 + PORTS[name]}"
        numbers = isns if name == "new" else ISNS
        frames += frames_of(parse(script, initiator=ends[0], responder=ends[1], isns=numbers, start=start))
    return sorted(frames, key=lambda frame: frame.time)


def judged(frames: list[Frame]) -> dict[str, Check]:
    found = conversations(read_capture(encode(frames), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of("old-duplicate", evidence)


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


def test_100_points() -> None:
    """In whatever order they come; each check has points and one line for the student."""
    for scripts in (GOOD, dict(reversed(GOOD.items()))):
        checks = judged(captured(scripts))
        assert lost(checks) == {}
        assert sum(check.points for check in checks.values()) == 100
        assert all(check.points and check.title for check in checks.values())


def without_timestamps(script: str) -> str:
    return re.sub(r"(,| <)TS val \d+ ecr \d+", lambda found: "" if found[1] == "," else " <nop", script)


LEGAL = {
    "no timestamps": {name: without_timestamps(script) for name, script in GOOD.items()},
    "the RST leaves TIME-WAIT alone, and the data comes again (RFC 1337)": {"data": DATA + DATA[DATA.index("+.5 ") :]},
    "the RST takes TIME-WAIT away: what comes again finds who listens": {
        "data": DATA + "+1 > P. 1:21(20) ack 1 <TS val 200 ecr 700>\n+.001 < R 1:1(0) win 0",
        "SYN": SYN
        + "+1 > S 0:0(0) win 64240 <mss 1460,TS val 100 ecr 0>\n"
        + "+.001 < S. 65539:65539(0) ack 1 win 65160 <mss 1460,TS val 2500 ecr 100>\n+.001 > R 1:1(0) win 0",
    },
    "three segments for the close": {"SYN": SYN.replace("+.001 > .  21:21(0) ack 2 <TS val 301 ecr 900>\n", "")},
    "the newer SYN is answered by an ACK first, and accepted when it comes again": {
        "old": f"""{OLD}
+.5   > S  899000:899000(0) win 64240 <mss 1460,TS val 1900 ecr 0>
+.001 < .  2:2(0) ack 22 <TS val 1500 ecr 400>
+.001 > R  22:22(0) win 0
""",
        "new": NEW.replace("+0 ", "+1 "),
    },
    "the third step comes with the data": {"new": NEW.replace("+.001 > .  1:1(0) ack 1 <TS val 2001 ecr 2700>\n", "")},
}


@pytest.mark.parametrize("legal", LEGAL)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    assert any(script != GOOD[name] for name, script in LEGAL[legal].items())
    frames = captured({**GOOD, **LEGAL[legal]})
    for ip_id in (None, 0):  # Linux has none for what comes from no socket
        assert lost(judged([frame if ip_id is None else replace(frame, ip_id=ip_id) for frame in frames])) == {}


CLOSED_BY_THE_INITIATOR = f"""{OLD[: OLD.index("+.1   < F.")]}
+.1   > F. 21:21(0) ack 1 <TS val 400 ecr 800>
+.001 < .  1:1(0) ack 22 <TS val 1000 ecr 400>
+.1   < F. 1:1(0) ack 22 <TS val 1100 ecr 400>
+.001 > .  22:22(0) ack 2 <TS val 500 ecr 1100>
"""


@pytest.mark.parametrize("waits", [True, False])
def test_whoever_opened_before(waits: bool) -> None:
    """What counts is that the SYN comes to the end that closed first, and so waits."""
    one, two = "192.168.1.63:10003", "192.168.1.64:20003"
    script = CLOSED_BY_THE_INITIATOR if waits else OLD
    others = captured({name: GOOD[name] for name in ("data", "SYN")})
    old = parse(script, initiator=two, responder=one, start=1_700_000_300)
    new = parse(NEW, initiator=one, responder=two, isns=(900_000, 70_000), start=1_700_000_301)
    found = lost(judged([*others, *frames_of(old), *frames_of(new)]))
    assert list(found) == ([] if waits else ["a_newer_syn"])


def test_a_syn_may_be_newer_by_its_timestamp_alone() -> None:
    """RFC 6191: whatever its number; without timestamps the number counts."""
    assert lost(judged(captured(GOOD, isns=(500, NEW_ISNS[1])))) == {}
    plain = {name: without_timestamps(script) for name, script in GOOD.items()}
    found = lost(judged(captured(plain, isns=(500, NEW_ISNS[1]))))
    assert list(found) == ["a_newer_syn"]
    assert "is older than" in found["a_newer_syn"]


@pytest.mark.parametrize("isns", [(900_000, 5001), (900_000, 4000)])
def test_the_isn_lies_beyond(isns: tuple[int, int]) -> None:
    """Of the end that was in TIME-WAIT, whatever the timestamps say (RFC 1122 §4.2.2.13)."""
    found = lost(judged(captured(GOOD, isns=isns)))
    assert list(found) == ["with_a_number_beyond_the_old"]
    assert "is not beyond" in found["with_a_number_beyond_the_old"]


def test_after_time_wait_anything_is_accepted() -> None:
    found = lost(judged(captured(GOOD, later=61)))
    assert list(found) == ["a_newer_syn"]
    assert "when TIME-WAIT is over" in found["a_newer_syn"]


def test_frames_captured_twice_lose_nothing() -> None:
    """Each frame twice, as a mirror port may have it: equal in all, some microseconds later."""
    frames = [replace(frame, ip_id=0) for frame in captured(GOOD)]
    doubled = [twin for frame in frames for twin in (frame, replace(frame, time=frame.time + 5000))]
    assert lost(judged(doubled)) == {}


# Which script is changed, what, to what, the check that must fail, and what it says.
WRONG = {
    "the initiator closes first": (
        "data", "+.1   < F. 1:1(0) ack 21 <TS val 900 ecr 200>\n", "", "who_closed_first_waits[data]", "no data of a"
    ),
    "a FIN without ACK": ("SYN", "< F. 1:1(0) ack 21", "< F  1:1(0)", "who_closed_first_waits[SYN]", "F"),
    "data of other numbers": ("data", "+.5   > P. 1:21(20)", "+.5   > P. 2:22(20)", "old_data", "had not been sent"),
    "new data": ("data", "+.5   > P. 1:21(20)", "+.5   > P. 22:42(20)", "old_data", "had not been sent"),
    "the old data with another ack": ("data", "+.5   > P. 1:21(20) ack 1", "+.5   > P. 1:21(20) ack 2", "old_data",
                                      "ack"),
    "an old SYN with data": ("SYN", "+.5   > S  0:0(0)", "+.5   > S  0:4(4)", "old_syn", "length 4"),
    "an ACK of the old data": ("data", "+.001 < .  2:2(0) ack 22 <TS val 1500", "+.001 < .  2:2(0) ack 21 <TS val 1500",
                               "time_wait_answers[data]", "ack"),
    "an ACK that stands elsewhere": ("SYN", "2:2(0) ack 22 <TS val 1500", "3:3(0) ack 22 <TS val 1500",
                                     "time_wait_answers[SYN]", "seq"),
    "the old data is taken": ("data", "2:2(0) ack 22 <TS val 1500", "2:2(0) ack 42 <TS val 1500",
                              "nothing_is_taken[data]", "ack"),
    "the old SYN opens": ("SYN", "< .  2:2(0) ack 22 <TS val 1500", "< S. 70000:70000(0) ack 1 <TS val 1500",
                          "nothing_is_taken[SYN]", "takes the old SYN for a new one"),
    "a RST with a number of its own": ("data", "> R  22:22(0)", "> R  21:21(0)", "the_other_end_knows_nothing[data]",
                                       "seq"),
    "no RST": ("SYN", "+.001 > R  22:22(0) win 0", "", "the_other_end_knows_nothing[SYN]",
               "shows nothing that"),
    "a word too many": ("data", "> R  22:22(0) win 0", "> R  22:22(0) win 0\n+.1 < . 2:2(0) ack 22",
                        "that_is_all[data]", ""),
    "the RST comes twice": ("SYN", "> R  22:22(0) win 0", "> R  22:22(0) win 0\n+.1 > R 22:22(0) win 0",
                            "that_is_all[SYN]", ""),
    "a SYN with FIN": ("new", "> S  0:0(0)", "> SF 0:0(0)", "a_newer_syn", ""),
    "another ack": ("new", "< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2", "it_is_accepted", "ack"),
    "old numbers": ("new", "< P. 1:31(30)", "< P. -65000:-64970(30)", "a_connection_of_its_own", ""),
    "an old ACK": ("new", "< P. 1:31(30) ack 41", "< P. 1:31(30) ack -20", "a_connection_of_its_own", "is less than"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    name, old, new, check, said = WRONG[wrong]
    assert GOOD[name].count(old) == 1
    found = lost(judged(captured({**GOOD, name: GOOD[name].replace(old, new)})))
    assert said in found[check]


def test_every_check_is_taken_points_from_once() -> None:
    """Each check stands above as the one that must fail, of one kind of duplicate or the other."""
    named = {check.split("[")[0] for *_, check, _ in WRONG.values()}
    checks = {check.split("[")[0] for check in judged(captured(GOOD))}
    assert checks - named == {"with_a_number_beyond_the_old"}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_not_shown(name: str) -> None:
    """Nothing fails, and nothing passes, for want of evidence."""
    checks = judged(captured({other: script for other, script in GOOD.items() if other != name}))
    assert {check.outcome for check in checks.values()} == {"passed", "not-shown"}
    assert all("the capture shows no " in message for message in lost(checks).values())


def test_a_fin_that_comes_again_is_no_duplicate() -> None:
    """The last ACK is lost: that the FIN comes again, data and all, is another lab."""
    again = f"{OLD.replace('> F. 21:21(0)', '> FP. 21:25(4)').replace('ack 22', 'ack 26')}"
    again += "+.2 > FP. 21:25(4) ack 2 <TS val 600 ecr 900>\n+.001 < . 2:2(0) ack 26 <TS val 1200 ecr 600>"
    assert {check.outcome for check in judged(captured({"old": again})).values()} == {"not-shown"}
