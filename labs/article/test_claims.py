"""The article's claims, decided by asserts on the runs: see harness/claim_plugin.py for how the cases are tried.

`pytest labs/article/test_claims.py --runs DIR`. A case's docstring is what is said of the claim if the case holds.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.captures.reading import read_capture
from harness.claim_plugin import Evidences, LabRun, Runs
from harness.tcp.conversation import ENDS, Conversation, End, NotShown, Segment, conversations, other

PRINTED = Path(__file__).with_name("printed")  # the article's own listings
SIX = 6  # its tcpdump -c 6
SECOND = 1_000_000_000  # ns
TWO_MSL = 240.0  # seconds: RFC 9293 §3.4.2 takes 2 minutes for one MSL
SHORTEST = 30.0  # seconds, of any TIME-WAIT: some systems take 15 s for one MSL, Linux holds it 60 s (TCP_TIMEWAIT_LEN)
CLOSES = ("initiator-closes", "responder-closes", "simultaneous")  # the scenes that tell who stays


# -- C01 to C09: flags and numbers -------------------------------------------------------------------------------------


def opening(run: LabRun) -> tuple[Segment, Segment, Segment]:
    """The three steps of the lab's connection."""
    return run.conversation.syn, run.conversation.syn_ack, run.conversation.handshake_ack


def asks(segment: Segment) -> bool:
    """Whether it is a SYN by which the initiator asks for its connection, sent once or again."""
    return segment.has_syn and segment.sender == "initiator" and segment.relative[0] == 0


def wrong_acks(run: LabRun) -> list[Segment]:
    """The segments whose flag ACK is 1 where a connection is asked for, or 0 elsewhere but in a reset."""
    found = []
    for one in run.conversations:
        found += [s for s in one.segments[:1] if s.has_syn and s.has_ack]
        found += [s for s in one.segments if not s.has_ack and not s.has_rst and not asks(s)]
    return found


def test_c01_confirmed(runs: Runs, evidence: Evidences) -> None:
    """Only the first SYN has ACK = 0 (and some resets); every other segment acknowledges (RFC 9293 §3.5.2)."""
    run = runs["article"]
    syns = [one.syn for one in run.conversations]
    wrong = wrong_acks(run)
    assert not wrong, f"frame {wrong[0].frame} is [{wrong[0].flags}]"
    total = sum(len(one.segments) for one in run.conversations)
    evidence(run, syns, f"the only segments of {total} without the flag ACK")


def test_c01_refuted(runs: Runs, evidence: Evidences) -> None:
    """ACK is not 0 in the first SYN, or 0 in what acknowledges."""
    run = runs["article"]
    wrong = wrong_acks(run)
    assert wrong
    evidence(run, wrong, "the flag ACK is not as claimed")


def misplaced_syns(run: LabRun) -> list[Segment]:
    """The SYNs in mid-connection."""
    return [s for one in run.conversations for s in one.segments if s.has_syn and s.relative[0] != 0]


def test_c02_confirmed(runs: Runs, evidence: Evidences) -> None:
    """A connection begins with SYN = 1, in both directions, and has it nowhere else (RFC 9293 §3.5)."""
    run = runs["article"]
    syns = [s for one in run.conversations for s in (one.syn, one.syn_ack)]
    wrong = misplaced_syns(run)
    assert not wrong, f"frame {wrong[0].frame} is [{wrong[0].flags}]"
    evidence(run, syns, "each connection's first segment, and the answer to it, have SYN = 1; no other has")


def test_c02_refuted(runs: Runs, evidence: Evidences) -> None:
    """SYN comes in the middle of a connection, too."""
    run = runs["article"]
    wrong = misplaced_syns(run)
    assert wrong
    evidence(run, wrong, "SYN is not where a connection is asked for")


def rebuilt(run: LabRun) -> list[tuple[str, Conversation, End, bytes]]:
    """Every stream of the run's scenes, put together by seq alone."""
    return [
        (name, one, end, one.stream(end).content)
        for name in run.record.document["connections"]
        for one in run.scene(name)
        for end in ENDS
    ]


def sent_and_told(run: LabRun, name: str, end: End) -> tuple[int, str]:
    """How many bytes the program at an end says that it sent, and their SHA-256."""
    lives = run.record.document["connections"][name]["lives"][end]
    if len(lives) != 1:
        raise NotShown(f"the {end} of {name} had {len(lives)} sockets")
    return lives[0]["sent"]["bytes"], lives[0]["sent"]["sha256"]


def test_c03_confirmed(runs: Runs, evidence: Evidences) -> None:
    """With a correction: seq numbers bytes, not pieces; each piece is numbered by its first byte (§3.4)."""
    run = runs["sequence-numbers"]
    total = 0
    for name, one, end, content in rebuilt(run):
        told = sent_and_told(run, name, end)
        assert (len(content), sha256(content).hexdigest()) == told, f"{name}: the {end}'s stream differs"
        assert not one.stream(end).contradictions, f"{name}: the {end} sent other bytes under the same numbers"
        total += len(content)
    data = [s for one in run.conversations for end in ENDS for s in one.stream(end).data]
    if all(s.len == 1 for s in data):
        raise NotShown("the capture shows no piece of several bytes: whether seq numbers pieces or bytes is open")
    evidence(run, data, f"{total} bytes put together by seq alone are, by SHA-256, those that the programs sent")


