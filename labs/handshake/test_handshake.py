"""The rubric of the handshake lab: what one ssh session's packets must show. 100 points.

Every assert is about one TCP connection, as RFC 9293 has it. What is legal TCP loses nothing: three segments to close
or four, both ends closing at once, a sequence number that wraps, a segment sent again, ECN, PSH anywhere.
"""

import pytest

from harness.tcp.conversation import ENDS, SHORTEST_TIMEOUT, Conversation, End, NotShown, Segment, other
from harness.tcp.values import signed_difference

# A tail loss probe (RFC 8985 §7.2) comes before the timeout: Linux waits two ticks of its clock, 8 ms at 250 Hz.
SHORTEST_PROBE_OF_A_FIN = 8_000_000  # ns; less than that, and a FIN bit set by mistake would pass for one
SHORTEST_PROBE = 1_000_000  # ns
LEGAL_CLOSES = ("four-segment", "three-segment", "simultaneous")

both_ends = pytest.mark.parametrize("end", ENDS)


@pytest.mark.points(3)
def test_capture_is_whole(conversation: Conversation) -> None:
    """The capture shows both directions, and nothing is acknowledged that it does not hold."""
    for end in ENDS:
        assert conversation.stream(end).segments
    for segment in conversation.segments:
        if segment.has_ack and not segment.has_rst:
            assert segment.highest_sent_by_peer is not None, f"{segment} acknowledges what was not captured"


@pytest.mark.points(4)
def test_three_segments_open(conversation: Conversation) -> None:
    """SYN, then SYN with ACK, then ACK: the flags of the three-way handshake (RFC 9293 §3.5)."""
    assert conversation.syn.control == "S"
    assert conversation.syn_ack.control == "S."
    assert conversation.handshake_ack.control == "."
    assert conversation.open == "three-way"


@pytest.mark.points(3)
def test_first_syn_acknowledges_nothing(conversation: Conversation) -> None:
    """There is nothing to acknowledge yet: the first SYN has the flag ACK off and the field ack 0."""
    assert not conversation.syn.has_ack
    assert conversation.syn.ack.value == 0, f"frame {conversation.syn.frame} ack is {conversation.syn.ack}, not 0"


@pytest.mark.points(5)
def test_each_syn_takes_one_number(conversation: Conversation) -> None:
    """A SYN occupies one sequence number, so its ACK is its ISN + 1 (RFC 9293 §3.4)."""
    assert conversation.syn_ack.ack == conversation.syn.seq + 1
    assert conversation.handshake_ack.ack == conversation.syn_ack.seq + 1


@pytest.mark.points(4)
def test_third_segment(conversation: Conversation) -> None:
    """The third segment begins where the SYN ended, and carries nothing."""
    third = conversation.handshake_ack
    if third.len:  # it may carry some (RFC 9293 §3.5), and does where the ACK alone was lost, or overtaken
        raise NotShown(f"the capture shows no ACK alone before frame {third.frame}, which carries data")
    assert third.seq == conversation.syn.seq + 1
    assert third.len == 0


@pytest.mark.points(2)
def test_syns_carry_no_data(conversation: Conversation) -> None:
    """Neither SYN carries data in this lab (it may with TCP Fast Open only, RFC 7413)."""
    assert conversation.syn.len == 0
    assert conversation.syn_ack.len == 0


@pytest.mark.points(2)
def test_who_opened_to_whom(conversation: Conversation) -> None:
    """The initiator speaks from an ephemeral port to the responder's ssh port, 22 (RFC 6335 §6)."""
    initiator, responder = conversation.rows.initiator, conversation.rows.responder
    assert responder[1] == 22, f"the responder is {conversation.responder}, not a port 22"
    assert initiator[1] >= 1024, f"the initiator is {conversation.initiator}, not an ephemeral port"
    assert initiator[0] != responder[0], f"both ends are on one host, {conversation.initiator}"


