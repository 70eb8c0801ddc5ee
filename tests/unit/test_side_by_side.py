"""Two listings side by side: what is the same is said to be, and each difference has its cause."""

from pathlib import Path

import pytest

from labs.article.side_by_side import side_by_side

ROOT = Path(__file__).resolve().parents[2]
PRINTED = ROOT / "labs" / "article" / "printed"
OURS = ROOT / "tests" / "data" / "article"
HANDSHAKE, TEARDOWN = ((PRINTED / f"{name}.txt").read_text() for name in ("handshake", "teardown"))
CONNECT, DISTURBED, EXIT = ((OURS / f"{name}.txt").read_text() for name in ("connect", "disturbed", "exit"))


def shown(printed: str, ours: str, width: int = 100) -> list[str]:
    return [line for line, _ in side_by_side(printed, ours, width=width)]


def said(printed: str, ours: str) -> str:
    """All of it as one line."""
    return " ".join(" ".join(shown(printed, ours)).split())


def marks(printed: str, ours: str) -> str:
    """The marks between the packets, from the top."""
    rows = [line for line in shown(printed, ours, 120)[1:] if line[:1].isdigit() or line.lstrip().startswith(">")]
    return "".join(next(mark for mark in "=≠<>" if f" {mark} " in f"{row} ") for row in rows)


def without(listing: str, *numbers: int) -> str:
    """A listing without some of its packets."""
    lines = listing.splitlines(keepends=True)
    packets = [line for line in lines if " IP " in line]
    return "".join(line for line in lines if line not in [packets[number - 1] for number in numbers])


@pytest.mark.parametrize(
    "listing", [HANDSHAKE, TEARDOWN, CONNECT, EXIT], ids=["handshake", "teardown", "connect", "exit"]
)
def test_equal_listings_are_the_same(listing: str) -> None:
    """Also where only times and first numbers differ; and nothing that differs is bold."""
    assert shown(listing, listing)[-1] == "the same"
    assert marks(listing, listing) == "=" * 6
    other = listing.replace("481914", "581914").replace("17:23:09", "18:00:00").replace("53198", "53199")
    assert shown(listing, other)[-1] == "the same"


def test_the_articles_copies_are_its_own() -> None:
    for name in ("handshake", "teardown"):
        assert (PRINTED / f"{name}.txt").read_bytes() == (ROOT / "tests/data" / f"article-{name}.txt").read_bytes()


def test_connecting() -> None:
    """The same six packets; what differs is what another kernel and another ssh have of their own."""
    assert marks(HANDSHAKE, CONNECT) == "≠" * 6
    text = said(HANDSHAKE, CONNECT)
    for cause in (
        "first window: 29200 (20 × 1460) as printed, 64240 (44 × 1460) ours.",
        "wscale: 7 as printed, 10 ours.",
        "window, here and further on: 229 as printed, 63 ours.",
        "length of a banner: 21 as printed, 41 ours. It is the line SSH-2.0-…",
        "as printed: 7 packets were received by the filter, 6 captured",
        "ours: 13 packets were received by the filter, 6 captured",
        "as printed: the last of 6 is [P.] seq 1:22 ack 22 len 21 ours: the last of 6 is [P.] seq 1:42 ack 42 len 41",
    ):
        assert text.count(cause) == 1, cause
    assert "FIN" not in text
    assert "the same" not in text


def test_leaving() -> None:
    """Neither of the second listings shows the close; the article's last ACK had waited, ours was taken along."""
    assert marks(TEARDOWN, EXIT) == "≠≠≠≠≠<>"
    text = said(TEARDOWN, EXIT)
    for cause in (
        "length of data: 68 as printed, 36 ours.",
        "window, here and further on: 311 as printed, 78 ours.",
        "ACK alone: it comes by itself 40.1 ms after what it acknowledges.",
        "data alone: the other listing does not show it",
        "neither holds a FIN: the close comes behind the last packet that was counted",
    ):
        assert text.count(cause) == 1, cause
    assert "banner" not in text


def test_counters() -> None:
    """What was received is told of where it is more than was captured; other counters are a difference, too."""
    assert "received by the filter" not in said(TEARDOWN, TEARDOWN)
    more = TEARDOWN.replace("6 packets received", "9 packets received")
    assert "ours: 9 packets were received by the filter, 6 captured" in said(TEARDOWN, more)
    assert "and 3 more had come by then" in said(TEARDOWN, more)
    assert "the same" not in shown(TEARDOWN, more)
    assert marks(TEARDOWN, more) == "=" * 6


