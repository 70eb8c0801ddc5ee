"""A proof finds out a weak rubric, a strict one, a broken one, and a check that cannot fail."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.evidence import evidence_of_capture
from harness.grading import legal_variants, proving
from harness.grading.legal_rules import LEGAL_TCP, difference
from harness.grading.legal_variants import LEGAL_VARIANTS
from harness.grading.mutants import MUTANTS, Good, Mutant, banners, endpoints, good_capture
from harness.grading.proving import Proof, prove
from harness.reports.kill_table import kill_table, last_line, percent
from harness.tcp.conversation import NotShown
from harness.tcp.flags import RST, SYN
from harness.tcp.notation import parse
from tests.pcaps import encode, frames_of

SCRIPT = """
+0     > S  0:0(0) win 64240 <mss 1460,sackOK,wscale 7>
+.001  < S. 0:0(0) ack 1 win 65160 <mss 1460,sackOK,wscale 7>
+.001  > .  1:1(0) ack 1
+.001  > P. 1:22(21) ack 1
+.001  < .  1:1(0) ack 22 win 503
+.001  < P. 1:22(21) ack 22
+.001  > .  22:22(0) ack 22 win 503
+.001  > .  22:60(38) ack 22
+.001  > P. 60:90(30) ack 22
+.001  < P. 22:82(60) ack 90
+.001  > .  90:90(0) ack 82
+.1    > F. 90:90(0) ack 82
+.001  < .  82:82(0) ack 91
+.001  < F. 82:82(0) ack 91
+.001  > .  91:91(0) ack 83
"""
HEAD = (
    "import pytest\nfrom harness.grading import legal_variants, mutants\n"
    "from harness.grading.legal_rules import *\nfrom harness.grading.legal_variants import *\n"
)
ONE_CHECK = "def test_syn(conversation):\n    assert conversation.syn_ack.ack == conversation.syn.seq + 1\n"

MakeLab = Callable[..., str]
_names = (f"lab{number}" for number in count())  # pytest imports each rubric by its file's name, once


@pytest.fixture
def make_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeLab:
    """Writes a lab of this rubric, with a good capture."""
    labs = tmp_path / "labs"
    monkeypatch.setattr("harness.grading.judging.LABS", labs)

    def make(rubric: str, proof: str | None = None, script: str | None = SCRIPT) -> str:
        name = next(_names)
        folder = labs / name
        (folder / "good").mkdir(parents=True)
        (folder / f"test_{name}.py").write_text(HEAD + rubric.replace("def test", "@pytest.mark.points(5)\ndef test"))
        if script:
            (folder / "good" / "session.pcap").write_bytes(encode(frames_of(parse(script))))
        if proof is not None:
            (folder / "proof.py").write_text(HEAD + proof)
        return name

    return make


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    path = tmp_path_factory.mktemp("good") / "session.pcap"
    path.write_bytes(encode(frames_of(parse(SCRIPT))))
    return good_capture(path.name, path.read_bytes(), evidence_of_capture(path).conversation, every=True)


def text(proof: Proof, width: int = 80) -> list[str]:
    return [line for line, _ in kill_table(proof, width)]


def fates(proof: Proof) -> dict[str, tuple[int, int]]:
    """(mutants, survived) by family."""
    return {one.name: (one.mutants, one.survived) for one in proof.families}


# -- the whole proof ---------------------------------------------------------------------------------------------------


def test_a_weak_rubric_is_found_out(make_lab: MakeLab) -> None:
    """What no check sees survives by name; a check that cannot fail is unproven."""
    lab = make_lab(
        ONE_CHECK
        + "def test_there_are_segments(conversation):\n    assert conversation.segments\n"
        + "def test_fin_is_there(conversation):\n    assert conversation.initiator_stream.fin is not None\n"
    )
    proof = prove(lab)
    assert not proof.proven
    assert proof.exit_status == 1
    survivors = {one.name for one in proof.survivors}
    assert {"seq +1 of frame 4", "frame 15 dropped", "RST by the responder at the end"} <= survivors
    assert not {"ack +1 of frame 2", "seq -1 of frame 1", "only the last 3 segments"} & survivors
    # The second is never missed; the third is not shown where there is no FIN, but fails on nothing.
    assert proof.unproven == ("there_are_segments", "fin_is_there")
    counts = {check.id: check for check in proof.checks}
    assert counts["fin_is_there"].killed > counts["fin_is_there"].failed == 0
    assert counts["syn"].families["seq"] == 3
    assert sum(one.mutants for one in proof.families) > 500
    lines = text(proof)
    assert " ✗ session.pcap: seq +1 of frame 4" in lines
    assert " ✗ there_are_segments" in lines
    assert f" … and {len(survivors) - 60} more; --json lists all" in lines
    assert "unproven: there_are_segments, fin_is_there" in lines[-1]


def test_a_strict_rubric_is_found_out(make_lab: MakeLab) -> None:
    """Legal variants, and mutants that are legal TCP, name the check that punishes them."""
    lab = make_lab(
        "def test_fifteen(conversation):\n    assert len(conversation.segments) == 15, 'not fifteen'\n"
        "def test_window(conversation):\n    assert conversation.syn.window == 64240\n"
    )
    proof = prove(lab)
    punished = {(one.name, one.check) for one in proof.punished}
    assert ("SYN sent again", "fifteen") in punished
    assert ("closed in three segments, initiator first", "fifteen") in punished
    assert ("frame 13 dropped", "fifteen") in punished  # a four-segment close becomes one of three
    assert ("window +1 of frame 1", "window") in punished
    assert ("window +1 of frame 3", "window") not in punished
    assert proof.kept < proof.variants
    lines = text(proof)
    assert " ✗ session.pcap: SYN sent again: fifteen: not fifteen 16 == 15" in lines
    assert "legal variants lost points" in lines[-1]
    assert "equivalent mutants lost points" in lines[-1]


def test_what_the_lab_declares_counts(make_lab: MakeLab) -> None:
    """Families, rules and variants of the lab's own: a rubric of one check can be proven for what it asks."""
    lab = make_lab(
        "def test_acks(conversation):\n    assert conversation.syn_ack.ack == conversation.syn.seq + 1\n",
        "MUTANTS = (mutants.ack_numbers, mutants.files)\n"
        "NOT_ASKED = (Rule('only the SYN-ACK is asked for', lambda found: 1 not in found.changed),)\n"
        "VARIANTS = (legal_variants.advice,)\n",
    )
    steps: list[str] = []
    proof = prove(lab, progress=steps.append)
    assert proof.proven
    assert proof.exit_status == 0
    assert len(steps) == 2
    ack, file = proof.families
    assert (ack.mutants, ack.killed) == (ack.mutants, 3)
    assert ack.killed + ack.equivalent + ack.not_asked == ack.mutants
    assert (file.mutants, file.unreadable) == (5, 5)
    assert proof.rules["only the SYN-ACK is asked for"] == ack.not_asked > 0
    assert text(proof)[-1] == (
        f"100 % of 8 mutants killed, {ack.equivalent} equivalent, {ack.not_asked} not asked for; "
        "4 legal variants kept all points"
    )
    document = json.loads(json.dumps(proof.to_json()))
    assert document["schema"] == "tcp-lab/proof/v1"
    assert document["proven"] is True
    assert document["families"][0]["killed"] == 3
    assert document["checks"][0]["families"] == {"ack": 3}