@pytest.mark.points(4)
def test_options_are_offered_before_use(conversation: Conversation) -> None:
    """Both SYNs tell an MSS; what both offered is used, timestamps always, and nothing else (RFC 7323, RFC 2018)."""
    asked, answered = conversation.syn.options, conversation.syn_ack.options
    assert asked.mss, f"frame {conversation.syn.frame} (initiator) offers no MSS"
    assert answered.mss, f"frame {conversation.syn_ack.frame} (responder) offers no MSS"
    assert max(asked.window_scale or 0, answered.window_scale or 0) <= 14, "a window scale is above 14"
    if asked.window_scale is None:
        assert answered.window_scale is None, "the responder scales windows, but the initiator did not offer it"
    both_stamp = asked.timestamps is not None and answered.timestamps is not None
    both_sack = asked.sack_permitted and answered.sack_permitted
    for segment in conversation.segments:
        options = segment.options
        if not segment.has_syn:
            assert both_stamp or options.timestamps is None, f"{segment} has timestamps nobody agreed on"
            assert both_sack or not options.sack, f"{segment} has SACK blocks nobody agreed on"
            offers = options.mss is not None or options.window_scale is not None or options.sack_permitted
            assert not offers, f"{segment} offers what only a SYN may (RFC 9293 §3.7.1, RFC 7323 §2.2, RFC 2018 §2)"
            if both_stamp and not segment.has_rst:
                assert options.timestamps is not None, f"{segment} lacks the timestamps agreed on (RFC 7323 §3.2)"


@pytest.mark.points(4)
def test_everything_after_the_first_syn_acknowledges(conversation: Conversation) -> None:
    """Once something was received, every segment carries the flag ACK (a RST may not) (RFC 9293 §3.1)."""
    syn = conversation.syn
    for segment in conversation.segments:
        again = segment.control == "S" and segment.seq == syn.seq and segment.sender == "initiator"
        if not again and not segment.has_rst:
            assert segment.has_ack, f"{segment} has the flag ACK off"
        assert segment.len or "U" not in segment.control, f"{segment} calls urgent what it does not carry"


@pytest.mark.points(3)
def test_syn_opens_only(conversation: Conversation) -> None:
    """SYN belongs to the opening: each end sends one sequence number with SYN, and none after its data began."""
    syn, syn_ack = conversation.syn, conversation.syn_ack
    has_answered = False
    for segment in conversation.segments:
        if segment.has_syn:
            first = syn if segment.sender == "initiator" else syn_ack
            assert segment.seq == first.seq
            assert segment.control == first.control
            assert not (has_answered and segment.sender == "initiator"), f"{segment} comes after the SYN-ACK's ACK"
        elif segment.sender == "initiator":
            has_answered = True


@pytest.mark.points(5)
@both_ends
def test_data_is_contiguous(conversation: Conversation, end: End) -> None:
    """Each segment begins where the one before it ended: seq + length modulo 2³² (or comes again, or late)."""
    for segment in conversation.stream(end).segments:
        if not segment.has_rst and not segment.in_place:
            assert segment.seq == segment.expected_seq


@pytest.mark.points(4)
def test_no_ack_ahead_of_what_was_sent(conversation: Conversation) -> None:
    """Nobody acknowledges a byte that the other end has not sent yet (RFC 9293 §3.10.7.4)."""
    for segment in conversation.segments:
        sent = segment.highest_sent_by_peer
        if segment.has_ack and not segment.has_rst and sent is not None:
            ahead = segment.ack.distance_from(sent)
            assert ahead <= 0, f"{segment.ack.as_found()} is {ahead} ahead of {sent.as_expected()}, the highest sent"


@pytest.mark.points(3)
def test_acks_never_go_back(conversation: Conversation) -> None:
    """An acknowledgement is cumulative: it never takes back what was acknowledged (RFC 9293 §3.4)."""
    for segment in conversation.segments:
        before = segment.acked_before
        if not segment.has_ack or segment.has_rst or before is None:
            continue
        back = before.distance_from(segment.ack)
        if back > 0:
            # A later ACK may have overtaken it on its way; but it still ends where a segment ends.
            alone, covered = segment.control == "." and not segment.len, segment.relative[2] or 0
            overtaken = alone and conversation.is_boundary(other(segment.sender), covered, before=segment.row)
            late = overtaken or segment.came_late
            assert late, f"{segment.ack.as_found()} goes {back} back behind {before.as_expected()}"


