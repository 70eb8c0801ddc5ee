"""What only a live run can know: that both hosts agree with the packets.

No points: the same capture earns the same marks everywhere. But a failure here fails the run.
"""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End

both_ends = pytest.mark.parametrize("end", ENDS)


def test_it_is_the_labs_connection(conversation: Conversation, run: RunRecord) -> None:
    """The conversation is the one that ssh told of in $SSH_CONNECTION: server opened to client."""
    assert (conversation.initiator, conversation.responder) == (run.initiator, run.responder)
    assert run.initiator.startswith(run.address("server") + ":")
    assert run.responder.startswith(run.address("client") + ":")


@both_ends
def test_time_wait_is_held_by_the_active_closer_only(conversation: Conversation, run: RunRecord, end: End) -> None:
    """After the close, who closed first holds TIME-WAIT, and nobody else (RFC 9293 §3.6)."""
    held = run.final_state(end)
    expected = "TIME-WAIT" if end in conversation.active_closers else "CLOSED"
    assert held == expected, f"the {end} is in {held} after the close, expected {expected}"


@both_ends
def test_kernel_went_through_the_inferred_states(conversation: Conversation, run: RunRecord, end: End) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    doubt = run.doubt(end, [str(state) for state in conversation.states(end)])
    assert not doubt, doubt