def test_each_conversation_is_changed_among_the_others(make_lab: MakeLab, tmp_path: Path) -> None:
    """A rubric that asks for all conversations is proven on each; one that asks for the lab's, on that alone."""
    refused = "+0 > S 0:0(0)\n+.001 < R. -9000:-9000(0) ack 1\n"
    later = parse(refused, isns=(5, 9000), initiator="192.168.1.63:40001", start=1_700_000_010)
    frames = frames_of(parse(SCRIPT)) + frames_of(later)
    rubric = (
        "def test_both(conversations):\n    one, two = conversations\n"
        "    assert one.syn_ack.ack == one.syn.seq + 1\n    assert two.resets[0].ack == two.syn.seq + 1\n"
    )
    rest = (
        "MUTANTS = (mutants.ack_numbers,)\nVARIANTS = (legal_variants.advice,)\n"
        "NOT_ASKED = (Rule('not asked', lambda found: 1 not in found.changed),)\n"
    )
    found = {}
    for every in (False, True):
        lab = make_lab(rubric, f"EVERY_CONVERSATION = {every}\n{rest}")
        (tmp_path / "labs" / lab / "good" / "session.pcap").write_bytes(encode(frames))
        found[every] = proving.goods_of(proving.declared(lab))
    assert [(len(good.rows), len(good.beside)) for good in found[False]] == [(15, 0)]
    assert [(len(good.rows), len(good.beside)) for good in found[True]] == [(15, 2), (2, 15)]
    assert [len(good.segments(good.rows)) for good in found[True]] == [len(frames)] * 2
    proof = prove(lab)  # the one of every conversation
    assert proof.proven, text(proof)
    assert proof.families[0].killed == 6  # the ack of the SYN-ACK, and that of the RST, three times each
    assert proof.good == ("session.pcap",)


