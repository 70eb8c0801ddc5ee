"""What harness.tcp.zeek promises: conn_state and history as Zeek documents them for its conn.log."""

import pytest

from harness.tcp.conversation import conversations
from harness.tcp.notation import parse

SYN, SYN_ACK, ACK = "+0 > S 0:0(0)\n", "+0 < S. 0:0(0) ack 1\n", "+0 > . 1:1(0) ack 1\n"
HANDSHAKE = SYN + SYN_ACK + ACK
REQUEST = "+0 > P. 1:22(21) ack 1\n+0 < . 1:1(0) ack 22\n"
ANSWER = "+0 < P. 1:41(40) ack 22\n+0 > . 22:22(0) ack 41\n"
CLOSE = "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2\n"
THREE_SEGMENTS = "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 2\n"
SIMULTANEOUS_CLOSE = "+0 > F. 1:1(0) ack 1\n+0 < F. 1:1(0) ack 1\n+0 > . 2:2(0) ack 2\n+0 < . 2:2(0) ack 2\n"


def names(script: str) -> tuple[str, str]:
    """conn_state and history of the only conversation."""
    (found,) = conversations(parse(script))
    return found.conn_state, found.history


def turned(text: str) -> str:
    """The same with the ends' parts exchanged."""
    return text.translate(str.maketrans("<>", "><"))


