"""Messages are translated when they are shown, by templates that are matched with them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.language import speaking
from harness.messages import LONGEST, template, translated

FIN = "<frame 42 responder: F. 1:2(0) ack 1>"


def chinese(message: str) -> str:
    with speaking("zh"):
        return translated(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("A SYN occupies one sequence number, so its ACK is its ISN + 1 (RFC 9293 §3.4).",
         "SYN 占用一个序列号，因此对它的 ACK 是其 ISN + 1（RFC 9293 §3.4）。"),
        ("At the end, each end has acknowledged all that the other sent. (initiator)",
         "到最后，每一端都确认了对方发送的全部内容。（发起方）"),
        ("frame 2 (responder) ack 7, but frame 1 seq 4 + 1 = 5",
         "第 2 帧（响应方）的 ack 7，但第 1 帧的 seq 4 + 1 = 5"),
        ("frame 12 (initiator) flags [F], but expected 'F.'", "第 12 帧（发起方）的 flags [F]，但应为 'F.'"),
        ("not shown: the capture shows no ACK of the initiator's FIN (frame 9)",
         "未体现：抓包中没有对发起方的 FIN（第 9 帧）的 ACK"),
        ("judging it took longer than 30 s", "评判用时超过 30 s"),
        ("could not be judged: KeyError: 'x'", "无法评判：KeyError：'x'"),
        ("a.pcap: frame 3 is cut off after 4 of 60 bytes, at byte 90; fetch the file again, or stop tcpdump in order",
         "a.pcap：第 3 帧被截断，60 字节中只有 4 字节，在第 90 字节处；请重新取得该文件，或让 tcpdump 正常停止"),
        ("the capture shows no four-segment close", "抓包中未见四次挥手的关闭"),
        ("frame 1: fin-before-open, frame 5: ack-of-no-fin", "第 1 帧：fin-before-open，第 5 帧：ack-of-no-fin"),
    ],
)  # fmt: skip
def test_told_in_chinese(message: str, expected: str) -> None:
    """Titles, with their parameters; messages, and messages within them."""
    assert chinese(message) == expected
    assert translated(message) == message  # nobody speaks Chinese now


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"{FIN} comes after the last ACK (False or False) + and False = {FIN}.is_copy",
         f"{FIN} 出现在最后的 ACK 之后 (False or False) + and False = {FIN}.is_copy"),
        (f"{FIN} comes after the RST of frame 36 (6 <= 5 or False)",
         f"{FIN} 出现在第 36 帧的 RST 之后 (6 <= 5 or False)"),
        ("frame 20 comes 0.125 s after frame 19 125 >= 900", "第 20 帧在第 19 帧之后 0.125 s 到来 125 >= 900"),
        ("(not True or frame 3 (initiator) seq 5, but frame 1 seq 4)",
         "(not True or 第 3 帧（发起方）的 seq 5，但第 1 帧的 seq 4)"),
        ("'CLOSED' == 'TIME-WAIT' - TIME-WAIT + CLOSED", "'CLOSED' == 'TIME-WAIT' - TIME-WAIT + CLOSED"),
    ],
)  # fmt: skip
def test_what_pytest_adds_stays(message: str, expected: str) -> None:
    """Its own explanation of an assert stands behind a message, around it, or alone."""
    assert chinese(message) == expected


@given(st.text(max_size=200))
def test_what_nobody_knows_stays(text: str) -> None:
    assert chinese(f"⟨{text}⟩") == f"⟨{text}⟩"


def test_what_a_student_wrote_is_not_translated() -> None:
    """It is quoted as it stands, also where it looks like a template of ours."""
    assert chinese("the answer is '{0}%s', but expected 'both'") == "给出的答案是 '{0}%s'，但应为 'both'"
    assert chinese("the answer is 'initiator', but expected 'both'") == "给出的答案是 'initiator'，但应为 'both'"


def test_the_most_telling_template_is_meant() -> None:
    """Several fit; the one with most fixed text tells most."""
    assert chinese("frame 1 offers no MSS") == "第 1 帧没有给出 MSS"  # not as "frame {0} {1}"
    assert chinese("not shown: the capture shows no FIN of the responder") == "未体现：抓包中没有响应方的 FIN"


@pytest.mark.parametrize(
    ("text", "message", "values"),
    [
        ("frame {0:word} is {1}", "frame 7 is [S] with data", (["7", "[S] with data"], "")),
        ("{0} is {1:word} ahead", "x is 5 ahead", (["x", "5"], "")),
        ("{0} is {1:word} ahead", "x is y is 5 ahead", None),  # what is a word has no spaces
        ("at {0:word}", "at 7 False", (["7"], " False")),
        ("{0} ends", "all ends 1 <= 0", (["all"], " 1 <= 0")),
        ("{0} ends", "all endstops", None),
        ("{0}{1}: taken", "a, b: taken", (["", "a, b"], "")),
        ("{{{0}}} is {1}", "{a} is b", (["a", "b"], "")),
        ("{0}, {1}", "nothing", None),
    ],
)
def test_matching(text: str, message: str, values: tuple[list[str], str] | None) -> None:
    assert template(text).match(message, tail=True) == values


HOSTILE = [
    "frame " * 166,
    "frame 1 is " * 90,
    ", but " * 166,
    "not shown: " * 90,
    "(0 or " * 160 + ")" * 40,
    "the capture shows no " * 47,
    " is more than was sent: frame 1 seq 2 + 1 = 3" * 21,
    ": ".join(["a"] * 333),
    ", ".join(["frame 1: x"] * 83),
    "the FIN of frame 3 is answered by " * 29,
]


@pytest.mark.parametrize("message", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_takes_no_time(message: str) -> None:
    """Whatever a thousand characters say, they are answered at once."""
    chinese("passed")  # the catalogue is read once
    begin = time.thread_time()
    for number in range(10):
        assert chinese(message[: 1000 - 2] + str(number))
    assert (time.thread_time() - begin) / 10 < 0.05


def test_what_is_very_long_stays() -> None:
    message = "not shown: " + "x" * LONGEST
    assert chinese(message) == message