def test_a_check_that_breaks_is_told(make_lab: MakeLab) -> None:
    """No mark is possible where a check raises: that is a fault of the rubric, told once for each way."""
    lab = make_lab(
        "def test_mss(conversation):\n    assert conversation.syn.options.mss + 0 == 1460\n",
        "MUTANTS = (mutants.options,)\nVARIANTS = ()\n",
    )
    proof = prove(lab)
    assert [(one.name, one.check) for one in proof.broken] == [("MSS removed of frame 1", "mss")]
    assert not proof.proven
    assert any("TypeError" in line and "first on session.pcap: MSS removed of frame 1" in line for line in text(proof))
    assert "checks broke 1×" in last_line(proof)


def test_a_good_capture_that_is_not_good_is_told_once(make_lab: MakeLab) -> None:
    """What it loses is not put down to all that is made of it."""
    lab = make_lab(
        ONE_CHECK + "def test_timestamps(conversation):\n    assert conversation.syn.options.timestamps is not None\n",
        "MUTANTS = (mutants.ack_numbers,)\n",
    )
    proof = prove(lab)
    assert [(one.name, one.why, one.check) for one in proof.punished] == [
        ("as it stands", "a good capture", "timestamps")
    ]
    assert (proof.variants - proof.kept) == 1


def test_private_tests_are_proven_with_the_lab(make_lab: MakeLab, tmp_path: Path) -> None:
    """A teacher's folder: more checks, and what they declare."""
    lab = make_lab(ONE_CHECK, "MUTANTS = (mutants.windows,)\nVARIANTS = ()\n")
    private = tmp_path / "private"
    private.mkdir()
    (private / f"test_{lab}_mine.py").write_text(
        HEAD + "@pytest.mark.points(1)\ndef test_mine(conversation):\n    assert conversation.syn.window == 64240\n"
    )
    assert [one.check for one in prove(lab, private).punished] == ["mine", "mine"]
    (private / "proof.py").write_text(
        HEAD + "MUTANTS = (mutants.ack_numbers, mutants.windows)\nVARIANTS = ()\n"
        "EQUIVALENT = ()\nNOT_ASKED = (Rule('the rest', lambda found: 0 not in found.changed),)\n"
    )
    proof = prove(lab, private)
    assert [check.id for check in proof.checks] == ["syn", "mine"]
    assert {one.name for one in proof.survivors} == {f"ack {by} of frame 1" for by in ("+1", "-1", "+1073741824")}


