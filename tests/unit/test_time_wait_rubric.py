"""The rubric of the lab time-wait: on good scripts, on legal ones that differ, and on wrong ones."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.kernel_states import HostStates, SocketState
from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, NotShown, conversations
from harness.tcp.notation import parse
from labs.time_wait import test_time_wait_hosts as hosts
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 100 ecr 0,wscale 7>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 700 ecr 100,wscale 7>
+.001 > .  1:1(0) ack 1 <TS val 101 ecr 700>
"""
CLOSE = """
+.1   > F. 1:1(0) ack 1 <TS val 200 ecr 700>
+.001 < .  1:1(0) ack 2 <TS val 800 ecr 200>
+.1   < F. 1:1(0) ack 2 <TS val 900 ecr 200>
+.001 > .  2:2(0) ack 2 <TS val 300 ecr 900>
"""
AT_ONCE = """
+.1   > F. 1:1(0) ack 1
+.001 < F. 1:1(0) ack 1
+.001 > .  2:2(0) ack 2
+.001 < .  2:2(0) ack 2
"""
AGAIN = """
+.5   > S  65540:65540(0) win 65160 <mss 1460,sackOK,TS val 800 ecr 900,wscale 7>
+.001 < S. 99000:99000(0) ack 65541 win 65160 <mss 1460,sackOK,TS val 1400 ecr 800,wscale 7>
+.001 > .  65541:65541(0) ack 99001 <TS val 801 ecr 1400>
"""


def turned(script: str) -> str:
    """The same, with each segment sent by the other end."""
    return re.sub(" ([<>]) ", lambda way: " > " if way[1] == "<" else " < ", script)


GOOD = {
    "initiator": OPEN + CLOSE,
    "responder": OPEN + turned(CLOSE),
    "both": OPEN + AT_ONCE,
    "again": OPEN + CLOSE + AGAIN,
}
POINTS = 100


def frames_of_scripts(scripts: list[str]) -> list[Frame]:
    """One capture of a connection a script."""
    frames = []
    for port, script in enumerate(scripts, 10001):
        one, two = f"192.168.1.63:{port}", f"192.168.1.64:{port + 10000}"
        frames += frames_of(parse(script, start=1_700_000_000 + 100 * port, initiator=one, responder=two))
    return frames


