"""The article's claims: how they are decided on recorded runs, and how on runs of what would behave otherwise.

Each change below makes of the recorded runs those of another kernel, tcpdump or ssh, or a capture that lacks something.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from harness.claim_plugin import NOT_RUN, VERDICTS, Decision
from harness.grading.deciding import decide
from harness.runs import CAPTURE, RUN, STATES, listing_file
from labs.article.claims import CLAIMS
from tests.grader.record_reproduction import REPRODUCED, ROOT
from tests.grader.record_reproduction import VERDICTS as RECORDED
from tests.pcaps import Frame, decode, encode

CASES = ROOT / "labs" / "article" / "test_claims.py"
NOT_SHOWN = "not-shown"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
MILLISECOND = 1_000_000  # ns

End = Literal["initiator", "responder"]
ENDS: tuple[End, End] = ("initiator", "responder")


# -- runs to be changed ------------------------------------------------------------------------------------------------


def _end(frame: Frame, end: Literal["src", "dst"]) -> str:
    address, port = (frame.src, frame.sport) if end == "src" else (frame.dst, frame.dport)
    return f"{IPv4Address(address)}:{port}"


@dataclass
class Shown:
    """A capture's frames; a connection is named by its scene, or is the lab's.

    Attributes:
        frames: all of them; what the block leaves is written.
        run: run.json.
    """

    frames: list[Frame]
    run: dict[str, Any]

    def ends(self, scene: str = "") -> dict[str, str]:
        """The "IP:PORT" of both ends."""
        found: dict[str, str] = self.run["connections"][scene] if scene else self.run["four_tuple"]
        return found

    def places(self, scene: str = "", end: End | None = None) -> list[int]:
        """Where the frames of a connection stand, or of one end of it."""
        ends = self.ends(scene)
        return [
            place
            for place, frame in enumerate(self.frames)
            if {_end(frame, "src"), _end(frame, "dst")} == {ends["initiator"], ends["responder"]}
            and (end is None or _end(frame, "src") == ends[end])
        ]

    def having(self, flag: int, scene: str = "", end: End | None = None) -> list[int]:
        """Where its frames with a flag stand."""
        return [place for place in self.places(scene, end) if self.frames[place].flags & flag]

    def data(self, scene: str = "", end: End | None = None) -> list[int]:
        """Where its frames with data stand."""
        return [place for place in self.places(scene, end) if self.frames[place].payload]

    def put(self, place: int, **fields: Any) -> None:
        """Change fields of a frame."""
        self.frames[place] = replace(self.frames[place], **fields)

    def turn(self, place: int, *, on: int = 0, off: int = 0) -> None:
        """Turn flags of a frame on and off."""
        self.put(place, flags=(self.frames[place].flags | on) & ~off)

    def renumber(self, end: End, isn: int, scene: str = "") -> None:
        """Have an end begin with that number."""
        own, moved = self.places(scene, end), isn - self.frames[self.having(SYN, scene, end)[0]].seq
        for place in self.places(scene):
            frame = self.frames[place]
            if place in own:
                self.put(place, seq=frame.seq + moved)
            elif frame.flags & ACK:
                self.put(place, ack=frame.ack + moved)

    def drop(self, *places: int) -> None:
        """Leave frames out."""
        self.frames[:] = [frame for place, frame in enumerate(self.frames) if place not in places]

    def add(self, like: int, *, after: int = MILLISECOND, **fields: Any) -> None:
        """One more frame at the end, like another, some ns after the last."""
        at = self.frames[-1].time + after
        self.frames.append(replace(self.frames[like], time=at, ip_id=self.frames[like].ip_id + 1, **fields))


@dataclass(frozen=True)
class Copy:
    """A copy of the recorded runs."""

    folder: Path

    @contextmanager
    def json(self, lab: str, name: str) -> Iterator[dict[str, Any]]:
        """Change a document of a lab's run."""
        path = self.folder / lab / name
        document = json.loads(path.read_text(encoding="utf-8"))
        yield document
        path.write_text(json.dumps(document), encoding="utf-8")

    @contextmanager
    def capture(self, lab: str) -> Iterator[Shown]:
        """Change the frames of a lab's capture."""
        path = self.folder / lab / CAPTURE
        shown = Shown(decode(path.read_bytes()), json.loads((self.folder / lab / RUN).read_text(encoding="utf-8")))
        yield shown
        path.write_bytes(encode(shown.frames))

    def text(self, name: str, change: Callable[[str], str]) -> None:
        """Change a listing of the article's."""
        path = self.folder / "article" / listing_file(name)
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    def listing(self, name: str, choose: Callable[[Shown], list[int]]) -> None:
        """Have tcpdump list these of the capture's frames, in place of those it did."""
        with self.capture("article") as shown:
            lines = [as_listed(shown.frames[place]) for place in choose(shown)]
        self.text(name, lambda text: "".join(f"{line}\n" for line in (*lines, *text.splitlines()[-3:])))

    def decide(self, *claims: str) -> dict[str, Decision]:
        """What becomes of claims on these runs."""
        return decide(CASES, self.folder, claims)


