"""Two vantage points: `--both` captures on both hosts, and joins the captures."""

import json
import secrets
from pathlib import Path

import pytest

from harness.captures.reading import read_capture
from harness.experiment import capture_filter
from harness.hosts.host import Testbed
from harness.preflight import preflight
from harness.reports.both import BothViews
from harness.session import prepared, session
from harness.tcp.conversation import Conversation, conversations
from harness.tcpdump import Captured, capturing
from harness.waiting import wait_for
from tests.live.conftest import Lab
from tests.live.sites import Site

_MTU = 'PATH=$PATH:/usr/sbin:/sbin; ip link set ens33 mtu "$1"'


@pytest.mark.parametrize("provider", ["embedded", "hosts"])
def test_both_ends_capture(site: Site, start: Lab, tmp_path: Path, provider: str) -> None:
    """One ladder of both captures, with what each segment spent on the wire; on a whole link nothing is lost."""
    before = site.look()
    words = ("run-handshake-lab", "--both", "--inventory", site.inventory_file, "--provider", provider)
    finished = start(*words, "--out", tmp_path / "run").finish()
    assert finished.status == 0, finished.stdout
    document = json.loads((tmp_path / "run" / "vantage.json").read_text())
    assert (document["lost"], document["arrived_again"], document["not_seen_sent"]) == (0, 0, 0)
    assert document["clocks"]["agree"]
    assert abs(document["clocks"]["responder_ahead"]) <= document["clocks"]["within"]  # one kernel has one clock
    assert len(document["segments"]) > 40
    assert all(row["on_the_wire"] >= -2 * document["clocks"]["within"] for row in document["segments"])
    text = (tmp_path / "run" / "both.txt").read_text()
    assert "0 never arrived, 0 arrived more than once, 0 not seen being sent" in text
    assert text.splitlines()[-1] in finished.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count('aria-hidden="true"><line') == len(document["segments"])
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    counters = run["client_capture"]["tcpdump_counters"]
    assert counters["captured"] == counters["received_by_filter"] >= len(document["segments"])
    assert (tmp_path / "run" / "capture-client.pcap").stat().st_size > 1000
    assert site.look() == before
    assert site.guests() == []


@pytest.mark.usefixtures("root")
def test_what_is_lost_on_the_way(testbed: Testbed) -> None:
    """A segment that the link cannot carry was sent, never arrived, and was sent again."""
    server, client = testbed.hosts
    facts = preflight(testbed, both=True)
    with (
        prepared(testbed, secrets.token_hex(4), "as-is") as ready,
        capturing(server, ready.directory, capture_filter(testbed, facts)) as near,
        capturing(client, ready.directory, capture_filter(testbed, facts)) as far,
        session(testbed, ready, "as-is") as opened,
    ):

        def view(pcap: bytes) -> Conversation:
            found = conversations(read_capture(pcap, "a capture").segments)
            return next(one for one in found if one.initiator == opened.four_tuple.initiator)

        def big_ones() -> int:
            return sum(segment.len > 1000 for segment in view(near.so_far()).rows_in_order)

        before = big_ones()
        client.shell(_MTU, "600")  # what is longer, veth drops between both captures
        opened.process.send(": " + "x" * 1200 + "\n")
        wait_for("the big segment to be sent", lambda: big_ones() > before, seconds=20)
        client.shell(_MTU, "1500")
        opened.end()
        wait_for("the close", lambda: view(near.so_far()).is_over and view(far.so_far()).is_over, seconds=20)
        captured: list[Captured] = [near.finish(), far.finish()]
        views = BothViews(*(view(one.pcap) for one in captured))
    assert [one.disagreement() for one in captured] == [None, None]
    lost = [one.sent for one in views.lost if one.sent]
    assert lost
    assert all(one.length > 1000 and one.sender == "initiator" for one in lost)
    again = [one for one in views.joined.crossings if one.sent and one.sent.seq == lost[0].seq and one.arrived]
    assert again  # it came in the end
    assert (views.repeated, views.unsent) == ([], [])
    assert f"{len(lost)} never arrived" in "\n".join(line for line, _ in views.lines(100))


def test_only_for_the_handshake_lab(start: Lab) -> None:
    """Another lab's refusal is one line."""
    said = start("run", "--lab", "teardown", "--both").finish().refusal
    assert said == "--both and --no-key are for the lab handshake, not for teardown"