def test_c03_refuted(runs: Runs, evidence: Evidences) -> None:
    """What is put together by seq alone is not what was sent."""
    run = runs["sequence-numbers"]
    wrong = [
        s
        for name, one, end, content in rebuilt(run)
        if (len(content), sha256(content).hexdigest()) != sent_and_told(run, name, end)
        for s in one.stream(end).data
    ]
    assert wrong
    evidence(run, wrong, "put together by seq, this is something else than the programs sent")


def first_acks(run: LabRun) -> list[tuple[Segment, Segment]]:
    """Each segment that takes numbers, sent once, and the first one that acknowledges all of it and no more."""
    found = []
    for one in run.conversations:
        for end in ENDS:
            for sent in one.sent_by[end]:
                position, stop, _ = sent.relative
                if stop == position or sent.has_rst or sent.repeats:
                    continue
                ack = next(one.stream(end).acks_of(stop - 1), None)
                if ack is not None and ack.relative[2] == stop:
                    found.append((sent, ack))
    if not {True, False} <= {bool(sent.len) for sent, _ in found}:
        raise NotShown(f"the run of {run.lab} shows no SYN or FIN and its ACK, or no data and theirs")
    return found


def beyond_the_sent(run: LabRun) -> list[Segment]:
    """The segments that acknowledge what the other end had never sent."""
    return [
        s
        for one in run.conversations
        for s in one.segments
        if s.has_ack and not s.has_rst and (sent := s.highest_sent_by_peer) and sent.distance_from(s.ack) < 0
    ]


def test_c04_confirmed(runs: Runs, evidence: Evidences) -> None:
    """Every ack is the seq of what it acknowledges, + 1."""
    for lab in ("article", "sequence-numbers"):
        pairs = first_acks(runs[lab])
        for sent, ack in pairs:
            assert ack.ack == sent.seq + 1
        evidence(runs[lab], [ack for _, ack in pairs], "seq + 1 everywhere")


def test_c04_qualified(runs: Runs, evidence: Evidences) -> None:
    """+ 1 only for SYN and FIN, each of which takes one number; for data it is seq + length (RFC 9293 §3.4)."""
    printed = conversations(read_capture((PRINTED / "handshake.txt").read_bytes(), "the article's listing").segments)[0]
    fourth = printed.segments[3]
    answer = next(printed.stream(fourth.sender).acks_of(fourth.relative[0]))
    assert answer.ack == fourth.seq + fourth.len
    assert answer.ack != fourth.seq + 1
    for lab in ("article", "sequence-numbers"):
        run = runs[lab]
        pairs, beyond = first_acks(run), beyond_the_sent(run)
        assert not beyond, f"frame {beyond[0].frame} acknowledges what was never sent"
        for sent, ack in pairs:
            assert ack.ack == sent.seq + (int(sent.len) + sent.has_syn + sent.has_fin)
            if sent.len > 1:
                assert ack.ack != sent.seq + 1
        evidence(run, [s for pair in pairs if not pair[0].len for s in pair], "a SYN or FIN, and its ACK: seq + 1")
        evidence(run, [s for pair in pairs if pair[0].len for s in pair], "data, and its ACK: seq + length")


def test_c04_refuted(runs: Runs, evidence: Evidences) -> None:
    """The number is something else: what was never sent."""
    wrong = [(runs[lab], s) for lab in ("article", "sequence-numbers") for s in beyond_the_sent(runs[lab])]
    assert wrong
    for run, segment in wrong:
        evidence(run, [segment], f"ack {segment.ack}, beyond all that was sent")


def after_fin(conversation: Conversation, end: End) -> list[Segment]:
    """What an end sent beyond its FIN."""
    stop = conversation.stream(end).fin.relative[1]
    return [s for s in conversation.sent_by[end] if s.relative[1] > stop and not s.has_rst]


def one_after_the_other(runs: Runs) -> list[tuple[LabRun, Conversation]]:
    """The connections that one end closes first: the article's, and those of the lab on closing."""
    article, teardown = runs["article"], runs["teardown"]
    names = ("four-segment", "three-segment", "half-close", "fin-with-data")
    return [(article, article.conversation), *((teardown, one) for name in names for one in teardown.scene(name))]


def closed(runs: Runs) -> list[tuple[LabRun, Conversation]]:
    """Those, and the one that both ends close at once."""
    return one_after_the_other(runs) + [(runs["teardown"], one) for one in runs["teardown"].scene("simultaneous")]


def test_c05_confirmed(runs: Runs, evidence: Evidences) -> None:
    """An end's FIN is the last of what it says: after it the end sends no byte more, though its peer may (§3.6)."""
    for run, one in closed(runs):
        for end in ENDS:
            beyond = after_fin(one, end)
            assert not beyond, f"frame {beyond[0].frame} goes beyond the {end}'s FIN"
            later = [s for s in one.stream(other(end)).segments if s.len and s.row > one.stream(end).fin.row]
            if later:
                evidence(run, [one.stream(end).fin, *later], f"the {end}'s FIN, and what the other end still sends")
        evidence(run, [stream.fin for stream in one.streams], "the FINs; nothing new by the same end after them")


def test_c05_refuted(runs: Runs, evidence: Evidences) -> None:
    """An end goes on sending after its FIN."""
    wrong = [(run, s) for run, one in closed(runs) for end in ENDS for s in after_fin(one, end)]
    assert wrong
    for run, segment in wrong:
        evidence(run, [segment], "new data after its sender's FIN")


def numbers_without_flag(run: LabRun) -> list[Segment]:
    """The segments, but resets, whose flag ACK is 0 and whose number ack is not."""
    return [s for one in run.conversations for s in one.segments if not s.has_ack and not s.has_rst and s.ack.value]


