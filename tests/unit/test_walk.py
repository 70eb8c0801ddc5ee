"""What harness.tcp.walk promises: both ends' states (RFC 9293 figure 5), told from the segments alone."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from harness.tcp.conversation import Conversation, conversations
from harness.tcp.ends import ENDS, other
from harness.tcp.notation import parse
from harness.tcp.segment import NotShown
from harness.tcp.states import State
from harness.tcp.walk import Step

HANDSHAKE = """
    +0 > S  0:0(0)
    +0 < S. 0:0(0) ack 1
    +0 > .  1:1(0) ack 1
"""
FOUR_SEGMENTS = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
THREE_SEGMENTS = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
SIMULTANEOUS_OPEN = """
    +0 > S  0:0(0)
    +0 < S  0:0(0)
    +0 > S. 0:0(0) ack 1
    +0 < S. 0:0(0) ack 1
"""
SIMULTANEOUS_CLOSE = """
    +0 > F. 1:1(0) ack 1
    +0 < F. 1:1(0) ack 1
    +0 > .  2:2(0) ack 2
    +0 < .  2:2(0) ack 2
"""
LOST_LAST_ACK = """
    +0 > F. 1:1(0) ack 1
    +0 < .  1:1(0) ack 2
    +0 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
    +1 < F. 1:1(0) ack 2
    +0 > .  2:2(0) ack 2
"""
DATA = """
    +0 > P. 1:22(21) ack 1
    +0 < .  1:1(0) ack 22
    +0 < P. 1:41(40) ack 22
    +0 > .  22:22(0) ack 41
