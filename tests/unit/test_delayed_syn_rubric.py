"""The rubric of delayed-syn: on a good script, on legal ones that differ, and on wrong ones."""

from dataclasses import replace

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

WANTED = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > .  1:1(0) ack 1
+.1   > P. 1:101(100) ack 1
+.001 < .  1:1(0) ack 101
+.1   < P. 1:301(300) ack 101
+.001 > .  101:101(0) ack 301
+.1   > F. 101:101(0) ack 301
+.001 < .  301:301(0) ack 102
+.1   < F. 301:301(0) ack 102
+.001 > .  102:102(0) ack 302
"""
AT_ONCE = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > R  1:1(0) win 0
"""
HALF_OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+1.01 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > R  1:1(0) win 0
"""
GOOD = {"wanted": WANTED, "at-once": AT_ONCE, "half-open": HALF_OPEN}


def frames_of_scripts(scripts: list[str]) -> list[Frame]:
    """One capture of these connections, one after another."""
    frames = []
    for place, script in enumerate(scripts):
        one, two = f"192.168.1.63:{10001 + place}", f"192.168.1.64:{20001 + place}"
        frames += frames_of(parse(script, initiator=one, responder=two, start=1_700_000_000 + 100 * place))
    return frames


def judged_frames(frames: list[Frame]) -> dict[str, Check]:
    found = conversations(read_capture(encode(frames), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of("delayed-syn", evidence)


def judged(*scripts: str) -> dict[str, Check]:
    return judged_frames(frames_of_scripts(list(scripts)))


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


def test_100_points() -> None:
    """Whatever stands between; each check has points and one line for the student."""
    for scripts in ([WANTED, AT_ONCE, HALF_OPEN], [WANTED, HALF_OPEN, WANTED, AT_ONCE, HALF_OPEN]):
        checks = judged(*scripts)
        assert lost(checks) == {}
        assert sum(check.points for check in checks.values()) == 100
        assert all(check.points and check.title for check in checks.values())


LEGAL = {
    "the responder closes first": (
        "wanted",
        WANTED[: WANTED.index("+.1   > F.")]
        + """
+.1   < F. 301:301(0) ack 101
+.001 > .  101:101(0) ack 302
+.1   > F. 101:101(0) ack 302
+.001 < .  302:302(0) ack 102
""",
    ),
    "three segments for the close": ("wanted", WANTED.replace("+.001 < .  301:301(0) ack 102\n", "")),
    "the SYN was sent twice before it was given up": (
        "at-once", AT_ONCE.replace("+.001 < S.", "+.001 > S 0:0(0) win 64240 <mss 1460>\n+.001 < S.")
    ),
    "it was sent twice, and each is answered": (
        "at-once",
        f"""{AT_ONCE}