def as_listed(frame: Frame) -> str:
    """A frame as `tcpdump -n -S` lists it, as far as is needed."""
    ends = (_end(frame, end).replace(":", ".") for end in ("src", "dst"))
    letters = "".join(
        letter for bit, letter in zip((FIN, SYN, RST, PSH, ACK), "FSRP.", strict=True) if frame.flags & bit
    )
    size = len(frame.payload)
    seq = f" seq {frame.seq}:{frame.seq + size}," if size else f" seq {frame.seq}," if frame.flags & (SYN | FIN) else ""
    ack = f" ack {frame.ack}," if frame.flags & ACK else ""
    return f"18:00:00.000000 IP {' > '.join(ends)}: Flags [{letters}],{seq}{ack} win 79, length {size}"


@pytest.fixture
def there(tmp_path: Path) -> Copy:
    """A copy of the recorded runs."""
    return Copy(Path(shutil.copytree(REPRODUCED, tmp_path / "runs")))


# -- as they are -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, Decision]:
    """What becomes of all claims on the recorded runs."""
    return decide(CASES, REPRODUCED, tuple(RECORDED))


def test_the_recorded_runs(recorded: Mapping[str, Decision]) -> None:
    assert {claim: decision.verdict for claim, decision in recorded.items()} == RECORDED


def assert_it_can_be_looked_up(decision: Decision, folder: Path) -> None:
    """Its evidence names frames that there are, of runs of the claim's labs; it says what is to be said."""
    labs = {claim.id: claim.labs for claim in CLAIMS}[decision.claim]
    assert decision.note
    assert decision.evidence
    assert any(exhibit.frames for exhibit in decision.evidence)
    for exhibit in decision.evidence:
        assert exhibit.run in labs
        assert exhibit.says
        frames = decode((folder / exhibit.run / CAPTURE).read_bytes())
        assert set(exhibit.frames) <= set(range(1, len(frames) + 1))


def test_every_verdict_can_be_looked_up(recorded: Mapping[str, Decision]) -> None:
    for decision in recorded.values():
        assert_it_can_be_looked_up(decision, REPRODUCED)


def test_all_labs_are_used(recorded: Mapping[str, Decision]) -> None:
    """Each of a claim's labs has a part in its verdict."""
    for claim in CLAIMS:
        assert {exhibit.run for exhibit in recorded[claim.id].evidence} == set(claim.labs), claim.id


# -- what would behave otherwise ---------------------------------------------------------------------------------------


class Change(NamedTuple):
    """A change of the recorded runs, and what then becomes of claims."""

    make: Callable[[Copy], None]
    verdicts: Mapping[str, str]


CHANGES: list[Change] = []


def gives(**verdicts: str) -> Callable[[Callable[[Copy], None]], Callable[[Copy], None]]:
    """Such a change."""

    def known(make: Callable[[Copy], None]) -> Callable[[Copy], None]:
        CHANGES.append(Change(make, verdicts))
        return make

    return known


@gives(C01="refuted", C06="refuted")
def data_without_ack(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.data()[3], off=ACK)


@gives(C01="refuted", C06="refuted", C08="refuted")
def the_syn_is_answered_by_a_syn_without_ack(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.places()[1], off=ACK)


@gives(C01="refuted", C06="refuted")
def the_first_syn_has_ack(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.places()[0], on=ACK)


@gives(C01="confirmed", C02="confirmed", C06="confirmed", C07="confirmed", C08="confirmed", C09="confirmed")
def the_syn_is_sent_twice(there: Copy) -> None:
    with there.capture("article") as shown:
        again = replace(shown.frames[0], time=shown.frames[0].time + 1000, ip_id=shown.frames[0].ip_id + 1)
        shown.frames.insert(1, again)