@pytest.mark.parametrize(
    ("proof", "script", "said"),
    [
        ("", None, "nothing to prove the rubric from; put captures that earn all points into"),
        ("MUTANTS = (", SCRIPT, r"proof\.py: SyntaxError"),
        ("VARIANTS = None\n", SCRIPT, r"proof\.py: VARIANTS is to be a tuple of functions"),
        ("EVERY_CONVERSATION = 1\n", SCRIPT, r"proof\.py: EVERY_CONVERSATION is to be True or False"),
        ("EQUIVALENT = (mutants.flags,)\n", SCRIPT, r"proof\.py: EQUIVALENT is to be a tuple of rules"),
    ],
)
def test_what_cannot_be_proven_is_one_line(make_lab: MakeLab, proof: str, script: str | None, said: str) -> None:
    lab = make_lab(ONE_CHECK, proof, script)
    with pytest.raises(HarnessError, match=said):
        prove(lab)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_fits_60_columns(make_lab: MakeLab) -> None:
    """All but findings, which take one line each."""
    lab = make_lab(
        "def test_a_check_with_a_name_that_is_longer_than_sixty_columns_have_room_for(conversation):\n"
        "    assert conversation.syn_ack.ack == conversation.syn.seq + 1\n",
        "MUTANTS = (mutants.ack_numbers, mutants.windows, mutants.addresses)\n",
    )
    lines = text(prove(lab), 60)
    assert lines[2] == "family      mutants killed reader equiv. unasked alive    %"
    assert all(len(line) <= 60 for line in lines[:-1] if not line.startswith(" ✗"))


def test_percent_is_100_only_for_all() -> None:
    assert [percent(0, 0), percent(999, 1000), percent(3, 3), percent(0, 5)] == ["-", "99", "100", "0"]


# -- mutants, rules and variants ---------------------------------------------------------------------------------------


def made(good: Good, *families: Callable[[Good], object]) -> list[Mutant]:
    return [mutant for family in families for mutant in family(good)]  # type: ignore[attr-defined]


def rules_of(mutant: Mutant) -> list[str]:
    return [rule.reason.split()[1] for rule in LEGAL_TCP if rule.covers(difference(mutant))]


def test_every_mutant_is_another_capture(good: Good) -> None:
    """Nothing is made twice by one name, and nothing that is the good capture itself."""
    mutants = made(good, *MUTANTS, banners, endpoints)
    assert len({(mutant.family, mutant.name) for mutant in mutants}) == len(mutants)
    assert [mutant.name for mutant in mutants if mutant.rows == good.rows or mutant.data == good.data] == []
    assert {mutant.family for mutant in mutants} == {
        "seq", "ack", "flags", "length", "window", "options", "addresses", "dropped", "cut off", "sent twice",
        "order", "inserted", "streams", "file", "banners", "endpoints",
    }  # fmt: skip


def test_every_variant_is_another_capture(good: Good) -> None:
    """Each family of variants makes some of a common session."""
    for family in LEGAL_VARIANTS:
        variants = made(good, family)
        if family is not legal_variants.ack_overtaken_by_ack:  # this session has no two ACKs in a row
            assert any(variant.data or variant.rows != good.rows for variant in variants), family