+.001 > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 7000:7000(0) ack 1 win 65160 <mss 1460>
+.001 > R  1:1(0) win 0
""",
    ),
    "two SYNs, two answers, two RSTs": (
        "at-once", "".join(line * 2 for line in AT_ONCE.replace("+.001", "+.0005").splitlines(keepends=True))
    ),
    "no room for data": ("at-once", AT_ONCE.replace("win 65160", "win 0")),
    "older systems wait 3 s": ("half-open", HALF_OPEN.replace("+1.01", "+3.02")),
    "two RSTs are lost": (
        "half-open",
        HALF_OPEN.replace("+.001 > R", "+2.02 < S. 0:0(0) ack 1 win 65160 <mss 1460>\n+.001 > R"),
    ),
    "the lost RST is seen": ("half-open", HALF_OPEN.replace("+1.01", "+.001 > R 1:1(0) win 0\n+1.01")),
    "the RST comes late, and another": ("half-open", f"{HALF_OPEN}+.001 > R 1:1(0) win 0"),
}  # fmt: skip


@pytest.mark.parametrize("legal", LEGAL)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    name, script = LEGAL[legal]
    assert script != GOOD[name]
    assert lost(judged(*{**GOOD, name: script}.values())) == {}


def test_frames_captured_twice_lose_nothing() -> None:
    """Each frame twice, as a mirror port may have it: equal in all, some microseconds later."""
    frames = [replace(frame, ip_id=0) for frame in frames_of_scripts(list(GOOD.values()))]
    doubled = [twin for frame in frames for twin in (frame, replace(frame, time=frame.time + 5000))]
    assert lost(judged_frames(doubled)) == {}


# Which script is changed, what, to what, the check that must fail, and what it says.
WRONG = {
    "another ack": ("wanted", "+.001 < S. 0:0(0) ack 1", "+.001 < S. 0:0(0) ack 2",
                    "the_wanted_connection_opens", "ack"),
    "data that does not follow": ("wanted", "< P. 1:301(300)", "< P. 9:309(300)", "it_is_used_and_closed",
                                  "does not stand where"),
    "not closed": ("wanted", "+.001 > .  102:102(0) ack 302\n", "", "it_is_used_and_closed", "no ACK"),
    "a SYN with FIN": ("at-once", "> S ", "> SF ", "it_looks_like_any_other[at-once]", "FS"),
    "the SYN is not acknowledged by its number": ("at-once", "ack 1 win", "ack 2 win", "so_it_is_answered[at-once]",
                                                  "ack"),
    "a RST with a number of its own": ("at-once", "> R  1:1(0)", "> R  5:5(0)", "the_answer_is_refused[at-once]",
                                       "seq"),
    "a RST with ACK": ("half-open", "> R  1:1(0) win", "> R. 1:1(0) ack 1 win", "the_answer_is_refused[half-open]",
                       "R."),
    "a third step after all": ("at-once", "+.001 > R ", "+.001 > . 1:1(0) ack 1\n+.001 > R ",
                               "the_answer_is_refused[at-once]", "refused at once"),
    "data": ("half-open", "+.001 > R  1:1(0) win 0", "+.001 > R  1:5(4) win 0", "nothing_else_is_said[half-open]",
             "length 4"),
    "a RST too many": ("at-once", "> R  1:1(0) win 0", "> R  1:1(0) win 0\n+.1 > R 1:1(0) win 0",
                       "nothing_else_is_said[at-once]", "refuses no answer"),
    "a word after the RST": ("half-open", "> R  1:1(0) win 0",
                             "> R  1:1(0) win 0\n+2 < S. 0:0(0) ack 1 win 65160 <mss 1460>",
                             "nothing_else_is_said[half-open]", "refused by nobody"),
    "the responder takes it for established": ("at-once", "> R  1:1(0) win 0",
                                               "> R  1:1(0) win 0\n+.1 < F. 1:1(0) ack 1",
                                               "nobody_is_established[at-once]", ""),
    "another number the second time": ("half-open", "+1.01 < S. 0:0(0)", "+1.01 < S. 9:9(0)",
                                       "half_open_it_answers_again", "seq"),
    "again too early": ("half-open", "+1.01", "+.2", "after_a_timeout", "comes 0.200 s after"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    name, old, new, check, said = WRONG[wrong]
    assert GOOD[name].count(old) == 1
    found = lost(judged(*{**GOOD, name: GOOD[name].replace(old, new)}.values()))
    assert said in found[check]


@pytest.mark.parametrize("name", ["at-once", "half-open"])
def test_a_syn_that_comes_too_early_is_not_old(name: str) -> None:
    """The wanted connection must be over: else the initiator's host may know of something."""
    first, *rest = sorted(GOOD, key=lambda other: other != name)
    found = lost(judged(GOOD[first], *(GOOD[other] for other in rest)))
    assert list(found) == [f"the_old_syn_comes_when_that_is_over[{name}]"]
    assert "the wanted connection's end" in found[f"the_old_syn_comes_when_that_is_over[{name}]"]


def test_every_check_is_taken_points_from_once() -> None:
    """Each check stands above as the one that must fail, of one kind of refusal or the other."""
    named = {check.split("[")[0] for *_, check, _ in WRONG.values()}
    assert {check.split("[")[0] for check in judged(*GOOD.values())} - named == {"the_old_syn_comes_when_that_is_over"}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_missing_is_not_shown(name: str) -> None:
    """Nothing fails, and nothing passes, for want of evidence."""
    checks = judged(*(script for other, script in GOOD.items() if other != name))
    assert {check.outcome for check in checks.values()} == {"passed", "not-shown"}
    assert all("the capture shows no " in message for message in lost(checks).values())


def test_an_abort_is_no_refusal() -> None:
    """Who opens a connection and then aborts it had wanted it."""
    aborted = AT_ONCE.replace("+.001 > R  1:1(0)", "+.001 > . 1:1(0) ack 1\n+.1 > R 1:1(0)")
    assert {check.outcome for check in judged(aborted).values()} == {"not-shown"}
    assert lost(judged(aborted, *GOOD.values())) == {}
