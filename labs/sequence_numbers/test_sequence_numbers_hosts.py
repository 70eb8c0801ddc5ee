"""What only a live run can know: what the programs sent and received, and the kernel's states. No points."""

from hashlib import sha256

import pytest

from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End, other

DROPPED = {"both-ways": 0, "lost": 2, "wrap": 0, "zero": 0}

both_ends = pytest.mark.parametrize("end", ENDS)
each_scene = pytest.mark.parametrize("name", DROPPED)


def scene_of(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> Conversation:
    """The scene's connection in the capture."""
    scene = run.document["connections"][name]
    wanted = scene["initiator"], scene["responder"]
    found = [one for one in conversations if (one.initiator, one.responder) == wanted]
    assert len(found) == 1, f"the capture shows {len(found)} connections from {wanted[0]} to {wanted[1]}"
    return found[0]


@each_scene
def test_the_scene_took_place(conversations: tuple[Conversation, ...], run: RunRecord, name: str) -> None:
    """Every connection that the experiment made is in the capture, and so many of its segments were dropped."""
    assert scene_of(conversations, run, name)
    assert run.document["connections"][name]["dropped"] == DROPPED[name]


@both_ends
@each_scene
def test_the_stream_is_what_the_programs_say(
    conversations: tuple[Conversation, ...], run: RunRecord, name: str, end: End
) -> None:
    """What seq puts together is what one program sent and the other received: as many bytes, and the same SHA-256."""
    lives = run.document["connections"][name]["lives"]
    content = scene_of(conversations, run, name).stream(end).content
    shown = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert [life["sent"] for life in lives[end]] == [shown]
    assert [life["received"] for life in lives[other(end)]] == [shown]


@both_ends
def test_kernel_went_through_the_inferred_states(
    conversations: tuple[Conversation, ...], run: RunRecord, end: End
) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    doubts = run.doubts(conversations, end)
    assert not doubts, doubts[0]