def test_c06_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The flag says that the number counts: in the first SYN both are 0, everywhere else the number is in force."""
    run = runs["article"]
    syns = [one.syn for one in run.conversations]
    wrong = numbers_without_flag(run) + wrong_acks(run)
    assert not wrong, f"frame {wrong[0].frame} is [{wrong[0].flags}] with ack {wrong[0].ack}"
    _, syn_ack, third = opening(run)
    assert syn_ack.ack != third.ack, "both ends acknowledge the same number"
    evidence(run, syns, "the flag ACK is 0, and the field ack is 0")
    evidence(run, [syn_ack, third], "the flag ACK is 1 in both, the numbers differ")


def test_c06_refuted(runs: Runs, evidence: Evidences) -> None:
    """The number is in force where the flag is 0, or the flag says nothing of it."""
    run = runs["article"]
    wrong = numbers_without_flag(run) + wrong_acks(run)
    assert wrong
    evidence(run, wrong, "flag and number do not fit together")


def of_one_number(run: LabRun) -> list[Segment]:
    """The SYNs of other connections that begin with the number of the lab's."""
    syn = run.conversation.syn
    return [one.syn for one in run.conversations if one.syn.frame != syn.frame and one.syn.seq == syn.seq]


def test_c07_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The initiator's first segment is a SYN, whose seq is its initial sequence number (RFC 9293 §3.4.1)."""
    run = runs["article"]
    syn = run.conversation.syn
    first = run.conversation.segments[0]
    assert first.control == "S", f"frame {first.frame} is [{first.flags}]"
    assert not of_one_number(run), f"frame {of_one_number(run)[0].frame} begins with the number of frame {syn.frame}"
    evidence(run, [syn], f"SYN, seq {syn.seq}")


def test_c07_refuted(runs: Runs, evidence: Evidences) -> None:
    """The connection does not begin with the initiator's SYN, or not with a number of its own."""
    run = runs["article"]
    first = run.conversation.segments[0]
    assert first.control != "S" or of_one_number(run)
    evidence(run, [first, *of_one_number(run)], f"the first segment is [{first.control}] seq {first.seq}")


def answered(run: LabRun) -> tuple[Segment, Segment]:
    """The SYN, and what answers it.

    Raises:
        NotShown: the capture lacks either; an ACK alone tells that the answer was not captured.
    """
    syn = run.conversation.syn
    for answer in run.conversation.responder_stream.segments[:1]:
        if answer.has_syn or answer.has_rst:
            return syn, answer
    raise NotShown(f"the capture does not show what answers the SYN of frame {syn.frame}")


def test_c08_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The answer is SYN + ACK in one segment: ack is the SYN's seq + 1, seq a number of the responder's own."""
    run = runs["article"]
    syn, syn_ack = answered(run)
    assert syn_ack.control == "S."
    assert syn_ack.ack == syn.seq + 1
    assert syn_ack.seq != syn.seq, "both ends begin with the same number"
    evidence(run, [syn, syn_ack], f"seq {syn.seq} + 1 = ack {syn_ack.ack}; its own seq is {syn_ack.seq}")


def test_c08_refuted(runs: Runs, evidence: Evidences) -> None:
    """The SYN is answered otherwise."""
    run = runs["article"]
    syn, answer = answered(run)
    assert answer.control != "S." or answer.ack != syn.seq + 1 or answer.seq == syn.seq
    evidence(run, [syn, answer], f"[{answer.control}] seq {answer.seq} ack {answer.ack} answers seq {syn.seq}")


def test_c09_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The third segment is an ACK; seq is its sender's ISN + 1, ack the other end's ISN + 1 (RFC 9293 §3.5)."""
    run = runs["article"]
    syn, syn_ack, third = opening(run)
    assert third.control == "."
    assert third.seq == syn.seq + 1
    assert third.ack == syn_ack.seq + 1
    evidence(run, [syn, syn_ack, third], f"seq {syn.seq} + 1 = {third.seq}, ack {syn_ack.seq} + 1 = {third.ack}")


def test_c09_refuted(runs: Runs, evidence: Evidences) -> None:
    """The third segment is another."""
    run = runs["article"]
    syn, syn_ack, third = opening(run)
    assert third.control != "." or third.seq != syn.seq + 1 or third.ack != syn_ack.seq + 1
    evidence(run, [third], f"[{third.control}] seq {third.seq} ack {third.ack}")


# -- C10: what the third step is for -----------------------------------------------------------------------------------


def opened(run: LabRun, name: str) -> bool:
    """Whether an old SYN opened a connection: refused by nobody, taken for a request at both ends, or kept."""
    (old,) = run.scene(name)
    reached = {str(state) for end in ENDS for state in old.states(end)}
    kept = run.of_scene(name).final_state("responder")
    return not old.resets or "ESTABLISHED" in reached or kept not in ("CLOSED", "LISTEN")


def test_c10_confirmed(runs: Runs, evidence: Evidences) -> None:
    """A responder cannot know and answers; the initiator refuses, and nothing is left (RFC 9293 §3.5)."""
    run = runs["delayed-syn"]
    (wanted,) = run.scene("wanted")
    evidence(run, [wanted.syn, *wanted.resets, wanted.segments[-1]], "the connection that was wanted: opened and over")
    for name in ("delayed", "half-open"):
        (old,) = run.scene(name)
        assert old.syn.time > wanted.segments[-1].time, f"frame {old.syn.frame} did not come late"
        assert old.syn_ack.ack == old.syn.seq + 1
        assert old.resets, f"nobody refused the answer of frame {old.syn_ack.frame}"
        rst = old.resets[0]
        assert rst.sender == "initiator"
        assert rst.seq == old.syn_ack.ack
        kept = run.of_scene(name).final_state("responder")
        assert not opened(run, name), f"{name}: it opened a connection, and the responder is left in {kept}"
        held = f"; half-open for {(rst.time - old.syn_ack.time) / 1e6:.3f} ms"
        evidence(run, [old.syn, old.syn_ack, rst], f"{name}: the old SYN, the answer, its refusal{held}")


