"""Listings: the article's, real tcpdump's with many switches, and damaged or hostile ones."""

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.captures.capture import Capture
from harness.captures.reading import read_capture
from harness.captures.text import is_listing, read_listing
from harness.errors import HarnessError
from harness.tcp.conversation import NotShown, conversations
from harness.tcp.flags import letters
from harness.tcp.segments import ABSENT, address_text

DATA = Path(__file__).parent.parent / "data"
HANDSHAKE = (DATA / "article-handshake.txt").read_bytes()
TEARDOWN = (DATA / "article-teardown.txt").read_bytes()
CLIENT, SERVER = 481914174, 2737267460
SECOND = 1_000_000_000


def read(text: str | bytes) -> Capture:
    return read_listing(text.encode() if isinstance(text, str) else text, "paste")


def test_the_articles_handshake() -> None:
    capture = read(HANDSHAKE)
    assert (capture.format, capture.link_type, capture.damage) == ("tcpdump text", -1, None)
    assert (capture.frames, capture.other_frames) == (6, 0)
    s = capture.segments
    assert s.options_shown
    assert s.frame.tolist() == [1, 2, 3, 4, 5, 6]
    assert [letters(int(f)) for f in s.flags] == ["S", "S.", ".", "P.", ".", "P."]
    assert s.seq.tolist() == [CLIENT, SERVER, CLIENT + 1, CLIENT + 1, SERVER + 1, SERVER + 1]
    assert s.ack.tolist() == [0, CLIENT + 1, SERVER + 1, SERVER + 1, CLIENT + 22, CLIENT + 22]
    assert s.length.tolist() == [0, 0, 0, 21, 0, 21]
    assert s.window.tolist() == [29200, 28960, 229, 229, 227, 227]
    assert s.sport.tolist() == [53198, 22, 53198, 53198, 22, 22]
    assert s.dport.tolist() == [22, 53198, 22, 22, 53198, 53198]
    assert [address_text(int(a)) for a in s.src[:2]] == ["192.168.1.63", "192.168.1.64"]
    assert s.mss.tolist() == [1460, 1460, *[ABSENT] * 4]
    assert s.wscale.tolist() == [7, 7, *[ABSENT] * 4]
    assert s.sack_permitted.tolist() == [True, True, *[False] * 4]
    assert not s.sack.any()
    assert s.tsval.tolist() == [547753, 550574, 547755, 547755, 550575, 550580]
    assert s.tsecr.tolist() == [0, 547753, 550574, 550574, 547755, 547755]
    assert s.ip_id.tolist() == [ABSENT] * 6
    assert int(s.time[0]) == (17 * 3600 + 23 * 60 + 9) * SECOND + 889_821_000
    assert s.payload(3) is None


def test_the_articles_teardown() -> None:
    capture = read(TEARDOWN)
    assert (capture.frames, capture.other_frames, capture.damage) == (6, 0, None)
    s = capture.segments
    assert [letters(int(f)) for f in s.flags] == ["P.", "P.", ".", "P.", "P.", "."]
    assert (s.seq[:3] - np.uint32(481916768)).tolist() == [0, 2737270434 - 481916768, 68]
    assert s.seq[5] == 481916904
    assert s.length.tolist() == [68, 60, 0, 68, 60, 0]
    assert s.sport.tolist()[:2] == [53198, 22]


def test_both_pasted_one_after_the_other() -> None:
    capture = read(HANDSHAKE + TEARDOWN)
    assert (capture.frames, len(capture.segments), capture.damage) == (12, 12, None)
    assert (np.diff(capture.segments.time) > 0).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
        lambda text: "".join(f"\t  {line}  \n" for line in text.splitlines()),
        lambda text: text.replace(" ", "\xa0"),
        lambda text: "\ufeff" + text,
        lambda text: "".join(f'"{line}"\n' for line in text.splitlines()),
    ],
    ids=["crlf", "quoted", "indented", "no-break spaces", "byte order mark", "quotation marks"],
)
def test_as_people_paste(spoil: object) -> None:
    assert callable(spoil)
    capture, clean = read(spoil(HANDSHAKE.decode())), read(HANDSHAKE)
    same(capture, clean, "seq", "ack", "time", "length", "tsval")
    assert (capture.frames, capture.damage) == (6, None)


def same(got: Capture, wanted: Capture, *names: str) -> None:
    for name in names:
        assert getattr(got.segments, name).tolist() == getattr(wanted.segments, name).tolist(), name