"""
SHORT = {
    "C": State.CLOSED,
    "L": State.LISTEN,
    "SS": State.SYN_SENT,
    "SR": State.SYN_RECEIVED,
    "E": State.ESTABLISHED,
    "F1": State.FIN_WAIT_1,
    "F2": State.FIN_WAIT_2,
    "CW": State.CLOSE_WAIT,
    "CG": State.CLOSING,
    "LA": State.LAST_ACK,
    "TW": State.TIME_WAIT,
}


def states(short: str) -> tuple[State, ...]:
    """States from their short names."""
    return tuple(SHORT[name] for name in short.split())


def one(text: str) -> Conversation:
    """The only conversation of a script."""
    (found,) = conversations(parse(text))
    return found


# Script, and the paths of the initiator and the responder ("": who answers a SYN with a RST has no connection at all).
SCENARIOS = {
    "three-way open": (HANDSHAKE, "C SS E", "L SR E"),
    "three-way open with data in the third": (
        "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > P. 1:9(8) ack 1",
        *("C SS E", "L SR E"),
    ),
    "SYN sent again": ("+0 > S 0:0(0)\n+1 > S 0:0(0)\n+2 > S 0:0(0)", "C SS", "L"),
    "SYN-ACK sent again": (
        "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+1 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1",
        *("C SS E", "L SR E"),
    ),
    "no third step": ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1", "C SS", "L SR"),
    "simultaneous open": (SIMULTANEOUS_OPEN, "C SS SR E", "L SS SR E"),
    "simultaneous open, the other SYN-ACK first": (
        "+0 > S 0:0(0)\n+0 < S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > S. 0:0(0) ack 1",
        *("C SS SR E", "L SS SR E"),
    ),
    "SYNs that crossed": ("+0 > S 0:0(0)\n+0 < S 0:0(0)", "C SS", "L SS"),
    "refused": ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1", "C SS C", ""),
    "a RST that acknowledges no SYN": ("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 77", "C SS", ""),
    "a RST without ACK against a SYN": ("+0 > S 0:0(0)\n+0 < R 0:0(0)", "C SS", ""),
    "the opener gives up": ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R 1:1(0)", "C SS C", "L SR L"),
    "data": (HANDSHAKE + DATA, "C SS E", "L SR E"),
    "four segments": (HANDSHAKE + FOUR_SEGMENTS, "C SS E F1 F2 TW", "L SR E CW LA C"),
    "four segments, the responder first": (
        HANDSHAKE + FOUR_SEGMENTS.translate(str.maketrans("<>", "><")),
        *("C SS E CW LA C", "L SR E F1 F2 TW"),
    ),
    "three segments": (HANDSHAKE + THREE_SEGMENTS, "C SS E F1 F2 TW", "L SR E CW LA C"),
    "three segments, the last ACK missing": (
        HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 2",
        *("C SS E F1 F2", "L SR E CW LA"),
    ),
    "simultaneous close": (HANDSHAKE + SIMULTANEOUS_CLOSE, "C SS E F1 CG TW", "L SR E F1 CG TW"),
    "simultaneous close, one ACK": (
        HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 1\n+0 > . 2:2(0) ack 2",
        *("C SS E F1 CG", "L SR E F1 CG TW"),
    ),
    "one FIN": (HANDSHAKE + "+0 > F. 1:1(0) ack 1", "C SS E F1", "L SR E"),
    "half-closed": (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2", "C SS E F1 F2", "L SR E CW"),
    "half-closed, data flows on": (
        HANDSHAKE
        + "+0 > F. 1:1(0) ack 1\n+0 < P. 1:9(8) ack 2\n+0 > . 2:2(0) ack 9\n+0 < F. 9:9(0) ack 2\n+0 > . 2:2(0) ack 10",
        *("C SS E F1 F2 TW", "L SR E CW LA C"),
    ),
    "an old ACK does not acknowledge a FIN": (
        HANDSHAKE + "+0 > FP. 1:9(8) ack 1\n+0 < . 1:1(0) ack 9",
        *("C SS E F1", "L SR E"),
    ),
    "FIN in the third step": (
        "+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1" + THREE_SEGMENTS,
        *("C SS E F1 F2 TW", "L SR E CW LA C"),
    ),
    "first FIN sent again": (
        HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+1 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2",
        *("C SS E F1 F2 TW", "L SR E CW LA C"),
    ),
    "last FIN sent again before its ACK": (
        HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 2\n+1 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2",
        *("C SS E F1 F2 TW", "L SR E CW LA C"),
    ),
    "last ACK lost": (HANDSHAKE + LOST_LAST_ACK, "C SS E F1 F2 TW", "L SR E CW LA C"),
    "last ACK lost, and not sent again": (
        HANDSHAKE + LOST_LAST_ACK.rstrip().rpartition("\n")[0],
        *("C SS E F1 F2 TW", "L SR E CW LA"),
    ),
    "last ACK lost twice": (
        HANDSHAKE + LOST_LAST_ACK + "+1 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2",
        *("C SS E F1 F2 TW", "L SR E CW LA C"),
    ),
    "RST of the initiator": (HANDSHAKE + DATA + "+0 > R 22:22(0)", "C SS E C", "L SR E C"),
    "RST of the responder": (HANDSHAKE + DATA + "+0 < R. 41:41(0) ack 22", "C SS E C", "L SR E C"),
    "RST far out of the window": (HANDSHAKE + "+0 > R 900000:900000(0)", "C SS E C", "L SR E"),
    "RST after a FIN": (
        HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n+0 < R 1:1(0)",
        *("C SS E F1 F2 C", "L SR E CW C"),
    ),
    "captured from the middle": (DATA, "E", "E"),
    "captured from the middle to the end": (
        DATA + "+0 > F. 22:22(0) ack 41\n+0 < F. 41:41(0) ack 23\n+0 > . 23:23(0) ack 42",
        *("E F1 F2 TW", "E CW LA C"),
    ),
    "captured from the first FIN": (THREE_SEGMENTS, "E F1 F2 TW", "E CW LA C"),
    "captured from the SYN-ACK": ("+0 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1", "SS E", "L SR E"),
}


@pytest.mark.parametrize(("script", "initiator", "responder"), SCENARIOS.values(), ids=SCENARIOS)
def test_paths_of_both_ends(script: str, initiator: str, responder: str) -> None:
    """Each end's states are those that the RFC gives it, and nothing in them is illegal."""
    conversation = one(script)
    for index, (end, short) in enumerate(zip(ENDS, (initiator, responder), strict=True)):
        if short:
            assert conversation.states(end) == states(short)
            assert conversation.states_by_row[-1][index] is states(short)[-1]
    assert conversation.illegal == ()


@pytest.mark.parametrize(
    ("script", "by_row"),
    [
        (HANDSHAKE, ["SS L", "SS SR", "E E"]),
        (HANDSHAKE + FOUR_SEGMENTS, ["SS L", "SS SR", "E E", "F1 E", "F2 CW", "F2 LA", "TW C"]),
        (HANDSHAKE + THREE_SEGMENTS, ["SS L", "SS SR", "E E", "F1 E", "F2 LA", "TW C"]),
        (HANDSHAKE + SIMULTANEOUS_CLOSE, ["SS L", "SS SR", "E E", "F1 E", "F1 F1", "CG TW", "TW TW"]),
        (SIMULTANEOUS_OPEN, ["SS L", "SS SS", "SR SS", "E E"]),
        (HANDSHAKE + LOST_LAST_ACK, ["SS L", "SS SR", "E E", "F1 E", "F2 CW", "F2 LA", "TW C", "TW LA", "TW C"]),
        (DATA, ["E E"] * 4),
    ],
    ids=["open", "four", "three", "simultaneous close", "simultaneous open", "lost ACK", "middle"],
)
def test_states_after_each_segment(script: str, by_row: list[str]) -> None:
    """An end has received a SYN or a FIN when its own ACK covers it; an ACK, when it is seen."""
    assert list(one(script).states_by_row) == [states(both) for both in by_row]