@pytest.mark.points(3)
def test_every_pure_ack_has_a_cause(conversation: Conversation) -> None:
    """A segment with nothing in it acknowledges something new, moves the window, or answers what was sent again."""
    previous: dict[End, Segment | None] = dict.fromkeys(ENDS)
    owed = dict.fromkeys(
        ENDS, 0
    )  # what arrives twice or out of order is answered by the same ACK again (RFC 5681 §4.2)
    for segment in conversation.segments:
        if segment.came_late:
            continue
        before = previous[segment.sender]
        pure = segment.control == "." and not segment.len
        if pure and before is not None:
            same = segment.ack == before.ack and segment.window == before.window
            same = same and not segment.options.sack
            same = same and not segment.is_copy
            assert not same or owed[segment.sender], f"{segment} says nothing that frame {before.frame} had not said"
            owed[segment.sender] -= same
        if segment.has_ack:
            previous[segment.sender] = segment
        if segment.repeats or segment.offset:
            owed[other(segment.sender)] += 1


@pytest.mark.points(3)
@both_ends
def test_all_data_is_acknowledged(conversation: Conversation, end: End) -> None:
    """At the end, each end has acknowledged all that the other sent."""
    last = conversation.stream(end).segments[-1]
    for segment in conversation.stream(end).segments:
        if segment.end.distance_from(last.end) > 0:
            last = segment
    acks = [s for s in conversation.stream(other(end)).segments if s.has_ack and not s.has_rst]
    if not acks:
        raise NotShown(f"the capture shows no ACK by the {other(end)}")
    highest = acks[0].ack
    for segment in acks:
        if segment.ack.distance_from(highest) > 0:
            highest = segment.ack
    if highest != last.end and acks[-1].row < last.row and not conversation.is_over:
        raise NotShown(f"the capture ends before an ACK of frame {last.frame} could be seen")
    assert highest == last.end


@pytest.mark.points(3)
@both_ends
def test_banner_is_acknowledged_by_its_length(conversation: Conversation, end: End) -> None:
    """The SSH banner, an end's first data, is acknowledged by its length: ack = seq + length (RFC 4253 §4.2)."""
    banner = conversation.stream(end).first_data
    for segment in conversation.stream(end).data:
        if banner.seq.distance_from(segment.seq) > 0:  # what was captured first came later, where the network lost some
            banner = segment
    start, stop, _ = banner.relative
    for answer in conversation.stream(end).acks_of(start):
        covered = answer.relative[2] or 0
        # An ACK may cover later segments too, but never a part of one.
        whole = conversation.is_boundary(end, covered, before=answer.row)
        assert covered == stop or (whole and covered > stop), (
            f"{answer.ack.as_found()}, but {banner.seq.as_expected()} + {int(banner.len)} = {banner.end.value}"
        )
        break
    else:
        raise NotShown(f"the capture shows no ACK of the {end}'s banner (frame {banner.frame})")
    try:
        text = banner.payload
    except NotShown:
        return  # a capture without payload shows its length all the same
    begin = b"SSH-"[: len(text)]
    assert text.startswith(begin), f"frame {banner.frame} begins with {text[:8]!r}, not with SSH-"


@pytest.mark.points(3)
@both_ends
def test_fin_is_the_end_of_the_stream(conversation: Conversation, end: End) -> None:
    """A FIN stands at the end of its stream: its seq is the number after the last byte, and no data follows."""
    fin = conversation.stream(end).fin
    if not fin.in_place:
        assert fin.seq == fin.expected_seq
    last_byte_plus_1 = fin.seq + fin.len
    for segment in conversation.stream(end).segments:
        if segment.len:
            beyond = (segment.seq + segment.len).distance_from(last_byte_plus_1)
            assert beyond <= 0, f"{segment} goes {beyond} beyond the FIN of frame {fin.frame}"


@pytest.mark.points(2)
@both_ends
def test_fin_acknowledges_whole_segments(conversation: Conversation, end: End) -> None:
    """A FIN acknowledges what its sender had received by then: up to the end of a segment."""
    fin = conversation.stream(end).fin
    assert fin.has_ack, f"{fin} has the flag ACK off"
    covered = fin.relative[2] or 0
    assert conversation.is_boundary(other(end), covered, before=fin.row), (
        f"{fin.ack.as_found()} is inside a segment of the {other(end)}"
    )


