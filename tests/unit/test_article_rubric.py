"""The rubric of the article's lab: on good scripts, on legal ones that differ, and on wrong ones."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.captures.reading import read_capture
from harness.evidence import Evidence, lab_conversation
from harness.grading.results import Check
from harness.tcp.conversation import conversations
from harness.tcp.notation import parse
from tests.judging import checks_of
from tests.pcaps import Frame, encode, frames_of

OPEN = """
+0    > S  0:0(0) win 64240 <mss 1460>
+.001 < S. 0:0(0) ack 1 win 65160 <mss 1460>
+.001 > .  1:1(0) ack 1
"""
BANNERS = """
+.001 > P. 1:19(18) ack 1
+.001 < .  1:1(0) ack 19
+.01  < P. 1:19(18) ack 19
+.001 > .  19:19(0) ack 19
"""
FOUR = """
+.001 > F. 0:0(0) ack 0
+.001 < .  0:0(0) ack 1
+.001 < F. 0:0(0) ack 1
+.001 > .  1:1(0) ack 1
"""
THREE = FOUR.replace("+.001 < .  0:0(0) ack 1\n", "")
BOTH_AT_ONCE = """
+.001 > F. 0:0(0) ack 0
+.001 < F. 0:0(0) ack 0
+.001 < .  1:1(0) ack 1
+.001 > .  1:1(0) ack 1
"""
RESPONDER_FIRST = FOUR.translate(str.maketrans("<>", "><"))
KEY, ECHO, WORD = (">", 36), ("<", 36), 5
# What is said after the banners: who, and how many bytes; 0 is an ACK alone.
Said = Sequence[tuple[str, int]]
EXIT: Said = (*(KEY, ECHO) * WORD, ("<", 72), (">", 0), (">", 60))


def moved(script: str, initiator: int, responder: int) -> str:
    """A close, its numbers counted from where both ends have got to."""
    lines = []
    for line in script.split("\n"):
        if line:
            time, way, flags, place, _, ack = line.split()
            own, peer = (initiator, responder) if way == ">" else (responder, initiator)
            at = int(place.partition(":")[0]) + own
            lines.append(f"{time} {way} {flags} {at}:{at}(0) ack {int(ack) + peer}")
    return "\n".join(lines)


def session(said: Said = EXIT, close: str = FOUR, *, begin: str = OPEN + BANNERS, pause: str = "+.05") -> str:
    """A session: it opens, says what is to be said, and closes."""
    reached, lines = {">": 19, "<": 19}, [begin.strip()]
    for way, length in said:
        at, ack = reached[way], reached["<" if way == ">" else ">"]
        lines.append(f"{pause} {way} {'P.' if length else '.'} {at}:{at + length}({length}) ack {ack}")
        reached[way] += length
    lines.append(moved(close, reached[">"], reached["<"]))
    return "\n".join(" ".join(line.split()) for line in "\n".join(lines).split("\n") if line)


GOOD = session()
# Another window, open all the time.
WINDOW = """
.1   > P. 1:37(36) ack 1
+.1  < P. 1:37(36) ack 37
+.1  > .  37:37(0) ack 37
"""


def frames_for(script: str, port: int, host: str = "192.168.1.64") -> list[Frame]:
    return frames_of(
        parse(script, initiator=f"192.168.1.63:{port}", responder=f"{host}:22", isns=(port * 7, port * 11))
    )


def judged_frames(*connections: list[Frame]) -> dict[str, Check]:
    frames = sorted((frame for one in connections for frame in one), key=lambda frame: frame.time)
    found = conversations(read_capture(encode(frames), "made").segments)
    evidence = Evidence(lab_conversation(found, "made"), conversations=tuple(found))
    return checks_of("article", evidence)


def judged(script: str, window: str = WINDOW) -> dict[str, Check]:
    return judged_frames(frames_for(script, 40001), frames_for(window, 40002))


def lost(checks: dict[str, Check]) -> dict[str, str]:
    """The checks that took points, and what they say."""
    return {name: check.message for name, check in checks.items() if check.outcome != "passed"}


def test_100_points() -> None:
    """Each check has points and one line for the student."""
    checks = judged(GOOD)
    assert lost(checks) == {}
    assert sum(check.points for check in checks.values()) == 100
    assert all(check.points and check.title.endswith(".") for check in checks.values())


MISTYPED = (*(KEY, ECHO) * 4, KEY, ("<", 44), *EXIT)  # e x u t, and one taken back
ACKED: Said = (*(KEY, ECHO, (">", 0)) * WORD, *EXIT[2 * WORD :])
OTHER_WAY_ROUND = """
+.001 < P. 1:19(18) ack 1
+.001 > .  1:1(0) ack 19
+.001 > P. 1:19(18) ack 19
+.001 < .  19:19(0) ack 19
"""
LEGAL = {
    "closed in three": session(close=THREE),
    "closed by both at once": session(close=BOTH_AT_ONCE),
    "closed by the responder": session(close=RESPONDER_FIRST),
    "the responder speaks first": session(begin=OPEN + OTHER_WAY_ROUND),
    "no ACK of a banner by itself": session(begin=OPEN + BANNERS.replace("+.001 < .  1:1(0) ack 19\n", "")),
    "the third step takes the banner along": session(begin=OPEN[: OPEN.index("+.001 >")] + BANNERS.lstrip()),
    "the SYN sent again": GOOD.replace("+.001 < S.", "+1.03 > S 0:0(0) win 64240 <mss 1460>\n+.001 < S.", 1),
    "the SYN-ACK sent again": GOOD.replace(
        "+.001 > . 1:1(0) ack 1\n", "+1 < S. 0:0(0) ack 1 <mss 1460>\n+.001 > . 1:1(0) ack 1\n", 1
    ),
    "each echo acknowledged by itself": session(ACKED),
    "each key acknowledged before its echo": session((*((">", 36), ("<", 0), ("<", 36)) * WORD, *EXIT[2 * WORD :])),
    "a longer sum behind each packet": session([(way, length and length + 32) for way, length in EXIT]),
    "a cipher with smaller blocks": session([(way, length and length - 8) for way, length in EXIT]),
    "mistyped": session(MISTYPED),
    "typed slowly": session(pause="+7.5"),
    "between the keys others that hide them (OpenSSH 9.5)": session((*(KEY, ECHO) * 40, *EXIT)),
    "two that hide the keys on their way at once": session((*EXIT[:4], KEY, KEY, ECHO, ECHO, *EXIT)),
    "two on their way at once, the first echoed before the second arrived": session(
        (*EXIT[:6], KEY, KEY, ECHO, ECHO, *EXIT[6:])
    ).replace("< P. 127:163(36) ack 199", "< P. 127:163(36) ack 163"),
    "ServerAliveInterval while it is typed": session((*EXIT[:4], (">", 60), ("<", 28), *EXIT[4:])),
    "ClientAliveInterval while it is typed": session((*EXIT[:4], ("<", 60), (">", 28), *EXIT[4:])),
    "a long echo": session((KEY, ("<", 44), KEY, ("<", 36), ("<", 36), *EXIT[4:])),
    "a key sent again before its echo": GOOD.replace(
        "< P. 55:91(36) ack 91", "> P. 55:91(36) ack 55\n+.01 < P. 55:91(36) ack 91"
    ),
    "a key and its echo sent again": GOOD.replace(
        "< P. 55:91(36) ack 91",
        "< P. 55:91(36) ack 91\n+.2 > P. 55:91(36) ack 91\n+.01 < P. 55:91(36) ack 91\n+.01 > . 91:91(0) ack 91",
    ),
    "a key that left before the last word arrived": session((*EXIT[:4], ("<", 200), *EXIT[4:])).replace(
        "> P. 91:127(36) ack 291", "> P. 91:127(36) ack 91"
    ),
    "TCP keep-alive while it is typed": GOOD.replace(
        "+.05 > P. 91:127", "+9 > . 90:90(0) ack 91\n+.01 < . 91:91(0) ack 91\n+.05 > P. 91:127"
    ),
    "a last FIN again": f"{GOOD}\n+.2 < F. 271:271(0) ack 260\n+.001 > . 260:260(0) ack 272",
}


@pytest.mark.parametrize("legal", LEGAL)
def test_what_is_legal_loses_nothing(legal: str) -> None:
    assert LEGAL[legal] != GOOD
    assert lost(judged(LEGAL[legal])) == {}


@pytest.mark.parametrize(
    "window",
    [
        session(),  # opened later, and left by exit as well
        session((*EXIT[:2], (">", 0))),
        WINDOW.replace("\n.1", "\n.3"),
    ],
    ids=["whole", "another length", "slower"],
)
def test_any_window_will_do(window: str) -> None:
    """It may be as whole as the session, or have been open before and after."""
    later = [replace(frame, time=frame.time + 50_000_000) for frame in frames_for(window, 40002)]
    assert lost(judged_frames(frames_for(GOOD, 40001), later)) == {}


def test_a_window_to_another_host_will_do() -> None:
    """What disturbs a listing of port 22 is any connection to a port 22."""
    assert lost(judged_frames(frames_for(GOOD, 40001), frames_for(WINDOW, 40001, "192.168.1.65"))) == {}


def test_frames_captured_twice_lose_nothing() -> None:
    """Each frame twice, as a mirror port may have it: equal in all, some microseconds later."""
    doubled = [twin for f in frames_for(GOOD, 40001) for twin in (f, replace(f, time=f.time + 5000))]
    assert lost(judged_frames(doubled, frames_for(WINDOW, 40002))) == {}


def test_more_lines_before_the_responders_banner() -> None:
    """Only the end that is called may say something else first (RFC 4253 §4.2)."""
    for port, loses in ((22, False), (40001, True)):
        frames = frames_for(GOOD, 40001)
        said = b"hi\r\nSSH-2.0-Tst\r\n\n"
        first = next(frame for frame in frames if frame.payload and frame.sport == port)
        changed = [replace(frame, payload=said) if frame is first else frame for frame in frames]
        assert len(said) == len(first.payload)
        found = lost(judged_frames(changed, frames_for(WINDOW, 40002)))
        assert set(found) == ({"then_the_banners"} if loses else set())


# What is changed, to what, the check that must fail, and what it says.
WRONG = {
    "a word between the first three": (
        "+.001 > . 1:1(0) ack 1\n",
        "+.001 < . 1:1(0) ack 1\n+.001 > . 1:1(0) ack 1\n",
        "the_first_three",
        "",
    ),
    "a SYN with FIN": ("> S 0:0(0)", "> FS 0:0(0)", "the_first_three", ""),
    "the SYN-ACK names another number": ("< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2", "their_numbers", "+ 1 ="),
    "the third step names the ISN": ("> . 1:1(0) ack 1\n", "> . 1:1(0) ack 0\n", "their_numbers", "+ 1 ="),
    "the third step stands elsewhere": ("> . 1:1(0) ack 1\n", "> . 2:2(0) ack 1\n", "their_numbers", "seq"),
    "a gap before the banner": ("> P. 1:19(18) ack 1\n", "> P. 2:20(18) ack 1\n", "then_the_banners", "seq"),
    "a banner without the flag ACK": (
        "> P. 1:19(18) ack 1\n",
        "> P 1:19(18)\n",
        "then_the_banners",
        "has the flag ACK off",
    ),
    "a banner acknowledged by one": ("< . 1:1(0) ack 19", "< . 1:1(0) ack 2", "each_banner_is_acknowledged", "+ 18 ="),
    "a banner acknowledged too far": (
        "> . 19:19(0) ack 19",
        "> . 19:19(0) ack 20",
        "each_banner_is_acknowledged",
        "+ 18 =",
    ),
    "an echo that acknowledges one byte": (
        "< P. 55:91(36) ack 91",
        "< P. 55:91(36) ack 56",
        "each_key_is_echoed",
        "+ 36 =",
    ),
    "an echo that stands elsewhere": ("< P. 55:91(36) ack 91", "< P. 57:93(36) ack 91", "each_key_is_echoed", ""),
    "a key that acknowledges a part": ("> P. 91:127(36) ack 91", "> P. 91:127(36) ack 90", "each_key_is_echoed", "ack"),
    "a key without the flag ACK": (
        "> P. 91:127(36) ack 91",
        "> P 91:127(36)",
        "each_key_is_echoed",
        "has the flag ACK off",
    ),
    "an echo without the flag ACK": (
        "< P. 55:91(36) ack 91",
        "< P 55:91(36)",
        "each_key_is_echoed",
        "has the flag ACK off",
    ),
    "a FIN with the first key": (
        "> P. 19:55(36) ack 19",
        "> FP. 19:55(36) ack 19",
        "six_packets_end_before_the_close",
        "is number 1",
    ),
    "a FIN among the keys": (
        "< P. 55:91(36) ack 91",
        "< P. 55:91(36) ack 91\n+.001 > F. 91:91(0) ack 91",
        "six_packets_end_before_the_close",
        "is number 5",
    ),
    "a FIN acknowledged too far": ("> . 260:260(0) ack 272", "> . 260:260(0) ack 273", "each_end_closes", "+ 1 ="),
    "a FIN that nobody counts": (
        "< . 271:271(0) ack 260\n+.001 < F. 271:271(0) ack 260",
        "< F. 271:271(0) ack 259",
        "each_end_closes",
        "no ACK of the initiator's FIN",
    ),
    "an urgent FIN": ("< F. 271:271(0)", "< FU. 271:271(0)", "the_close_in_order", ""),
    "data behind a FIN": ("> . 260:260(0) ack 272", "> P. 260:264(4) ack 272", "the_close_in_order", "beyond the FIN"),
    "the last ACK stands elsewhere": ("> . 260:260(0) ack 272", "> . 258:258(0) ack 272", "the_close_in_order", "seq"),
    "a RST instead of the last ACK": ("> . 260:260(0) ack 272", "> R 260:260(0) win 0", "the_close_in_order", "R"),
    "a FIN that takes an ACK back": ("> F. 259:259(0) ack 271", "> F. 259:259(0) ack 270", "the_close_in_order", "ack"),
    "an ACK before what it acknowledges": (
        "> F. 259:259(0) ack 271",
        "> F. 259:259(0) ack 272",
        "the_close_in_order",
        "ack",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_loses_points(wrong: str) -> None:
    old, new, name, said = WRONG[wrong]
    assert GOOD.count(old) == 1
    found = lost(judged(GOOD.replace(old, new)))
    assert name in found
    assert said in found[name], found


def test_every_check_is_taken_points_from() -> None:
    """Each check fails above, or below for want of a window that talks at the time."""
    checks = judged(GOOD)
    assert set(checks) - {name for *_, name, _ in WRONG.values()} == {"another_session_beside_it"}


def test_without_a_window() -> None:
    """None at all is not shown; one that is silent, or open at another time, is not what was asked for."""
    (alone,) = (checks["another_session_beside_it"] for checks in (judged_frames(frames_for(GOOD, 40001)),))
    assert (alone.outcome, alone.message) == (
        "not-shown",
        "not shown: the capture shows no other connection to the same port",
    )
    hour = 3600 * 10**9
    for window in (
        [frame for frame in frames_for(WINDOW, 40002) if not frame.payload],
        [replace(frame, time=frame.time - hour) for frame in frames_for(WINDOW, 40002)],
        [replace(frame, time=frame.time + hour) for frame in frames_for(WINDOW, 40002)],
    ):
        checks = judged_frames(frames_for(GOOD, 40001), window)
        assert set(lost(checks)) == {"another_session_beside_it"}
        assert checks["another_session_beside_it"].outcome == "failed"


NOT_SHOWN = {
    "cut before the close": (
        GOOD[: GOOD.index("+.001 > F.")],
        {"six_packets_end_before_the_close", "each_end_closes", "the_close_in_order"},
    ),
    "cut before the last ACK": (GOOD[: GOOD.rindex("+.001 > .")], {"each_end_closes"}),
    "cut before the word": (
        session(EXIT[:2], "", begin=OPEN + BANNERS),
        {"each_key_is_echoed", "six_packets_end_before_the_close", "each_end_closes", "the_close_in_order"},
    ),
    "exit pasted": (
        session(((">", 44), ("<", 148), ("<", 72), (">", 0), (">", 60))),
        {"each_key_is_echoed", "six_packets_end_before_the_close"},
    ),
    "a key of four sent again": (
        session((*(KEY, ECHO) * 4, ("<", 72), (">", 0), (">", 60))).replace(
            "< P. 55:91(36) ack 91", "< P. 55:91(36) ack 91\n+.2 > P. 55:91(36) ack 55\n+.01 < P. 55:91(36) ack 91"
        ),
        {"each_key_is_echoed", "six_packets_end_before_the_close"},
    ),
    "left by Ctrl-D": (
        session((KEY, ECHO, KEY, ("<", 148), (">", 0), (">", 60))),
        {"each_key_is_echoed", "six_packets_end_before_the_close"},
    ),
    "begun too late": ("\n".join(GOOD.split("\n")[2:]), {"their_numbers", "then_the_banners"}),
}


@pytest.mark.parametrize("cut", NOT_SHOWN)
def test_what_is_not_there_is_not_shown(cut: str) -> None:
    """What the capture does not hold is not shown: it neither passes nor fails."""
    script, wanted = NOT_SHOWN[cut]
    checks = judged(script)
    assert {name for name, check in checks.items() if check.outcome == "not-shown"} == wanted


def test_a_listing_is_judged_as_far_as_it_goes() -> None:
    """The article's own two, one behind the other: the banners' lengths are shown, the close is not."""
    from tests.unit.test_listing import HANDSHAKE

    found = conversations(read_capture(HANDSHAKE, "the article's").segments)
    evidence = Evidence(lab_conversation(found, "the article's"), conversations=tuple(found))
    checks = {name: check.outcome for name, check in checks_of("article", evidence).items()}
    assert {name for name, outcome in checks.items() if outcome == "passed"} == {"the_first_three", "then_the_banners"}
    assert set(checks.values()) == {"passed", "not-shown"}
