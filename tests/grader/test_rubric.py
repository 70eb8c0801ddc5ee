"""The grader, graded: every corruption of a good capture loses points, and nothing that is legal TCP does."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.evidence import Evidence, lab_conversation
from harness.grading.judging import judge, judge_many, rubric_folder
from harness.grading.results import Check
from harness.tcp.conversation import Conversation, conversations
from harness.tcp.notation import parse
from tests.grader.mutants import (
    Mutant,
    ack_mutants_that_break_a_rule,
    field_mutants,
    legal_variants,
    order_mutants,
)
from tests.pcaps import Frame, decode, encode, frames_of

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = ("four-segment", "three-segment")

OPENING = """
+0     > S  0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,wscale 7>
+.001  < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,TS val 9 ecr 1,wscale 7>
+.001  > .  1:1(0) ack 1
+.001  > P. 1:22(21) ack 1
+.001  < .  1:1(0) ack 22
+.001  < P. 1:22(21) ack 22
+.001  > .  22:22(0) ack 22
+.001  > P. 22:90(68) ack 22
+.001  < P. 22:82(60) ack 90
+.001  > .  90:90(0) ack 82
"""
CLOSES = {
    "four": "+.1 > F. 90:90(0) ack 82\n+0 < . 82:82(0) ack 91\n+0 < F. 82:82(0) ack 91\n+0 > . 91:91(0) ack 83",
    "three": "+.1 > F. 90:90(0) ack 82\n+0 < F. 82:82(0) ack 91\n+0 > . 91:91(0) ack 83",
    "by the responder": "+.1 < F. 82:82(0) ack 90\n+0 > F. 90:90(0) ack 83\n+0 < . 83:83(0) ack 91",
    "simultaneous": (
        "+.1 > F. 90:90(0) ack 82\n+0 < F. 82:82(0) ack 90\n+0 > . 91:91(0) ack 83\n+0 < . 83:83(0) ack 91"
    ),
    "simultaneous, acked the other way round": (
        "+.1 > F. 90:90(0) ack 82\n+0 < F. 82:82(0) ack 90\n+0 < . 83:83(0) ack 91\n+0 > . 91:91(0) ack 83"
    ),
    "FIN with data": (
        "+.1 > FP. 90:95(5) ack 82\n+0 < . 82:82(0) ack 96\n+0 < F. 82:82(0) ack 96\n+0 > . 96:96(0) ack 83"
    ),
    "half-closed, with data after the first FIN": (
        "+.1 > F. 90:90(0) ack 82\n+0 < . 82:82(0) ack 91\n+.1 < P. 82:92(10) ack 91\n+0 > . 91:91(0) ack 92\n"
        "+.1 < F. 92:92(0) ack 91\n+0 > . 91:91(0) ack 93"
    ),
    "last ACK lost": (
        "+.1 > F. 90:90(0) ack 82\n+0 < . 82:82(0) ack 91\n+0 < F. 82:82(0) ack 91\n+0 > . 91:91(0) ack 83\n"
        "+.2 < F. 82:82(0) ack 91\n+0 > . 91:91(0) ack 83"
    ),
}


def recorded(name: str) -> list[Frame]:
    return decode((DATA / f"{name}.pcap").read_bytes())


def conversation_of(frames: Iterable[Frame]) -> Conversation:
    segments = read_capture(encode(list(frames)), "made").segments
    return lab_conversation(conversations(segments), "made")


def judged(mutants: list[Mutant]) -> list[tuple[Check, ...]]:
    return judge_many("handshake", [Evidence(conversation_of(mutant.frames)) for mutant in mutants])


def points(checks: tuple[Check, ...]) -> int:
    assert all(check.outcome != "not-judged" for check in checks), [c.message for c in checks if c.score is None]
    return sum(check.score or 0 for check in checks)


def survivors(mutants: list[Mutant]) -> list[str]:
    """The mutants that lost nothing."""
    return [str(mutant) for mutant, checks in zip(mutants, judged(mutants), strict=True) if points(checks) == 100]


def losers(mutants: list[Mutant]) -> dict[str, list[str]]:
    """The mutants that lost something, and on which checks."""
    return {
        str(mutant): [f"{check.id}: {check.message}" for check in checks if check.outcome != "passed"]
        for mutant, checks in zip(mutants, judged(mutants), strict=True)
        if points(checks) != 100
    }


def test_the_rubric_has_100_points() -> None:
    """Points sum up to 100, and each check has some and a docstring."""
    (checks,) = judged([Mutant("none", 0, tuple(recorded("four-segment")))])
    assert sum(check.points for check in checks) == 100
    assert all(check.points > 0 and check.title for check in checks)
    assert len({check.id for check in checks}) == len(checks)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_captures_are_good(name: str) -> None:
    """What the lab recorded earns all points; its name says how it closed."""
    frames = recorded(name)
    assert encode(frames)[24:] == (DATA / f"{name}.pcap").read_bytes()[24:]  # decoded and encoded without loss
    results = judge("handshake", Evidence(conversation_of(frames)))
    assert (results.outcome, results.score) == ("passed", 100)
    assert results.connection is not None
    assert results.connection["close"] == name


@pytest.mark.parametrize("mend", [True, False], ids=["checksum mended", "checksum not mended"])
@pytest.mark.parametrize("name", RECORDED)
def test_every_corrupted_field_loses_points(name: str, mend: bool) -> None:
    """SYN, ACK, FIN, RST, seq ± 1, length ± 1 of any segment; ack ± 1 of every control segment."""
    frames = recorded(name)
    mutants = list(field_mutants(frames, conversation_of(frames), mend=mend))
    assert len(mutants) > 6 * len(frames)
    assert survivors(mutants) == []


@pytest.mark.parametrize("name", RECORDED)
def test_every_ack_that_breaks_a_rule_loses_points(name: str) -> None:
    """Ack ± 1 of any other segment that then acknowledges too much, or takes back."""
    frames = recorded(name)
    mutants = list(ack_mutants_that_break_a_rule(frames, conversation_of(frames)))
    assert len(mutants) > len(frames) // 2
    assert survivors(mutants) == []


@pytest.mark.parametrize("name", RECORDED)
def test_dropped_and_swapped_control_segments_lose_points(name: str) -> None:
    """A control segment dropped, or two of them swapped.

    One drop leaves nothing that is wrong: without the ACK of its first FIN, a four-segment close is a three-segment
    close, as legal as any. That a frame is missing there is for a human to suspect, not for a mark.
    """
    frames = recorded(name)
    conversation = conversation_of(frames)
    mutants = list(order_mutants(frames, conversation))
    legal = []
    if conversation.close == "four-segment":
        first = min((stream.fin for stream in conversation.streams), key=lambda fin: fin.row)
        legal = [f"dropped of frame {conversation.stream(first.sender).fin_ack.frame}"]
    assert survivors(mutants) == legal


@pytest.mark.parametrize("name", RECORDED)
def test_legal_variants_of_recorded_captures_lose_nothing(name: str) -> None:
    """ISNs that wrap, a SYN, data or FIN sent again, ECN, PSH anywhere."""
    frames = recorded(name)
    assert losers(list(legal_variants(frames, conversation_of(frames)))) == {}


@pytest.mark.parametrize("close", CLOSES)
@pytest.mark.parametrize("isns", [(1000, 5000), (2**32 - 1, 2**32 - 30), (2**32 - 91, 2**32 - 83)])
def test_legal_closes_lose_nothing(close: str, isns: tuple[int, int]) -> None:
    """Every legal way to close, wherever the numbers wrap."""
    frames = frames_of(parse(OPENING + CLOSES[close], isns=isns))
    assert losers([Mutant(close, 0, tuple(frames))]) == {}


@pytest.mark.parametrize(
    ("extra", "lost"),
    {
        "reset": ("+.1 > R. 90:90(0) ack 82", "no_reset"),
        "half-closed": ("+.1 > F. 90:90(0) ack 82\n+0 < . 82:82(0) ack 91", "close_is_legal"),
        "open": ("", "close_is_legal"),
        "data after the FIN": (
            CLOSES["four"].replace("+0 < . 82:82(0) ack 91\n", "+0 > P. 91:95(4) ack 82\n+0 < . 82:82(0) ack 95\n"),
            "fin_is_the_end_of_the_stream[initiator]",
        ),
        "a word after the last ACK": (CLOSES["four"] + "\n+.1 > . 91:91(0) ack 83", "nothing_after_the_last_ack"),
        "an ACK without a cause": ("+.1 < . 82:82(0) ack 90\n" + CLOSES["four"], "every_pure_ack_has_a_cause"),
    }.values(),
)
def test_what_is_wrong_is_named(extra: str, lost: str) -> None:
    """A connection that is wrong loses the points of the check that says so."""
    (checks,) = judged([Mutant("", 0, tuple(frames_of(parse(OPENING + extra))))])
    assert lost in {check.id for check in checks if check.outcome in ("failed", "not-shown")}


def test_messages_give_frame_sender_expected_and_actual() -> None:
    """A failed check says which frame, who sent it, what was expected and what is there, with the arithmetic."""
    script = OPENING.replace("< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2") + CLOSES["four"]
    (checks,) = judged([Mutant("", 0, tuple(frames_of(parse(script, isns=(481914174, 2737267460)))))])
    check = next(check for check in checks if check.id == "each_syn_takes_one_number")
    assert check.outcome == "failed"
    assert check.message == "frame 2 (responder) ack 481914176, but frame 1 seq 481914174 + 1 = 481914175"
    assert check.frames == (1, 2)


def test_what_is_missing_is_not_shown() -> None:
    """A capture that starts too late fails nothing of the handshake: it does not show it; the maximum stays."""
    frames = frames_of(parse(OPENING + CLOSES["four"]))[4:]
    (checks,) = judged([Mutant("", 0, tuple(frames))])
    outcomes = {check.id: check.outcome for check in checks}
    assert outcomes["each_syn_takes_one_number"] == "not-shown"
    assert outcomes["last_ack"] == "passed"
    assert sum(check.points for check in checks) == 100


def test_a_capture_that_stops_early_fails_nothing() -> None:
    """What may yet have come is not shown: no prefix of a good capture fails a check."""
    frames = recorded("three-segment")
    prefixes = [Mutant(f"first {n}", n, tuple(frames[:n])) for n in range(1, len(frames))]
    for mutant, checks in zip(prefixes, judged(prefixes), strict=True):
        failed = [f"{check.id}: {check.message}" for check in checks if check.outcome == "failed"]
        assert not failed, str(mutant)
        assert any(check.outcome == "not-shown" for check in checks)


def test_an_error_in_a_rubric_is_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that breaks could not be judged; a rubric that cannot be run stops the judging."""
    monkeypatch.setattr("harness.grading.judging.LABS", tmp_path)
    evidence = Evidence(conversation_of(recorded("four-segment")))

    def lab(name: str, rubric: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(rubric)
        return name

    results = judge(lab("breaks", "def test_it(conversation):\n    conversation.no_such_thing\n"), evidence)
    assert (results.outcome, results.score, results.exit_status) == ("not-judged", None, 2)
    unfit = {"asks": "def test_it(conversation, nobody): pass\n", "syntax": "def test_it(conversation:\n", "empty": ""}
    for name, rubric in unfit.items():
        with pytest.raises(HarnessError, match="cannot be run"):
            judge(lab(name, rubric), evidence)


def test_an_unknown_lab_is_named() -> None:
    """A lab that is not there is one line with those that are."""
    with pytest.raises(HarnessError, match="no lab 'nothing'; there are: handshake"):
        rubric_folder("nothing")


def test_no_cut_of_a_bad_capture_passes() -> None:
    """Whatever is left out at the beginning or the end: what was not passed does not become so."""
    frames = recorded("three-segment")
    bad = list(field_mutants(frames, conversation_of(frames), mend=True))[7::40]
    assert len(bad) >= 8
    cut = [
        Mutant(f"{mutant.what}, frames {first} to {last} left", mutant.frame, mutant.frames[first:last])
        for mutant in bad
        for first, last in [
            *((0, count) for count in range(3, len(frames))),
            *((count, len(frames)) for count in range(1, len(frames) - 3)),
        ]
    ]
    assert survivors(cut) == []