def test_c10_refuted(runs: Runs, evidence: Evidences) -> None:
    """The old SYN opens a connection, third step or not."""
    run = runs["delayed-syn"]
    wrong = [name for name in ("delayed", "half-open") if opened(run, name)]
    assert wrong
    for name in wrong:
        kept = run.of_scene(name).final_state("responder")
        evidence(run, run.scene(name)[0].segments, f"{name}: what came of the old SYN; the responder is left in {kept}")


# -- C11 to C14: the close ---------------------------------------------------------------------------------------------


def without_fin(conversation: Conversation) -> list[End]:
    """The ends that sent no FIN until a reset ended the connection; none if the capture merely ends."""
    own = conversation.sent_by
    return [end for end in ENDS if conversation.close == "reset" and not any(s.has_fin for s in own[end])]


def first_fin(conversation: Conversation) -> Segment:
    """The first FIN.

    Raises:
        NotShown: there is none in the capture, but nothing that ended the connection either.
    """
    assert len(without_fin(conversation)) < len(ENDS), f"frame {conversation.resets[0].frame} ends it, and no FIN"
    found = [s for s in conversation.segments if s.has_fin]
    if not found:
        raise NotShown("the capture shows no FIN")
    return found[0]


def fins(conversation: Conversation) -> tuple[Segment, Segment]:
    """Both FINs, the first one first."""
    for end in without_fin(conversation):
        raise AssertionError(f"the {end} sent no FIN until the reset of frame {conversation.resets[0].frame}")
    first, second = sorted((stream.fin for stream in conversation.streams), key=lambda fin: fin.row)
    return first, second


def ack_of(conversation: Conversation, fin: Segment) -> Segment | None:
    """The first ACK of a FIN; None if the capture goes on, and nobody acknowledges it.

    Raises:
        NotShown: the capture ends with the FIN.
    """
    try:
        return conversation.stream(fin.sender).fin_ack
    except NotShown:
        if conversation.segments[-1].row == fin.row:
            raise
        return None


def alone(segment: Segment) -> bool:
    """Whether it is an ACK and nothing else."""
    return segment.control == "." and not segment.len


def test_c11_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The first FIN is a segment of its own, and is nothing but FIN."""
    for run, one in closed(runs):
        first = first_fin(one)
        assert first.control == "F"
        assert not first.len, f"frame {first.frame} carries {first.len} bytes with its FIN"
        evidence(run, [first], "FIN alone")


def test_c11_qualified(runs: Runs, evidence: Evidences) -> None:
    """The close does begin with FIN; but FIN always acknowledges, too, and may carry data and PSH (RFC 9293 §3.1)."""
    for run, one in closed(runs):
        first = first_fin(one)
        assert first.control == "F."
        evidence(run, [first], f"[{first.flags}] with {first.len} bytes of data" if first.len else f"[{first.flags}]")


def test_c11_refuted(runs: Runs, evidence: Evidences) -> None:
    """A connection that is closed in order has no FIN."""
    wrong = [(run, one) for run, one in closed(runs) if len(without_fin(one)) == len(ENDS)]
    assert wrong
    for run, one in wrong:
        evidence(run, one.resets, "this reset ends the connection, with no FIN before it")


def acks_of_first(runs: Runs) -> list[tuple[LabRun, Segment, Segment, Segment]]:
    """Of each close but the simultaneous: the first FIN, the first ACK of it, and the second FIN."""
    found = []
    for run, one in one_after_the_other(runs):
        first, second = fins(one)
        ack = ack_of(one, first)
        assert ack, f"nobody acknowledges the FIN of frame {first.frame}"
        found.append((run, first, ack, second))
    return found


def test_c12_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The first FIN is always answered by an ACK of its own."""
    for run, first, ack, _ in acks_of_first(runs):
        assert alone(ack), f"frame {ack.frame} is [{ack.flags}] with {ack.len} bytes"
        evidence(run, [first, ack], "the FIN and its ACK")


def test_c12_qualified(runs: Runs, evidence: Evidences) -> None:
    """An ACK comes; but it may wait, and then the second FIN takes it along: three segments (§3.8.6.3)."""
    for run, first, ack, second in acks_of_first(runs):
        assert ack.ack == first.end
        says = "an ACK of its own" if alone(ack) else "the second FIN is the ACK" if ack is second else "taken along"
        evidence(run, [first, ack], says)


def test_c12_refuted(runs: Runs, evidence: Evidences) -> None:
    """The first FIN is never acknowledged."""
    wrong = [(run, first_fin(one)) for run, one in closed(runs) if not ack_of(one, first_fin(one))]
    assert wrong
    for run, fin in wrong:
        evidence(run, [fin], "nobody acknowledges this FIN")


