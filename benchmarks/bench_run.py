"""What the harness costs: one lab run by `./invoke run-handshake-lab` beside the same run by hand.

Both do the whole thing each time, keys and namespaces included: `by_hand.sh` with a shell and the system's
tools, the harness with all its checks and its bundle. They run in turn, so that a busy moment of the machine
falls on both.

    .venv/bin/python benchmarks/bench_run.py [ROUNDS]
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BY_HAND = ("sh", "benchmarks/by_hand.sh")
HARNESS = ("./invoke", "run-handshake-lab", "--out")
AIM = 3


def say(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def seconds_of(*command: str) -> float:
    """Run a command in the repository's root; its wall time.

    Raises:
        SystemExit: it could not be started or failed; one line with the last it said.
    """
    name = " ".join(command)
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SystemExit(f"bench_run: {name}: {error.strerror}") from None
    taken = time.perf_counter() - begin
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing on stderr"]
        raise SystemExit(f"bench_run: {name} ended with status {done.returncode}; it said: {said[-1]}")
    return taken


def timings_of(out: Path) -> dict[str, float]:
    """The harness's own times by step, from a run's run.json; empty where that has none."""
    try:
        run = json.loads((out / "run.json").read_text())
        return {str(step): float(seconds) for step, seconds in run["timings"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def report(by_hand: list[float], harness: list[float]) -> None:
    """The summary under the rounds."""
    for name, of in (("best", min), ("median", median)):
        hand, ours = of(by_hand), of(harness)
        say(f"{name:<8}{hand:>9.3f} s{ours:>9.3f} s{ours / hand:>8.2f}")
    say(f"aim: ratio at most {AIM}")


def report_steps(timings: dict[str, float], total: float) -> None:
    """Where the harness's time went in its last run."""
    say()
    if not timings:
        say("run.json of the last run has no timings")
        return
    say(f"the harness's last run, {total:.3f} s:")
    steps = {**timings, "(start-up and output)": total - sum(timings.values())}
    width = max(map(len, steps))
    for step, seconds in steps.items():
        say(f"  {step:<{width}}{seconds:>9.3f} s{seconds / total:>6.0%}")


def main(rounds: int = 5) -> None:
    """Time both in turn and print the comparison.

    Args:
        rounds: how often, after one run of each that does not count.

    Raises:
        SystemExit: a run failed, or there are no rounds.
    """
    if rounds < 1:
        raise SystemExit(f"bench_run: rounds must be at least 1, not {rounds}")
    by_hand: list[float] = []
    harness: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench-run-") as scratch:
        for number in range(rounds + 1):
            out = Path(scratch, f"run-{number}")
            hand, ours = seconds_of(*BY_HAND), seconds_of(*HARNESS, str(out))
            if number == 0:
                say(f"{'round':<8}{'by hand':>11}{'harness':>11}{'ratio':>8}")
                continue
            by_hand.append(hand)
            harness.append(ours)
            say(f"{number:<8}{hand:>9.3f} s{ours:>9.3f} s{ours / hand:>8.2f}")
        timings = timings_of(out)
    report(by_hand, harness)
    report_steps(timings, harness[-1])


if __name__ == "__main__":
    try:
        wanted = [int(word) for word in sys.argv[1:2]]
    except ValueError:
        raise SystemExit("usage: bench_run.py [ROUNDS]") from None
    main(*wanted)
