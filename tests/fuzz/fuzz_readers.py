"""Fuzz all readers of captures, guided by coverage, for some minutes.

    .venv/bin/python -m tests.fuzz.fuzz_readers --minutes 10 [--jobs 2] [--targets pcap,listing] [--save FOLDER]

Needs atheris (libFuzzer for Python). What is looked for stands in `invariants`; an input that breaks any of it is saved
in tests/data/fuzz, where tests/unit/test_fuzz_regressions.py reads it from then on.

Exit status: 0 nothing found, 1 something was, 2 it could not be run.
"""

import argparse
import contextlib
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Nothing of the harness is imported up here: what a fuzzing process imports is instrumented as it is imported.

ROOT = Path(__file__).resolve().parents[2]
SAVED = ROOT / "tests" / "data" / "fuzz"
TARGETS = ("pcap", "pcapng", "gzip", "listing", "conversations")
SECONDS_PER_INPUT = 25
MEGABYTES = 2048
MOST_BYTES = 1 << 14
# Text that bytes changed one by one would hardly come to; of what a pattern looks for the fuzzer knows nothing.
WORDS = (
    "Flags [S.], ", "Flags [R], ", "seq 1:5, ", "seq 4294967295, ", "ack 1, ", "win 0, ", "options [sack 1 {5:9}], ",
    "mss 1460", "TS val 1 ecr 0", "length 5", "IP (tos 0x0, ttl 64, id 5, ", "IP6 ", "10.0.0.1.ssh > 10.0.0.2.1: ",
    "-00:00:00.000001 ", "23:59:59.999999 ", "2023-11-14 22:13:20.000000 ", "1700000000.000000 ",
    "\\x0a", "\\x0d\\x0a", "$ tcpdump -S",
)  # fmt: skip
PATIENCE = 60  # s that a process may take longer than its share, to start and to stop

_RUNS = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)
_RAISED = re.compile(r"^ === Uncaught Python exception: ===\n(.*)$", re.MULTILINE)
_TRACE = re.compile(r"^ === Uncaught Python exception: ===\n.*?(?=^==\d+== )", re.MULTILINE | re.DOTALL)
_ERROR = re.compile(r"^==\d+== ?ERROR: libFuzzer: (.*)$", re.MULTILINE)


def say(line: str) -> None:
    """A line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Job:
    """A target being fuzzed in a process of its own, and all that it writes, in a folder of its own."""

    target: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    began: float
    seconds: float

    @property
    def log(self) -> str:
        """What libFuzzer said so far."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def artifacts(self) -> list[Path]:
        """The inputs that broke something."""
        return sorted(path for path in (self.folder / "found").iterdir() if not path.name.startswith("slow-unit"))

    def is_over(self) -> bool:
        """Whether it has ended; it is ended if it does not by itself."""
        try:
            self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            if time.monotonic() - self.began > self.seconds + PATIENCE:
                self.process.kill()
            return False
        return True

    def report(self) -> None:
        """One line of figures."""
        runs = _RUNS.findall(self.log)
        taken = time.monotonic() - self.began
        count, coverage, features, corpus = map(int, runs[-1]) if runs else (0, 0, 0, 0)
        say(
            f"{self.target:<14}{count:>10,} runs{count / taken:>8,.0f} /s{coverage:>7,} edges{features:>8,} features"
            f"{corpus:>7,} inputs{taken:>7.0f} s"
        )


def fuzz(target: str, arguments: list[str]) -> None:
    """Be the fuzzing process: never returns."""
    import warnings

    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["harness"]):
        invariants = importlib.import_module("tests.fuzz.invariants")
    from tests.fuzz.mutation import mutated

    warnings.simplefilter("error")  # a number that overflows, say
    check = invariants.TARGETS[target]

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        return mutated(data, most, seed, atheris.Mutate)

    atheris.Setup([sys.argv[0], *arguments], check, custom_mutator=mutator)
    atheris.Fuzz()


