"""What only a live run can know: the SYNs were lost, and the kernel went through the inferred states. No points."""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End

LOST = {"once": 1, "twice": 2}

both_ends = pytest.mark.parametrize("end", ENDS)


@pytest.mark.parametrize("name", LOST)
def test_the_syns_were_lost(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> None:
    """Every connection that the experiment made is in the capture, and so many of its SYNs were dropped."""
    scene = run.document["connections"][name]
    assert (scene["initiator"], scene["responder"]) in {(one.initiator, one.responder) for one in conversations}
    assert scene["dropped"] == LOST[name]


@both_ends
def test_kernel_went_through_the_inferred_states(
    conversations: tuple[Conversation, ...], run: RunRecord, end: End
) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    doubts = run.doubts(conversations, end)
    assert not doubts, doubts[0]
