"""A rubric is judged whole or not at all."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evidence import Evidence, evidence_of_capture
from harness.grading import judging
from harness.grading.judging import Judge, combined, digest_of_sources, judge, judge_many, with_judge
from harness.grading.results import Check
from harness.tcp.conversation import conversations_of_many

DATA = Path(__file__).resolve().parents[1] / "data"
HEAD = "import pytest\nfrom harness.tcp.conversation import NotShown\n"


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """A good capture."""
    return evidence_of_capture(DATA / "four-segment.pcap")


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder for a teacher's own checks."""
    folder = tmp_path / "private"
    folder.mkdir()
    return folder


def test_private_checks_come_on_top(evidence: Evidence, private: Path) -> None:
    (private / "test_ours.py").write_text(
        HEAD + "@pytest.mark.points(7)\ndef test_fast(conversation):\n    '''It is fast.'''\n"
        "    assert len(conversation.segments) == 3\n"
    )
    (public,) = judge_many("handshake", [evidence])
    (checks,) = judge_many("handshake", [evidence], private)
    assert checks[:-1] == public
    assert (checks[-1].id, checks[-1].points, checks[-1].outcome) == ("fast", 7, "failed")
    assert "69" in checks[-1].message


def test_messages_are_the_same_at_every_run(evidence: Evidence, private: Path) -> None:
    """No address in memory stands in them; a conversation is named by its ends."""
    (private / "test_ours.py").write_text(
        HEAD + "def test_one(conversation):\n    assert conversation == (n for n in (1, 2))\n"
        "def test_two(conversation):\n    assert conversation.responder_stream.isn == conversation.syn.ack\n"
    )
    (checks,) = judge_many("handshake", [evidence], private)
    one, two = (check.message for check in checks[-2:])
    ends = f"<conversation {evidence.conversation.initiator} → {evidence.conversation.responder}>"
    assert one.startswith(f"{ends} == <generator object")
    assert "0x" not in one + two


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("@pytest.mark.skip\ndef test_it(conversation): pass", "marked 'skip'"),
        ("@pytest.mark.xfail\ndef test_it(conversation): pass", "marked 'xfail'"),
        ("pytest.skip('not today', allow_module_level=True)", "it skips itself"),
        ("import no_such_module", "no_such_module"),
        ("pytest.importorskip('no_such_module')", "it skips itself"),
        ("def test_it(no_such_fixture): pass", "asks for no_such_fixture"),
        ("def test_last_ack(conversation): pass", "two checks have one name: last_ack"),
        ("def test_it(conversation)\n    pass", "SyntaxError"),
        ("@pytest.mark.pionts(3)\ndef test_it(conversation): pass", "pionts"),
    ],
)
def test_what_cannot_be_run_is_no_mark(evidence: Evidence, private: Path, body: str, told: str) -> None:
    """Neither a check less, nor a mark less."""
    (private / "test_ours.py").write_text(HEAD + body + "\n")
    with pytest.raises(HarnessError, match=r"cannot be run: .*") as error:
        judge_many("handshake", [evidence], private)
    assert told in str(error.value)


@pytest.mark.parametrize(("call", "outcome"), [("skip", "not-judged"), ("xfail", "not-judged"), ("fail", "failed")])
def test_what_a_check_says_of_itself(evidence: Evidence, private: Path, call: str, outcome: str) -> None:
    (private / "test_ours.py").write_text(HEAD + f"def test_it(conversation):\n    pytest.{call}('not today')\n")
    (checks,) = judge_many("handshake", [evidence], private)
    assert (checks[-1].outcome, checks[-1].score) == (outcome, None if outcome == "not-judged" else 0)
    assert "not today" in checks[-1].message


def test_an_empty_private_folder(evidence: Evidence, private: Path) -> None:
    with pytest.raises(HarnessError, match=r"there is no test_\*\.py in it"):
        judge_many("handshake", [evidence], private)


def test_what_the_work_raises_comes_out(evidence: Evidence) -> None:
    def work(judge: Judge) -> None:
        assert len(judge(evidence)) > 30
        raise KeyError("x")

    with pytest.raises(KeyError):
        with_judge("handshake", work)