def judged_frames(frames: list[Frame]) -> dict[str, Check]:
    found = conversations(read_capture(encode(frames), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of("time-wait", evidence)


def judged(*scripts: str) -> dict[str, Check]:
    return judged_frames(frames_of_scripts(list(scripts)))


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


def test_100_points() -> None:
    """In whatever order they come; each check has points and one line for the student."""
    scripts = list(GOOD.values())
    for given in (scripts, scripts[::-1], scripts + scripts):
        checks = judged(*given)
        assert lost(checks) == {}
        assert sum(check.points for check in checks.values()) == POINTS
        assert all(check.points and check.title for check in checks.values())


def test_each_check_belongs_to_one_connection() -> None:
    """Alone, each connection passes its own checks, and shows nothing to the others."""
    names = set(judged(*GOOD.values()))
    passed = {name: names - set(lost(judged(script))) for name, script in GOOD.items()}
    assert {check.outcome for script in GOOD.values() for check in judged(script).values()} == {"passed", "not-shown"}
    assert set.union(*passed.values()) == names
    assert sum(map(len, passed.values())) == len(names)


OTHERWISE = {
    "FIN and ACK in one": ("initiator", "+.001 < .  1:1(0) ack 2 <TS val 800 ecr 200>\n", ""),
    "both close with data": ("both", AT_ONCE, """
        +.1   > FP. 1:6(5) ack 1
        +.001 < FP. 1:4(3) ack 1
        +.001 > .   7:7(0) ack 5
        +.001 < .   5:5(0) ack 7
    """),
    "data after the first FIN": ("responder", "+.1   > F. 1:1(0)",
                                 "+.1 > P. 1:10(9) ack 2\n+.1 < . 2:2(0) ack 10\n+.1   > F. 10:10(0)"),
    "the FIN comes again": ("initiator", "+.001 > .  2:2(0) ack 2 <TS val 300 ecr 900>",
                            "+.001 > . 2:2(0) ack 2\n+.2 < F. 1:1(0) ack 2\n+.001 > . 2:2(0) ack 2"),
    "the peer opens anew": ("again", AGAIN, turned(AGAIN).replace("ecr 900", "ecr 300").replace("val 800", "val 1300")),
    "no timestamps": ("again", "<mss 1460,sackOK,TS val 800 ecr 900,wscale 7>", "<mss 1460>"),
    "a second clock tick has not passed": ("again", "TS val 800 ecr 900", "TS val 300 ecr 900"),
    "the next number": ("again", AGAIN, AGAIN.replace("65540", "2").replace("65541", "3")),
    "just within the minute": ("again", "+.5 ", "+59.9 "),
}  # fmt: skip


@pytest.mark.parametrize("legal", OTHERWISE)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    name, old, new = OTHERWISE[legal]
    script = GOOD[name]
    if legal == "data after the first FIN":
        script = script.replace("< .  2:2(0) ack 2", "< .  2:2(0) ack 11")
    assert script.count(old) == 1
    assert lost(judged(*(GOOD | {name: script.replace(old, new)}).values())) == {}


def test_only_the_end_that_waited_must_remember() -> None:
    """The peer in TIME-WAIT takes a SYN with a number of before, if the clock is later (RFC 6191 §2)."""
    anew = """
    +.5   < S  -9000:-9000(0) win 65160 <mss 1460,sackOK,TS val 1300 ecr 0>
    +.001 > S. 65540:65540(0) ack -8999 win 65160 <mss 1460,sackOK,TS val 800 ecr 1300>
    +.001 < .  -8999:-8999(0) ack 65541 <TS val 1301 ecr 800>
    """
    assert lost(judged(*(GOOD | {"again": OPEN + CLOSE + anew}).values())) == {}
    without = anew.replace(",TS val 1300 ecr 0", "")
    said = lost(judged(*(GOOD | {"again": OPEN + CLOSE + without}).values()))
    assert set(said) == {"new_beyond_doubt"}
    assert "may be of the old connection" in said["new_beyond_doubt"]


def test_frames_captured_twice_lose_nothing() -> None:
    """Each frame twice, as a mirror port may have it: equal in all, some microseconds later."""
    frames = frames_of_scripts(list(GOOD.values()))
    doubled = [twin for frame in frames for twin in (frame, replace(frame, time=frame.time + 5000))]
    assert lost(judged_frames(doubled)) == {}


# Which script is changed, what, to what, the check that must fail, and what it says.
WRONG = {
    "an urgent FIN": ("initiator", "> F. 1:1(0)", "> FU. 1:1(0)", "who_closes_first[initiator]", "[F.U]"),
    "a FIN on top of data": ("responder", "< F. 1:1(0) ack 1", "< P. 1:2(1) ack 1\n+0 < F. 1:1(0) ack 1",
                             "who_closes_first[responder]", "does not follow the responder's last byte"),
    "not the FIN's number": ("initiator", "< F. 1:1(0) ack 2", "< F. 1:1(0) ack 3",
                             "it_acknowledges_last[initiator]", "ack"),
    "an ACK with data": ("responder", "< .  2:2(0) ack 2", "< .  2:4(2) ack 2",
                         "it_acknowledges_last[responder]", "length"),
    "an ACK too far": ("initiator", "> .  2:2(0) ack 2", "> .  2:2(0) ack 3", "it_acknowledges_last[initiator]", "ack"),
    "a RST by the peer": ("initiator", "+.001 > .  2:2(0) ack 2 <TS val 300 ecr 900>",
                          "+.001 > .  2:2(0) ack 2\n+0 < R. 2:2(0) ack 2",
                          "nothing_else[initiator]", "belongs to no close"),
    "the dead speak": ("responder", "+.001 < .  2:2(0) ack 2 <TS val 300 ecr 900>",
                       "+.001 < .  2:2(0) ack 2\n+.1 > .  2:2(0) ack 2",
                       "nothing_else[responder]", "after the last ACK"),
    "TIME-WAIT speaks": ("both", "+.001 < .  2:2(0) ack 2\n", "+.001 < .  2:2(0) ack 2\n+.1 > .  2:2(0) ack 2",
                         "nothing_else[both]", "after the last ACK"),
    "another ACK of a crossing FIN": ("both", "< .  2:2(0) ack 2", "< .  3:3(0) ack 2", "both_at_once", "seq"),
    "the old one still speaks": ("again", "+.5   > S", "+.1 < . 2:2(0) ack 2\n+.4 > S", "the_same_ports_again",
                                 "after the last ACK"),
    "an old ISN": ("again", AGAIN, AGAIN.replace("65540", "-65540").replace("65541", "-65539"),
                   "beyond_the_old_numbers", "is not beyond the FIN's"),
    "an old clock": ("again", "TS val 800 ecr 900", "TS val 299 ecr 900", "new_beyond_doubt",
                     "has TSval 299, but 300 was told before"),
    "another SYN is acknowledged": ("again", "ack 65541 win", "ack 65542 win", "it_opens_anew", ""),
    "a third step with another number": ("again", "ack 99001", "ack 99002", "it_opens_anew", ""),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    name, old, new, check, said = WRONG[wrong]
    assert GOOD[name].count(old) == 1
    found = judged(*(GOOD | {name: GOOD[name].replace(old, new)}).values())
    assert found[check].outcome == "failed", found[check].message
    assert said in found[check].message
    # Nothing is taken off for what the other connections show.
    kinds = {"again": ("the_same_ports_again", "beyond_the_old_numbers", "new_beyond_doubt", "it_opens_anew")}
    own = kinds.get(name) or tuple(one for one in found if one.endswith(f"[{name}]") or one == f"{name}_at_once")
    assert set(lost(found)) <= set(own)


def test_who_does_not_wait_yet() -> None:
    """An end that has not acknowledged the other's FIN is not in TIME-WAIT."""
    short = GOOD["initiator"].replace("> .  2:2(0) ack 2", "> .  2:2(0) ack 1")
    found = judged(*(GOOD | {"initiator": short}).values())
    assert found["who_waits[initiator]"].outcome == "failed"
    assert "FIN-WAIT-2" in found["who_waits[initiator]"].message


def test_every_check_is_taken_points_from_once() -> None:
    named = {check.split("[")[0] for *_, check, _ in WRONG.values()}
    assert {name.split("[")[0] for name in judged(*GOOD.values())} - named == {"who_waits"}


@pytest.mark.parametrize("late", ["+60.5", "+3600"])
def test_after_a_minute_it_shows_nothing(late: str) -> None:
    """A connection between the same ports after TIME-WAIT has ended is none that cut it short."""
    found = judged(*(GOOD | {"again": GOOD["again"].replace("+.5 ", f"{late} ")}).values())
    assert {name: check.outcome for name, check in found.items() if check.outcome != "passed"} == dict.fromkeys(
        ("the_same_ports_again", "beyond_the_old_numbers", "new_beyond_doubt", "it_opens_anew"), "not-shown"
    )


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_not_shown(name: str) -> None:
    """Nothing fails for want of evidence."""
    checks = judged(*(script for other, script in GOOD.items() if other != name))
    assert {check.outcome for check in checks.values()} == {"passed", "not-shown"}
    assert all("the capture shows no connection" in message for message in lost(checks).values())


# -- what only a live run can know -------------------------------------------------------------------------------------

SCENES = ("initiator-closes", "responder-closes", "simultaneous", "occupied")
MINUTE = [(0.0, "1min"), (0.05, "59sec"), (0.95, "59sec"), (1.05, "58sec")]
TO_ITS_END = [*MINUTE, (50.55, "9.460ms"), (59.6, "400ms"), (60.05, ""), (60.9, "")]
Looks = list[tuple[float, str]]


def recorded(*, looks: dict[str, Looks], ended: bool = False) -> tuple[tuple[Conversation, ...], RunRecord]:
    """A run of the four scenes, whose ends in TIME-WAIT were seen so: at which second, with how much left.

    Args:
        looks: by scene; the same at both ends; a scene that is missing was not seen in TIME-WAIT.
        ended: whether the last look of all showed none of them.
    """
    found = conversations(read_capture(encode(frames_of_scripts(list(GOOD.values()))), "made").segments)
    made: dict[str, Conversation] = dict(zip(SCENES, found, strict=False))
    rows: dict[str, list[SocketState]] = {"server": [], "client": []}
    for name, one in made.items():
        for end, role, ends in zip(
            ENDS, rows, ((one.initiator, one.responder), (one.responder, one.initiator)), strict=True
        ):
            rows[role].append(SocketState(999.0, *ends, "ESTABLISHED"))
            if end in one.active_closers:
                rows[role] += [
                    SocketState(1000.0 + at, *ends, "TIME-WAIT", f"timewait,{left},0")
                    for at, left in looks.get(name, [])
                ]
    states = {}
    for role, all_rows in rows.items():
        last = max(row.time for row in all_rows)
        final = () if ended else tuple(row for row in all_rows if row.time == last)
        samples = sorted((row for row in all_rows if row not in final), key=lambda row: row.time)
        states[role] = HostStates(tuple(samples), None, final)
    document = {
        "connections": {name: {"initiator": one.initiator, "responder": one.responder} for name, one in made.items()},
        "four_tuple": {"initiator": found[0].initiator, "responder": found[0].responder},
        "hosts": {"server": {"address": "192.168.1.63"}, "client": {"address": "192.168.1.64"}},
    }
    return tuple(found), RunRecord(document, states)


def each_end(check: Callable[..., None], *given: object) -> None:
    for end in ENDS:
        check(*given, end)


def failures(*, looks: dict[str, Looks], ended: bool = False) -> dict[str, str]:
    """The live-only checks that fail, and what they say."""
    given = recorded(looks=looks, ended=ended)
    checks: dict[str, Callable[..., None]] = {
        "in the capture": hosts.test_each_scene_is_in_the_capture,
        "states": partial(each_end, hosts.test_kernel_went_through_the_inferred_states),
        "who": partial(each_end, hosts.test_the_closer_pays),
        "timer": hosts.test_its_timer_is_a_minute,
        "early": hosts.test_none_ends_early,
    }
    found = {}
    for name, check in checks.items():
        try:
            check(*given)
        except AssertionError as error:
            found[name] = str(error).splitlines()[0]
    return found


@pytest.mark.parametrize(("looks", "ended"), [(MINUTE, False), (TO_ITS_END, True), (TO_ITS_END[:-1], False)])
def test_a_minute_by_the_kernel(looks: Looks, ended: bool) -> None:
    """Whether it was watched to its end or not, and while the kernel's timer is late."""
    assert failures(looks=dict.fromkeys(SCENES, looks), ended=ended) == {}


def test_two_sockets_that_no_look_tells_apart() -> None:
    """The port that TIME-WAIT held is used again, and no look came between: its timer has begun anew."""
    anew = [(0.0, "58sec"), (0.02, "59sec"), (1.05, "59sec")]
    assert failures(looks={**dict.fromkeys(SCENES, MINUTE), "occupied": anew}) == {}
    assert "off the clock" in failures(looks=dict.fromkeys(SCENES, anew))["timer"]


@pytest.mark.parametrize(
    ("looks", "ended", "name", "said"),
    [
        ([(0.0, "2min"), (1.0, "1min59sec")], False, "timer", "timewait,2min,0 at the first look"),
        ([(0.0, "29sec"), (1.0, "28sec")], False, "timer", "timewait,29sec,0 at the first look"),
        ([(0.0, "59sec"), (1.05, "59sec"), (2.1, "59sec"), (3.2, "59sec")], False, "timer", "off the clock by"),
        ([(0.0, "59sec"), (1.05, "58sec"), (1.1, "40sec"), (1.15, "40sec")], False, "timer", "off the clock by"),
        ([(0.0, "59sec"), (1.0, "what")], False, "timer", "the timer is 'timewait,what,0'"),
        (MINUTE, True, "early", "it was gone after 1.050 s"),
        ([*TO_ITS_END, (70.0, "")], True, "early", "it was there for 70.000 s"),
        ([], False, "who", "the initiator was seen in ['ESTABLISHED']"),
    ],
)
def test_no_minute_by_the_kernel(looks: Looks, ended: bool, name: str, said: str) -> None:
    found = failures(looks=dict.fromkeys(SCENES, looks), ended=ended)
    assert said in found[name]


def test_the_other_end_pays_too() -> None:
    """TIME-WAIT where nobody closed first."""
    found, run = recorded(looks=dict.fromkeys(SCENES, MINUTE))
    server = run.states["server"]
    assert server.samples
    wrong = tuple(replace(row, state="TIME-WAIT") if row.local.endswith(":10002") else row for row in server.samples)
    run = replace(run, states={**run.states, "server": replace(server, samples=wrong)})
    with pytest.raises(AssertionError, match="responder-closes: the initiator was seen in"):
        hosts.test_the_closer_pays(found, run, "initiator")
    with pytest.raises(AssertionError, match="was seen in"):
        hosts.test_kernel_went_through_the_inferred_states(found, run, "initiator")
    with pytest.raises(AssertionError, match="is not in the capture"):
        hosts.test_each_scene_is_in_the_capture(found[:2], run)


def test_nobody_looked() -> None:
    """Without ss there is no evidence of a timer."""
    found, run = recorded(looks={})
    run = replace(run, states={role: HostStates(None, None, None) for role in run.states})
    for check in (hosts.test_its_timer_is_a_minute, hosts.test_none_ends_early):
        with pytest.raises(NotShown):
            check(found, run)
