"""What only a live run can know: each scene took place, and the kernel went through the inferred states. No points."""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End

both_ends = pytest.mark.parametrize("end", ENDS)


def test_each_scene_is_in_the_capture(conversations: tuple[Conversation, ...], run: RunRecord) -> None:
    """Every connection that the experiment made is in the capture."""
    found = {(one.initiator, one.responder) for one in conversations}
    for name, ends in run.document["connections"].items():
        assert (ends["initiator"], ends["responder"]) in found, f"the scene {name} is not in the capture"


@both_ends
def test_kernel_went_through_the_inferred_states(
    conversations: tuple[Conversation, ...], run: RunRecord, end: End
) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    doubts = run.doubts(conversations, end)
    assert not doubts, doubts[0]