def start(target: str, folder: Path, seconds: float) -> Job:
    """Start fuzzing a target."""
    from tests.fuzz.seeds import seeds_for

    corpus, found = folder / "corpus", folder / "found"
    for made in (corpus, found):
        made.mkdir(parents=True)
    for number, data in enumerate(seeds_for(target).values()):
        (corpus / f"seed-{number}").write_bytes(data)
    for path in regressions():
        shutil.copy(path, corpus / f"regression-{path.name}")
    (folder / "words").write_text("".join(f'"{word}"\n' for word in WORDS))
    arguments = [
        str(corpus),
        f"-dict={folder / 'words'}",
        f"-max_total_time={seconds:.0f}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={MOST_BYTES}",
        f"-artifact_prefix={found}/",
        "-report_slow_units=5",
        "-reload=0",
    ]
    command = [sys.executable, "-m", "tests.fuzz.fuzz_readers", "--be", target, *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return Job(target, folder, process, time.monotonic(), seconds)


def regressions() -> list[Path]:
    """The inputs that once broke something."""
    return sorted(SAVED.glob("*.bin"))


@contextlib.contextmanager
def stopped(jobs: list[Job]) -> Iterator[None]:
    """What was started in the block is stopped when it is left."""
    try:
        yield
    finally:
        for job in jobs:
            if job.process.poll() is None:
                job.process.kill()
                job.process.wait()


def run(targets: list[str], seconds: float, jobs: int, scratch: Path) -> list[Job]:
    """Fuzz all targets, so many at a time; they share the time."""
    from harness import interrupts

    share = seconds * min(jobs, len(targets)) / len(targets)
    waiting, running, done = list(targets), list[Job](), list[Job]()
    with stopped(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                target = waiting.pop(0)
                with interrupts.held_back():
                    running.append(start(target, scratch / target, share))
            for job in list(running):
                if job.is_over():
                    running.remove(job)
                    done.append(job)
                    job.report()
    return done


def findings(jobs: list[Job], save: Path) -> list[str]:
    """Save what broke something; a line about each.

    Raises:
        SystemExit: a process failed without having found anything, or there is no saving.
    """
    found = []
    for job in jobs:
        log = job.log
        for path in job.artifacts:
            kind, _, digest = path.name.partition("-")
            kept = save / f"{job.target}-{digest[:12]}.bin"
            try:
                save.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)
            except OSError as error:
                raise SystemExit(cannot(f"{kept}: {error.strerror}")) from None
            raised, trace = _RAISED.search(log), _TRACE.search(log)
            if trace:
                say(trace[0].rstrip())
            what = raised[1] if kind == "crash" and raised else kind
            found.append(f"{job.target}: {what}: {kept}")
        if job.process.returncode and not job.artifacts:
            said = _ERROR.search(log)
            last = said[1] if said else (log.strip().splitlines() or ["nothing"])[-1]
            raise SystemExit(cannot(f"fuzzing {job.target} ended with status {job.process.returncode}: {last}"))
    return found


def cannot(why: str) -> int:
    """Say why it could not be run; the exit status."""
    sys.stderr.write(f"fuzz_readers: {why}\n")
    return 2


def arguments_of(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="fuzz_readers", description="Fuzz all readers of captures.")
    parser.add_argument("--minutes", type=float, default=5, help="for all targets together (default: 5)")
    parser.add_argument("--jobs", type=int, default=1, help="how many targets at a time (default: 1)")
    parser.add_argument("--targets", default=",".join(TARGETS), help="which of them (default: all)")
    parser.add_argument("--save", type=Path, default=SAVED, help="where inputs that break something are kept")
    chosen = parser.parse_args(words)
    chosen.targets = chosen.targets.split(",")
    unknown = [name for name in chosen.targets if name not in TARGETS]
    if unknown or chosen.minutes <= 0 or chosen.jobs < 1:
        parser.error(f"--targets are {','.join(TARGETS)}; --minutes is more than 0, --jobs at least 1")
    return chosen


def main(words: list[str]) -> int:
    """Fuzz for some minutes; the exit status."""
    if words[:1] == ["--be"]:
        fuzz(words[1], words[2:])
    chosen = arguments_of(words)
    if importlib.util.find_spec("atheris") is None:
        return cannot("atheris is not installed; run: .venv/bin/python -m pip install 'atheris>=3,<4'")
    from harness import interrupts

    interrupts.let_in()
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-readers-") as scratch:
            found = findings(run(chosen.targets, chosen.minutes * 60, chosen.jobs, Path(scratch)), chosen.save)
    except KeyboardInterrupt:
        return cannot("interrupted")
    if found:
        sys.stderr.write("found: " + "; ".join(found) + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
