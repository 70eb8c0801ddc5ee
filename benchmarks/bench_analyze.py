"""What an analysis costs: `./invoke analyze` beside tcptrace, tshark and dpkt on the same capture.

Whole processes, from start to exit, in turn, so that a busy moment of the machine falls on all. Then how the cost grows
with the capture, and what a small capture costs inside one process.

    .venv/bin/python -m benchmarks.bench_analyze [ROUNDS [PACKETS]]

BENCH_ANALYZE_PACKETS is another way to say PACKETS; BENCH_ANALYZE_LARGE=1 asks for the capture of 10,000,000 packets,
which otherwise is part of 3 rounds and more.
"""

import contextlib
import io
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.measuring import MB, Cost, cost_of, say
from harness import interrupts

PACKETS = 2_000_000
PER_CONVERSATION = 100  # packets
ONCE = 20  # s: what takes longer is run once
TENTH = 10
GROWTH = (10_000, 100_000, 1_000_000, 10_000_000)
LARGE = 10_000_000
ROUNDS_FOR_LARGE = 3
BYTES_PER_PACKET = 320  # on disk, and some to spare
AIM_PEAK = 400  # MB
SMALL, MANY, CALLS, AIM_SMALL = 60, 100, 2000, 1  # packets; files; calls; ms


