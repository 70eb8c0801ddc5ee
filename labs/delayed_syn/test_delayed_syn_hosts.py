"""What only a live run can know: the scenes took place, and what the kernel held of them. No points."""

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End

DROPPED = {"wanted": 0, "delayed": 0, "half-open": 1}
SIDES = {"initiator": "responder", "responder": "initiator"}

both_ends = pytest.mark.parametrize("end", ENDS)
unwanted = pytest.mark.parametrize("name", ["delayed", "half-open"])


def of_scene(run: RunRecord, name: str) -> RunRecord:
    """The run, of that scene's connection."""
    scene = run.document["connections"][name]
    return run.of(scene["initiator"], scene["responder"])


@pytest.mark.parametrize("name", DROPPED)
def test_each_scene_took_place(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> None:
    """Every connection that the experiment made is in the capture; of `half-open` the first RST was dropped."""
    scene = run.document["connections"][name]
    assert (scene["initiator"], scene["responder"]) in {(one.initiator, one.responder) for one in conversations}
    assert scene["dropped"] == DROPPED[name]


@both_ends
def test_the_wanted_data_arrived(run: RunRecord, end: End) -> None:
    """What either end of the wanted connection sent is what the other received."""
    lives = run.document["connections"]["wanted"]["lives"]
    (own,), (others,) = lives[end], lives[SIDES[end]]
    assert own["sent"]["bytes"] > 0
    assert own["sent"] == others["received"]


def test_the_responder_was_half_open(run: RunRecord) -> None:
    """While the first RST was lost the kernel showed SYN-RECEIVED, and no state but that."""
    assert of_scene(run, "half-open").sampled_states("responder") == ["SYN-RECEIVED"]


@both_ends
@unwanted
def test_nobody_was_established(run: RunRecord, name: str, end: End) -> None:
    """Neither kernel was ever in ESTABLISHED, and in the end neither has a socket of it."""
    scene = of_scene(run, name)
    assert "ESTABLISHED" not in [*(scene.traced_states(end) or []), *scene.sampled_states(end)]
    assert scene.final_state(end) == "CLOSED"


@both_ends
def test_kernel_went_through_the_inferred_states(
    conversations: tuple[Conversation, ...], run: RunRecord, end: End
) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5).

    What is in SYN-RECEIVED is no socket yet, and stands in no trace if it comes to nothing: samples show it.
    """
    sockets = [one for one in conversations if end == "initiator" or one.open == "three-way"]
    doubts = run.doubts(sockets, end)
    assert not doubts, doubts[0]