@pytest.mark.points(4)
@both_ends
def test_fin_takes_one_number(conversation: Conversation, end: End) -> None:
    """A FIN occupies one sequence number: its ACK is its end, seq + length + 1, and its sender goes on from there."""
    fin = conversation.stream(end).fin
    assert conversation.stream(end).fin_ack.ack == fin.end
    for segment in conversation.stream(end).segments:
        if segment.row > fin.row and not segment.repeats and not segment.has_rst:
            assert segment.seq == fin.end


@pytest.mark.points(2)
@both_ends
def test_nothing_is_repeated_at_once(conversation: Conversation, end: End) -> None:
    """What was sent is sent again after a timeout only (RFC 6298), data also once the other end has said something."""
    assert conversation.stream(end).fin  # a capture that shows no close does not show that nothing was repeated
    heard, asked_again, said = 0, False, None
    for segment in conversation.segments:
        if segment.sender != end:
            heard = segment.time
            asked_again = asked_again or (segment.has_syn and segment.repeats)
            continue
        after, stamped = segment.sent_again_after, segment.options.timestamps
        if after is None:
            said = stamped[0] if stamped else None
            continue
        if (
            stamped and said is not None
        ):  # what a slow network hands over together was not sent together: TSval counts ms
            after = max(after, min(signed_difference(stamped[0], said), SHORTEST_TIMEOUT // 1_000_000) * 1_000_000)
        (start, stop, _), least = segment.relative, 0
        if segment.has_syn:
            least = 0 if asked_again else SHORTEST_TIMEOUT  # a SYN that comes again is answered again
        elif segment.has_fin:
            least = SHORTEST_PROBE_OF_A_FIN
        elif segment.repeats and not conversation.is_free(end, start, stop, before=segment.row):
            least = 0 if heard > segment.time - after else SHORTEST_PROBE
        assert after >= least, f"{segment} repeats what was sent {after / 1e6:.3f} ms before"


@pytest.mark.points(3)
def test_last_ack(conversation: Conversation) -> None:
    """The last word is an ACK alone, sent by who closed first, that acknowledges the other's FIN (RFC 9293 §3.6)."""
    first, second = sorted((stream.fin for stream in conversation.streams), key=lambda fin: fin.row)
    last = conversation.stream(second.sender).fin_ack
    assert last.sender == first.sender
    assert last.control == "."
    assert last.len == 0
    assert last.seq == first.end
    assert last.ack == second.end


@pytest.mark.points(3)
def test_close_is_legal(conversation: Conversation) -> None:
    """The connection closes in four segments, in three, or from both ends at once (RFC 9293 §3.6), and to the end."""
    for stream in conversation.streams:
        assert stream.fin_ack
    assert conversation.close in LEGAL_CLOSES, f"the close is {conversation.close!r}"
    assert not conversation.illegal, ", ".join(
        f"frame {conversation.at(s.row).frame}: {s.illegal}" for s in conversation.illegal
    )


@pytest.mark.points(3)
def test_no_reset(conversation: Conversation) -> None:
    """Nothing was aborted: no segment carries RST."""
    assert conversation.segments
    assert not conversation.resets


@pytest.mark.points(3)
def test_nothing_after_the_last_ack(conversation: Conversation) -> None:
    """After both FINs are acknowledged nothing follows, but a FIN sent again and its ACK (RFC 9293 §3.6)."""
    over = max(stream.fin_ack.row for stream in conversation.streams)
    asked: dict[End, int] = dict.fromkeys(ENDS, 0)  # for how many of its segments that came again an ACK is to come
    for segment in conversation.segments:
        if segment.repeats:
            asked[segment.sender] += 1
        if segment.row <= over:
            continue
        answers = segment.control == "." and not segment.len and asked[other(segment.sender)] > 0
        assert segment.repeats or answers or segment.is_copy, f"{segment} comes after the last ACK"
        if answers:
            asked[other(segment.sender)] -= 1
