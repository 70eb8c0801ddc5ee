"""The grader, graded: every lab's rubric is proven, and what the handshake's says of single captures."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_capture, lab_conversation
from harness.grading.judging import judge, labs, rubric_folder
from harness.grading.mutants import Good, Mutant, flags, good_capture, lengths, sequence_numbers
from harness.grading.proving import prove
from harness.grading.results import Check
from harness.reports.kill_table import kill_table
from harness.tcp.conversation import Conversation, conversations, conversations_of_many
from harness.tcp.notation import parse
from tests.judging import judge_of
from tests.pcaps import Frame, decode, encode, frames_of

DATA = Path(__file__).resolve().parents[1] / "data"
RECORDED = ("four-segment", "three-segment")
LAB_NAMES = sorted(labs())

OPENING = """
+0     > S  0:0(0) win 64240 <mss 1460,sackOK,wscale 7>
+.001  < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,wscale 7>
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


def conversation_of(frames: Iterable[Frame]) -> Conversation:
    segments = read_capture(encode(list(frames)), "made").segments
    return lab_conversation(conversations(segments), "made")


def judged(*captures: Iterable[Frame]) -> list[tuple[Check, ...]]:
    return [judge_of("handshake")(Evidence(conversation_of(frames))) for frames in captures]


def judged_mutants(mutants: list[Mutant]) -> list[tuple[Check, ...]]:
    found = conversations_of_many([mutant.segments() for mutant in mutants])
    return [judge_of("handshake")(Evidence(lab_conversation(of, "made"))) for of in found]


def recorded(name: str) -> Good:
    path = DATA / f"{name}.pcap"
    return good_capture(name, path.read_bytes(), evidence_of_capture(path).conversation)


def points(checks: tuple[Check, ...]) -> int:
    assert all(check.outcome != "not-judged" for check in checks), [c.message for c in checks if c.score is None]
    return sum(check.score or 0 for check in checks)


@pytest.mark.parametrize("lab", LAB_NAMES)
def test_every_lab_is_proven(lab: str) -> None:
    """What is wrong loses points, what is legal none, and every check can fail: on the set that the lab declares."""
    proof = prove(lab)
    assert proof.proven, "\n".join(line for line, _ in kill_table(proof))
    assert sum(one.mutants for one in proof.families) > 100
    assert proof.kept == proof.variants > len(proof.good)


def test_the_handshake_has_100_points() -> None:
    """The rubric has 100 points, each check some and a docstring."""
    (checks,) = judged(decode((DATA / "four-segment.pcap").read_bytes()))
    assert sum(check.points for check in checks) == 100
    assert all(check.points > 0 and check.title for check in checks)
    assert len({check.id for check in checks}) == len(checks)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_captures_are_good(name: str) -> None:
    """What the lab recorded earns all points; its name says how it closed."""
    results = judge("handshake", evidence_of_capture(DATA / f"{name}.pcap"))
    assert (results.outcome, results.score) == ("passed", 100)
    assert results.connection is not None
    assert results.connection["close"] == name


def test_checksums_are_not_judged() -> None:
    """A host's own frames are captured before its network card works out the checksum."""
    frames = decode((DATA / "three-segment.pcap").read_bytes())
    (checks,) = judged(replace(frame, checksum=0x1234) for frame in frames)
    assert points(checks) == 100


def test_legal_closes_lose_nothing() -> None:
    """Every legal way to close, wherever the numbers wrap."""
    isns = [(1000, 5000), (2**32 - 1, 2**32 - 30), (2**32 - 91, 2**32 - 83)]
    cases = [(name, pair) for name in CLOSES for pair in isns]
    outcomes = judged(*(frames_of(parse(OPENING + CLOSES[name], isns=pair)) for name, pair in cases))
    for case, checks in zip(cases, outcomes, strict=True):
        assert [f"{check.id}: {check.message}" for check in checks if check.outcome != "passed"] == [], case


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
    (checks,) = judged(frames_of(parse(OPENING + extra)))
    assert lost in {check.id for check in checks if check.outcome in ("failed", "not-shown")}


def test_messages_give_frame_sender_expected_and_actual() -> None:
    """A failed check says which frame, who sent it, what was expected and what is there, with the arithmetic."""
    script = OPENING.replace("< S. 0:0(0) ack 1", "< S. 0:0(0) ack 2") + CLOSES["four"]
    (checks,) = judged(frames_of(parse(script, isns=(481914174, 2737267460))))
    check = next(check for check in checks if check.id == "each_syn_takes_one_number")
    assert check.outcome == "failed"
    assert check.message == "frame 2 (responder) ack 481914176, but frame 1 seq 481914174 + 1 = 481914175"
    assert check.frames == (1, 2)


def test_what_is_missing_is_not_shown() -> None:
    """A capture that starts too late fails nothing of the handshake: it does not show it; the maximum stays."""
    frames = frames_of(parse(OPENING + CLOSES["four"]))[4:]
    (checks,) = judged(frames)
    outcomes = {check.id: check.outcome for check in checks}
    assert outcomes["each_syn_takes_one_number"] == "not-shown"
    assert outcomes["last_ack"] == "passed"
    assert sum(check.points for check in checks) == 100


def test_a_capture_that_stops_early_fails_nothing() -> None:
    """What may yet have come is not shown: no prefix of a good capture fails a check."""
    good = recorded("three-segment")
    prefixes = [Mutant("cut off", f"first {n}", good, good.rows[:n]) for n in range(1, len(good.rows))]
    for mutant, checks in zip(prefixes, judged_mutants(prefixes), strict=True):
        failed = [f"{check.id}: {check.message}" for check in checks if check.outcome == "failed"]
        assert not failed, mutant.name
        assert any(check.outcome == "not-shown" for check in checks)


def test_an_error_in_a_rubric_is_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that breaks could not be judged; a rubric that cannot be run stops the judging."""
    monkeypatch.setattr("harness.grading.judging.LABS", tmp_path)
    evidence = evidence_of_capture(DATA / "four-segment.pcap")

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
    with pytest.raises(HarnessError, match="no lab 'nothing'; there are: article, "):
        rubric_folder("nothing")


def test_no_cut_of_a_bad_capture_passes() -> None:
    """Whatever is left out at the beginning or the end: what was not passed does not become so."""
    good = recorded("three-segment")
    bad = [mutant for family in (sequence_numbers, flags, lengths) for mutant in family(good)][5::17]
    bad = [mutant for mutant, checks in zip(bad, judged_mutants(bad), strict=True) if points(checks) < 100]
    assert len(bad) >= 5
    cut = [
        Mutant("cut off", f"{mutant.name}, frames {first} to {last} left", good, mutant.rows[first:last])
        for mutant in bad
        for first, last in [
            *((0, count) for count in range(3, len(good.rows), 2)),
            *((count, len(good.rows)) for count in range(1, len(good.rows) - 3, 2)),
        ]
    ]
    whole = [mutant.name for mutant, checks in zip(cut, judged_mutants(cut), strict=True) if points(checks) == 100]
    assert whole == []