def test_c13_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The second FIN is always a segment of its own, after the ACK of the first."""
    for run, _, ack, second in acks_of_first(runs):
        assert second.control == "F."
        assert second.row > ack.row, f"the FIN of frame {second.frame} is the ACK itself"
        evidence(run, [ack, second], "the ACK, then FIN + ACK")


def test_c13_qualified(runs: Runs, evidence: Evidences) -> None:
    """The other end's FIN + ACK follows; at once, it is the ACK as well; later, data may come before it (§3.6)."""
    shared: list[tuple[LabRun, Segment, Segment]] = []
    apart: list[tuple[LabRun, Segment, Segment]] = []
    for run, _, ack, second in acks_of_first(runs):
        assert second.control == "F."
        (apart if second.row > ack.row else shared).append((run, ack, second))
    for run, ack, second in shared:
        evidence(run, [ack, second], "FIN + ACK is the ACK of the first FIN: three segments")
    for run, ack, second in apart:
        evidence(run, [ack, second], "first the ACK, then FIN + ACK")


def test_c13_refuted(runs: Runs, evidence: Evidences) -> None:
    """The other end does not close, or not with FIN + ACK."""
    wrong = []
    for run, one in one_after_the_other(runs):
        if len(without_fin(one)) == 1:
            wrong.append((run, one.resets[0]))
        else:
            wrong += [(run, fin) for fin in fins(one)[1:] if fin.control != "F."]
    assert wrong
    for run, segment in wrong:
        evidence(run, [segment], f"[{segment.flags}] is what the other end closes with")


def last_acks(conversation: Conversation) -> tuple[Segment, Segment]:
    """The second FIN, and its ACK."""
    _, second = fins(conversation)
    ack = ack_of(conversation, second)
    assert ack, f"nobody acknowledges the FIN of frame {second.frame}"
    return second, ack


def test_c14_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The fourth segment of every close, and its last, is the ACK of the second FIN, by the end that closed first."""
    for run, one in closed(runs):
        first, _ = fins(one)
        second, ack = last_acks(one)
        assert alone(ack), f"frame {ack.frame} is [{ack.flags}] with {ack.len} bytes"
        assert ack.ack == second.end
        after = [s for s in one.segments if s.row >= first.row]
        assert len(after) == 4, f"the close that frame {first.frame} begins has {len(after)} segments"
        evidence(run, [second, ack], "the second FIN and its ACK")


def test_c14_qualified(runs: Runs, evidence: Evidences) -> None:
    """The last ACK is there; but not always as the fourth segment.

    It is the third of three where FIN and ACK share a segment, and both ends send one where both close at once
    (RFC 9293 §3.6).
    """
    for run, one in closed(runs):
        first, _ = fins(one)
        second, ack = last_acks(one)
        assert alone(ack), f"frame {ack.frame} is [{ack.flags}] with {ack.len} bytes"
        assert ack.ack == second.end
        after = [s for s in one.segments if s.row >= first.row]
        evidence(run, [second, ack], f"the last ACK, in a close of {len(after)} segments ({one.close})")


def test_c14_refuted(runs: Runs, evidence: Evidences) -> None:
    """The second FIN is never acknowledged."""
    wrong = [(run, fin) for run, one in closed(runs) for fin in fins(one)[1:] if not ack_of(one, fin)]
    assert wrong
    for run, fin in wrong:
        evidence(run, [fin], "nobody acknowledges this FIN")


# -- C15 to C17: TIME-WAIT ---------------------------------------------------------------------------------------------


def holders(run: LabRun, name: str) -> tuple[End, ...]:
    """Which ends' kernels held TIME-WAIT when the scene was over."""
    record = run.of_scene(name)
    return tuple(end for end in ENDS if record.final_state(end) == "TIME-WAIT")


def held(run: LabRun, name: str) -> str:
    """Where TIME-WAIT was held when the scene was over, in words."""
    return f"TIME-WAIT at {' and '.join(holders(run, name)) or 'neither end'}"


def wrong_holders(run: LabRun) -> list[str]:
    """The closes after which TIME-WAIT is not held by who closed first, both if both did, and by nobody else."""
    right: tuple[tuple[End, ...], ...] = (("initiator",), ("responder",), ENDS)
    return [
        f"{name}: {held(run, name)}" for name, ends in zip(CLOSES, right, strict=True) if holders(run, name) != ends
    ]


def longest_wait(run: LabRun) -> tuple[float, str]:
    """The longest that a kernel of the run said that it would hold, or did hold, TIME-WAIT: seconds, and by what."""
    name = "full-wait"
    if name in run.record.document["connections"]:
        rows = [row for row in run.of_scene(name).samples("initiator") if row.state == "TIME-WAIT"]
        if rows:
            return rows[-1].time - rows[0].time, "watched from its begin to its end"
    timers = []
    for scene in ("initiator-closes", "responder-closes"):
        for end in ENDS:
            timers += [row.timer for row in run.of_scene(scene).samples(end) if row.state == "TIME-WAIT" and row.timer]
    seconds = [found for timer in timers if (found := seconds_of(timer)) is not None]
    if not seconds:
        raise NotShown("ss(8) told no timer of TIME-WAIT")
    return max(seconds), "by the timer that ss(8) shows right after the close"


def seconds_of(timer: str) -> float | None:
    """ss(8)'s "timewait,1min,0" or "timewait,59sec,0" or "timewait,997ms,0" in seconds; None for another timer.

    ss cuts the fraction of a second off.
    """
    kind, _, rest = timer.partition(",")
    if kind != "timewait":
        return None
    total, number = 0.0, ""
    words = rest.partition(",")[0]
    for unit, factor in (("min", 60.0), ("ms", 0.001), ("sec", 1.0)):
        head, found, tail = words.partition(unit)
        if found:
            number, words = head, tail
            total += float(number) * factor
    return total