@pytest.mark.parametrize(
    ("script", "frame", "end", "name"),
    [
        ("+0 > S 0:0(0)\n+0 > F 1:1(0)", 2, "initiator", "fin-before-open"),
        ("+0 > S 0:0(0)\n+0 < F 0:0(0)", 2, "responder", "fin-when-closed"),
        ("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 0", 2, "responder", "syn-ack-unasked"),
        (HANDSHAKE + "+0 > S 1:1(0)", 4, "initiator", "syn-when-open"),
        (HANDSHAKE + "+0 < S 1:1(0)", 4, "responder", "syn-when-open"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 > S 2:2(0)", 5, "initiator", "syn-when-open"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < S. 0:0(0) ack 2", 5, "responder", "syn-when-open"),
    ],
)
def test_what_the_rfc_does_not_know_is_named(script: str, frame: int, end: str, name: str) -> None:
    """An illegal step has its name, its segment and its end, and leaves the state as it was."""
    conversation = one(script)
    found = [(conversation.at(s.row).frame, ENDS[s.end], s.illegal) for s in conversation.illegal]
    assert found == [(frame, end, name)]


# Any capture

WHOLE = [script for name, (script, _, _) in SCENARIOS.items() if not name.startswith("captured")]


def rows_of(script: str) -> list[str]:
    """The lines of a script."""
    return [line.strip() for line in script.splitlines() if line.strip()]


@st.composite
def damaged(draw: st.DrawFn) -> list[str]:
    """A scenario with segments lost, doubled, swapped, and with wrong flags."""
    lines = rows_of(draw(st.sampled_from([script for script, _, _ in SCENARIOS.values()])))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["lose", "double", "swap", "flags"])):
            case "lose" if len(lines) > 1:
                del lines[place]
            case "double":
                lines.insert(draw(st.integers(place, len(lines))), lines[place])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[place], lines[other] = lines[other], lines[place]
            case "flags":
                time, way, _, *rest = lines[place].split()
                flags = draw(st.sampled_from(["S", "S.", "F.", "F", "R", "R.", ".", "P.", "none", "SF", "FR", "SR."]))
                lines[place] = " ".join([time, way, flags, *rest])
    return lines


def look_at_everything(conversation: Conversation) -> None:
    """Ask a conversation all there is to ask; what is not shown may say so."""
    names = ("open", "close", "closer", "active_closers", "is_over", "conn_state", "history", "completeness", "illegal")
    for name in names:
        getattr(conversation, name)
    for name in ("syn", "syn_ack", "handshake_ack"):
        try:
            getattr(conversation, name)
        except NotShown:
            continue
    for segment in conversation.segments:
        assert repr(segment)
        for name in ("in_place", "repeats", "offset", "expected_seq", "highest_sent_by_peer", "acked_before", "end"):
            getattr(segment, name)


@settings(max_examples=50, deadline=None)
@given(lines=damaged())
def test_no_cut_and_no_damage_is_an_exception(lines: list[str]) -> None:
    """Whatever of a capture is left, everything that can be asked has an answer, or is not shown."""
    for count in range(1, len(lines) + 1):
        for conversation in conversations(parse("\n".join(lines[:count]))):
            look_at_everything(conversation)
            for index, end in enumerate(ENDS):
                assert conversation.states(end)[-1] is conversation.states_by_row[-1][index]


