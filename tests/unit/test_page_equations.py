"""A segment's arithmetic: where its seq and its ack come from."""

import re
from pathlib import Path

import pytest

from harness.captures.reading import load_capture
from harness.language import speaking
from harness.reports.page.equations import Equation, Equations
from harness.tcp.conversation import Conversation, conversations
from tests.pages import DATA, OPEN_AND_CLOSE, conversation_of

NAMED = sorted((DATA / "named").glob("*.pcap"))
_SUM = re.compile(r"(?:seq|ack) (\d+) = (seq \d+(?: \+ \d+ byte[s]?)?(?: \+ 1 for the (?:SYN|FIN))*) of frame \d+")


def of(script: str) -> dict[int, dict[str, Equation]]:
    conversation = conversation_of(script)
    equations = Equations(conversation)
    return {row + 1: {one.field: one for one in equations.of(row)} for row in range(len(conversation.rows.rows))}


def test_the_example_of_the_issue() -> None:
    """`ack 22 = seq 1 + 21 bytes of frame 4`, and the frame that it comes from."""
    ack = of(OPEN_AND_CLOSE)[5]["ack"]
    assert ack == Equation(
        "ack", "ack 22 = seq 1 + 21 bytes of frame 4", "ack 1022 = seq 1001 + 21 bytes of frame 4", (4,), True
    )


def test_syn_and_fin_take_a_number() -> None:
    """Each adds 1, and says so; an ISN comes from nowhere."""
    found = of(OPEN_AND_CLOSE)
    assert found[1]["seq"].relative == "seq 0: the initial sequence number of the initiator"
    assert "ack" not in found[1]
    assert found[2]["ack"].relative == "ack 1 = seq 0 + 1 for the SYN of frame 1"
    assert found[9]["ack"].relative == "ack 23 = seq 22 + 1 for the FIN of frame 8"
    assert found[11]["ack"].frames == (10,)
    assert all(one.fits for both in found.values() for one in both.values())


@pytest.mark.parametrize(
    ("line", "number", "field", "said", "frames"),
    [
        ("+0 > P. 30:40(10) ack 23", 8, "seq", "seq 30 is 8 beyond 22 = seq 1 + 21 bytes of frame 4", (4,)),
        ("+0 > P. 1:22(21) ack 23", 8, "seq", "seq 1 again, as in frame 3", (3, 4)),
        ("+0 > . 5:5(0) ack 23", 8, "seq", "seq 5 is 17 behind 22 = seq 1 + 21 bytes of frame 4", (4,)),
        (
            "+0 > . 22:22(0) ack 33",
            8,
            "ack",
            "had got to 23 = seq 1 + 22 bytes of frame 6: 10 more than was sent",
            (6,),
        ),
        ("+0 > . 22:22(0) ack 9", 8, "ack", "ack 9 is where no segment ends; the responder had got to 23", (6,)),
    ],
)
def test_what_does_not_fit_says_by_how_much(
    line: str, number: int, field: str, said: str, frames: tuple[int, ...]
) -> None:
    """A gap, a repetition, an ACK of what was not sent, and one inside a segment."""
    equation = of("\n".join([*OPEN_AND_CLOSE.strip().splitlines()[:7], line]))[number][field]
    assert said in equation.relative
    assert equation.frames == frames
    assert equation.fits is ("again" in said)


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.stem)
def test_every_sum_is_right(path: Path) -> None:
    """On recorded captures of everything that has a name: what stands right of = makes what stands left, mod 2³²."""
    checked = 0
    for conversation in conversations(load_capture(path).segments):
        for equation in _all(conversation):
            for text, modulus in ((equation.relative, 1 << 62), (equation.absolute, 1 << 32)):
                if found := _SUM.fullmatch(text):
                    made = sum(int(number) for number in re.findall(r"\d+", found[2]))
                    assert made % modulus == int(found[1]), text
                    checked += 1
    assert checked or len(load_capture(path).segments) < 3


def _all(conversation: Conversation) -> list[Equation]:
    equations = Equations(conversation)
    found = []
    for row in range(len(conversation.rows.rows)):
        for one in equations.of(row):
            value = conversation.column(one.field)[row]
            assert one.absolute.startswith(f"{one.field} {value}"), "the number on the wire"
            earlier = set(conversation.column("frame")[:row])
            assert set(one.frames) <= earlier, "a number comes from frames before it"
            found.append(one)
    return found


def test_another_language_is_spoken() -> None:
    """What the catalogue does not know stays English; nothing breaks."""
    with speaking("zh"):
        assert of(OPEN_AND_CLOSE)[5]["ack"].frames == (4,)