def test_c15_confirmed(runs: Runs, evidence: Evidences) -> None:
    """Only the end that closes first holds TIME-WAIT, for the 4 minutes that RFC 9293 §3.4.2 makes of 2 MSL."""
    run = runs["time-wait"]
    assert not wrong_holders(run), wrong_holders(run)[0]
    seconds, how = longest_wait(run)
    assert seconds >= TWO_MSL - 2, f"it is held for {seconds:.0f} s, {how}"
    evidence(run, [fins(one)[0] for one in run.scene("initiator-closes")], f"{seconds:.0f} s, {how}")


def test_c15_qualified(runs: Runs, evidence: Evidences) -> None:
    """It does, but for a constant of its kernel, not for RFC 793's 2 × 2 minutes.

    On Linux that is 60 s. Where both ends close at once, both stay.
    """
    run = runs["time-wait"]
    assert not wrong_holders(run), wrong_holders(run)[0]
    for name, end in zip(CLOSES, ENDS, strict=False):
        (one,) = run.scene(name)
        assert fins(one)[0].sender == end
        evidence(run, fins(one), f"the {end} closes first; afterwards ss(8) shows TIME-WAIT there, and there only")
    evidence(run, fins(run.scene("simultaneous")[0]), "both close at once: TIME-WAIT on both hosts")
    seconds, how = longest_wait(run)
    assert SHORTEST <= seconds < TWO_MSL - 2
    evidence(run, [last_acks(run.scene("initiator-closes")[0])[1]], f"TIME-WAIT lasts {seconds:.0f} s, {how}")


def test_c15_refuted(runs: Runs, evidence: Evidences) -> None:
    """The end that closes first does not stay in TIME-WAIT, or not for long, or another does."""
    run = runs["time-wait"]
    wrong = wrong_holders(run)
    seconds, how = longest_wait(run) if not wrong else (0.0, "")
    assert wrong or seconds < SHORTEST, "those who should stay in it do"
    for name in CLOSES:
        evidence(run, fins(run.scene(name)[0]), f"{name}: ss(8) shows {held(run, name)}")
    if not wrong:
        evidence(run, fins(run.scene(CLOSES[0])[0]), f"TIME-WAIT lasts {seconds:.0f} s, {how}")


def repeated(conversation: Conversation) -> tuple[Segment, list[Segment], list[Segment]]:
    """The first FIN; the second, each time it was sent; and what answers from its first repetition on."""
    first, second = fins(conversation)
    again = [s for s in conversation.sent_by[second.sender] if s.has_fin and not s.is_copy]
    after = again[1].row if len(again) > 1 else len(conversation.segments)
    return first, again, [s for s in conversation.sent_by[first.sender] if s.row > after]


