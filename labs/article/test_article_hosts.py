"""What only a live run can know: what tcpdump showed on the terminal, and whose connection it was. No points."""

import pytest

from harness.captures.reading import read_capture
from harness.runs import RunRecord
from harness.tcp.conversation import Conversation, NotShown, conversations

Conversations = tuple[Conversation, ...]


def listed(run: RunRecord, name: str) -> list[Conversation]:
    """The conversations of one of the listings, as far as it goes.

    Raises:
        NotShown: the run has no such listing.
    """
    if name not in run.listings:
        raise NotShown(f"the run has no listing {name!r}")
    return conversations(read_capture(run.listings[name].encode(), name).segments)


@pytest.mark.parametrize("name", ["connect", "exit"])
def test_the_listing_is_of_the_session(run: RunRecord, name: str) -> None:
    """Six packets were listed, all of the lab's connection."""
    (found,) = listed(run, name)
    assert len(found.segments) == 6
    assert {found.initiator, found.responder} == {run.initiator, run.responder}


def test_the_listing_of_both(conversation: Conversation, run: RunRecord) -> None:
    """With a second window six packets are of two connections; $SSH_CONNECTION tells which is the lab's."""
    ends = {frozenset((one.initiator, one.responder)) for one in listed(run, "disturbed")}
    window = run.document["window"]
    assert ends == {frozenset((run.initiator, run.responder)), frozenset((window["initiator"], window["responder"]))}
    assert conversation.initiator == run.initiator


@pytest.mark.parametrize("end", ["initiator", "responder"])
def test_kernel_went_through_the_inferred_states(conversation: Conversation, run: RunRecord, end: str) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    states = [str(state) for state in conversation.states("initiator" if end == "initiator" else "responder")]
    doubt = run.doubt(end, states)
    assert not doubt, doubt
