"""The benchmarks' captures are what they promise, and the comparison runs, cleans up and says what it lacks."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import bench_analyze as bench
from benchmarks import submissions, traffic
from benchmarks.measuring import Cost
from harness.captures.capture import Capture
from harness.captures.reading import read_capture
from harness.tcp.conversation import conversations
from harness.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
PACKETS, CONVERSATIONS = 20_000, 200
TINY = 2_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("traffic") / "made.pcap"
    assert traffic.make_capture(made, PACKETS, CONVERSATIONS, 1) == made.stat().st_size
    return made


def read(path: Path) -> Capture:
    return read_capture(path.read_bytes(), path.name)


# The generator


@pytest.mark.parametrize("piece", [100_000, 300])
def test_the_same_seed_gives_the_same_file(tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And another seed another one; also when it is written in many pieces."""
    monkeypatch.setattr(traffic, "_PIECE", piece)
    files = [tmp_path / name for name in ("one", "same", "other")]
    for file, seed in zip(files, (7, 7, 8), strict=True):
        traffic.make_capture(file, 3000, 40, seed)
    one, same, other = (file.read_bytes() for file in files)
    assert one == same
    assert one != other


def test_as_many_segments_and_conversations_as_promised(path: Path) -> None:
    """Whole, in order of time, every conversation opened, and closed in each of the ways there are."""
    capture = read(path)
    assert (capture.format, capture.link_type, capture.damage) == ("pcap", 1, None)
    assert (capture.frames, capture.other_frames, len(capture.segments)) == (PACKETS, 0, PACKETS)
    assert (np.diff(capture.segments.time) >= 0).all()
    found = conversations(capture.segments)
    assert len(found) == CONVERSATIONS
    assert {conversation.open for conversation in found} == {"three-way"}
    closes = Counter(conversation.close for conversation in found)
    assert set(closes) == {"four-segment", "three-segment", "reset"}
    assert closes["four-segment"] > closes["three-segment"] > closes["reset"]