def test_two_windows() -> None:
    """Packets of another connection are counted, but not compared."""
    text = said(TEARDOWN, DISTURBED)
    assert "ours: 2 of the packets are of another connection, left out here" in text
    assert marks(TEARDOWN, DISTURBED).count("≠") == 4  # as many as are left
    assert "ours: the last of 6 is [P.]" in text


OPTIONS = {
    "MSS: 1460 as printed, 8960 ours.": ("mss 1460,sackOK,TS val 547753", "mss 8960,sackOK,TS val 547753"),
    "MSS: 1460 as printed, none ours.": ("mss 1460,sackOK,TS val 547753", "sackOK,TS val 547753"),
    "sackOK: offered as printed, none ours.": ("mss 1460,sackOK,TS val 547753", "mss 1460,TS val 547753"),
    "timestamps: offered as printed, none ours.": ("TS val 547753 ecr 0,nop,", ""),
    "wscale: 7 as printed, none ours.": (",nop,wscale 7], length 0\n17:23:09.890237", "], length 0\n17:23:09.890237"),
    "first window: 29200 (20 × 1460) as printed, 65535 ours.": ("win 29200", "win 65535"),
    "flag P: on as printed, off ours.": ("[P.], seq 481914175", "[.], seq 481914175"),
}


@pytest.mark.parametrize("cause", OPTIONS)
def test_each_difference_has_its_cause(cause: str) -> None:
    """One thing changed in the article's own: that cause is told, and no other."""
    old, new = OPTIONS[cause]
    assert HANDSHAKE.count(old) == 1
    text = said(HANDSHAKE, HANDSHAKE.replace(old, new))
    assert cause in text
    assert text.count(" as printed, ") == 1
    assert "the same" not in text


def test_the_other_end_speaks_first() -> None:
    lines = HANDSHAKE.splitlines(keepends=True)
    theirs = lines[8].replace("17:23:09.898857", "17:23:09.890500").replace("ack 481914196", "ack 481914175")
    text = said(HANDSHAKE, "".join((*lines[:6], theirs, *lines[6:8], *lines[9:])))
    assert "order of the banners: as printed the initiator speaks first, ours the responder." in text


def test_fewer_packets() -> None:
    """Five: the sixth stands alone, since the other listing had stopped; one that began later says so."""
    assert marks(HANDSHAKE, without(HANDSHAKE, 6)) == "=====<"
    assert "the other listing had stopped: it has fewer packets." in said(HANDSHAKE, without(HANDSHAKE, 6))
    assert "ours: the last of 5 is [.] ack 22" in said(HANDSHAKE, without(HANDSHAKE, 6))
    assert marks(without(HANDSHAKE, 6), HANDSHAKE) == "=====>"
    late = said(HANDSHAKE, without(HANDSHAKE, 1, 2))
    assert "the other listing began later, when the connection was open." in late
    assert "where a listing begins: data that is an end's first in one is any in the other." in late


def test_no_packets() -> None:
    """Tcpdump was stopped before anything came; or there is nothing at all."""
    nothing = without(HANDSHAKE, 1, 2, 3, 4, 5, 6)
    for empty in (nothing, ""):
        assert marks(HANDSHAKE, empty) == "<" * 6
        assert shown(HANDSHAKE, empty)[-1] == "ours: no packet"
        assert marks(empty, HANDSHAKE) == ">" * 6
    assert shown(nothing, nothing)[-1] == "the same"
    assert shown("", "")[0].split() == ["as", "printed", "ours"]


FIN = (
    "17:24:58.730000 IP 192.168.1.63.53198 > 192.168.1.64.ssh: Flags [F.], seq 481916904, ack 2737270554, win 311, "
    "options [nop,nop,TS val 656595 ecr 659374], length 0\n"
)


def test_a_fin_that_one_listing_holds() -> None:
    longer = TEARDOWN.replace("6 packets captured", f"{FIN}7 packets captured")
    assert "a FIN is shown: ours" in shown(TEARDOWN, longer)
    assert "a FIN is shown: as printed" in shown(longer, TEARDOWN)
    assert "a FIN is shown: as printed, ours" in shown(longer, longer)
    assert marks(TEARDOWN, longer) == "======>"
    instead = without(TEARDOWN, 6).replace("6 packets captured", f"{FIN}6 packets captured")
    assert "the other listing had stopped before the close." in said(instead, TEARDOWN)


@pytest.mark.parametrize("width", [60, 72, 80, 120])
def test_no_line_is_too_long(width: int) -> None:
    for printed, ours in ((HANDSHAKE, CONNECT), (TEARDOWN, EXIT), (TEARDOWN, DISTURBED), (HANDSHAKE, "")):
        assert [line for line in shown(printed, ours, width) if len(line) > width] == []
