"""Listings whose lines a terminal or a mail client wrapped: read as if they were not, or said to be cut off."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.capture import Capture
from harness.captures.listing_tcp import No, Texts, squeezed
from harness.captures.text import read_listing
from harness.tcp.segments import COLUMNS

DATA = Path(__file__).parent.parent / "data"
ARTICLE = (DATA / "article-handshake.txt").read_text()

VERBOSE = """\
17:23:09.889821 IP (tos 0x0, ttl 64, id 4711, offset 0, flags [DF], proto TCP (6), length 60)
    192.168.1.63.53198 > 192.168.1.64.22: Flags [S], cksum 0x2389 (correct), seq 4294967290, win 29200, options \
[mss 1460,sackOK,TS val 547753 ecr 0,nop,wscale 7], length 0
17:23:09.890237 IP (tos 0x10, ttl 64, id 0, offset 0, flags [DF], proto TCP (6), length 60)
    192.168.1.64.22 > 192.168.1.63.53198: Flags [S.], cksum 0x0ff0 (incorrect -> 0x1234), seq 2737267460, \
ack 4294967291, win 28960, options [mss 1460,sackOK,TS val 550574 ecr 547753,nop,wscale 7], length 0
17:23:09.890647 IP (tos 0x0, ttl 64, id 4712, offset 0, flags [DF], proto TCP (6), length 73)
    192.168.1.63.53198 > 192.168.1.64.22: Flags [P.], cksum 0xbeb9 (correct), seq 1:22, ack 1, win 229, options \