@gives(C01=NOT_SHOWN, C02=NOT_SHOWN, C06=NOT_SHOWN, C07=NOT_SHOWN, C08=NOT_SHOWN, C09=NOT_SHOWN)
def the_syn_is_not_captured(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.drop(shown.places()[0])


@gives(C02=NOT_SHOWN, C08=NOT_SHOWN, C09=NOT_SHOWN)
def the_syn_ack_is_not_captured(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.drop(shown.places()[1])


@gives(C02="refuted")
def a_syn_in_mid_connection(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.data()[5], on=SYN)


@gives(C02=NOT_SHOWN, C07=NOT_SHOWN)
def an_ack_before_the_syn(there: Copy) -> None:
    with there.capture("article") as shown:
        first, third = shown.places()[0], shown.places()[2]
        shown.frames.insert(first, replace(shown.frames[third], time=shown.frames[first].time - MILLISECOND))


@gives(C03="refuted")
def what_was_sent_is_something_else(there: Copy) -> None:
    with there.json("sequence-numbers", RUN) as run:
        run["connections"]["both-ways"]["lives"]["initiator"][0]["sent"]["sha256"] = sha256(b"").hexdigest()


@gives(C03="refuted")
def seq_does_not_tell_where_the_data_belong(there: Copy) -> None:
    with there.capture("sequence-numbers") as shown:
        first, second = shown.data("lost", "responder")[-3:-1]
        one, other = shown.frames[first].payload, shown.frames[second].payload
        shown.put(first, payload=other)
        shown.put(second, payload=one)


@gives(C03=NOT_SHOWN)
def other_data_come_again_under_the_same_numbers(there: Copy) -> None:
    with there.capture("sequence-numbers") as shown:
        first = shown.data("both-ways")[-1]
        shown.add(first, payload=bytes(len(shown.frames[first].payload)))


@gives(C03=NOT_SHOWN)
def a_program_had_two_sockets(there: Copy) -> None:
    with there.json("sequence-numbers", RUN) as run:
        run["connections"]["both-ways"]["lives"]["initiator"] *= 2


@gives(C03=NOT_SHOWN)
def data_are_not_captured(there: Copy) -> None:
    with there.capture("sequence-numbers") as shown:
        shown.drop(shown.data("both-ways")[0])


def with_pieces(there: Copy, *pieces: bytes) -> None:
    """Have nothing but a connection whose initiator sends these, one after another."""
    for lab in ("article", "sequence-numbers"):
        with there.capture(lab) as shown:
            there_and_back = [shown.frames[shown.places(end=end)[0]] for end in ENDS]
            seq, ack = 1000, 5000
            steps: list[tuple[int, int, int, int, bytes]] = [(0, SYN, seq, 0, b""), (1, SYN | ACK, ack, seq + 1, b"")]
            seq, ack = seq + 1, ack + 1
            steps.append((0, ACK, seq, ack, b""))
            for piece in pieces:
                steps.append((0, PSH | ACK, seq, ack, piece))
                seq += len(piece)
                steps.append((1, ACK, ack, seq, b""))
            steps += [(0, FIN | ACK, seq, ack, b""), (1, FIN | ACK, ack, seq + 1, b""), (0, ACK, seq + 1, ack + 1, b"")]
            shown.frames[:] = [
                replace(there_and_back[by], time=at * MILLISECOND, flags=flags, seq=number, ack=acks, payload=payload)
                for at, (by, flags, number, acks, payload) in enumerate(steps)
            ]
    with there.json("sequence-numbers", RUN) as run:
        name, ends = next(iter(run["connections"].items()))
        for end, sent in zip(ENDS, (b"".join(pieces), b""), strict=True):
            ends["lives"][end][0]["sent"] = {"bytes": len(sent), "sha256": sha256(sent).hexdigest()}
        run["connections"] = {name: ends}


@gives(C03=NOT_SHOWN, C04="confirmed")
def all_pieces_are_of_one_byte(there: Copy) -> None:
    with_pieces(there, b"x", b"y")


@gives(C03="confirmed", C04="qualified")
def two_pieces(there: Copy) -> None:
    with_pieces(there, b"x", b"yz")


@gives(C03=NOT_SHOWN, C04=NOT_SHOWN)
def no_data(there: Copy) -> None:
    with_pieces(there)


@gives(C04="refuted")
def an_ack_beyond_all_that_was_sent(there: Copy) -> None:
    with there.capture("sequence-numbers") as shown:
        last = shown.places("both-ways", "initiator")[-1]
        shown.put(last, ack=shown.frames[last].ack + 1000)


@gives(C05="refuted")
def data_after_the_fin(there: Copy) -> None:
    with there.capture("article") as shown:
        fin = shown.having(FIN, end="initiator")[0]
        shown.add(fin, seq=shown.frames[fin].seq + 1, flags=PSH | ACK, payload=b"more")


@gives(C05=NOT_SHOWN, C11=NOT_SHOWN, C12=NOT_SHOWN, C13=NOT_SHOWN, C14=NOT_SHOWN)
def the_close_is_not_captured(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.drop(*(place for place in shown.places() if place >= shown.having(FIN)[0]))


@gives(C06="refuted")
def the_syn_has_a_number_to_acknowledge(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.put(shown.places()[0], ack=5)


@gives(C07="refuted")
def syn_and_fin_at_once(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.places()[0], on=FIN)


@gives(C07="refuted")
def every_connection_begins_with_one_number(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.run["connections"] = {"window": shown.run["window"]}
        shown.renumber("initiator", shown.frames[shown.places()[0]].seq, "window")


@gives(C08="refuted")
def the_syn_ack_acknowledges_one_more(there: Copy) -> None:
    with there.capture("article") as shown:
        second = shown.places()[1]
        shown.put(second, ack=shown.frames[second].ack + 1)


@gives(C08="refuted")
def the_syn_is_refused(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.put(shown.places()[1], flags=RST | ACK)


@gives(C06=NOT_SHOWN, C08="refuted")
def the_responder_has_no_number_of_its_own(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.renumber("responder", shown.frames[shown.places()[0]].seq)


@gives(C09="refuted")
def the_third_step_has_another_seq(there: Copy) -> None:
    with there.capture("article") as shown:
        third = shown.places()[2]
        shown.put(third, seq=shown.frames[third].seq + 1)


@gives(C09="refuted")
def the_third_step_acknowledges_the_isn(there: Copy) -> None:
    with there.capture("article") as shown:
        third = shown.places()[2]
        shown.put(third, ack=shown.frames[third].ack - 1)


@gives(C09="refuted")
def the_third_step_is_a_fin(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.places()[2], on=FIN)


@gives(C10=NOT_SHOWN)
def the_old_syn_comes_too_soon(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        last = shown.places("wanted")[-1]
        shown.put(last, time=shown.frames[-1].time + MILLISECOND)


@gives(C10=NOT_SHOWN)
def the_answer_to_the_old_syn_acknowledges_another(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        second = shown.places("delayed")[1]
        shown.put(second, ack=shown.frames[second].ack + 1)


@gives(C10=NOT_SHOWN)
def the_reset_is_not_for_that_answer(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        rst = shown.having(RST, "delayed")[0]
        shown.put(rst, seq=shown.frames[rst].seq + 1)


@gives(C10=NOT_SHOWN)
def the_responder_itself_resets(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        rst = shown.having(RST, "delayed")[0]
        second = shown.frames[shown.places("delayed")[1]]
        shown.frames[rst] = replace(second, time=shown.frames[rst].time, seq=second.ack, flags=RST)


@gives(C10="refuted")
def nobody_refuses_the_old_syn(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        shown.drop(*(place for name in ("delayed", "half-open") for place in shown.having(RST, name)))


@gives(C10="refuted")
def the_old_syn_leaves_a_connection_behind(there: Copy) -> None:
    leave(there, "delayed-syn", "delayed", "responder", "SYN-RECEIVED")


@gives(C10=NOT_SHOWN)
def nobody_answers_the_old_syn(there: Copy) -> None:
    with there.capture("delayed-syn") as shown:
        shown.drop(*shown.places("delayed")[1:])


def leave(there: Copy, lab: str, scene: str, end: End, state: str) -> None:
    """Have ss(8) show an end of a scene in this state when all was over; CLOSED: not at all."""
    with there.json(lab, RUN) as run, there.json(lab, STATES) as states:
        ends, role = run["connections"][scene], "server" if end == "initiator" else "client"
        local, remote = ends[end], ends[ENDS[1 - ENDS.index(end)]]
        final = [row for row in states["hosts"][role]["final"] if (row["local"], row["remote"]) != (local, remote)]
        if state != "CLOSED":
            final.append({"time": 0.0, "local": local, "remote": remote, "state": state, "timer": None})
        states["hosts"][role]["final"] = final


@gives(C11="confirmed", C13="refuted")
def fins_acknowledge_nothing(there: Copy) -> None:
    every_close_is(there, "four-segment")
    for lab, scene in (("article", ""), ("teardown", "four-segment")):
        with there.capture(lab) as shown:
            for fin in shown.having(FIN, scene):
                shown.turn(fin, off=ACK)


def every_close_is(there: Copy, scene: str) -> None:
    """Have all connections of the lab on closing end like that one."""
    with there.json("teardown", RUN) as run:
        run["connections"] = dict.fromkeys(run["connections"], run["connections"][scene])


@gives(C05="confirmed", C11="qualified", C12="confirmed", C13="confirmed", C14="confirmed")
def every_close_has_four_segments(there: Copy) -> None:
    every_close_is(there, "four-segment")


@gives(C05="confirmed", C11="qualified", C12="qualified", C13="qualified", C14="qualified")
def every_close_has_three_segments(there: Copy) -> None:
    every_close_is(there, "three-segment")
    with there.capture("article") as shown:
        first, second = shown.having(FIN)
        shown.drop(*(place for place in shown.places() if first < place < second))


@gives(C05=NOT_SHOWN, C11="refuted", C12=NOT_SHOWN, C13=NOT_SHOWN, C14=NOT_SHOWN)
def a_reset_in_place_of_the_close(there: Copy) -> None:
    with there.capture("article") as shown:
        fin, *rest = [place for place in shown.places() if place >= shown.having(FIN)[0]]
        shown.turn(fin, on=RST, off=FIN)
        shown.drop(*rest)


@gives(C12="refuted", C13=NOT_SHOWN)
def nobody_acknowledges_the_first_fin(there: Copy) -> None:
    with there.capture("article") as shown:
        fin = shown.having(FIN)[0]
        for place in shown.places(end="responder"):
            shown.put(place, ack=min(shown.frames[place].ack, shown.frames[fin].seq))


@gives(C13="refuted", C14=NOT_SHOWN)
def the_other_end_resets(there: Copy) -> None:
    with there.capture("article") as shown:
        fin = shown.having(FIN)[1]
        shown.turn(fin, on=RST, off=FIN)
        shown.drop(*(place for place in shown.places() if place > fin))


@gives(C11=NOT_SHOWN, C13="qualified")
def one_first_fin_acknowledges_nothing(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.having(FIN)[0], off=ACK)


@gives(C04="refuted", C12=NOT_SHOWN, C14=NOT_SHOWN)
def fins_are_acknowledged_beyond_their_end(there: Copy) -> None:
    with there.capture("article") as shown:
        first, second = shown.having(FIN)
        for place in shown.places():
            if place > second or first < place < second:
                shown.put(place, ack=shown.frames[place].ack + 1)


@gives(C13="refuted")
def the_second_fin_acknowledges_nothing(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.turn(shown.having(FIN)[1], off=ACK)


@gives(C14="refuted")
def nobody_acknowledges_the_second_fin(there: Copy) -> None:
    with there.capture("article") as shown:
        fin = shown.having(FIN)[1]
        shown.drop(*(place for place in shown.places() if place > fin))
        shown.add(fin, after=200 * MILLISECOND)


@gives(C12="qualified", C14=NOT_SHOWN)
def the_last_ack_is_not_captured(there: Copy) -> None:
    with there.capture("article") as shown:
        shown.drop(shown.places()[-1])


def with_timers(there: Copy, timer: str | None) -> None:
    """Have ss(8) show this timer of TIME-WAIT."""
    with there.json("time-wait", STATES) as states:
        for said in states["hosts"].values():
            for row in (*said["samples"], *said["final"]):
                row["timer"] = timer if row["state"] == "TIME-WAIT" else None


@gives(C15="confirmed")
def time_wait_lasts_four_minutes(there: Copy) -> None:
    with_timers(there, "timewait,3min59sec,0")


@gives(C15="qualified")
def time_wait_lasts_two_minutes(there: Copy) -> None:
    with_timers(there, "timewait,2min,0")


@gives(C15="refuted")
def time_wait_lasts_a_moment(there: Copy) -> None:
    with_timers(there, "timewait,800ms,0")


@gives(C15=NOT_SHOWN)
def no_timers(there: Copy) -> None:
    with_timers(there, None)


def watched(there: Copy, seconds: float) -> None:
    """Have TIME-WAIT watched to its end, which comes so much later."""
    with there.json("time-wait", RUN) as run, there.json("time-wait", STATES) as states:
        ends = {**run["connections"]["initiator-closes"], "initiator": "192.168.1.63:12609"}
        run["connections"]["full-wait"] = ends
        seen = {"local": ends["initiator"], "remote": ends["responder"], "state": "TIME-WAIT", "timer": None}
        states["hosts"]["server"]["samples"] += [{**seen, "time": 1000.0}, {**seen, "time": 1000.0 + seconds}]


@gives(C15="confirmed")
def time_wait_was_watched_for_four_minutes(there: Copy) -> None:
    watched(there, 239.95)


@gives(C15="qualified")
def time_wait_was_watched_for_a_minute(there: Copy) -> None:
    watched(there, 60.1)


@gives(C15="refuted")
def the_other_end_stays(there: Copy) -> None:
    leave(there, "time-wait", "initiator-closes", "initiator", "CLOSED")
    leave(there, "time-wait", "initiator-closes", "responder", "TIME-WAIT")


@gives(C15="refuted")
def the_other_end_stays_for_four_minutes(there: Copy) -> None:
    the_other_end_stays(there)
    with_timers(there, "timewait,3min59sec,0")


@gives(C15=NOT_SHOWN)
def another_end_closed_first(there: Copy) -> None:
    with there.capture("time-wait") as shown:
        first, second = shown.having(FIN, "initiator-closes")
        shown.frames.insert(first, shown.frames.pop(second))


@gives(C15="refuted")
def nobody_stays(there: Copy) -> None:
    leave(there, "time-wait", "initiator-closes", "initiator", "CLOSED")


@gives(C15="refuted")
def both_close_and_one_stays(there: Copy) -> None:
    leave(there, "time-wait", "simultaneous", "responder", "CLOSED")


@gives(C10=NOT_SHOWN, C15=NOT_SHOWN, C16=NOT_SHOWN, C17=NOT_SHOWN)
def no_ss(there: Copy) -> None:
    for lab in ("delayed-syn", "time-wait", "lost-last-ack", "old-duplicate"):
        with there.json(lab, STATES) as states:
            for said in states["hosts"].values():
                said.update(samples=None, final=None)


@gives(C16="refuted")
def the_fin_does_not_come_again(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        again = shown.having(FIN, "answered", "responder")[1]
        shown.drop(*(place for place in shown.places("answered") if place >= again))


@gives(C16="refuted")
def nobody_answers_the_fin_that_comes_again(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        shown.drop(shown.places("answered")[-1])


@gives(C16="refuted")
def a_reset_answers_the_fin_that_comes_again(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        shown.put(shown.places("answered")[-1], flags=RST)


@gives(C16="refuted")
def the_answer_does_not_acknowledge_the_fin(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        last = shown.places("answered")[-1]
        shown.put(last, ack=shown.frames[last].ack - 1)


@gives(C16=NOT_SHOWN)
def another_fin_comes(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        again, answer = shown.places("answered")[-2:]
        shown.put(again, seq=shown.frames[again].seq + 1)
        shown.put(answer, ack=shown.frames[answer].ack + 1)


@gives(C16=NOT_SHOWN)
def the_answering_end_is_not_in_time_wait(there: Copy) -> None:
    leave(there, "lost-last-ack", "answered", "initiator", "CLOSED")


@gives(C16=NOT_SHOWN)
def the_answered_end_stays_in_last_ack(there: Copy) -> None:
    leave(there, "lost-last-ack", "answered", "responder", "LAST-ACK")


@gives(C16=NOT_SHOWN)
def without_time_wait_there_is_silence(there: Copy) -> None:
    with there.capture("lost-last-ack") as shown:
        shown.drop(*shown.having(RST, "nobody-answers", "initiator"))


def nothing_ends_time_wait(there: Copy) -> None:
    """Have TIME-WAIT survive the old segments."""
    for scene in ("old-data", "old-syn"):
        leave(there, "old-duplicate", scene, "responder", "TIME-WAIT")


@gives(C17="qualified")
def a_newer_syn_only_ends_time_wait(there: Copy) -> None:
    nothing_ends_time_wait(there)


@gives(C17=NOT_SHOWN)
def a_newer_syn_comes_when_time_wait_may_be_over(there: Copy) -> None:
    nothing_ends_time_wait(there)
    with there.capture("old-duplicate") as shown:
        again = shown.having(SYN, "new-syn", "initiator")[1]
        for place in shown.places("new-syn"):
            if place >= again:
                shown.put(place, time=shown.frames[place].time + 40_000 * MILLISECOND)


@gives(C17=NOT_SHOWN)
def nothing_tells_why_time_wait_is_gone(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        shown.drop(*shown.having(RST, "old-data"))


@gives(C17="confirmed")
def nothing_ends_time_wait_at_all(there: Copy) -> None:
    nothing_ends_time_wait(there)
    a_newer_syn_is_kept_out(there)


@gives(C17="qualified")
def a_newer_syn_is_kept_out(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        again = shown.having(SYN, "new-syn", "initiator")[1]
        answer = replace(shown.frames[shown.places("new-syn", "responder")[-1]], time=shown.frames[again].time + 1000)
        shown.drop(*(place for place in shown.places("new-syn") if place > again))
        shown.frames.append(answer)


@gives(C17=NOT_SHOWN)
def the_answer_to_old_data_carries_data(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        shown.put(shown.places("old-data", "responder")[-1], payload=b"x")


@gives(C17="refuted")
def data_are_delivered_twice(there: Copy) -> None:
    with there.json("old-duplicate", RUN) as run:
        run["connections"]["old-data"]["lives"]["responder"][0]["received"]["bytes"] *= 2


@gives(C17="refuted")
def an_old_syn_opens_a_connection(there: Copy) -> None:
    with there.json("old-duplicate", RUN) as run:
        lives = run["connections"]["old-syn"]["lives"]["responder"]
        lives += lives


@gives(C17="refuted")
def an_old_syn_is_answered_by_a_syn(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        shown.turn(shown.places("old-syn", "responder")[-1], on=SYN)


@gives(C17=NOT_SHOWN)
def the_old_segment_is_not_captured(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        shown.drop(*shown.places("old-data")[-3:])


@gives(C17=NOT_SHOWN)
def an_old_segment_meets_silence(there: Copy) -> None:
    with there.capture("old-duplicate") as shown:
        shown.drop(shown.places("old-data", "responder")[-1])


@gives(C18="confirmed")
def the_switch_i_takes_an_interface(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["-I"].update(status=0, stderr="listening on ens33, link-type EN10MB (Ethernet)\n")


@gives(C18="refuted")
def the_switch_c_lists_one_more(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["-c"]["stdout"] += "18:00:00.000000 IP 192.168.1.63.4 > 192.168.1.64.22: Flags [.], length 0\n"


@gives(C18="refuted")
def relative_numbers_with_the_switch_s(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["-S"]["stdout"] = run["switches"]["without -S"]["stdout"]


@gives(C18="refuted")
def absolute_numbers_without_the_switch_s(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["without -S"]["stdout"] = run["switches"]["-S"]["stdout"]


@gives(C18="refuted")
def names_with_the_switch_n(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["-n"]["stdout"] = run["switches"]["without -n"]["stdout"]


@gives(C18="refuted")
def the_word_port_lists_nothing(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["port"]["stdout"] = ""


@gives(C18="refuted")
def the_word_port_lists_other_ports(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["switches"]["another port"]["stdout"] = run["switches"]["port"]["stdout"]


@gives(C18="refuted")
def the_switch_for_the_interface_does_not_listen(there: Copy) -> None:
    there.text("connect", lambda text: text.replace("listening on", "tcpdump: no such device:"))


@gives(C18=NOT_SHOWN)
def nobody_tried_the_switches(there: Copy) -> None:
    with there.json("article", RUN) as run:
        del run["switches"]


@gives(C19="refuted")
def the_listing_begins_after_the_syn(there: Copy) -> None:
    there.listing("connect", lambda shown: shown.places()[1:7])


@gives(C19=NOT_SHOWN)
def five_are_listed(there: Copy) -> None:
    there.listing("connect", lambda shown: shown.places()[:5])


@gives(C19=NOT_SHOWN)
def no_banner_is_listed(there: Copy) -> None:
    there.listing("connect", lambda shown: [*shown.places()[:3], *[shown.places()[2]] * 3])


@gives(C19=NOT_SHOWN)
def others_are_listed_than_captured(there: Copy) -> None:
    there.listing("connect", lambda shown: [*shown.places()[:3], *shown.data()[:3]])


@gives(C20="confirmed")
def the_listing_holds_the_whole_close(there: Copy) -> None:
    there.listing("exit", lambda shown: shown.places()[-6:])


@gives(C20="qualified")
def the_listing_holds_one_fin(there: Copy) -> None:
    there.listing("exit", lambda shown: shown.places()[-8:-2])


@gives(C20="qualified")
def the_listing_lacks_the_last_ack(there: Copy) -> None:
    there.listing("exit", lambda shown: shown.places()[-7:-1])


@gives(C21="refuted")
def the_other_window_is_not_listed(there: Copy) -> None:
    there.listing("disturbed", lambda shown: shown.places()[10:16])


@gives(C20=NOT_SHOWN)
def five_keys_are_listed(there: Copy) -> None:
    there.listing("exit", lambda shown: shown.data()[-10:-5])


@gives(C21=NOT_SHOWN)
def seven_are_captured(there: Copy) -> None:
    there.text("disturbed", lambda text: text.replace("6 packets captured", "7 packets captured"))


@gives(C21=NOT_SHOWN)
def no_counters(there: Copy) -> None:
    there.text("disturbed", lambda text: "".join(line for line in text.splitlines(True) if " packets " not in line))


@gives(C19=NOT_SHOWN, C20=NOT_SHOWN, C21=NOT_SHOWN)
def no_listings(there: Copy) -> None:
    with there.json("article", RUN) as run:
        run["listings"] = []


@pytest.mark.parametrize("change", CHANGES, ids=[change.make.__name__ for change in CHANGES])
def test_it_would_come_out_otherwise(change: Change, there: Copy) -> None:
    change.make(there)
    decided = there.decide(*change.verdicts)
    assert {claim: decision.verdict for claim, decision in decided.items()} == change.verdicts, decided
    for decision in decided.values():
        if decision.verdict == NOT_SHOWN:
            assert decision.note
            assert "could not be decided" not in decision.note
            assert decision.evidence == ()
        else:
            assert_it_can_be_looked_up(decision, there.folder)


def test_every_verdict_is_reached() -> None:
    """Every case holds of some runs, those recorded or changed; and every claim may remain not shown."""
    cases = set(re.findall(r"^def test_(c\d\d)_(\w+)\(", CASES.read_text(encoding="utf-8"), re.MULTILINE))
    wanted = {(claim.upper(), verdict) for claim, verdict in cases} | {(claim.id, NOT_SHOWN) for claim in CLAIMS}
    reached = set(RECORDED.items()) | {found for change in CHANGES for found in change.verdicts.items()}
    assert {verdict for _, verdict in wanted} == {*VERDICTS, NOT_SHOWN}
    assert reached >= wanted, wanted - reached


def test_a_change_changes(there: Copy) -> None:
    """Read and written anew, with nothing changed, the runs decide as before."""
    for lab in sorted({lab for claim in CLAIMS for lab in claim.labs}):
        with there.capture(lab), there.json(lab, RUN), there.json(lab, STATES):
            pass
    assert {claim: decision.verdict for claim, decision in there.decide(*RECORDED).items()} == RECORDED


# -- runs that are none ------------------------------------------------------------------------------------------------


def not_run(there: Copy) -> None:
    shutil.rmtree(there.folder / "delayed-syn")
    (there.folder / "delayed-syn").mkdir()
    (there.folder / "delayed-syn" / NOT_RUN).write_text("client: there is no nft\n")


def no_folder(there: Copy) -> None:
    shutil.rmtree(there.folder / "delayed-syn")


def lost_packets(there: Copy) -> None:
    with there.json("delayed-syn", RUN) as run:
        run["tcpdump_counters"]["dropped_by_kernel"] = 3


def no_counters_of_the_capture(there: Copy) -> None:
    with there.json("delayed-syn", RUN) as run:
        run["tcpdump_counters"] = {}


def run_json_is_cut(there: Copy) -> None:
    path = there.folder / "delayed-syn" / RUN
    path.write_bytes(path.read_bytes()[:-100])


def no_states(there: Copy) -> None:
    (there.folder / "delayed-syn" / STATES).unlink()


def the_capture_is_cut(there: Copy) -> None:
    path = there.folder / "delayed-syn" / CAPTURE
    path.write_bytes(path.read_bytes()[:-10])


def another_labs_capture(there: Copy) -> None:
    shutil.copyfile(there.folder / "teardown" / CAPTURE, there.folder / "delayed-syn" / CAPTURE)


def a_scene_is_lacking(there: Copy) -> None:
    with there.json("delayed-syn", RUN) as run:
        del run["connections"]["half-open"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (not_run, "the lab delayed-syn: client: there is no nft"),
        (no_folder, "the lab delayed-syn: there is no run of it"),
        (lost_packets, "the lab delayed-syn: tcpdump lost 3 packets: the capture is no evidence"),
        (no_counters_of_the_capture, "tcpdump did not print its counters"),
        (run_json_is_cut, "run.json or states.json is damaged"),
        (no_states, "not a run folder: "),
        (the_capture_is_cut, "the lab delayed-syn: "),
        (another_labs_capture, "is not in the capture"),
        (a_scene_is_lacking, "the run of delayed-syn has no scene 'half-open'"),
    ],
)
def test_without_a_run_a_claim_is_not_shown(damage: Callable[[Copy], None], said: str, there: Copy) -> None:
    """Its reason is told, and other labs' claims are decided."""
    damage(there)
    decided = there.decide("C10", "C16")
    assert (decided["C10"].verdict, decided["C16"].verdict) == (NOT_SHOWN, "confirmed")
    assert said in decided["C10"].note
    assert decided["C10"].evidence == ()
