"""What only a live run can know: whose kernel keeps TIME-WAIT, and how long. No points.

Scenes that take a minute are played with --slow only; what is asked here is asked of every scene that was played.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

import pytest

from harness.kernel_states import SocketState
from harness.runs import RunRecord
from harness.tcp.conversation import ENDS, Conversation, End, NotShown

Conversations = tuple[Conversation, ...]

STAYS = 60.0  # seconds: TCP_TIMEWAIT_LEN, include/net/tcp.h
LATE = STAYS / 8  # a timer of a minute fires up to an eighth too late, never too early (kernel/time/timer.c)
BETWEEN_LOOKS = 2.0  # at most, however busy the machine is; mostly less than 0.1
# "timewait,1min,0", "timewait,59sec,0", "timewait,9.460ms,0" (9.46 s), "timewait,460ms,0", "timewait,,0":
# print_ms_timer in iproute2's misc/ss.c. What is left of a second is shown below 10 s only.
_LEFT = re.compile(r"timewait,(?:(?P<min>\d+)min)?(?:(?P<sec>\d+)(?:sec|\.(?=\d+ms)))?(?:(?P<ms>\d+)ms)?,\d+")
CUT_OFF = 1.0

both_ends = pytest.mark.parametrize("end", ENDS)


class Waiting(NamedTuple):
    """An end that stays in TIME-WAIT when its scene is over.

    Attributes:
        name: the scene, and the end.
        seen: each look of ss(8) that showed it, without a break up to the last.
        looks: when its host was looked at.
        is_over: whether the last look of all did not show it any more.
        again: whether an earlier socket of these ports stayed so, too: no look tells which of the two it showed.
    """

    name: str
    seen: list[SocketState]
    looks: list[float]
    is_over: bool
    again: bool


def lives(conversations: Conversations, scene: dict[str, str]) -> list[Conversation]:
    """The connections of a scene, one after another; each is in the capture."""
    ports = scene["initiator"], scene["responder"]
    found = [one for one in conversations if (one.initiator, one.responder) == ports]
    assert found, f"{ports[0]} → {ports[1]} is not in the capture"
    return found


def waiting(conversations: Conversations, run: RunRecord) -> Iterator[Waiting]:
    """Every end that stays in TIME-WAIT as the packets say.

    Raises:
        NotShown: nobody looked.
    """
    for scene, ports in run.document["connections"].items():
        *earlier, last = lives(conversations, ports)
        for end in last.active_closers:
            local, remote = ports[end], ports["responder" if end == "initiator" else "initiator"]
            states = next(states for role, states in run.states.items() if local.startswith(f"{run.address(role)}:"))
            if states.samples is None or states.final is None:
                raise NotShown(f"there is no ss on the {end}'s host: nobody looked at its sockets")
            rows = [*states.samples, *states.final]
            own = [row for row in reversed(rows) if (row.local, row.remote) == (local, remote)]
            seen = list(takewhile(lambda row: row.state == "TIME-WAIT", own))[::-1]
            assert seen, f"{scene}: ss did not show the {end} in TIME-WAIT"
            again = any(end in life.active_closers for life in earlier)
            looks = sorted({row.time for row in rows})
            yield Waiting(f"{scene}, {end}", seen, looks, seen[-1] not in states.final, again)


def seconds_left(look: SocketState) -> float:
    """How long the timer of TIME-WAIT still has to run, as far as ss(8) tells."""
    found = _LEFT.fullmatch(look.timer or "")
    assert found, f"{look.local}: the timer is {look.timer!r}"
    minutes, seconds, milliseconds = (int(found[name] or 0) for name in ("min", "sec", "ms"))
    return 60 * minutes + seconds + milliseconds / 1000


def before(looks: list[float], look: SocketState) -> float:
    """When the host was looked at again, so that what a look showed was seen before that."""
    following = bisect_right(looks, look.time)
    return looks[following] if following < len(looks) else look.time + BETWEEN_LOOKS


def test_each_scene_is_in_the_capture(conversations: Conversations, run: RunRecord) -> None:
    """Every connection that the experiment made is in the capture; the port that TIME-WAIT held made two."""
    for name, ports in run.document["connections"].items():
        assert len(lives(conversations, ports)) == 1 + (name == "occupied"), name


@both_ends
def test_kernel_went_through_the_inferred_states(conversations: Conversations, run: RunRecord, end: End) -> None:
    """The states that the kernel went through are those inferred from the packets (RFC 9293 figure 5)."""
    for ports in run.document["connections"].values():
        inferred: list[str] = []
        for one in lives(conversations, ports):
            states = [str(state) for state in one.states(end)]
            # Nothing tells two sockets of one 4-tuple apart: what the kernel says of them is one path through both.
            inferred += ["CLOSED", *states[1:]] if inferred[-1:] == ["TIME-WAIT"] else states[bool(inferred) :]
        doubt = run.of(ports["initiator"], ports["responder"]).doubt(end, inferred)
        assert not doubt, f"{ports['initiator']}: {doubt}"


@both_ends
def test_the_closer_pays(conversations: Conversations, run: RunRecord, end: End) -> None:
    """TIME-WAIT is seen at each end that closed first, and never at the other, whose kernel has forgotten all."""
    for name, ports in run.document["connections"].items():
        one = run.of(ports["initiator"], ports["responder"])
        seen = one.sampled_states(end)
        if any(end in life.active_closers for life in lives(conversations, ports)):
            assert seen[-1:] == ["TIME-WAIT"], f"{name}: the {end} was seen in {seen}"
        else:
            assert "TIME-WAIT" not in seen, f"{name}: the {end} was seen in {seen}"
            assert one.final_state(end) == "CLOSED", f"{name}: the {end} is in {one.final_state(end)}"


def test_its_timer_is_a_minute(conversations: Conversations, run: RunRecord) -> None:
    """The timer of TIME-WAIT begins at 60 s, not at RFC 9293's 2 × 2 min, and runs down with the clock."""
    for name, seen, looks, _, again in waiting(conversations, run):
        first = seconds_left(seen[0])
        assert STAYS - CUT_OFF - BETWEEN_LOOKS <= first <= STAYS, f"{name}: {seen[0].timer} at the first look"
        if again:
            continue
        # Each look, which was some time before the next one, says when the timer fires: all must mean the same time.
        earliest = max((look.time + seconds_left(look) for look in seen if seconds_left(look)), default=0.0)
        latest = min(before(looks, look) + seconds_left(look) + CUT_OFF for look in seen)
        assert earliest <= latest, f"{name}: the timer is off the clock by {earliest - latest:.3f} s"


def test_none_ends_early(conversations: Conversations, run: RunRecord) -> None:
    """None ends before its minute: at the last look each is still there, or was for 60 s (with --slow some were)."""
    for name, seen, _, is_over, _again in waiting(conversations, run):
        watched = seen[-1].time - seen[0].time
        assert watched >= STAYS - BETWEEN_LOOKS or not is_over, f"{name}: it was gone after {watched:.3f} s"
        assert watched <= STAYS + LATE + BETWEEN_LOOKS, f"{name}: it was there for {watched:.3f} s"