TIMES = ("plain", "-t", "-tt", "-ttt", "-tttt", "-ttttt")
LAYOUTS = ("", "-v", "-e", "-e -vv", "-X -#")


@pytest.mark.parametrize("capture_file", ["four-segment.pcap", "three-segment.pcap"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("numbers", ["", "-S"])
@pytest.mark.parametrize("times", TIMES)
def test_what_tcpdump_prints_is_what_the_file_holds(capture_file: str, times: str, numbers: str, layout: str) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    switches = [s for s in (*times.replace("plain", "").split(), *numbers.split(), *layout.split()) if s]
    done = subprocess.run(
        ["tcpdump", "-n", *switches, "-r", str(DATA / capture_file)],
        capture_output=True,
        check=False,
        env={"TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    if done.returncode:
        pytest.skip(f"tcpdump cannot: {done.stderr[:200]!r}")
    got = read(done.stderr + done.stdout)
    wanted = read_capture((DATA / capture_file).read_bytes(), capture_file)
    assert (got.frames, got.other_frames, got.damage) == (wanted.frames, wanted.other_frames, None)
    same(got, wanted, "frame", "seq", "flags", "length", "window", "src", "dst", "sport", "dport")
    same(got, wanted, "mss", "wscale", "tsval", "tsecr", "sack_permitted", "sack")
    acks = (wanted.segments.flags & 16) > 0
    assert (got.segments.ack == wanted.segments.ack)[acks].all()
    if "-v" in layout:
        same(got, wanted, "ip_id")
    time_of = wanted.segments.time
    if times == "-t":
        assert not got.segments.time.any()
    elif times in {"-tt", "-tttt"}:
        assert got.segments.time.tolist() == time_of.tolist()
    else:
        began = got.segments.time - got.segments.time[0]
        assert np.abs(began - (time_of - time_of[0])).max() <= 1000 * len(time_of)


A, B = "10.0.0.1.1000", "10.0.0.2.http"


def line(way: str, told: str, clock: str = "12:00:00.000000") -> str:
    src, dst = (A, B) if way == ">" else (B, A)
    return f"{clock} IP {src} > {dst}: {told}\n"


def test_relative_numbers_wrap() -> None:
    s = read(
        line(">", "Flags [S], seq 4294967290, win 1, length 0")
        + line("<", "Flags [S.], seq 4294967295, ack 4294967291, win 1, length 0")
        + line(">", "Flags [P.], seq 1:11, ack 1, win 1, length 10")
        + line("<", "Flags [P.], seq 1:5, ack 11, win 1, length 4")
        + line(">", "Flags [R], seq 5, win 0, length 0")
    ).segments
    assert s.seq.tolist() == [4294967290, 4294967295, 4294967291, 0, 5]
    assert s.ack.tolist() == [0, 4294967291, 0, 5, 0]
    assert not s.options_shown


def test_relative_numbers_from_the_middle_of_a_connection() -> None:
    s = read(
        line(">", "Flags [P.], seq 3000000000:3000000010, ack 4000000000, win 1, length 10")
        + line("<", "Flags [P.], seq 1:5, ack 10, win 1, length 4")
        + line(">", "Flags [.], ack 5, win 1, length 0")
    ).segments
    assert s.seq.tolist() == [3000000000, 4000000000, 3000000010]
    assert s.ack.tolist() == [4000000000, 3000000010, 4000000004]


def test_a_listing_that_begins_with_an_empty_segment() -> None:
    first = line(">", "Flags [.], ack 4000000000, win 1, length 0")
    absolute = read(
        first + line("<", "Flags [P.], seq 4000000000:4000000004, ack 3000000000, win 1, length 4")
    ).segments
    assert absolute.seq.tolist() == [3000000000, 4000000000]
    relative = read(first + line("<", "Flags [P.], seq 1:5, ack 0, win 1, length 4")).segments
    assert relative.seq.tolist() == [0, 4000000000]
    assert relative.ack.tolist() == [4000000000, 0]


def test_small_first_numbers() -> None:
    opening = line(">", "Flags [S], seq 1000, win 1, length 0") + line(
        "<", "Flags [S.], seq 5000, ack 1001, win 1, length 0"
    )
    for told in ("Flags [.], ack 1, win 1, length 0", "Flags [.], ack 5001, win 1, length 0"):
        s = read(opening + line(">", told)).segments
        assert (s.seq[2], s.ack[2]) == (1001, 5001)


def test_tcpdump_3() -> None:
    s = read(
        line(">", "S 100000000:100000000(0) win 5840 <mss 1460,sackOK,timestamp 7 0,nop,wscale 7> (DF)")
        + line("<", "S 200000000:200000000(0) ack 100000001 win 5792 <mss 1460>")
        + line(">", ". ack 1 win 46 <nop,nop,sack 1 {5:9}>")
        + line(">", "P 1:22(21) ack 1 win 46")
        + line("<", "F, cksum 0x1234 (correct), 1:1(0) ack 22 win 46")
        + line(">", "R 100000022:100000022(0) win 0")
    )
    assert (s.frames, s.other_frames, s.damage) == (6, 0, None)
    assert [letters(int(f)) for f in s.segments.flags] == ["S", "S.", ".", "P.", "F.", "R"]
    assert s.segments.seq.tolist() == [100000000, 200000000, 100000001, 100000001, 200000001, 100000022]
    assert s.segments.length.tolist() == [0, 0, 0, 21, 0, 0]
    assert s.segments.sack.tolist() == [False, False, True, False, False, False]
    assert (s.segments.tsval[0], s.segments.tsecr[0], s.segments.dport[0]) == (7, 0, 80)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("S [tcp sum ok] 5:5(0) win 5840 <mss 1460> (DF) (ttl 64, id 4711, len 60)", (5, "S", 0, 5840, 4711)),
        (". [bad tcp cksum 1234 (->5678)!] ack 1 win 0 [tos 0x10]  (ttl 64, id 7, len 40)", (0, ".", 0, 0, 7)),
        ("FP, cksum 0x9a (incorrect (-> 0x5678), 7:9(2) ack 1 win 65535 urg 3", (7, "FP.U", 2, 65535, ABSENT)),
        ("SWE 9:9(0) win 1 <mss 1460,sackOK,timestamp[|tcp]>", (9, "SEW", 0, 1, ABSENT)),
        ("P 1:22(21) ack 1 win 46: NBT Session Packet", (1, "P.", 21, 46, ABSENT)),
    ],
)
@pytest.mark.parametrize(
    "before",
    [
        "12:00:00.000000 10.0.0.1.1000 > 10.0.0.2.http: ",
        "12:00:00.000000 IP 10.0.0.1.1000 > 10.0.0.2.http: ",
        "12:00:00.000000 0:0:0:0:0:1 0:a:0:0:0:2 ip 74: 10.0.0.1.1000 > 10.0.0.2.http: ",
        "12:00:00.000000 < 10.0.0.1.1000 > 10.0.0.2.http: ",
        "000123 IP6 ::1.1000 > ::2.http: ",
        "1. 000123 IP 10.0.0.1.1000 > 10.0.0.2.http: ",
    ],
)
def test_tcpdump_3_in_all_its_ways(before: str, told: str, wanted: tuple[object, ...]) -> None:
    capture = read(before + told + "\n")
    s = capture.segments
    assert (capture.frames, len(s), capture.damage) == (1, 1, None)
    got = (s.seq[0], letters(int(s.flags[0])), s.length[0], s.window[0], s.ip_id[0])
    assert got == wanted
    assert (s.sport[0], s.dport[0]) == (1000, 80)


@pytest.mark.parametrize("lengths", ["proto: TCP (6), length: 173", "proto TCP (6), length 173"])
@pytest.mark.parametrize("end", [": BGP, length: 121", " (DF)", ""])
def test_tcpdump_3_9_with_v_prints_one_line(lengths: str, end: str) -> None:
    capture = read(
        f"12:00:00.000000 IP (tos 0xc0, ttl  62, id 58628, offset 0, flags [none], {lengths}) "
        "12.4.4.4.2051 > 12.1.1.1.179: P, cksum 0xcf18 (correct), 3293077573:3293077694(121) ack 3348108582 win 16384 "
        f"<nop,nop,timestamp 383131 890299>{end}\n"
    )
    s = capture.segments
    assert (len(s), capture.damage) == (1, None)
    assert (s.seq[0], s.ack[0], s.length[0], s.ip_id[0]) == (3293077573, 3348108582, 121, 58628)
    assert (s.tsval[0], s.tsecr[0]) == (383131, 890299)


def test_tcpdump_3_prints_steps() -> None:
    told = "S 1:1(0) win 5\n"
    clocks = ("000000 IP ", "000250 IP ", "3. 000250 IP ", "999999 IP ")
    s = read("".join(f"{clock}10.0.0.1.1000 > 10.0.0.2.80: {told}" for clock in clocks)).segments
    assert (np.diff(s.time) // 1000).tolist() == [250, 3_000_250, 999_999]


def test_tcpdump_4_0_does_not_say_where_data_begin() -> None:
    s = read(
        line(">", "Flags [S], seq 1000000000, win 1, length 0")
        + line("<", "Flags [S.], seq 2000000000, ack 1000000001, win 1, length 0")
        + line(">", "Flags [P.], ack 1, win 1, length 202")
        + line(">", "Flags [.], ack 1, win 1, length 0")
        + line(">", "Flags [F.], seq 203, ack 1, win 1, length 0")
    ).segments
    assert s.seq.tolist() == [1000000000, 2000000000, 1000000001, 1000000203, 1000000203]
    assert s.seq_shown.tolist() == [True, True, False, False, True]
    assert s.length.tolist() == [0, 0, 202, 0, 0]


def test_each_run_of_tcpdump_counts_from_anew() -> None:
    """What a relative number counts from is forgotten where tcpdump was started again."""
    run = line(">", "Flags [P.], seq 3000000000:3000000010, ack 4000000000, win 1, length 10")
    run += line("<", "Flags [P.], seq 1:5, ack 10, win 1, length 4")
    for start in (
        "# tcpdump -n port 80",
        "tcpdump: verbose output suppressed",
        "reading from file a.pcap, link-type X",
    ):
        s = read(f"{run}{start}\n{run.replace('30000000', '10000000')}").segments
        assert s.seq.tolist() == [3000000000, 4000000000, 1000000000, 4000000000]
        assert s.ack.tolist() == [4000000000, 3000000010, 4000000000, 1000000010]


def test_a_connection_to_itself() -> None:
    told = ("Flags [S.], seq 3000000000, ack 3000000001, win 1, length 0", "Flags [.], seq 1:3, ack 1, win 1, length 2")
    s = read("".join(line(">", one).replace(B, A) for one in told)).segments
    assert s.seq.tolist() == [3000000000, 3000000001]
    assert s.ack.tolist() == [3000000001, 3000000001]


@pytest.mark.parametrize("numbers", ["absolute", "relative"])
def test_sack_blocks(numbers: str) -> None:
    base = 3_000_000_000 if numbers == "absolute" else 0
    told = (
        f"win 1, options [nop,nop,TS val 1 ecr 2,nop,nop,sack 2 {{{base + 9}:{base + 12}}}{{{base + 20}:{base + 30}}}]"
    )
    s = read(
        line("<", "Flags [S.], seq 3000000000, ack 77, win 1, length 0")
        + line(">", f"Flags [.], ack {base + 1}, {told}, length 0")
    ).segments
    assert s.sack.tolist() == [False, True]
    assert s.tsecr.tolist() == [ABSENT, 2]
    assert s.ack[1] == 3_000_000_001
    wanted = ((3_000_000_009, 3_000_000_012), (3_000_000_020, 3_000_000_030))
    assert (s.sack_blocks(0), s.sack_blocks(1)) == ((), wanted)


def test_the_first_packets_sack_blocks_are_relative_already() -> None:
    """print-tcp.c subtracts the base from the blocks of the very packet that sets it, and from nothing else of it."""
    absolute = line(">", "Flags [.], ack 3000000001, win 1, options [sack 1 {3000000009:3000000012}], length 0")
    relative = line(">", "Flags [.], ack 3000000001, win 1, options [sack 1 {9:12}], length 0")
    for told in (absolute, relative):
        assert read(told).segments.sack_blocks(0) == ((3_000_000_009, 3_000_000_012),)


def test_an_ack_field_without_the_flag() -> None:
    told = (
        "Flags [S], seq 5, [ack 99 != 0 while ACK flag not set], win 1, [urg 3 != 0 while URG flag not set], length 0"
    )
    s = read(line(">", told)).segments
    assert (s.flags[0], s.seq[0], s.ack[0], s.window[0]) == (2, 5, 99, 1)


@pytest.mark.parametrize(
    ("port", "number"), [("ssh", 22), ("http-alt", 8080), ("webcache", 8080), ("x11-1", 6001), ("65535", 65535)]
)
def test_service_names(port: str, number: int) -> None:
    for ends in (f"IP 10.0.0.1.{port} > 10.0.0.2.1000", f"IP6 fe80::1.{port} > fe80::2.1000"):
        s = read(f"12:00:00.000000 {ends}: Flags [S], seq 1, win 1, length 0\n").segments
        assert (s.sport[0], s.dport[0]) == (number, 1000)


@pytest.mark.parametrize(
    "other",
    [
        "12:00:00.000000 ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 28",
        "12:00:00.000000 IP 10.0.0.1.53 > 10.0.0.2.5353: UDP, length 4",
        "12:00:00.000000 IP 10.0.0.1 > 10.0.0.2: ICMP 10.0.0.2 tcp port 22 unreachable, length 68",
        "12:00:00.000000 IP6 fe80::1.22 > fe80::2.1000: UDP, length 1",
        "12:00:00.000000 IP 10.0.0.1.no-such-name > 10.0.0.2.22: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP host.example.ssh > 10.0.0.2.22: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP host.example.ssh > laptop.40000: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP6 ip6-localhost.ssh > fe80::2.40000: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP6 fe80::1::2.22 > fe80::2.1000: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP6 fe80::1 > fe80::2: ICMP6, echo request, id 1, seq 1, length 64",
        "12:00:00.000000 IP6 fe80::1 > fe80::2: HBH ICMP6, multicast listener report",
        "12:00:00.000000 IP 10.0.0.1 > 10.0.0.2: IP 10.1.0.1.22 > 10.1.0.2.1000: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.1000: tcp 21",
        "12:00:00.000000 IP 10.0.0.1.88 > 10.0.0.2.1000: ",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.1000:  [|tcp]",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.22: Flags [S] [bad hdr length 40 - too long, > 20]",
        "12:00:00.000000 IP bad-len 0",
        "12:00:00.000000 IP  [|ip]",
        "12:00:00.000000 IP6, wrong link-layer encapsulation (invalid)",
        (
            "12:00:00.000000 IP (tos 0x0, ttl 64, id 1, offset 0, flags [none], proto UDP (17), length 60)\n"
            "    10.0.0.1.88 > 10.0.0.2.1799: \n\tv5"
        ),
        (
            "12:00:00.000000 IP (tos 0x0, ttl 64, id 1, offset 0, flags [+], proto TCP (6), length 60)\n"
            "    10.0.0.1.22 > 10.0.0.2.1799: Flags [.], ack 1, win 1, length 20"
        ),
        (
            "12:00:00.000000 IP 10.0.0.1.9 > 10.0.0.2.4789: VXLAN, flags [I] (0x08), vni 1\n"
            "IP 10.1.0.1.22 > 10.1.0.2.1000: Flags [S], seq 1, win 1, length 0"
        ),
        "12:00:00.000000 IP 10.0.0.999.22 > 10.0.0.2.22: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.22: Flags [S], seq 4294967296, win 1, length 0",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.99999: Flags [S], seq 1, win 1, length 0",
        "12:00:00.000000 IP 10.0.0.1.22 > 10.0.0.2.22: Flags [SZ], seq 1, win 1, length 0",
    ],
)
def test_other_packets_are_counted(other: str) -> None:
    capture = read(other + "\n" + line(">", "Flags [S], seq 1, win 1, length 0"))
    assert (capture.frames, capture.other_frames, capture.damage) == (2, 1, None)
    assert capture.segments.frame.tolist() == [2]


def test_addresses_of_both_families() -> None:
    s = read(
        "12:00:00.000000 IP 10.0.0.1.1000 > 10.0.0.2.22: Flags [S], seq 1, win 1, length 0\n"
        "12:00:00.000000 IP6 ::1.1000 > 2001:db8::ffff:10.0.0.1.22: Flags [S], seq 2, win 1, length 0\n"
        "12:00:00.000000 IP6 2001:db8::ffff:a00:1.22 > ::1.1000: Flags [S.], seq 3, ack 3, win 1, length 0\n"
    ).segments
    assert [address_text(int(key), s.ipv6) for key in s.src] == ["10.0.0.1", "::1", "2001:db8::ffff:a00:1"]
    assert [address_text(int(key), s.ipv6) for key in s.dst] == ["10.0.0.2", "2001:db8::ffff:a00:1", "::1"]
    assert len(s.ipv6) == 2
    assert len(conversations(s)) == 2


@pytest.mark.parametrize("stamp", ["12:00:00.000000 ", ""])
def test_what_an_icmp_error_quotes_is_no_packet(stamp: str) -> None:
    capture = read(
        f"{stamp}IP (tos 0x0, ttl 64, id 1, offset 0, flags [none], proto ICMP (1), length 88)\n"
        "    10.0.0.1 > 10.0.0.2: ICMP 10.0.0.1 tcp port 22 unreachable, length 68\n"
        "\tIP (tos 0x0, ttl 64, id 2, offset 0, flags [DF], proto TCP (6), length 60)\n"
        "    10.0.0.2.1000 > 10.0.0.1.22: Flags [S], seq 1, win 1, length 0\n"
    )
    assert (capture.frames, capture.other_frames, capture.damage) == (1, 1, None)


def test_every_cut_of_the_last_line_is_damage() -> None:
    whole = line(">", "Flags [P.], seq 100:141, ack 9, win 229, options [nop,nop,TS val 1 ecr 2], length 41").rstrip()
    first = line(">", "Flags [S], seq 99, win 1, length 0")
    for stop in range(len("12:00:00.000000 IP"), len(whole)):
        capture = read(first + whole[:stop])
        assert (capture.frames, capture.other_frames, capture.damage) == (2, 1, "line 2 is cut off"), whole[:stop]
    assert read(first + whole).damage is None


@pytest.mark.parametrize(
    ("begin", "whole"),
    [
        ("IP6 ", "IP6 fe80::1.40000 > fe80::2.22: Flags [P.], seq 100:141, ack 9, win 229, length 41"),
        ("IP (tos", ("IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 52)\n    10.0.0.1.22 > "
         "10.0.0.2.22: Flags [S], cksum 0x1234 (correct), seq 1, win 1, options [mss 1460], length 0")),
        ("IP6 (", ("IP6 (flowlabel 0x1, hlim 64, next-header TCP (6) payload length: 40) fe80::1.40000 > fe80::2.22: "
         "Flags [S], cksum 0x1 (incorrect -> 0x2), seq 1, win 1, length 0")),
        ("02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 ", ("02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype "
         "IPv4 (0x0800), length 54: 10.0.0.1.22 > 10.0.0.2.22: Flags [S], seq 1, win 1, length 0")),
        ("IP 10.0.0.1.22 > ", "IP 10.0.0.1.22 > 10.0.0.2.22: P 100:141(41) ack 9 win 2"),
    ],
)  # fmt: skip
def test_every_cut_of_the_last_packet_is_damage(begin: str, whole: str) -> None:
    first = line(">", "Flags [S], seq 99, win 1, length 0")
    assert whole.startswith(begin)
    for stop in range(len(begin), len(whole)):
        capture = read(f"{first}12:00:00.000000 {whole[:stop]}")
        assert (capture.frames, capture.other_frames, capture.damage) == (2, 1, "line 2 is cut off"), whole[:stop]
    capture = read(f"{first}12:00:00.000000 {whole}")
    assert (capture.frames, capture.other_frames, capture.damage) == (2, 0, None)


def test_a_truncated_capture_file_is_damage() -> None:
    told = "tcpdump: pcap_loop: truncated dump file; tried to read 16 header bytes, only got 3\n"
    assert read(HANDSHAKE.decode() + told).damage == "line 13: the file that tcpdump read is cut off"


def test_a_first_line_of_two_without_its_second() -> None:
    head = "12:00:00.000000 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 52)\n"
    assert read(head).damage == "line 1 is cut off"
    assert read(head + "    10.0.0.1.22 > 10.0.0.2.22: Flags [S], seq 1, wi").damage == "line 1 is cut off"


def test_midnight() -> None:
    told = "Flags [R], seq 1, win 1, length 0"
    clocks = ("23:59:59.500000", "00:00:00.500000", "00:00:00.400000", "23:00:00.000000", "01:00:00.000000")
    s = read("".join(line(">", told, clock) for clock in clocks)).segments
    day = 86400
    assert (s.time / 1e9).tolist() == [86399.5, day + 0.5, day + 0.4, day + 82800, 2 * day + 3600]


STEPS = ("00:00:00.000000", "00:00:00.000400", "00:00:00.000500", "00:00:01.000000")


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("$ sudo tcpdump -n -ttt -i ens33", [0, 400, 900, 1_000_900]),
        ("[root@aaa du]# /usr/sbin/tcpdump -nvttttt port 22", [0, 400, 500, 1_000_000]),
        ("", [0, 400, 500, 1_000_000]),
    ],
)
def test_times_since_the_packet_before_or_the_first(command: str, wanted: list[int]) -> None:
    """The command line tells; without it, times that only rise are those since the first packet."""
    told = "".join(line(">", "Flags [R], seq 1, win 1, length 0", " " + clock) for clock in STEPS)
    s = read(f"{command}\ntcpdump: verbose output suppressed\nlistening on ens33, link-type EN10MB\n{told}").segments
    assert (s.time // 1000).tolist() == wanted


def test_a_few_swapped_packets_are_no_differences() -> None:
    micros = [*range(0, 900, 100), 1000, 900, *range(1100, 2000, 100)]
    clocks = [f"00:00:00.{micro:06}" for micro in micros]
    s = read("".join(line(">", "Flags [R], seq 1, win 1, length 0", " " + clock) for clock in clocks)).segments
    assert (s.time // 1000).tolist() == micros


def test_times_that_fall_are_differences() -> None:
    clocks = (*STEPS, "00:00:00.000100", "-00:00:00.000050", "00:00:00.000150")
    s = read("".join(line(">", "Flags [R], seq 1, win 1, length 0", clock) for clock in clocks)).segments
    assert (s.time // 1000).tolist() == [0, 400, 900, 1_000_900, 1_001_000, 1_000_950, 1_001_100]


def test_a_packet_without_a_time_is_as_late_as_the_one_before() -> None:
    told = "Flags [R], seq 1, win 1, length 0"
    clocks = ("2026-11-22 17:23:09.889821", "2026-02-30 17:23:09.889821", "2026-11-22 17:23:10.000000")
    s = read("".join(line(">", told, clock) for clock in clocks)).segments
    assert (s.time - s.time[0]).tolist() == [0, 0, 110_179_000]


@pytest.mark.parametrize("clock", ["9999-12-31 00:00:00.000000", "9999-99-99 99:99:99.000000", "99999999999.000000"])
def test_impossible_times(clock: str) -> None:
    assert len(read(line(">", "Flags [R], seq 1, win 1, length 0", clock)).segments) == 1


def test_no_break_spaces_of_latin_1() -> None:
    same(read(HANDSHAKE.replace(b" ", b"\xa0")), read(HANDSHAKE), "seq", "ack", "time", "length")


def test_windows_writes_utf_16() -> None:
    same(
        read(HANDSHAKE.decode().replace("\n", "\r\n").encode("utf-16")), read(HANDSHAKE), "seq", "ack", "time", "length"
    )


def test_line_ends_of_all_kinds() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        capture = read(HANDSHAKE[:-30].replace(b"\n", end))
        assert capture.frames == 6
        capture = read(HANDSHAKE.split(b"\n6 packets")[0][:-30].replace(b"\n", end))
        assert capture.damage == "line 9 is cut off"


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"hello\n", b"\xd4\xc3\xb2\xa1\x02\0\x04\0", b"IP is a protocol", b"\0" + HANDSHAKE]
)
def test_not_a_listing(data: bytes) -> None:
    assert not is_listing(data)
    with pytest.raises(HarnessError, match="paste"):
        read(data)


def test_a_listing_of_no_packets() -> None:
    data = b"tcpdump: verbose output suppressed\nlistening on eth0, link-type EN10MB\n0 packets captured\n"
    assert is_listing(data)
    assert read(data).frames == 0


@pytest.mark.parametrize(
    "filler", ["0", " ", "1.2.3.4.5 > ", "Flags [", "IP ", "(", "$ ", "\n", "12:00:00.000000 IP (tos"]
)
def test_long_lines_take_no_time(filler: str) -> None:
    data = line(">", "Flags [S], seq 1, win 1, options [" + filler * ((1 << 20) // len(filler)))
    began = time.process_time()
    read(data)
    read(data + "\n" + data[:4000] * 200)
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "lines",
    [
        b"\n",
        b"x\n",
        b"\r",
        b"IP \n",
        b"12:00:00.000000 \n",
        b"12:00:00.000000 IP (tos 0x0, ttl 64, id 1, offset 0, flags [DF], proto TCP (6), length 60)\n",
        b"12:00:00.000000 IP 10.0.0.1.1 > 10.0.0.2.2: Flags [S], seq 1\n, ack\n",
        b"12:00:00.000000 IP 10.0.0.1.1 > 10.0.0.2.2: S 1:1(0) win 5\n5\n",
    ],
)
def test_many_lines_take_little_time_each(lines: bytes) -> None:
    first = line(">", "Flags [S], seq 1, win 1, length 0").encode()
    began = time.process_time()
    capture = read(first + lines * 20_000)
    assert capture.frames >= 1
    assert time.process_time() - began < 10


def test_binary_noise_is_no_listing_or_other_packets() -> None:
    noise = bytes(byte for byte in (place * 7919 % 65521 % 256 for place in range(1 << 20)) if byte)
    assert not is_listing(noise)
    capture = read(line(">", "Flags [S], seq 1, win 1, length 0").encode() + noise)
    assert (len(capture.segments), capture.damage) == (1, None)


def survives(data: bytes) -> None:
    try:
        capture = read(data)
    except HarnessError:
        return
    assert 0 <= capture.other_frames <= capture.frames
    assert len(capture.segments) == capture.frames - capture.other_frames


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    survives(data)


PIECES = st.sampled_from(
    [
        " ",
        "\n",
        "12:00:00.000000",
        "-",
        "IP ",
        "IP (tos 0x0, id 70000, ",
        ")",
        "1.2.3.4.5",
        " > ",
        ": ",
        "Flags [S.]",
        ", seq 1",
        ":9",
        ", ack 4294967295",
        ", win 99999",
        ", win 1",
        ", options [",
        "], length 3",
        "mss 70000",
        "٣",
        "²",
        "S 1:2(1) ",
        "ack 1 ",
        "win 5",
        "2026-02-30 ",
        "99:99:99.999999 ",
        "1795340391.000001 ",
        "ethertype IPv4 ",
        "IP6 ",
        "fe80::1.22",
        ", proto TCP (6), length 60)",
        " HBH ",
        "> ",
        " <mss 9>",
        "sack 1 {1:2}",
        "[|tcp]",
        "tcpdump: ",
        "12:00:00.000000 IP 1.2.3.4.5 > 1.2.3.4.5: Flags [S.], seq 1, ack 1, win 1, length 0",
        "000001 IP ",
        "\r\n    ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=40))
def test_any_pieces(pieces: list[str]) -> None:
    survives("".join(pieces).encode("utf-8", "replace"))


@settings(max_examples=200)
@given(st.integers(0, len(HANDSHAKE) - 1), st.integers(0, len(HANDSHAKE)), st.binary(max_size=6))
def test_any_damage_of_the_articles(start: int, size: int, put: bytes) -> None:
    survives(HANDSHAKE[:start] + put + HANDSHAKE[start + size :])


NUMBERS = st.integers(0, (1 << 32) - 1)


@given(NUMBERS, NUMBERS, st.lists(st.tuples(st.booleans(), st.integers(1, 60000)), max_size=12))
def test_relative_and_absolute_listings_say_the_same(ours: int, theirs: int, sent: list[tuple[bool, int]]) -> None:
    following = [(ours + 1) % (1 << 32), (theirs + 1) % (1 << 32)]
    opening = line(">", f"Flags [S], seq {ours}, win 1, length 0")
    opening += line("<", f"Flags [S.], seq {theirs}, ack {following[0]}, win 1, length 0")
    base = (ours, theirs)
    listings = [opening, opening]
    seqs = []
    for first, size in [(True, 1), *sent]:
        me = 0 if first else 1
        seqs.append(following[me])
        for kind, zero in ((0, (0, 0)), (1, base)):
            seq, ack = (following[me] - zero[me]) % (1 << 32), (following[1 - me] - zero[1 - me]) % (1 << 32)
            told = f"Flags [P.], seq {seq}:{(seq + size) % (1 << 32)}, ack {ack}, win 1, length {size}"
            listings[kind] += line("><"[me], told)
        following[me] = (following[me] + size) % (1 << 32)
    absolute, relative = map(read, listings)
    assert absolute.segments.seq.tolist()[2:] == seqs
    same(relative, absolute, "seq", "ack", "length")


def test_what_a_listing_does_not_print_is_not_shown() -> None:
    """tcpdump prints no seq for an empty ACK: asking for it is not shown, never answered from the segments around."""
    segments = read_listing((DATA / "article-handshake.txt").read_bytes(), "x").segments
    (conversation,) = conversations(segments)
    assert conversation.syn.seq.value == 481914174
    with pytest.raises(NotShown):
        _ = conversation.handshake_ack.seq
    with pytest.raises(NotShown):
        _ = conversation.initiator_stream.first_data.payload