[nop,nop,TS val 547755 ecr 550574], length 21: SSH: SSH-2.0-OpenSSH_7.4
"""
LINK = """\
2026-11-22 17:23:09.889821 02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv6 (0x86dd), length 94: \
2001:db8::63.53198 > 2001:db8::64.22: Flags [S], seq 481914174, win 29200, options [mss 1440,sackOK,TS val 547753 \
ecr 0,nop,wscale 7], length 0
2026-11-22 17:23:09.890237 02:00:00:00:00:02 > 02:00:00:00:00:01, ethertype 802.1Q (0x8100), length 98: vlan 5, p 0, \
ethertype IPv6 (0x86dd), (flowlabel 0x12345, hlim 64, next-header TCP (6) payload length: 40) 2001:db8::64.22 > \
2001:db8::63.53198: Flags [S.], cksum 0x677a (correct), seq 2737267460, ack 481914175, win 28960, options [mss 1440,\
sackOK,TS val 550574 ecr 547753,nop,wscale 7], length 0
2026-11-22 17:23:09.890311 ens33 Out IP6 2001:db8::63 > 2001:db8::64: HBH 53198 > 22: Flags [.], ack 1, win 229, \
options [nop,nop,TS val 547755 ecr 550574,nop,nop,sack 2 {200:300}{400:500}], length 0
2026-11-22 17:23:09.890400 IP host.example.org.ssh > laptop.example.org.53198: Flags [P.], seq 1:22, ack 1, win 229, \
options [nop,nop,TS val 547755 ecr 550574], length 21
2026-11-22 17:23:09.890500 IP 64.1.1.1.22 > 10.0.0.2.53198: Flags [F.], seq 22, ack 1, win 229, length 0
"""
OLD = """\
17:23:09.889821 IP 192.168.1.63.53198 > 192.168.1.64.ssh: S 481914174:481914174(0) win 29200 \
<mss 1460,sackOK,timestamp 547753 0,nop,wscale 7> (DF)
17:23:09.890237 IP 192.168.1.64.ssh > 192.168.1.63.53198: S 2737267460:2737267460(0) ack 481914175 win 28960 \
<mss 1460,sackOK,timestamp 550574 547753,nop,wscale 7> (DF)
17:23:09.890311 IP 192.168.1.63.53198 > 192.168.1.64.ssh: . ack 1 win 229
17:23:09.890647 IP 192.168.1.63.53198 > 192.168.1.64.ssh: P 1:22(21) ack 1 win 229 <nop,nop,timestamp 547755 550574>
"""


def columns(capture: Capture) -> list[object]:
    s = capture.segments
    shown = [getattr(s, name).tolist() for name in COLUMNS]
    return [capture.frames, capture.other_frames, capture.damage, *shown, s.ipv6, *map(s.sack_blocks, range(len(s)))]


def hard(line: str, width: int) -> list[str]:
    """As a terminal does: anywhere."""
    return [line[at : at + width] for at in range(0, len(line), width)]


def soft(line: str, width: int) -> list[str]:
    """As a mail client does: at a space, which is gone then."""
    pieces = [""]
    for word in line.split(" "):
        if pieces[-1].strip() and len(pieces[-1]) + len(word) >= width:
            pieces.append(word)
        else:
            pieces[-1] += (" " if pieces[-1] else "") + word
    return pieces


def indented(pieces: list[str]) -> list[str]:
    return [pieces[0], *("      " + piece for piece in pieces[1:])]


WRAPPINGS: dict[str, Callable[[str, int], list[str]]] = {
    "hard": hard,
    "hard, no space at the end": lambda line, width: [piece.rstrip() for piece in hard(line, width)],
    "hard, indented": lambda line, width: indented(hard(line, width)),
    "soft": soft,
    "soft, flowed": lambda line, width: [piece + " " for piece in soft(line, width)],
    "soft, indented": lambda line, width: indented(soft(line, width)),
    "soft, quoted": lambda line, width: ["> " + piece for piece in soft(line, width)],
    "hard, quoted twice": lambda line, width: ["> > " + piece for piece in hard(line, width)],
    "quoted, then wrapped": lambda line, width: soft("> " + line, width),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("listing", [ARTICLE, VERBOSE, LINK], ids=["article", "verbose", "link"])
def test_wrapped_at_any_width(listing: str, wrap: Callable[[str, int], list[str]]) -> None:
    wanted = columns(read_listing(listing.encode(), "x"))
    assert wanted[2] is None
    for width in range(62, 200):
        text = "\n".join(piece for line in listing.splitlines() for piece in wrap(line, width))
        assert columns(read_listing(text.encode(), "x")) == wanted, (width, text)


@pytest.mark.parametrize("wrap", [WRAPPINGS["hard"], WRAPPINGS["soft"]], ids=["hard", "soft"])
def test_tcpdump_3_wrapped_at_any_width(wrap: Callable[[str, int], list[str]]) -> None:
    """But between the two numbers of a timestamp, where nothing tells a space from none."""
    wanted = read_listing(OLD.encode(), "x")
    whole = columns(wanted)
    assert (wanted.damage, wanted.segments.tsval[3], wanted.segments.window[2]) == (None, 547755, 229)
    joined = 0
    for width in range(62, 200):
        pieces = [wrap(line, width) for line in OLD.splitlines()]
        text = "\n".join(piece for line in pieces for piece in line)
        got = read_listing(text.encode(), "x")
        within = any(one[-1:].isdigit() and two[:1].isdigit() for line in pieces for one, two in pairwise(line))
        if got.damage and (within or wrap is hard):
            assert got.frames == 4
            continue
        joined += 1
        assert columns(got) == whole, text
    assert joined > 60


def test_options_of_tcpdump_3_that_begin_a_line_are_cut_off_with_it() -> None:
    line = OLD.splitlines()[0].replace(" <", "\n<")
    assert read_listing(line.encode(), "x").segments.mss.tolist() == [1460]
    capture = read_listing(line[:-30].encode(), "x")
    assert (capture.frames, capture.other_frames, capture.damage) == (1, 1, "line 1 is cut off")


def test_wrapped_between_the_numbers_of_a_timestamp() -> None:
    text = OLD.splitlines()[0].replace("547753 0,", "547753\n0,")
    capture = read_listing(text.encode(), "x")
    assert (capture.frames, capture.other_frames, capture.damage) == (1, 1, "line 1 is cut off")


@pytest.mark.parametrize("width", range(70, 150))
def test_tcpdump_4_0_wrapped_at_any_width(width: int) -> None:
    """It does not say where data begin, so nothing but the next line tells whether a length is whole."""
    line = ARTICLE.splitlines()[6].replace("seq 481914175:481914196, ", "").replace("length 21", "length 1448")
    for text in (line, line + ": HTTP: GET / HTTP/1.1"):
        got = read_listing("\n".join([*hard(text, width), "hello", line]).encode(), "x")
        assert (got.frames, got.damage, got.segments.length.tolist()) == (2, None, [1448, 1448])


@pytest.mark.parametrize(
    "after",
    [
        "6 packets captured\n7 packets received by filter\n0 packets dropped by kernel\n",
        "^C6 packets captured\n",
        "14174 files\n",
        "[root@aaa du]# ls\n14174 files, win 29200\n",
        "\t0x0000:  4500 003c 0000 4000 4006 b6ec c0a8 013f  E..<..@.@......?\n",
        "tcpdump: pcap_loop: truncated dump file\n",
        "17:23:10.000000 ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 28\n",
        "\n\nRegards,\nA. Student\n",
        "0\n",
        "hello\n" * 20,
    ],
)
@pytest.mark.parametrize("number", [3, 5, 6])
def test_what_follows_a_cut_line_does_not_complete_it(number: int, after: str) -> None:
    """A line cut off anywhere is damage, or was whole: it never becomes another segment by what stands below."""
    line = ARTICLE.splitlines()[number]
    whole = read_listing(line.encode(), "x")
    for stop in range(len("17:23:09.890647 IP"), len(line)):
        got = read_listing((line[:stop] + "\n" + after).encode(), "x")
        if len(got.segments):
            assert columns(got)[3:] == columns(whole)[3:], line[:stop]
        else:
            assert got.damage == "line 1 is cut off" or line[:stop].endswith(": "), line[:stop]


def test_a_cut_line_before_a_packet_stays_cut() -> None:
    lines = ARTICLE.splitlines()
    got = read_listing("\n".join([lines[3][:100], *lines[4:]]).encode(), "x")
    assert (got.frames, len(got.segments), got.damage) == (6, 5, "line 1 is cut off")
    assert got.segments.frame.tolist() == [2, 3, 4, 5, 6]


def test_more_pieces_than_any_terminal_makes() -> None:
    """One character a line is not put together."""
    line = ARTICLE.splitlines()[3]
    got = read_listing((line[:30] + "\n" + "\n".join(line[30:])).encode(), "x")
    assert (got.frames, len(got.segments)) == (1, 0)


NUMBERS = st.integers(0, 2**32 - 1)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A packet's text as tcpdump 4 composes it, of numbers of any length."""
    source = draw(ADDRESSES)
    target = draw(st.ip_addresses(v=6 if ":" in source else 4).map(str))
    family = "IP6" if ":" in source else "IP"
    port = st.integers(0, 65535).map(str) | st.sampled_from(["ssh", "http-alt", "x11-1"])
    flags = draw(st.sampled_from(["S", "S.", "P.", ".", "R", "F."]))
    text = f"{family} {source}.{draw(port)} > {target}.{draw(port)}: Flags [{flags}]"
    if draw(st.booleans()):
        text += f", cksum 0x{draw(st.integers(0, 65535)):04x} (correct)"
    length = draw(st.just(0) | st.integers(0, 65495))
    if length or flags not in {".", "P."} or draw(st.booleans()):
        seq = draw(NUMBERS)
        text += f", seq {seq}" + (f":{(seq + length) % 2**32}" if length else "")
    if draw(st.booleans()):
        text += f", ack {draw(NUMBERS)}"
    text += f", win {draw(st.integers(0, 65535))}"
    options = ["mss 1460", "sackOK", "nop", f"TS val {draw(NUMBERS)} ecr {draw(NUMBERS)}", "wscale 7"]
    options.append(f"sack 1 {{{draw(NUMBERS)}:{draw(NUMBERS)}}}")
    some = draw(st.lists(st.sampled_from(options), max_size=5))
    return text + (f", options [{','.join(some)}]" if some else "") + f", length {length}"


@settings(max_examples=300, deadline=None)
@given(texts(), st.data())
def test_no_break_of_any_text_changes_what_it_says(text: str, data: st.DataObject) -> None:
    """Squeezed and joined, pieces broken anywhere are read as the whole text is, and no part of it as another."""
    reader = Texts()
    whole = reader.read(text)
    assert not isinstance(whole, No), text
    breaks = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=4)))
    pieces = [text[start:stop] for start, stop in zip([0, *breaks], [*breaks, len(text)], strict=True)]
    assert reader.read_squeezed("".join(squeezed(piece.strip()) for piece in pieces)) == whole
    for count in range(1, len(pieces)):
        part = reader.read_squeezed("".join(squeezed(piece.strip()) for piece in pieces[:count]))
        assert isinstance(part, No) or part == whole, pieces[:count]
