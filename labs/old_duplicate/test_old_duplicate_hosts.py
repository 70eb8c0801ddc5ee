"""What only a live run can know: what was delivered, and the states that the kernel went through. No points."""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End, other

LIVES = {"old-data": 1, "old-syn": 1, "new-syn": 2}

both_ends = pytest.mark.parametrize("end", ENDS)
scenes = pytest.mark.parametrize("name", LIVES)


def lives_of(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> list[Conversation]:
    """The connections of a scene, one after another."""
    ends = run.document["connections"][name]
    wanted = ends["initiator"], ends["responder"]
    return [one for one in conversations if (one.initiator, one.responder) == wanted]


@scenes
def test_each_scene_took_place(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> None:
    """Every connection that the experiment made is in the capture: the old SYN made none, the newer one did."""
    assert len(lives_of(conversations, run, name)) == LIVES[name]


@both_ends
@scenes
def test_each_byte_is_delivered_once(run: RunRecord, name: str, end: End) -> None:
    """What an end received, in each connection, is what the other sent in it: of the old duplicates nothing."""
    lives = run.document["connections"][name]["lives"]
    assert len(lives[end]) == LIVES[name]
    for own, others in zip(lives[end], lives[other(end)], strict=True):
        assert own["received"]["bytes"] > 0
        assert own["received"] == others["sent"]


@both_ends
@scenes
def test_kernel_went_through_the_inferred_states(
    conversations: tuple[Conversation, ...], run: RunRecord, name: str, end: End
) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    inferred: list[str] = []
    for one in lives_of(conversations, run, name):
        if inferred[-1:] == ["TIME-WAIT"]:
            inferred.append("CLOSED")
        inferred += [str(state) for state in one.states(end)][bool(inferred) :]
    ends = run.document["connections"][name]
    doubt = run.of(ends["initiator"], ends["responder"]).doubt(end, inferred)
    assert not doubt, doubt


def test_the_new_connection_has_a_time_wait_of_its_own(run: RunRecord) -> None:
    """When all is over the responder, which closed first again, is in TIME-WAIT, and the initiator has no socket."""
    ends = run.document["connections"]["new-syn"]
    scene = run.of(ends["initiator"], ends["responder"])
    assert (scene.final_state("initiator"), scene.final_state("responder")) == ("CLOSED", "TIME-WAIT")