@st.composite
def repeated(draw: st.DrawFn) -> list[str]:
    """A whole scenario with some segments lost after the handshake, and some sent again later."""
    lines = rows_of(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        if draw(st.booleans()):
            lines.insert(draw(st.integers(place + 1, len(lines))), lines[place])
        elif place > 2:
            del lines[place]
    return lines


def sends_a_fin_again_before_its_ack(conversation: Conversation) -> bool:
    """Whether an end sends its FIN twice while nothing has acknowledged it."""
    waiting: dict[str, int | None] = dict.fromkeys(ENDS)
    for segment in conversation.segments:
        peer, (_, end, ack) = other(segment.sender), segment.relative
        if waiting[peer] is not None and ack is not None and ack >= (waiting[peer] or 0):
            waiting[peer] = None
        if segment.has_fin:
            if waiting[segment.sender] is not None:
                return True
            waiting[segment.sender] = end
    return False


@settings(max_examples=50, deadline=None)
@given(lines=repeated())
@example(lines=rows_of(HANDSHAKE + LOST_LAST_ACK))
@example(lines=rows_of(HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 1\n+0 > . 2:2(0) ack 2\n"))
def test_what_comes_later_does_not_change_what_was(lines: list[str]) -> None:
    """The states after a segment depend on the segments up to it; a FIN sent again speaks for its own row only.

    But who refuses was CLOSED from the start, which only its RST can tell; who goes on has sent or taken no RST; and
    where a FIN is sent again before its ACK, the peer had not got it, nor what followed it.
    """
    conversation = one("\n".join(lines))
    assume(not conversation.resets)
    assume(not sends_a_fin_again_before_its_ack(conversation))
    whole = conversation.states_by_row
    for count in range(1, len(lines) + 1):
        assert one("\n".join(lines[:count])).states_by_row == whole[:count]


def test_a_closed_that_was_taken_back_is_not_in_the_path() -> None:
    """LAST-ACK that goes on has not been left: the path has CLOSED once, at the end."""
    conversation = one(HANDSHAKE + LOST_LAST_ACK)
    assert conversation.states("responder").count(State.CLOSED) == 1
    assert [both[1] for both in conversation.states_by_row].count(State.CLOSED) == 2


def test_a_step_says_which_segment_it_is_inferred_from() -> None:
    """A step has its row, its end, the event, the state after it, and no name if it is legal."""
    conversation = one(HANDSHAKE + "+0 > S 1:1(0)")
    assert conversation.illegal == (Step(3, 0, conversation.illegal[0].event, State.ESTABLISHED, "syn-when-open"),)
    assert conversation.illegal[0].event == "snd-SYN"


@pytest.mark.parametrize(
    ("position", "taken"),
    {"below": (500, False), "next": (1001, True), "in the window": (1200, True), "far": (90000, False)}.values(),
)
def test_a_reset_outside_the_window_is_not_taken(position: int, taken: bool) -> None:
    """Acceptable is what lies between what was acknowledged and the window's edge (RFC 9293 §3.10.7.4)."""
    conversation = one(
        HANDSHAKE + f"+0 > P. 1:1001(1000) ack 1\n+0 < . 1:1(0) ack 1001 win 502\n+0 > R {position}:{position}(0)"
    )
    assert conversation.close == ("reset" if taken else "open")
    assert (conversation.states("responder")[-1] is State.CLOSED) is taken


def test_half_open_discovery() -> None:
    """A SYN that finds an old connection: the RST that answers the stranger's ACK closes nothing (RFC 9293 §3.5.1)."""
    script = "+0 > S 0:0(0)\n+0 < . 300:300(0) ack 70\n+0 > R 70:70(0)\n+3 > S 0:0(0)\n"
    conversation = one(script + "+0 < S. 400:400(0) ack 1\n+0 > . 1:1(0) ack 401")
    assert conversation.close == "open"
    assert conversation.closer is None
    assert conversation.states("initiator") == (State.CLOSED, State.SYN_SENT, State.ESTABLISHED)


def test_who_opened_actively_does_not_go_back_to_listen() -> None:
    """A RST in SYN-RECEIVED: back to LISTEN goes only who had listened (RFC 9293 §3.10.7.4)."""
    conversation = one("+0 > S 0:0(0)\n+0 < S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < R 1:1(0)")
    assert conversation.states("initiator")[-2:] == (State.SYN_RECEIVED, State.CLOSED)
    passive = one("+0 > S 0:0(0)\n+0 < S. 0:0(0) ack 1\n+0 > R 1:1(0)")
    assert passive.states("responder") == (State.LISTEN, State.SYN_RECEIVED, State.LISTEN)


def test_an_ack_that_was_lost_is_taken_back() -> None:
    """Who sends its FIN or its SYN-ACK again has not received the ACK that was seen."""
    fin = one(HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n+.2 > F. 1:1(0) ack 1")
    assert fin.states("initiator")[-1] is State.FIN_WAIT_1
    third = one(HANDSHAKE + "+1 < S. 0:0(0) ack 1")
    assert third.states("responder") == (State.LISTEN, State.SYN_RECEIVED)
    again = one(HANDSHAKE + "+1 < S. 0:0(0) ack 1\n+0 > . 1:1(0) ack 1")
    assert again.states("responder") == (State.LISTEN, State.SYN_RECEIVED, State.ESTABLISHED)
    assert again.illegal == ()


def test_a_reset_that_does_not_answer_the_syn_refuses_nothing() -> None:
    """In SYN-SENT a RST counts only with the ACK of the SYN (RFC 9293 §3.10.7.3)."""
    stranger = one("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 77")
    assert (stranger.open, stranger.close, stranger.closer) == ("unanswered", "open", None)
    refused = one("+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1")
    assert (refused.open, refused.close, refused.closer) == ("refused", "reset", "responder")
    assert refused.states("responder") == (State.CLOSED,)
