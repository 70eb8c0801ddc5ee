"""What grading a class costs: `./invoke grade`, beside tshark and a naive pytest + scapy run for each file.

Whole processes, in turn. The peers get a sample of the same captures, and their time is multiplied. Then how the cost
grows with the class.

    .venv/bin/python -m benchmarks.bench_grade [ROUNDS [SUBMISSIONS]]

The class of 100,000 takes some minutes and 8 GB of disk: it is part of 3 rounds and more, or of BENCH_GRADE_LARGE=1.

All that is written stays until the end: ext4 does not use a removed file's inode again for a minute or more, and looks
at each of them whenever a file is made, which costs several times what grading does.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measuring import MB, ROOT, cost_of, say
from harness import interrupts

SUBMISSIONS = 1000
TSHARK_SAMPLE, NAIVE_SAMPLE = 40, 10
AIM_PER_CORE, AIM_TSHARK = 500, 100
GROWTH = (100, 1_000, 10_000, 100_000)
LARGE, ROUNDS_FOR_LARGE = 100_000, 3
BYTES_PER_SUBMISSION = 90_000  # on disk, handed in and graded, and some to spare


def make(folder: Path, count: int) -> None:
    """A class's submissions, made in a process of its own: this one stays small."""
    program = f"import benchmarks.submissions as s; s.make_class(s.Path({str(folder)!r}), {count})"
    cost_of(sys.executable, "-c", program)


def grade(folder: Path, out: Path, jobs: int) -> tuple[float, float]:
    """Grade it into a new folder; seconds and MB."""
    cost = cost_of("./invoke", "grade", "--submissions", str(folder), "--out", str(out), "--jobs", str(jobs))
    return cost.seconds, cost.peak


def captures(folder: Path, count: int) -> list[Path]:
    """Some honest captures that stand in folders of their own."""
    return sorted(path for path in folder.glob("*/capture.pcap") if path.parent.name[-1] in "0123456")[:count]


def with_tshark(path: Path) -> float:
    """Seconds of one tshark that prints what a script would judge by."""
    fields = ("frame.number", "tcp.flags", "tcp.seq", "tcp.ack", "tcp.len", "tcp.analysis.flags")
    return cost_of(
        "tshark", "-n", "-r", str(path), "-T", "fields", *(word for name in fields for word in ("-e", name))
    ).seconds


def with_scapy(path: Path) -> float:
    """Seconds of one pytest run."""
    return cost_of(
        "env", f"CAPTURE={path}", sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider",
        str(ROOT / "benchmarks" / "naive_check.py"),
    ).seconds  # fmt: skip


def compare(scratch: Path, rounds: int, count: int) -> None:
    """Run all in turn, and print the comparison."""
    folder = scratch / "submissions"
    make(folder, count)
    samples = [("pytest + scapy", with_scapy, captures(folder, NAIVE_SAMPLE))]
    if shutil.which("tshark"):
        samples.insert(0, ("tshark per file", with_tshark, captures(folder, TSHARK_SAMPLE)))
    say(f"{count:,} submissions of about 60 packets; 7 of 10 honest, 2 wrong, 1 broken; one process")
    say(f"{'round':<14}{'grade':>16}" + "".join(f"{name:>18}" for name, _, _ in samples) + "    (submissions a second)")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name, _, _ in samples}
    for number in range(1, rounds + 1):
        ours.append(count / grade(folder, scratch / f"marks-{number}", 1)[0])
        cells = [f"{ours[-1]:>16.1f}"]
        for name, run, paths in samples:
            theirs[name].append(len(paths) / sum(run(path) for path in paths))
            cells.append(f"{theirs[name][-1]:>18.2f}")
        say(f"{number:<14}" + "".join(cells))
    for label, of in (("best", max), ("median", median)):
        say(f"{label:<14}{of(ours):>16.1f}" + "".join(f"{of(rates):>18.2f}" for rates in theirs.values()))
    for label, of in (("ratio, best", max), ("ratio, median", median)):
        say(f"{label:<14}{'':>16}" + "".join(f"{of(ours) / of(rates):>18.0f}" for rates in theirs.values()))
    say(f"aim: {AIM_PER_CORE} a second and core; {AIM_TSHARK} times tshark per file")
    if not shutil.which("tshark"):
        say("not compared: tshark is not installed")


def lacks(scratch: Path, rounds: int, count: int) -> str | None:
    """Why so large a class is left out; None if it is not."""
    if count == LARGE and rounds < ROUNDS_FOR_LARGE and not os.environ.get("BENCH_GRADE_LARGE"):
        return f"needs {ROUNDS_FOR_LARGE} rounds or BENCH_GRADE_LARGE=1"
    free, needed = shutil.disk_usage(scratch).free, count * BYTES_PER_SUBMISSION
    if free < needed:
        return f"needs {needed / MB:,.0f} MB of disk, but {scratch.parent} has {free / MB:,.0f}"
    return None


def grow(scratch: Path, rounds: int, largest: int) -> None:
    """Print what classes of ten times the size cost, on all processors."""
    jobs = os.cpu_count() or 1
    say()
    say(f"{'submissions':>12}{'seconds':>12}{'a second':>12}{'peak memory':>14}    ({jobs} processes)")
    for count in (count for count in GROWTH if count <= largest):
        lack = lacks(scratch, rounds, count)
        if lack:
            say(f"{count:>12,}  left out: {lack}")
            continue
        folder = scratch / f"class-{count}"
        make(folder, count)
        seconds, peak = grade(folder, scratch / f"marks-of-{count}", jobs)
        say(f"{count:>12,}{seconds:>12.1f}{count / seconds:>12.1f}{peak:>11,.0f} MB")


def main(rounds: int = 5, count: int | None = None) -> None:
    """Compare, and print it.

    Args:
        rounds: how often each is run.
        count: submissions of the class they are compared on; with fewer than usual, larger classes are left out.

    Raises:
        SystemExit: a run failed, the numbers make no sense, or it was interrupted; nothing is left behind.
    """
    wanted = count or int(os.environ.get("BENCH_GRADE_SUBMISSIONS", SUBMISSIONS))
    if rounds < 1 or wanted < NAIVE_SAMPLE:
        raise SystemExit(f"bench_grade: at least 1 round and {NAIVE_SAMPLE} submissions")
    interrupts.let_in()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-grade-") as name:
            scratch = Path(name)
            compare(scratch, rounds, wanted)
            grow(scratch, rounds, LARGE if wanted >= SUBMISSIONS else wanted)
    except KeyboardInterrupt:
        raise SystemExit("bench_grade: interrupted; its files are removed") from None


if __name__ == "__main__":
    try:
        numbers = [int(word) for word in sys.argv[1:3]]
    except ValueError:
        raise SystemExit("usage: bench_grade.py [ROUNDS [SUBMISSIONS]]") from None
    main(*numbers)