def test_rows_are_the_capture(good: Good) -> None:
    """Taken apart and put together again it is what was captured."""
    again, before = good.segments(good.rows), good.conversation.segments_columns
    for name in good.rows[0].values:
        assert getattr(again, name).tolist() == getattr(before, name).tolist(), name
    assert [again.payload(row) for row in range(15)] == [before.payload(row) for row in range(15)]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("frame 13 dropped", ["ACK"]),  # the first FIN's, in a four-segment close
        ("frame 5 dropped", ["ACK"]),
        ("sport +1 of frame 5", ["ACK"]),  # it is another connection's then
        ("frame 3 dropped", []),  # the handshake's third segment
        ("frame 15 dropped", []),  # the last word
        ("frame 4 dropped", []),
        ("frame 4 to 5 dropped", []),
        ("PSH flipped of frame 1", ["is"]),
        ("URG flipped of frame 4", ["says"]),
        ("URG flipped of frame 5", []),
        ("FIN flipped of frame 4", []),
        ("window +1 of frame 8", ["window"]),
        ("ack -1 of frame 11", ["ACK"]),  # of a part
        ("ack -1 of frame 12", []),  # a control segment
        ("ack +1 of frame 11", []),  # what was not sent
        ("frame 5 moved +1", ["network"]),
        ("frame 8 moved +1", ["network"]),
        ("frame 9 moved +1", []),  # the next one acknowledges it
        ("frame 12 moved -1", ["network"]),
        ("frames 1 and 2 swapped", []),
        ("SYN by the initiator at the end", ["connection"]),
        ("first SYN again by the initiator at the end", []),
        ("RST by the initiator at the end", []),
        ("SACK permitted removed of frame 1", ["end"]),
        ("window scale removed of frame 1", []),
        ("window scale removed of frame 2", ["end"]),
        ("MSS removed of frame 2", []),
        ("D-SACK added of frame 10", ["D-SACK"]),
    ],
)
def test_rules_tell_legal_mutants(good: Good, name: str, rule: list[str]) -> None:
    (mutant,) = [mutant for mutant in made(good, *MUTANTS) if mutant.name == name]
    assert rules_of(mutant) == rule


def test_a_window_that_makes_an_ack_say_nothing_is_no_legal_one(tmp_path: Path) -> None:
    """An ACK alone whose only news is the window: with the window before it, or the one before with its own."""
    path = tmp_path / "windows.pcap"
    path.write_bytes(
        encode(frames_of(parse(SCRIPT + "+0 > . 91:91(0) ack 83 win 503\n+0 > . 91:91(0) ack 83 win 502\n")))
    )
    good = good_capture(path.name, path.read_bytes(), evidence_of_capture(path).conversation, every=True)
    mutants = {mutant.name: rules_of(mutant) for mutant in made(good, *MUTANTS) if mutant.family == "window"}
    assert mutants["window +1 of frame 15"] == mutants["window +1 of frame 17"] == []
    assert mutants["window +1 of frame 14"] == mutants["window +1 of frame 16"] == ["window"]


def test_a_rule_may_be_narrowed(good: Good) -> None:
    """A lab that asks for more than TCP does says what."""
    lost = next(rule for rule in LEGAL_TCP if "may get lost" in rule.reason)
    narrow = lost.unless(lambda found: 4 in found.removed)
    covered = [m.name for m in made(good, *MUTANTS) if m.family == "dropped" and narrow.covers(difference(m))]
    assert "frame 13 dropped" in covered
    assert "frame 5 dropped" not in covered


@pytest.mark.parametrize(
    "script",
    [
        "+0 > S 0:0(0)\n+.1 > S 0:0(0)",
        "+0 > S 0:0(0)\n+0 < R. 0:0(0) ack 1",
        "+0 > . 5:5(0) ack 5\n+0 < P. 5:9(4) ack 5",
        "+0 > P. 5:9(4) ack 5",
    ],
)
def test_families_make_what_a_capture_shows(script: str, tmp_path: Path) -> None:
    """A capture without handshake, data or close still has mutants; what needs these is left out."""
    path = tmp_path / "part.pcap"
    path.write_bytes(encode(frames_of(parse(script))))
    part = good_capture(path.name, path.read_bytes(), evidence_of_capture(path).conversation)
    for family in MUTANTS:
        for mutant in family(part):
            assert mutant.data or len(mutant.segments()) == len(mutant.rows)
    for family in LEGAL_VARIANTS:
        try:
            list(family(part))
        except NotShown:
            continue


def test_inserted_segments_stand_where_they_are_said(good: Good) -> None:
    (reset,) = [m for m in made(good, *MUTANTS) if m.name == "RST by the responder before the close"]
    assert [place for place, row in enumerate(reset.rows) if row["flags"] & RST] == [11]
    (again,) = [m for m in made(good, *MUTANTS) if m.name == "first SYN again by the responder in the middle"]
    assert [place for place, row in enumerate(again.rows) if row["flags"] & SYN] == [0, 1, 5]
    times = [row["time"] for row in again.rows]
    assert times == sorted(times)