def test_c16_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The ACK was lost: the FIN came again, and TIME-WAIT answered it again.

    LAST-ACK became CLOSED by that; and without TIME-WAIT the same FIN met a reset.
    """
    run = runs["lost-last-ack"]
    (one,) = run.scene("answered")
    first, again, answers = repeated(one)
    assert len(again) > 1, f"the FIN of frame {again[0].frame} does not come again"
    assert again[1].seq == again[0].seq
    assert answers, f"nobody answers the FIN of frame {again[1].frame}"
    assert answers[0].control == "."
    assert answers[0].ack == again[1].end
    record = run.of_scene("answered")
    assert record.final_state(again[0].sender) == "CLOSED"
    assert record.final_state(first.sender) == "TIME-WAIT"
    waited = (again[1].time - again[0].time) / 1e6
    evidence(run, [*again[:2], answers[0]], f"the FIN again after {waited:.0f} ms, and answered again")
    (nobody,) = run.scene("nobody-answers")
    rsts = [s for s in repeated(nobody)[2] if s.has_rst]
    assert rsts, "without TIME-WAIT the FIN meets no reset"
    evidence(run, [repeated(nobody)[1][-1], rsts[0]], "without TIME-WAIT: the FIN again meets a reset")


def test_c16_refuted(runs: Runs, evidence: Evidences) -> None:
    """The FIN does not come again, or nobody answers it."""
    run = runs["lost-last-ack"]
    (one,) = run.scene("answered")
    _, again, answers = repeated(one)
    assert len(again) == 1 or not any(s.control == "." and s.ack == again[1].end for s in answers)
    evidence(run, [*again, *answers], "the FIN each time it came, and what answered its repetition, if anything")


def test_c17_confirmed(runs: Runs, evidence: Evidences) -> None:
    """What comes of the old connection is answered by a mere ACK and delivered to nobody; nothing ends TIME-WAIT."""
    run = runs["old-duplicate"]
    assert_kept_out(run, evidence)
    for name in ("old-data", "old-syn"):
        assert run.of_scene(name).final_state("responder") == "TIME-WAIT", f"{name}: TIME-WAIT is gone"
    anew = opened_anew(run)
    assert not anew, f"frame {anew[0].syn.frame} opens the same 4-tuple"


def test_c17_qualified(runs: Runs, evidence: Evidences) -> None:
    """It keeps them out; but not always to its end, and not every SYN.

    The ACK that answers an old segment is itself refused, and that reset ends TIME-WAIT early (RFC 1337). A newer SYN
    opens the same 4-tuple at once (RFC 9293 §3.10.7.4, RFC 6191).
    """
    run = runs["old-duplicate"]
    assert_kept_out(run, evidence)
    ended = [name for name in ("old-data", "old-syn") if run.of_scene(name).final_state("responder") != "TIME-WAIT"]
    anew = opened_anew(run)
    for name in ended:
        rsts = run.scene(name)[-1].resets
        assert rsts, f"{name}: TIME-WAIT is gone, but no reset shows why"
        evidence(run, rsts, f"{name}: this reset answers the ACK, and TIME-WAIT is gone")
    for one in anew:
        early = (one.syn.time - run.scene("new-syn")[0].segments[-1].time) / SECOND
        assert early < SHORTEST
        steps = (one.syn, one.syn_ack, one.handshake_ack)
        evidence(run, steps, f"a newer SYN, {early:.3f} s after the last ACK: the 4-tuple opens anew")


def opened_anew(run: LabRun) -> list[Conversation]:
    """The connections that a newer SYN opened between the same ports."""
    return [one for one in run.scene("new-syn")[1:] if one.open == "three-way"]


def assert_kept_out(run: LabRun, evidence: Evidences) -> None:
    """The old segments of both scenes are answered by an ACK of nothing new, and nothing is delivered twice."""
    for name in ("old-data", "old-syn"):
        found = run.scene(name)
        old, answers = delivered_late(found)
        assert answers, f"{name}: nothing answers frame {old.frame}"
        assert answers[0].control == ".", f"{name}: [{answers[0].control}] answers frame {old.frame}"
        assert not answers[0].len, f"{name}: frame {answers[0].frame} carries data"
        lives = run.record.document["connections"][name]["lives"]
        sent, received = lives["initiator"][0]["sent"], lives["responder"][0]["received"]
        assert len(lives["responder"]) == 1, f"{name}: the old segment opened a connection"
        assert sent == received, f"{name}: {received['bytes']} bytes were delivered of {sent['bytes']}"
        evidence(run, [old, answers[0]], f"{name}: delivered in TIME-WAIT, answered by an ACK, taken for nothing new")


def delivered_late(found: tuple[Conversation, ...]) -> tuple[Segment, list[Segment]]:
    """The old segment that came when both ends had closed, and the responder's answers to it.

    Raises:
        NotShown: the capture shows none.
    """
    ended = max(last_acks(found[0])[1].time, fins(found[0])[1].time)
    late = [s for one in found for s in one.segments if s.time > ended]
    old = next((s for s in late if s.sender == "initiator" and not s.has_rst), None)
    if old is None:
        raise NotShown("the capture shows no old segment that came again")
    return old, [s for s in late if s.sender == "responder" and s.time >= old.time]


def test_c17_refuted(runs: Runs, evidence: Evidences) -> None:
    """An old segment is taken for a new one: its data are delivered, or its SYN opens a connection."""
    run = runs["old-duplicate"]
    wrong = []
    for name in ("old-data", "old-syn"):
        old, answers = delivered_late(run.scene(name))
        lives = run.record.document["connections"][name]["lives"]
        twice = lives["initiator"][0]["sent"] != lives["responder"][0]["received"] or len(lives["responder"]) > 1
        if twice or any(s.has_syn for s in answers):
            wrong.append((old, answers))
    assert wrong
    for old, answers in wrong:
        evidence(run, [old, *answers], "an old segment, and what was made of it")


# -- C18 to C21: tcpdump -----------------------------------------------------------------------------------------------


def switches(run: LabRun) -> dict[str, dict[str, Any]]:
    """What tcpdump did with each switch.

    Raises:
        NotShown: nobody tried them.
    """
    found: dict[str, dict[str, Any]] | None = run.record.document.get("switches")
    if found is None:
        raise NotShown("nobody tried tcpdump's switches")
    return found


def assert_switches(run: LabRun) -> None:
    """-c, -n, port, -S and -i do what the article says."""
    told = switches(run)
    assert len(told["-c"]["stdout"].splitlines()) == 3, "-c 3 does not list three packets"
    addresses = [run.record.address(role) for role in ("server", "client")]
    assert all(address in told["-n"]["stdout"] for address in addresses), "-n does not print addresses"
    assert told["port"]["stdout"].strip(), "port lists nothing"
    assert not told["another port"]["stdout"].strip(), "what is not of the port is listed"
    isn = str(run.conversation.handshake_ack.ack)
    assert f"ack {isn}" in told["-S"]["stdout"], f"-S does not print ack {isn}"
    assert "ack 1," in told["without -S"]["stdout"], "without -S the numbers are not relative"
    listed = " ".join(run.record.document["commands"]["listing"])
    assert "-i " in listed
    assert "listening on" in run.record.listings["connect"]


def test_c18_confirmed(runs: Runs, evidence: Evidences) -> None:
    """Each switch does what the article says of it, -I too."""
    run = runs["article"]
    assert_switches(run)
    monitor = switches(run)["-I"]
    said = monitor["stderr"].strip()
    assert "listening on" in said, f"{' '.join(monitor['command'])}: {said}"
    evidence(run, run.conversation.segments[:3], "what the other switches were tried on")
    evidence(run, [], "-I took the interface's name")


def test_c18_qualified(runs: Runs, evidence: Evidences) -> None:
    """The others are as told; but the interface is -i: -I is monitor mode, for Wi-Fi (tcpdump(1)).

    The article's own command has -i.
    """
    run = runs["article"]
    assert_switches(run)
    monitor = switches(run)["-I"]
    assert monitor["status"] != 0
    assert "listening on" not in monitor["stderr"]
    said = monitor["stderr"].strip().splitlines()[-1:]
    evidence(run, [], f"{' '.join(monitor['command'])}: {' '.join(said)}")
    interface = run.record.document["hosts"]["server"]["interface"]
    evidence(run, run.conversation.segments[:1], f"with -i {interface} it listens")


def test_c18_refuted(runs: Runs, evidence: Evidences) -> None:
    """A switch does something else."""
    run = runs["article"]
    try:
        assert_switches(run)
    except AssertionError as error:
        evidence(run, run.conversation.segments[:3], str(error).splitlines()[0])
        return
    raise AssertionError("every switch does what it should")


def listed(run: LabRun, name: str) -> list[Segment]:
    """The segments of a listing."""
    return [s for one in run.listed(name) for s in one.segments]


def test_c19_confirmed(runs: Runs, evidence: Evidences) -> None:
    """S, S. and . are its first three lines, and then the banners, in either order (RFC 4253 §4.2)."""
    run = runs["article"]
    lines = listed(run, "connect")
    assert len(lines) == SIX, f"{len(lines)} packets are listed"
    assert [str(s.control) for s in lines[:3]] == ["S", "S.", "."]
    assert any(s.len for s in lines[3:]), "no banner follows"
    shown = run.conversation.segments[:SIX]
    assert [str(s.flags) for s in lines] == [str(s.flags) for s in shown]
    evidence(run, shown, "the six that were listed: " + ", ".join(f"[{s.flags}]" for s in lines))


def test_c19_refuted(runs: Runs, evidence: Evidences) -> None:
    """The six packets do not hold the handshake."""
    run = runs["article"]
    flags = [str(s.control) for s in listed(run, "connect")]
    assert flags[:3] != ["S", "S.", "."]
    evidence(run, run.conversation.segments[:3], f"listed were {' '.join(flags)}")


def test_c20_confirmed(runs: Runs, evidence: Evidences) -> None:
    """The six packets hold the whole close: both FINs and their ACKs."""
    run = runs["article"]
    assert any(one.close != "reset" and one.is_over for one in run.listed("exit")), "not both FINs and their ACKs"
    evidence(run, [s for s in run.conversation.segments if s.has_fin], "both FINs, listed")


def test_c20_qualified(runs: Runs, evidence: Evidences) -> None:
    """The six packets hold the begin of the close, not its end."""
    run = runs["article"]
    fin = [s for s in listed(run, "exit") if s.has_fin]
    assert fin, "no FIN is listed"
    evidence(run, [s for s in run.conversation.segments if s.has_fin], f"{len(fin)} FIN listed")


def test_c20_refuted(runs: Runs, evidence: Evidences) -> None:
    """No FIN is among the six, here as in the article's listing: they are keys of `exit` and their echoes."""
    printed = conversations(read_capture((PRINTED / "teardown.txt").read_bytes(), "the article's listing").segments)[0]
    assert len(printed.segments) == SIX
    assert not [s for s in printed.segments if s.has_fin]
    run = runs["article"]
    lines = listed(run, "exit")
    assert len(lines) == SIX
    assert not [s for s in lines if s.has_fin]
    whole = run.conversation.segments
    first, _ = fins(run.conversation)
    _, last = last_acks(run.conversation)
    key = next(s for s in lines if s.len)
    begin = next(s for s in whole if s.sender == key.sender and s.len and s.seq == key.seq)
    between = [s for s in whole if begin.row <= s.row <= last.row]
    evidence(run, between[:SIX], "what was listed: no FIN")
    closing = [s for s in whole if first.row <= s.row <= last.row]
    evidence(run, closing, f"the close: {len(closing)} segments, of {len(between)} from the first key to the last ACK")
    control = [s for s in whole if s.has_syn or s.has_fin or s.has_rst]
    assert len(control) <= SIX
    evidence(run, control, "what 'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0' would have listed")


