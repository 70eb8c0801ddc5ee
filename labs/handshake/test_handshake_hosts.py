"""What only a live run can know: that both hosts agree with the packets.

No points: the same capture earns the same marks everywhere. But a failure here fails the run.
"""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End, NotShown

both_ends = pytest.mark.parametrize("end", ENDS)


def test_it_is_the_labs_connection(conversation: Conversation, run: RunRecord) -> None:
    """The conversation is the one that ssh told of in $SSH_CONNECTION: server opened to client."""
    assert (conversation.initiator, conversation.responder) == (run.initiator, run.responder)
    assert run.initiator.startswith(run.address("server") + ":")
    assert run.responder.startswith(run.address("client") + ":")


def _closed_before_it_showed(states: list[str]) -> list[str]:
    """What an end went through that had closed before it heard of the other's FIN, though its own FIN shows later.

    Its FIN waited behind data, or was lost on its way before the capture: the packets do not tell.
    """
    if "CLOSE-WAIT" not in states:
        return states
    return [*states[: states.index("CLOSE-WAIT")], "FIN-WAIT-1", "CLOSING", "TIME-WAIT"]


def _must_be_over(conversation: Conversation) -> None:
    if not conversation.is_over:
        raise NotShown("the capture ends before the connection does")


@both_ends
def test_time_wait_is_held_by_the_active_closer_only(conversation: Conversation, run: RunRecord, end: End) -> None:
    """After the close, who closed first holds TIME-WAIT, and nobody else (RFC 9293 §3.6)."""
    _must_be_over(conversation)
    held = run.final_state(end)
    states = [str(state) for state in conversation.states(end)]
    closed_first = end in conversation.active_closers
    if not closed_first and run.doubt(end, states):
        closed_first = not run.doubt(end, _closed_before_it_showed(states))
    expected = "TIME-WAIT" if closed_first else "CLOSED"
    assert held == expected, f"the {end} is in {held} after the close, expected {expected}"


@both_ends
def test_kernel_went_through_the_inferred_states(conversation: Conversation, run: RunRecord, end: End) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    states = [str(state) for state in conversation.states(end)]
    doubt = run.doubt(end, states)
    if doubt:
        _must_be_over(conversation)
    assert not doubt or not run.doubt(end, _closed_before_it_showed(states)), doubt