@dataclass(slots=True)
class Tool:
    """One of those compared.

    Attributes:
        name: as in the table.
        command: what is run, before the capture's path, and after it.
        aim: how many times our seconds it should take; None if that is only of interest.
        share: on which part of the capture it is run; its seconds are multiplied.
        costs: of each round so far.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    aim: float | None = None
    share: int = 1
    costs: list[Cost] = field(default_factory=list)

    @property
    def seconds(self) -> list[float]:
        """Of the whole capture."""
        return [cost.seconds * self.share for cost in self.costs]

    @property
    def is_slow(self) -> bool:
        """Whether it was seen to take so long that once is enough."""
        return any(cost.seconds > ONCE for cost in self.costs)

    def run(self, capture: Path) -> None:
        """Run it once more."""
        self.costs.append(cost_of(*self.command, str(capture), *self.after))


OURS = Tool("analyze", ("./invoke", "analyze", "--capture"), ("--json",))


def make(path: Path, packets: int, conversations: int) -> Cost:
    """Write a capture, in a process of its own: this one stays small."""
    return cost_of(sys.executable, "-m", "benchmarks.traffic", str(path), str(packets), str(conversations))


def peers() -> tuple[list[Tool], list[str]]:
    """What is installed to compare with, and a line about each that is not."""
    wanted = (
        (shutil.which("tcptrace"), "tcptrace", Tool("tcptrace", ("tcptrace", "-l", "-n"), aim=1.5)),
        (
            shutil.which("tshark"),
            "tshark",
            Tool(
                "tshark",
                ("tshark", "-n", "-r"),
                ("-T", "fields", "-e", "frame.number", "-e", "tcp.stream", "-e", "tcp.analysis.flags"),
                aim=40,
            ),
        ),
        (
            find_spec("dpkt"),
            "the Python package dpkt",
            Tool("dpkt", (sys.executable, "benchmarks/with_dpkt.py"), share=TENTH),
        ),
    )
    return [tool for found, _, tool in wanted if found], [
        f"not compared: {name} is not installed" for found, name, _ in wanted if not found
    ]


def row(name: str, cells: list[str]) -> None:
    """One line of the comparison."""
    say(f"{name:<14}" + "".join(f"{cell:>14}" for cell in cells))


def compare(scratch: Path, rounds: int, packets: int) -> None:
    """Run all in turn, and print the comparison."""
    whole, tenth = scratch / "whole.pcap", scratch / "tenth.pcap"
    conversations = packets // PER_CONVERSATION
    make(tenth, packets // TENTH, max(1, conversations // TENTH))
    cost_of(*OURS.command, str(tenth), *OURS.after)  # does not count
    making = make(whole, packets, conversations)
    size = whole.stat().st_size / MB
    say(f"{packets:,} packets in {conversations:,} conversations, {size:,.1f} MB, made in {making.seconds:.1f} s")
    others, missing = peers()
    tools = [Tool(OURS.name, OURS.command, OURS.after), *others]
    row("round", [tool.name + ("*" if tool.share > 1 else "") for tool in tools])
    for number in range(1, rounds + 1):
        cells = []
        for tool in tools:
            if tool.is_slow:
                cells.append("once")
                continue
            tool.run(whole if tool.share == 1 else tenth)
            cells.append(f"{tool.seconds[-1]:.3f} s")
        row(str(number), cells)
    for name, of in (("best", min), ("median", median)):
        row(name, [f"{of(tool.seconds):.3f} s" for tool in tools])
    for name, of in (("ratio, best", min), ("ratio, median", median)):
        row(name, [f"{of(tool.seconds) / of(tools[0].seconds):.2f}" for tool in tools])
    row("aim", ["", *(f"at least {tool.aim}" if tool.aim else "-" for tool in others)])
    row("peak memory", [f"{max(cost.peak for cost in tool.costs):.0f} MB" for tool in tools])
    if any(tool.share > 1 for tool in tools):
        say(f"* measured on {packets // TENTH:,} packets, and multiplied by {TENTH}; the peak is as measured")
    for line in missing:
        say(line)


def lacks(scratch: Path, rounds: int, packets: int) -> str | None:
    """Why a capture of so many packets is left out; None if it is not."""
    if packets == LARGE and rounds < ROUNDS_FOR_LARGE and not os.environ.get("BENCH_ANALYZE_LARGE"):
        return f"needs {ROUNDS_FOR_LARGE} rounds or BENCH_ANALYZE_LARGE=1"
    free, needed = shutil.disk_usage(scratch).free, packets * BYTES_PER_PACKET
    if free < needed:
        return f"needs {needed / MB:,.0f} MB of disk, but {scratch.parent} has {free / MB:,.0f}"
    return None


def grow(scratch: Path, rounds: int, largest: int) -> None:
    """Print what captures of ten times the size cost, one after the other."""
    say()
    say(f"{'packets':>12}{'conversations':>15}{'file':>14}{'best':>12}{'packets/s':>14}{'peak memory':>14}")
    for packets in (packets for packets in GROWTH if packets <= largest):
        lack = lacks(scratch, rounds, packets)
        if lack:
            say(f"{packets:>12,}  left out: {lack}")
            continue
        path, conversations = scratch / "growing.pcap", packets // PER_CONVERSATION
        make(path, packets, conversations)
        size = path.stat().st_size / MB
        costs = [cost_of(*OURS.command, str(path), *OURS.after) for _ in range(1 if packets == LARGE else rounds)]
        path.unlink()
        best = min(cost.seconds for cost in costs)
        say(
            f"{packets:>12,}{conversations:>15,}{size:>11,.1f} MB{best:>10.3f} s{packets / best:>14,.0f}"
            f"{max(cost.peak for cost in costs):>11,.0f} MB"
        )
    say(f"aim: peak memory at most {AIM_PEAK} MB")


def analyze_files(paths: list[Path]) -> None:
    """What ./invoke analyze --json does once it runs; what it prints is thrown away."""
    from harness.analysis import analyze

    with contextlib.redirect_stdout(io.StringIO()):
        analyze(paths, json=True, segments=False, filter_=None, absolute=False)


def analyze_with_dpkt(data: bytes) -> None:
    """A loop and a dict."""
    from benchmarks.with_dpkt import flows

    flows(io.BytesIO(data))


def analyze_with_struct(data: bytes) -> dict[tuple[int, int, int, int], list[int]]:
    """A loop and a dict with nothing but the standard library; it believes that all is TCP, IPv4 and Ethernet."""
    record, headers = struct.Struct("<8xI4x"), struct.Struct(">14xB1xH8xII")
    tcp = struct.Struct(">HHIIBB")
    found: dict[tuple[int, int, int, int], list[int]] = {}
    at = 24
    while at < len(data):
        (kept,) = record.unpack_from(data, at)
        version, total, src, dst = headers.unpack_from(data, at + 16)
        header = (version & 15) * 4
        sport, dport, seq, _, offset, flags = tcp.unpack_from(data, at + 30 + header)
        length = total - header - (offset >> 4) * 4
        at += 16 + kept
        end = int((src, sport) > (dst, dport))
        flow = found.setdefault((dst, dport, src, sport) if end else (src, sport, dst, dport), [0, 0, 0, 0, -1, -1])
        flow[0] += 1
        flow[1] += length
        flow[2] |= flags
        flow[3] += flow[4 + end] not in {-1, seq}
        flow[4 + end] = (seq + length + (flags & 1) + (flags >> 1 & 1)) % (1 << 32)
    return found


def milliseconds(work: Callable[[], object], calls: int) -> float:
    """The median of so many calls, after some that do not count."""
    taken = []
    for _ in range(calls + calls // 10):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return median(taken[-calls:]) * 1000


def small(scratch: Path, calls: int) -> None:
    """Print what a small capture costs once Python runs and all is imported."""
    path = scratch / "small.pcap"
    make(path, SMALL, 1)
    data = path.read_bytes()
    many = [path] * MANY
    rounds = max(1, calls // MANY)
    say()
    say(f"files of one conversation of {SMALL} packets, in one process, the median:")
    together = milliseconds(lambda: analyze_files(many), rounds) / MANY
    say(f"  {f'harness, {MANY} files':<20}{together:>10.3f} ms a file; aim: below {AIM_SMALL} ms")
    say(f"  {'harness, one file':<20}{milliseconds(lambda: analyze_files([path]), calls):>10.3f} ms")
    if find_spec("dpkt"):
        say(f"  {'dpkt':<20}{milliseconds(lambda: analyze_with_dpkt(data), calls):>10.3f} ms")
    say(f"  {'struct loop':<20}{milliseconds(lambda: analyze_with_struct(data), calls):>10.3f} ms")


def size_wanted(packets: int | None) -> int:
    """How many packets the comparison's capture has.

    Raises:
        SystemExit: that is no number, or too small to be cut in ten.
    """
    text = str(packets) if packets is not None else os.environ.get("BENCH_ANALYZE_PACKETS", str(PACKETS))
    least = TENTH * PER_CONVERSATION
    if not text.isdecimal() or int(text) < least:
        raise SystemExit(f"bench_analyze: PACKETS must be a number from {least} on, not {text!r}")
    return int(text)


def main(rounds: int = 5, packets: int | None = None) -> None:
    """Compare, and print it.

    Args:
        rounds: how often each is run; one that takes longer than 20 s is run once.
        packets: of the capture they are compared on; with fewer than usual, the larger ones of the growth are left out.

    Raises:
        SystemExit: a run failed, the numbers make no sense, or it was interrupted; nothing is left behind.
    """
    if rounds < 1:
        raise SystemExit(f"bench_analyze: rounds must be at least 1, not {rounds}")
    wanted = size_wanted(packets)
    interrupts.let_in()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-analyze-") as folder:
            scratch = Path(folder)
            compare(scratch, rounds, wanted)
            for path in scratch.iterdir():
                path.unlink()
            grow(scratch, rounds, LARGE if wanted >= PACKETS else wanted)
            small(scratch, min(CALLS, wanted // PER_CONVERSATION))
    except KeyboardInterrupt:
        raise SystemExit("bench_analyze: interrupted; its captures are removed") from None


if __name__ == "__main__":
    try:
        numbers = [int(word) for word in sys.argv[1:3]]
    except ValueError:
        raise SystemExit("usage: bench_analyze.py [ROUNDS [PACKETS]]") from None
    main(*numbers)
