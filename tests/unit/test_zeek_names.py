"""What harness.tcp.zeek promises: conn_state and history as Zeek documents them for its conn.log."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


ACK_101 = "+0 < . 1:1(0) ack 101\n"
FAR_DATA = "+0 > P. 101:201(100) ack 1\n"


@pytest.mark.parametrize(
    ("script", "history"),
    [
        # Nothing of it was captured, or what follows it, with data or without.
        (HANDSHAKE + ACK_101, "ShAaG"),
        (HANDSHAKE + FAR_DATA + "+0 < . 1:1(0) ack 201\n", "ShADaG"),
        (HANDSHAKE + "+0 > . 101:101(0) ack 1\n" + ACK_101, "ShAaG"),
        # It counts from the first byte that is missing: what was captured is no gap.
        (HANDSHAKE + FAR_DATA + "+0 < . 1:1(0) ack 1\n", "ShADa"),
        (HANDSHAKE + FAR_DATA + "+0 > P. 1:101(100) ack 1\n+0 < . 1:1(0) ack 201\n", "ShADTa"),
        (HANDSHAKE + FAR_DATA + "+0 > P. 1:100(99) ack 1\n+0 < . 1:1(0) ack 201\n", "ShADTaG"),
        # After its letter come the others of the ACK's own segment, and before it those of the next.
        (HANDSHAKE + "+0 < . 1:1(0) ack 101 win 0\n", "ShAawG"),
        (HANDSHAKE + "+0 < P. 1:9(8) ack 1\n+0 < P. 1:9(8) ack 101\n", "ShAdtG"),
        (HANDSHAKE + "+0 < P. 1:9(8) ack 101\n", "ShAdG"),
        # What comes after its ACK is too late, and the same ACK tells nothing new.
        (HANDSHAKE + ACK_101 + "+0 > P. 1:101(100) ack 1\n" + ACK_101, "ShAaGD"),
        (HANDSHAKE + FAR_DATA + "+0 < . 1:1(0) ack 201\n+0 > P. 1:101(100) ack 1\n", "ShADaGT"),
        (HANDSHAKE + FAR_DATA + "+0 < . 1:1(0) ack 2\n+0 > P. 1:101(100) ack 1\n", "ShADaGT"),
        # A FIN takes a number; once it was captured, its ACK is one of the data before it.
        (HANDSHAKE + "+0 < . 1:1(0) ack 2\n+0 > F. 1:1(0) ack 1\n", "ShAaGF"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 < . 1:1(0) ack 2\n", "ShAFa"),
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n" + ACK_101, "ShAFa"),
        (HANDSHAKE + "+0 > F. 101:101(0) ack 1\n+0 < . 1:1(0) ack 102\n", "ShAFaG"),
        # A FIN's ACK tells too, also when both have closed; a RST's does not, and after it none.
        (HANDSHAKE + "+0 < F. 1:1(0) ack 101\n", "ShAfG"),
        (HANDSHAKE + "+0 > F. 101:101(0) ack 1\n+0 < F. 1:1(0) ack 1\n+0 < . 2:2(0) ack 102\n", "ShAFfaG"),
        (HANDSHAKE + "+0 < R. 1:1(0) ack 101\n+0 < . 1:1(0) ack 201\n", "ShAra"),
        (HANDSHAKE + "+0 > R. 1:1(0) ack 1\n" + ACK_101, "ShARa"),
        # Closed from there: not through a RST that its peer's FIN undid.
        (HANDSHAKE + "+0 > F. 1:1(0) ack 1\n+0 > R 2:2(0)\n+0 < F. 1:1(0) ack 2\n+0 > . 2:2(0) ack 101\n", "ShAFRf"),
        # Established: also where the SYN was not captured; not where neither was, nor before the SYN-ACK.
        (SYN_ACK + ACK + ACK_101, "^hAaG"),
        (ACK + "+0 < . 1:1(0) ack 1\n" + ACK_101, "Aa"),
        (SYN + ACK_101 + SYN_ACK, "Sah"),
        (SYN + "+0 < S. 0:0(0) ack 77\n", "ShG"),
        # Of an end that has sent nothing yet, nothing is missing; what it begins with, it begins with.
        (SYN + "+0 > . 1:1(0) ack 101\n+0 > . 1:1(0) ack 201\n", "SA"),
        (SYN_ACK + "+0 > P. 101:201(100) ack 1\n+0 < . 1:1(0) ack 201\n", "^hDa"),
        # Fast Open: the SYN's data is there.
        ("+0 > S 0:100(100)\n+0 < S. 0:0(0) ack 101\n+0 > . 101:101(0) ack 1\n", "SThA"),
        # No data was acknowledged, and more than 16384 bytes lie above the hole: it is given up.
        (HANDSHAKE + "+0 > . 101:16485(16384) ack 1\n+0 < . 1:1(0) ack 16485\n", "ShADa"),
        (HANDSHAKE + "+0 > . 101:16385(16284) ack 1\n+0 < . 1:1(0) ack 16385\n", "ShADaG"),
        (HANDSHAKE + "+0 > . 101:16485(16384) ack 1\n+0 > . 1:101(100) ack 1\n+0 < . 1:1(0) ack 17000\n", "ShADTa"),
        (HANDSHAKE + "+0 > . 101:16385(16284) ack 1\n+0 > . 1:101(100) ack 1\n+0 < . 1:1(0) ack 17000\n", "ShADTaG"),
        (HANDSHAKE + "+0 > . 1:2(1) ack 1\n+0 < . 1:1(0) ack 2\n+0 > . 102:16486(16384) ack 1\n"
         "+0 < . 1:1(0) ack 16486\n", "ShADaG"),
    ],
)  # fmt: skip
def test_content_gaps(script: str, history: str) -> None:
    """G where an ACK tells that bytes were not captured, while both ends are established or closed from there."""
    assert names(script)[1] == history


def test_a_responders_content_gap() -> None:
    """Lower case: of its bytes."""
    assert names(HANDSHAKE + "+0 < P. 101:201(100) ack 1\n+0 > . 1:1(0) ack 201\n")[1] == "ShAdg"


@pytest.mark.parametrize(("times", "letters"), [(1, "G"), (9, "G"), (10, "GG"), (99, "GG"), (100, "GGG")])
def test_content_gaps_count_by_powers_of_ten(times: int, letters: str) -> None:
    """Every ACK further into a gap is one; every hole below one ACK is one."""
    one_by_one = "".join(f"+0 < . 1:1(0) ack {2 + n}\n" for n in range(times))
    assert names(HANDSHAKE + one_by_one)[1] == "ShAa" + letters
    at_once = "".join(f"+0 > . {2 + 2 * n}:{3 + 2 * n}(1) ack 1\n" for n in range(times))
    assert names(HANDSHAKE + at_once + f"+0 < . 1:1(0) ack {1 + 2 * times}\n")[1] == "ShADa" + letters


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("><"), st.integers(1, 20), st.integers(0, 15), st.integers(1, 36)), max_size=25)
)
def test_content_gaps_are_the_stretches_of_bytes_that_were_not_captured(
    segments: list[tuple[str, int, int, int]],
) -> None:
    """Counted byte by byte."""
    script, letters = HANDSHAKE, ""
    captured: dict[str, set[int]] = {">": set(), "<": set()}
    reached, counts = {">": 1, "<": 1}, {">": 0, "<": 0}
    for way, begin, length, ack in segments:
        script += f"+0 {way} . {begin}:{begin + length}({length}) ack {ack}\n"
        other = turned(way)
        missing = [n for n in range(reached[other], ack) if n not in captured[other]]
        for _ in [n for n in missing if n - 1 not in missing]:
            counts[other] += 1
            letters += "" if counts[other] not in (1, 10, 100) else "G" if other == ">" else "g"
        captured[way] |= set(range(begin, begin + length))
        reached[other] = max(reached[other], ack)
        for end, at in reached.items():
            reached[end] = next(n for n in range(at, 100) if n not in captured[end])
    assert "".join(letter for letter in names(script)[1] if letter in "Gg") == letters