@pytest.mark.parametrize(
    ("script", "state"),
    [
        (SYN, "S0"),
        (SYN * 3, "S0"),
        (HANDSHAKE, "S1"),
        (HANDSHAKE + REQUEST + ANSWER, "S1"),
        (SYN + SYN_ACK, "S1"),
        (HANDSHAKE + CLOSE, "SF"),
        (HANDSHAKE + turned(CLOSE), "SF"),
        (HANDSHAKE + THREE_SEGMENTS, "SF"),
        (HANDSHAKE + SIMULTANEOUS_CLOSE, "SF"),
        (HANDSHAKE + CLOSE + "+1 > R 2:2(0)\n", "SF"),
        (HANDSHAKE + CLOSE + "+1 < R 2:2(0)\n", "SF"),
        (SYN + "+0 < R. 0:0(0) ack 1\n", "REJ"),
        (SYN * 2 + "+0 < R. 0:0(0) ack 1\n", "REJ"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n", "S2"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n", "S2"),
        (HANDSHAKE + "+0 < F. 1:1(0) ack 1\n", "S3"),
        (HANDSHAKE + "+0 < F. 1:1(0) ack 1\n+0 > . 1:1(0) ack 2\n", "S3"),
        (HANDSHAKE + "+0 > R 1:1(0)\n", "RSTO"),
        (HANDSHAKE + REQUEST + "+0 > R. 22:22(0) ack 1\n", "RSTO"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 > R 2:2(0)\n", "RSTO"),
        (SYN + SYN_ACK + "+0 > R 1:1(0)\n", "RSTO"),
        (HANDSHAKE + "+0 < R 1:1(0)\n", "RSTR"),
        (HANDSHAKE + REQUEST + "+0 < R. 1:1(0) ack 22\n", "RSTR"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < R 1:1(0)\n", "RSTR"),
        (SYN + "+0 > R 1:1(0)\n", "RSTOS0"),
        (SYN * 2 + "+0 > R 1:1(0)\n", "RSTOS0"),
        (SYN_ACK + "+0 < R 1:1(0)\n", "RSTRH"),
        (SYN + "+0 > F 1:1(0)\n", "SH"),
        (SYN_ACK + "+0 < F. 1:1(0) ack 1\n", "SHR"),
        (REQUEST + ANSWER, "OTH"),
        (ACK, "OTH"),
        ("+0 < . 1:1(0) ack 1\n", "OTH"),
    ],
)
def test_conn_state(script: str, state: str) -> None:
    """Zeek's thirteen names, each by what its documentation says of it."""
    assert names(script)[0] == state


@pytest.mark.parametrize(
    ("script", "history"),
    [
        (SYN, "S"),
        (SYN + SYN_ACK, "Sh"),
        (HANDSHAKE, "ShA"),
        (HANDSHAKE + CLOSE, "ShAFaf"),
        (HANDSHAKE + THREE_SEGMENTS, "ShAFf"),
        (HANDSHAKE + turned(CLOSE), "ShAfFa"),
        (HANDSHAKE + SIMULTANEOUS_CLOSE, "ShAFfa"),
        (HANDSHAKE + REQUEST + ANSWER, "ShADad"),
        (HANDSHAKE + REQUEST + ANSWER + "+0 > F. 22:22(0) ack 41\n+0 < F. 41:41(0) ack 23\n", "ShADadFf"),
        (HANDSHAKE + REQUEST + ANSWER + "+0 < F. 41:41(0) ack 22\n+0 > F. 22:22(0) ack 42\n", "ShADadfF"),
        (
            HANDSHAKE + "+0 < P. 1:41(40) ack 1\n+0 > P. 1:22(21) ack 41\n+0 < . 41:41(0) ack 22\n"
            "+0 > F. 22:22(0) ack 41\n+0 < F. 41:41(0) ack 23\n+0 > . 23:23(0) ack 42\n",
            "ShAdDaFf",
        ),
        (SYN + "+0 < R. 0:0(0) ack 1\n", "Sr"),
        (SYN + "+0 > R 1:1(0)\n", "SR"),
        (HANDSHAKE + REQUEST + "+0 > R 22:22(0)\n", "ShADaR"),
        (REQUEST + ANSWER, "DadA"),
    ],
)
def test_history(script: str, history: str) -> None:
    """A letter for each kind of segment, upper case for the originator, in the order of their first times."""
    assert names(script)[1] == history


@pytest.mark.parametrize(
    ("script", "history"),
    [
        (SYN * 3 + SYN_ACK * 2, "Sh"),
        (SYN + "+0 > S 500:500(0)\n", "SS"),
        (SYN + "+0 > S 500:500(0)\n+0 > S 500:500(0)\n+0 > S 0:0(0)\n", "SSS"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n" * 3, "ShAF"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 > F. 5:5(0) ack 1\n", "ShAFF"),
        (HANDSHAKE + "+0 > FP. 1:9(8) ack 1\n+0 > F. 9:9(0) ack 1\n", "ShAF"),
        (HANDSHAKE + "+0 < R 1:1(0)\n" * 3, "ShAr"),
        (HANDSHAKE + "+0 < R 1:1(0)\n+0 < R 9:9(0)\n", "ShArr"),
    ],
)
def test_syn_fin_and_rst_count_again_at_another_number_only(script: str, history: str) -> None:
    """Of the same kind and number as the last, they are the same one."""
    assert names(script)[1] == history


def test_data_and_acks_count_once() -> None:
    """However many there are."""
    data = "".join(f"+0 > . {n}:{n + 5}(5) ack 1\n+0 < . 1:1(0) ack {n + 5}\n" for n in range(1, 200, 5))
    assert names(HANDSHAKE + data)[1] == "ShADa"


@pytest.mark.parametrize(("times", "letters"), [(0, ""), (1, "T"), (9, "T"), (10, "TT"), (99, "TT"), (100, "TTT")])
@pytest.mark.parametrize("end", ["originator", "responder"])
def test_retransmissions_count_by_powers_of_ten(times: int, letters: str, end: str) -> None:
    """T for the first, the tenth and the hundredth segment whose payload had been sent before."""
    way, data = (">", "D") if end == "originator" else ("<", "d")
    script = HANDSHAKE + f"+0 {way} P. 1:9(8) ack 1\n" * (1 + times)
    assert names(script)[1] == "ShA" + data + (letters if end == "originator" else letters.lower())


@pytest.mark.parametrize(("times", "letters"), [(1, "w"), (9, "w"), (10, "ww"), (100, "www")])
def test_zero_windows_count_by_powers_of_ten(times: int, letters: str) -> None:
    """w for the first, the tenth and the hundredth segment with the window 0."""
    script = HANDSHAKE + "+0 > P. 1:9(8) ack 1\n" + "+0 < . 1:1(0) ack 9 win 0\n" * times
    assert names(script)[1] == "ShADa" + letters


def test_a_rsts_window_means_nothing() -> None:
    """Stacks leave it 0."""
    assert names(HANDSHAKE + "+0 > R 1:1(0) win 0\n")[1] == "ShAR"


@pytest.mark.parametrize(
    ("flags", "letter"), [("FR", "I"), ("FR.", "I"), ("SFR", "I"), ("SF", "Q"), ("SR", "Q"), ("SF.", "Q")]
)
def test_flags_that_contradict_each_other(flags: str, letter: str) -> None:
    """I for FIN with RST, Q for SYN with either, once each."""
    ack = " ack 1" if "." in flags else ""
    assert names(HANDSHAKE + f"+0 < {flags} 1:1(0){ack}\n" * 2)[1] == "ShA" + letter.lower()


@pytest.mark.parametrize(
    ("script", "state", "history"),
    [
        # A FIN and a RST, then the peer's FIN: closed after all.
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 > R 2:2(0)\n+0 < F. 1:1(0) ack 2\n", "SF", "ShAFRf"),
        # One number for the SYN, with ACK or without.
        ("+0 > S 0:0(0)\n+0 < S 0:0(0)\n+0 > S. 0:0(0) ack 1\n+0 < S. 0:0(0) ack 1\n", "S1", "Ss"),
        # A closed window is of no account once the peer has sent its FIN.
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2 win 0\n", "S2", "ShAFa"),
        # A FIN with data that is sent again is a retransmission too.
        (HANDSHAKE + "+0 > F. 1:9(8) ack 1\n+1 > F. 1:9(8) ack 1\n", "S2", "ShAFT"),
    ],
)
def test_what_zeeks_analyser_does_and_its_documents_leave_open(script: str, state: str, history: str) -> None:
    """Read off its TCP analyser."""
    assert names(script) == (state, history)