def test_c21_confirmed(runs: Runs, evidence: Evidences) -> None:
    """Six packets are soon full of the other window's; the lab's connection is told apart by its 4-tuple."""
    run = runs["article"]
    window = run.record.document["window"]
    ends = {frozenset((one.initiator, one.responder)): one for one in run.listed("disturbed")}
    lab = frozenset((run.record.initiator, run.record.responder))
    other_window = frozenset((window["initiator"], window["responder"]))
    assert other_window in ends, "the listing shows nothing of the other window"
    assert lab != other_window
    captured, received = counters(run, "disturbed")
    assert captured == SIX
    assert received >= captured
    (beside,) = [one for one in run.conversations if frozenset((one.initiator, one.responder)) == other_window]
    foreign = len(ends[other_window].segments)
    says = f"{foreign} of the six listed are the other window's; {received} received by filter, {captured} captured"
    evidence(run, beside.segments[:3], says)


def counters(run: LabRun, name: str) -> tuple[int, int]:
    """How many packets tcpdump said that it captured, and that its filter received, when it ended."""
    words = [line.split() for line in run.record.listings[name].splitlines() if " packets " in line]
    found = {" ".join(line[2:]): int(line[0]) for line in words if line[0].isdecimal()}
    if not {"captured", "received by filter"} <= found.keys():
        raise NotShown(f"tcpdump did not print its counters in {name}.txt")
    return found["captured"], found["received by filter"]


def test_c21_refuted(runs: Runs, evidence: Evidences) -> None:
    """The other window leaves no trace in the listing."""
    run = runs["article"]
    lab = frozenset((run.record.initiator, run.record.responder))
    ends = {frozenset((one.initiator, one.responder)) for one in run.listed("disturbed")}
    assert ends == {lab}
    evidence(run, run.conversation.segments[:1], "only the lab's connection is listed")