def test_questions_are_judged_where_there_are_answers(evidence: Evidence) -> None:
    conversation = evidence.conversation
    right: dict[str, str | int] = {
        "initiator_isn": f"{conversation.initiator_stream.isn.value:,}",
        "responder_isn": conversation.responder_stream.isn.value,
        "closer": "Initiator",
        "kind_of_close": "four segment",
        "relative_seq_of_the_initiators_fin": 3774,
        "frame_that_acknowledges_the_first_byte": 7,
        "window_scale_in_use": 1 << (conversation.syn_ack.options.window_scale or 0),
        "holder_of_time_wait": "initiator",
    }

    def judged(judge: Judge) -> list[dict[str, tuple[str, str]]]:
        asked = {question.id for question in judge.questions}
        assert asked == set(right)
        answers: list[dict[str, str | int]] = [
            right,
            {},
            dict.fromkeys(right, "nonsense"),
            {**right, "closer": "responder"},
        ]
        found = [judge(replace(evidence, answers=given)) for given in answers]
        return [{check.id: (check.outcome, check.message) for check in checks if check.id in asked} for checks in found]

    all_right, none, nonsense, one_wrong = with_judge("handshake", judged)
    assert {name: said for name, said in all_right.items() if said[0] != "passed"} == {}
    assert {outcome for outcome, _ in (none | nonsense).values()} == {"failed"}
    assert none["closer"][1] == "not answered: answers.yaml has no closer"
    assert [name for name, said in one_wrong.items() if said[0] == "failed"] == ["closer"]
    assert one_wrong["closer"][1] == "the answer is 'responder', but expected 'initiator'"
    assert nonsense["initiator_isn"][1].startswith("the answer is 'nonsense', but frame 1 seq ")


def test_questions_a_capture_cannot_answer(evidence: Evidence) -> None:
    """They are not shown, whatever was answered."""
    columns = evidence.conversation.segments_columns
    ((begin,),) = conversations_of_many([columns.take(columns.frame[:10] - 1)])
    (checks,) = judge_many("handshake", [Evidence(begin, None, {"closer": "initiator", "holder_of_time_wait": "both"})])
    outcomes = {check.id: check.outcome for check in checks}
    assert (outcomes["closer"], outcomes["holder_of_time_wait"]) == ("not-shown", "not-shown")


def test_begin_and_end_together(evidence: Evidence) -> None:
    """The article's two captures: each shows what the other does not."""
    columns = evidence.conversation.segments_columns
    n = len(columns)
    parts = [columns.take(columns.frame[:12] - 1), columns.take(columns.frame[n - 12 :] - 1)]
    found = judge_many("handshake", [Evidence(one) for (one,) in conversations_of_many(parts)])
    outcomes = [{check.id: check.outcome for check in checks} for checks in (*found, combined(found))]
    for name in ("three_segments_open", "close_is_legal", "each_syn_takes_one_number", "last_ack"):
        assert {one[name] for one in outcomes[:2]} == {"passed", "not-shown"}
        assert outcomes[2][name] == "passed"


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        (("passed", "not-shown"), "passed"),
        (("not-shown", "not-shown"), "not-shown"),
        (("passed", "failed"), "failed"),
        (("failed", "not-judged"), "not-judged"),
        (("passed", "passed"), "passed"),
    ],
)
def test_two_outcomes_together(outcomes: tuple[str, str], wanted: str) -> None:
    checks = [
        (Check("x", "X", 3, 3 if said == "passed" else 0, said, (at,), said),) for at, said in enumerate(outcomes)
    ]
    for parts in (checks, checks[::-1]):
        (one,) = combined(list(parts))
        assert (one.outcome, one.score) == (wanted, 3 if wanted == "passed" else 0)
        assert one.frames == tuple(at for at, said in enumerate(outcomes) if said == wanted)


def test_the_digest_moves_with_the_rubric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = tmp_path / "mine"
    lab.mkdir()
    (lab / "test_mine.py").write_text("def test_it(conversation): pass\n")
    monkeypatch.setattr(judging, "LABS", tmp_path)
    before = digest_of_sources("mine")
    assert digest_of_sources("mine") == before
    (lab / "test_mine.py").write_text("def test_it(conversation): assert conversation\n")
    assert digest_of_sources("mine") != before


def test_what_is_asked_of_other_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTEST_ADDOPTS is for the user's own tests: it neither stops the judging nor is lost."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--junitxml=x.xml -n 4 --no-such-option")
    assert judge("handshake", evidence_of_capture(DATA / "four-segment.pcap")).score == 100
    assert os.environ["PYTEST_ADDOPTS"] == "--junitxml=x.xml -n 4 --no-such-option"