def test_pieces_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations that are made in different pieces run at the same time."""
    monkeypatch.setattr(traffic, "_PIECE", 1000)
    traffic.make_capture(tmp_path / "x.pcap", PACKETS, CONVERSATIONS)
    capture = read(tmp_path / "x.pcap")
    assert (capture.frames, len(capture.segments), capture.damage) == (PACKETS, PACKETS, None)
    assert (np.diff(capture.segments.time) >= 0).all()
    assert len(conversations(capture.segments)) == CONVERSATIONS
    ends = capture.segments.src ^ capture.segments.dst ^ capture.segments.sport ^ capture.segments.dport
    assert (np.diff(ends.astype(np.int64)) != 0).mean() > 0.9  # hardly a packet follows one of its own conversation


def test_the_size_of_a_packet(path: Path) -> None:
    """2,000,000 of them are about 590 MB."""
    assert 280 < path.stat().st_size / PACKETS < 310


def test_options(path: Path) -> None:
    """As Linux sends them: all on the SYN, timestamps on all, SACK blocks where something is missing."""
    segments = read(path).segments
    syn = segments.flags & 2 > 0
    assert (segments.mss[syn] == 1460).all()
    assert (segments.wscale[syn] == 7).all()
    assert segments.sack_permitted[syn].all()
    assert not segments.sack_permitted[~syn].any()
    assert (segments.tsval >= 0).all()
    assert ((segments.tsecr > 0) | (segments.flags == 2)).all()
    assert 0 < segments.sack.sum() < PACKETS / 100


def out_of_order(path: Path) -> int:
    """Packets whose number is not the next of their sender."""
    return sum(flow[3] for flow in bench.analyze_with_struct(path.read_bytes()).values())


@pytest.mark.parametrize("what", ["loss", "duplicates", "swaps"])
def test_what_happens_to_packets_is_as_rare_as_asked(tmp_path: Path, what: str) -> None:
    """None: not one packet is out of order; one in a hundred: about so many are, some of them twice or thrice."""
    shares = {"loss": 0.0, "duplicates": 0.0, "swaps": 0.0}
    traffic.make_capture(tmp_path / "none", PACKETS, CONVERSATIONS, 1, **shares)
    assert out_of_order(tmp_path / "none") == 0
    traffic.make_capture(tmp_path / "some", PACKETS, CONVERSATIONS, 1, **{**shares, what: 0.01})
    assert 0.5 < out_of_order(tmp_path / "some") / (PACKETS / 100) < 3.5


def test_one_conversation_and_the_fewest_packets(tmp_path: Path) -> None:
    """The smallest captures there are."""
    for packets, count in ((60, 1), (7, 1), (70, 10)):
        traffic.make_capture(tmp_path / "x", packets, count)
        capture = read(tmp_path / "x")
        assert (capture.frames, len(conversations(capture.segments))) == (packets, count)


@pytest.mark.parametrize(
    ("packets", "count", "shares"), [(6, 1, {}), (100, 0, {}), (100, 1, {"loss": -0.1}), (100, 1, {"swaps": 0.5})]
)
def test_numbers_that_make_no_sense(packets: int, count: int, shares: dict[str, float], tmp_path: Path) -> None:
    """Said before anything is written."""
    with pytest.raises(ValueError, match=r"packets in|together"):
        traffic.make_capture(tmp_path / "x", packets, count, 1, **shares)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("words", ["", "x", "x 1", "x a b", "x 5 5", "/nowhere/x 100 1"])
def test_the_generators_command_line(words: str, tmp_path: Path) -> None:
    """One line."""
    command = [sys.executable, "-m", "benchmarks.traffic", *words.replace("x", str(tmp_path / "x"), 1).split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_tcptrace_counts_the_same(path: Path) -> None:
    """It sees every packet as TCP, and as many connections, all of them whole."""
    if shutil.which("tcptrace") is None:
        pytest.skip("tcptrace is not installed: no second opinion")
    done = subprocess.run(["tcptrace", "-n", "-l", str(path)], capture_output=True, text=True, check=True, timeout=60)
    assert f"{PACKETS} packets seen, {PACKETS} TCP packets traced" in done.stdout
    assert f"{CONVERSATIONS} TCP connections traced" in done.stdout
    assert len(re.findall(r"complete conn: (?:yes|RESET)", done.stdout)) == CONVERSATIONS
    assert "non-ip" not in done.stderr


def test_tshark_counts_the_same(path: Path) -> None:
    """As many packets and streams, nothing malformed, IP checksums right, and something for it to analyse."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed: no second opinion")
    fields = ("tcp.stream", "ip.checksum.status", "_ws.malformed", "tcp.analysis.flags")
    command = ["tshark", "-n", "-o", "ip.check_checksum:TRUE", "-r", str(path), "-T", "fields"]
    command += [word for field in fields for word in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == PACKETS
    assert len({stream for stream, *_ in rows}) == CONVERSATIONS
    assert {(checksum, malformed) for _, checksum, malformed, _ in rows} == {("1", "")}
    assert 0.005 < sum(bool(flags) for *_, flags in rows) / PACKETS < 0.05


def test_dpkt_and_struct_count_the_same(path: Path) -> None:
    """The two loops that we are compared with do the same work."""
    pytest.importorskip("dpkt")
    from benchmarks.with_dpkt import flows

    with path.open("rb") as file:
        by_dpkt = flows(file)
    by_struct = bench.analyze_with_struct(path.read_bytes())
    assert len(by_dpkt) == len(by_struct) == CONVERSATIONS
    assert sorted(flow[:4] for flow in by_dpkt.values()) == sorted(flow[:4] for flow in by_struct.values())


# The comparison


def start(code: str, scratch: Path) -> "subprocess.Popen[str]":
    """The benchmark as ./invoke bench starts it, with its temporary folders in one that can be looked at."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import benchmarks.bench_analyze as bench; {code}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip


STAND_IN = f"bench.OURS.command = ({sys.executable!r}, '-c', 'pass'); "


def assert_table(said: str, rounds: int) -> None:
    """The rounds, and what is made of them."""
    lines = {line.split("  ")[0].strip(): line for line in said.splitlines()}
    for number in range(1, rounds + 1):
        assert re.search(r"\d\.\d{3} s", lines[str(number)])
    for name in ("best", "median", "ratio, best", "ratio, median", "peak memory"):
        assert re.search(r"\d", lines[name].removeprefix(name)), name
    assert re.search(r"ratio, best +1\.00", said)
    for tool, aim in (("tcptrace", "at least 1.5"), ("tshark", "at least 40")):
        if shutil.which(tool):
            assert tool in lines["round"]
            assert aim in lines["aim"]
        else:
            assert f"not compared: {tool} is not installed" in lines
    assert re.search(r"one conversation of 60 packets.*\n  harness, 100 files +\d+\.\d+ ms a file", said)


def test_the_comparison(tmp_path: Path) -> None:
    """With a stand-in for ./invoke analyze: the table is there, nothing else is left."""
    process = start(STAND_IN + f"bench.main(2, {TINY})", tmp_path)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert_table(said, 2)
    assert list(tmp_path.iterdir()) == []


def test_the_comparison_with_invoke_analyze(tmp_path: Path) -> None:
    """The real thing, small."""
    invoke = str(Path(sys.executable).with_name("invoke"))
    listed = subprocess.run([invoke, "--list"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    if not re.search(r"^\s+analyze\s", listed.stdout, re.MULTILINE):
        pytest.skip("there is no ./invoke analyze yet")
    process = start("bench.main(1, 20_000)", tmp_path)
    said, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (0, "")
    assert_table(said, 1)
    assert re.search(r"^ +10,000 +100 .* MB$", said, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Neither a file nor a process; one line."""
    slow = "import time; print(); time.sleep(60)"
    process = start(f"bench.OURS.command = ({sys.executable!r}, '-c', {slow!r}); bench.main(1, {TINY})", tmp_path)
    wait_for("the first capture", lambda: list(tmp_path.glob("bench-analyze-*/tenth.pcap")), seconds=30)
    process.send_signal(number)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert (said, errors) == ("", "bench_analyze: interrupted; its captures are removed\n")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_one_line(tmp_path: Path) -> None:
    """What was run, and the last that it said."""
    failing = "import sys; sys.exit('no such thing')"
    process = start(f"bench.OURS.command = ({sys.executable!r}, '-c', {failing!r}); bench.main(1, {TINY})", tmp_path)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert errors.endswith("ended with status 1; it said: no such thing\n")
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "told"),
    [("main(0)", "rounds"), ("main(1, 999)", "PACKETS"), ("main(1)", "PACKETS must be a number from 1000 on, not 'x'")],
)
def test_sizes_that_make_no_sense(call: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, before anything is run."""
    monkeypatch.setenv("BENCH_ANALYZE_PACKETS", "x")
    process = start(f"bench.{call}", tmp_path)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert told in errors
    assert len(errors.splitlines()) == 1


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rest is compared."""
    monkeypatch.setattr(
        "benchmarks.bench_analyze.shutil.which", lambda name: None if name == "tshark" else f"/usr/bin/{name}"
    )
    monkeypatch.setattr(bench, "find_spec", lambda _name: None)
    tools, missing = bench.peers()
    assert [tool.name for tool in tools] == ["tcptrace"]
    assert missing == [
        "not compared: tshark is not installed",
        "not compared: the Python package dpkt is not installed",
    ]


def test_a_slow_one_is_run_once_and_a_part_is_scaled() -> None:
    """More than 20 s is enough; a tenth of the capture counts ten times."""
    tool = bench.Tool("x", ("x",), share=10, costs=[Cost(20.5, 1)])
    assert tool.is_slow
    assert tool.seconds == [205]
    assert not bench.Tool("x", ("x",), share=10, costs=[Cost(19.5, 1)]).is_slow


def test_peak_memory_is_the_childs(tmp_path: Path) -> None:
    """Of the process and those that it waited for: measured from a process that is small."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytes([1]) * 150_000_000'])"
    process = start(f"print(bench.cost_of({sys.executable!r}, '-c', {code!r}).peak)", tmp_path)
    said, _ = process.communicate(timeout=60)
    assert 150 < float(said) < 250


def test_what_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of rounds, or of disk."""
    monkeypatch.delenv("BENCH_ANALYZE_LARGE", raising=False)
    assert bench.lacks(tmp_path, 2, 10_000_000) == "needs 3 rounds or BENCH_ANALYZE_LARGE=1"
    monkeypatch.setattr("benchmarks.bench_analyze.shutil.disk_usage", lambda _path: SimpleNamespace(free=3_199_000_000))
    told = f"needs 3,200 MB of disk, but {tmp_path.parent} has 3,199"
    assert bench.lacks(tmp_path, 3, 10_000_000) == told
    monkeypatch.setenv("BENCH_ANALYZE_LARGE", "1")
    assert bench.lacks(tmp_path, 1, 10_000_000) == told
    assert bench.lacks(tmp_path, 1, 1_000_000) is None


def test_the_comparison_of_graders(tmp_path: Path) -> None:
    """The real thing, small; nothing is left."""
    program = "from benchmarks import bench_grade as b; b.TSHARK_SAMPLE = b.NAIVE_SAMPLE = 2; b.main(1, 100)"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    rates = {
        name: [float(word) for word in re.findall(r" (\d+(?:\.\d+)?)", line)]
        for line in lines
        for name in [line[:14].strip()]
    }
    assert rates["best"][0] > rates["best"][-1] > 0
    assert re.search(r"^ +100 +\d+\.\d +\d+\.\d +\d+ MB$", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_the_class_that_is_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same files, whenever they are made, and each honest connection is another."""
    submissions.make_class(tmp_path / "one", 20, seed=5)
    monkeypatch.setattr("time.time", lambda: 1e9)
    submissions.make_class(tmp_path / "same", 20, seed=5)
    files = [
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("one", "same")
    ]
    assert files[0] == files[1]
    captures = [data for path, data in files[0].items() if path.name == "capture.pcap"]
    assert len(set(captures)) == len(captures) >= 10
