"""Text in columns of a terminal."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harness.reports.columns import cells, cut, left, right, shorten, wrap

ANY = st.text(st.sampled_from("abc X9-(),. 的序列号确认，。（）“”：…"), max_size=120)


@given(st.text("ab的，。（é→─✓ Ａ", max_size=40))
def test_cells_are_a_terminals(text: str) -> None:
    """As rich counts them."""
    assert cells(text) == cell_len(text)


def test_filled_up() -> None:
    assert [left("序列", 6), right("序列", 6), left("ab", 4), right("ab", 4)] == ["序列  ", "  序列", "ab  ", "  ab"]
    assert left("序列号", 4) == "序列号"


@given(ANY, st.integers(2, 40))
def test_cut_fits(text: str, width: int) -> None:
    """What fits is left as it is; of the rest the begin, and …"""
    short = cut(text, width)
    assert cells(short) <= width
    assert short == text if cells(text) <= width else text.startswith(short.removesuffix("…"))


@given(ANY, st.integers(12, 60))
def test_lines_fit_and_nothing_is_lost(text: str, width: int) -> None:
    """All but spaces is there, in order, in lines of the width."""
    lines = wrap(text, width, first_indent="> ", indent="  ")
    assert max(map(cells, lines), default=0) <= width
    assert "".join("".join(line[2:] for line in lines).split()) == "".join(text.split())
    assert all(line == line.rstrip() for line in lines)


@given(st.text("abc X9-(),.é", max_size=120), st.integers(12, 60))
def test_other_text_is_wrapped_as_ever(text: str, width: int) -> None:
    assert wrap(text, width, indent="  ") == textwrap.wrap(text, width, subsequent_indent="  ")
    assert shorten(text, width) == textwrap.shorten(text, width, placeholder=" …")


@pytest.mark.parametrize("width", range(8, 40))
def test_no_line_begins_with_a_comma(width: int) -> None:
    """What closes stays with what is before it, what opens with what follows (clreq, section 3.1.3)."""
    text = "每个 FIN 占用一个序列号，并各自得到确认（RFC 9293 §3.6，图 12）：“发起方”，然后是“响应方”。"
    lines = wrap(text, width)
    assert not [line for line in lines if line[0] in "，。：”）" or line[-1] in "（“"]
    assert not [line for line in lines[:-1] if cells(line) < width - 12]  # all are about full


def test_shortened() -> None:
    assert shorten("数据，及其 ACK：seq + 长度", 14) == "数据，及其 …"
    assert cells(shorten("数据，及其 ACK：seq + 长度", 13)) <= 13
