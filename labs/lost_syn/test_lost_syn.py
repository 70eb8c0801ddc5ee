"""The rubric of the lab on lost SYNs: a capture in which one is lost, and one in which two are. 100 points.

Each check looks for a connection of its own kind among all that the capture holds, so that a capture made by hand is
judged as one of the harness's own scenes. A SYN counts as lost if the initiator had to send it again before any answer.
"""

import pytest

from harness.tcp.conversation import TWICE, Conversation, NotShown, Segment

Conversations = tuple[Conversation, ...]

# Before anything was measured a timeout is 1 s (RFC 6298 §2.1). Timers fire late, on a busy machine more so; they do
# not fire early, but clocks and ticks are coarse.
SHORTEST, LONGEST = 900_000_000, 1_500_000_000  # ns
LEGAL_CLOSES = ("four-segment", "three-segment", "simultaneous")

each = pytest.mark.parametrize("lost", [1, 2], ids=["once", "twice"])


def syns_of(conversation: Conversation) -> tuple[Segment, ...]:
    """The initiator's SYNs before any answer, in order; what was merely captured twice counts once."""
    found: list[Segment] = []
    for segment in conversation.segments:
        if segment.sender == "responder":
            break
        if segment.has_syn and not (segment.is_copy and segment.time - found[-1].time < TWICE):
            found.append(segment)
    return tuple(found)


def opened(conversations: Conversations, lost: int) -> Conversation:
    """The first whose SYN was sent so many times in vain; one that was answered goes before one that was not.

    Raises:
        NotShown: the capture holds none.
    """
    found = [conversation for conversation in conversations if len(syns_of(conversation)) == lost + 1]
    if not found:
        raise NotShown(f"the capture shows no SYN that was sent {lost + 1} times before it was answered")
    return min(found, key=lambda conversation: conversation.open != "three-way")


@pytest.mark.points(8)
@each
def test_the_same_syn_again(conversations: Conversations, lost: int) -> None:
    """What is sent again is the same SYN: the same ports and the same initial sequence number (RFC 9293 §3.8.1)."""
    first, *again = syns_of(opened(conversations, lost))
    assert first.control == "S"
    assert first.ack.value == 0, f"frame {first.frame} ack is {first.ack}, not 0"
    for syn in again:
        assert syn.seq == first.seq
        assert syn.control == "S"
        assert syn.ack.value == 0, f"frame {syn.frame} ack is {syn.ack}, not 0"
        assert syn.len == first.len


@pytest.mark.points(4)
@each
def test_it_offers_the_same(conversations: Conversations, lost: int) -> None:
    """It offers again what the first one did: MSS, window scale, SACK, timestamps (RFC 9293 §3.7.1, RFC 7323)."""
    first, *again = syns_of(opened(conversations, lost))
    asked = first.options
    assert asked.mss, f"frame {first.frame} offers no MSS"
    assert (asked.window_scale or 0) <= 14, f"frame {first.frame} offers a window scale above 14 (RFC 7323 §2.3)"
    for syn in again:
        told = syn.options
        assert told.mss, f"frame {syn.frame} offers no MSS"
        assert (told.window_scale or 0) <= 14, f"frame {syn.frame} offers a window scale above 14"
        for name in ("window_scale", "timestamps"):
            both = [getattr(options, name) is not None for options in (asked, told)]
            assert both[0] == both[1], f"frames {first.frame} and {syn.frame} differ in {name}"
        assert told.sack_permitted == asked.sack_permitted, f"frames {first.frame} and {syn.frame} differ in SACK"


@pytest.mark.points(10)
@each
def test_after_about_a_second(conversations: Conversations, lost: int) -> None:
    """The SYN is sent again after about 1 s, the timeout before anything was measured (RFC 6298 §2.1)."""
    first, second = syns_of(opened(conversations, lost))[:2]
    waited = second.time - first.time
    assert SHORTEST <= waited <= LONGEST, f"frame {second.frame} comes {waited / 1e9:.3f} s after frame {first.frame}"


@pytest.mark.points(10)
def test_backing_off(conversations: Conversations) -> None:
    """The next wait is about 2 s, twice the first (RFC 6298 §5.5); Linux since 6.5 waits 1 s for four times more.

    There net.ipv4.tcp_syn_linear_timeouts says how many waits stay as long as the first (Documentation/networking/
    ip-sysctl.rst). No system waits less than it had.
    """
    _, second, third = syns_of(opened(conversations, 2))
    waited = third.time - second.time
    same, doubled = (SHORTEST <= waited <= LONGEST), (2 * SHORTEST <= waited <= 2 * LONGEST)
    assert same or doubled, f"frame {third.frame} comes {waited / 1e9:.3f} s after frame {second.frame}"


@pytest.mark.points(5)
@each
def test_silence_meanwhile(conversations: Conversations, lost: int) -> None:
    """Before an answer there is nothing else to say: until the SYN-ACK the capture shows SYNs only (RFC 9293 §3.5)."""
    conversation = opened(conversations, lost)
    syn_ack = conversation.syn_ack
    for segment in conversation.segments[: syn_ack.row]:
        assert segment.control == "S", f"{segment} comes before the SYN-ACK of frame {syn_ack.frame}"


@pytest.mark.points(6)
@each
def test_the_last_one_is_answered(conversations: Conversations, lost: int) -> None:
    """Only the last SYN arrives: the SYN-ACK comes right after it, and its TSecr is that one's TSval (RFC 7323 §3).

    So opening took as long as the waits.
    """
    conversation = opened(conversations, lost)
    last = syns_of(conversation)[-1]
    answer = conversation.syn_ack
    took = answer.time - last.time
    assert 0 <= took < SHORTEST, f"frame {answer.frame} comes {took / 1e9:.3f} s after frame {last.frame}"
    sent, echoed = last.options.timestamps, answer.options.timestamps
    if sent and echoed:
        assert echoed[1] == sent[0], f"frame {answer.frame} echoes {echoed[1]}, but frame {last.frame} said {sent[0]}"


@pytest.mark.points(8)
@each
def test_then_it_opens(conversations: Conversations, lost: int) -> None:
    """The handshake then goes on as ever: a SYN takes one number, however often it was sent (RFC 9293 §3.5)."""
    conversation = opened(conversations, lost)
    first, syn_ack, third = conversation.syn, conversation.syn_ack, conversation.handshake_ack
    assert syn_ack.control == "S."
    assert syn_ack.ack == first.seq + 1
    assert third.control == "."
    assert third.len == 0
    assert third.seq == first.seq + 1
    assert third.ack == syn_ack.seq + 1
    assert conversation.open == "three-way"


@pytest.mark.points(4)
@each
def test_and_closes(conversations: Conversations, lost: int) -> None:
    """Nothing of it is left in the connection: it closes in order, and each FIN is acknowledged (RFC 9293 §3.6)."""
    conversation = opened(conversations, lost)
    for stream in conversation.streams:
        assert stream.fin_ack.ack == stream.fin.end
    assert conversation.close in LEGAL_CLOSES, f"the close is {conversation.close!r}"
