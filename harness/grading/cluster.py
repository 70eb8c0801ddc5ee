"""Grade on many machines: batches of submissions are handed to the workers of a Dask cluster.

A worker (`dask worker tcp://HOST:PORT`, in an environment where this project is installed in the same version) judges a
batch in a process of its own, within the same limits as here, so that one submission can harm neither another nor the
worker. What is judged is the same, byte for byte: everything a mark depends on travels with the batch. A worker that
is lost takes no mark with it: its batches are given to another.
"""

import pickle
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, one_line
from harness.grading.assessing import Assessed, Opened, Settings, open_within
from harness.grading.judging import Judge, digest_of_sources, with_judge
from harness.grading.workers import pool
from harness.intake.submission import Submission

AT_ONCE = 256  # submissions a batch: a process is started for each
_AHEAD = 2  # batches waiting for each thread of a worker
_FIND_SECONDS = 15  # for the scheduler, and for a first worker
_BATCH_SECONDS = 3600
_LOST_WORKERS = 10  # how many a batch may lose before it is given up


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent to a worker.

    Attributes:
        sources: a digest of the harness and the lab: the worker's must be the same.
        submissions: without what stands on this machine's disks.
        opened: what they hold.
        known: as for `harness.grading.assessing.assess`.
        settings: without paths.
        private: the files of the teacher's own checks: name → content.
        allowed_signers: the students' keys.
    """

    sources: str
    submissions: tuple[Submission, ...]
    opened: Mapping[str, Opened]
    known: Mapping[str, str]
    settings: Settings
    private: Mapping[str, bytes]
    allowed_signers: bytes | None


def _batches(
    submissions: list[Submission], known: Mapping[str, str], settings: Settings, sources: str
) -> Iterator[Batch]:
    folder, signers = settings.private, settings.allowed_signers
    private = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.py")} if folder else {}
    keys = signers.read_bytes() if signers else None
    waiting = iter(submissions)
    while some := tuple(islice(waiting, AT_ONCE)):
        yield Batch(
            sources,
            tuple(replace(one, path=Path(), pieces=()) for one in some),
            {one.student: open_within(one, settings.limits) for one in some},
            {one.student: known[one.student] for one in some if one.student in known},
            replace(settings, private=None, allowed_signers=None),
            private,
            keys,
        )


def assess_on_cluster(
    address: str, submissions: list[Submission], known: Mapping[str, str], settings: Settings, sources: str
) -> Generator[list[Assessed], None, None]:
    """Judge all on a cluster; each batch as it is done, in no order.

    Args:
        address: the scheduler's, tcp://HOST:PORT.
        submissions: all.
        known: as for `harness.grading.assessing.assess`.
        settings: likewise.
        sources: a digest of all that judges.

    Raises:
        HarnessError: Dask is not installed, there is no cluster at the address, or its workers cannot judge.
    """
    try:
        dask: Any = import_module("distributed")
    except ImportError:
        raise HarnessError("--cluster needs Dask: pip install .[cluster]") from None
    try:
        client = dask.Client(address, timeout=_FIND_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise HarnessError(
            f"--cluster {one_line(address, 80)}: no scheduler there: {one_line(str(error), 120)}"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIND_SECONDS)
        except TimeoutError:
            raise HarnessError(f"--cluster {address}: it has no worker; start one: dask worker {address}") from None
        batches = _batches(submissions, known, settings, sources)
        room = _AHEAD * max(1, sum(client.nthreads().values()))
        lost: dict[Any, tuple[Batch, int]] = {}
        running = dask.as_completed(loop=client.loop)

        def give(batch: Batch, times: int) -> None:
            future = client.submit(judge_elsewhere, batch, pure=False, retries=0)
            lost[future.key] = batch, times
            running.add(future)

        for batch in islice(batches, room):
            give(batch, 0)
        for future in running:
            batch, times = lost.pop(future.key)
            try:
                done: list[Assessed] = future.result()
            except dask.scheduler.KilledWorker:
                if times >= _LOST_WORKERS:
                    raise HarnessError(f"--cluster {address}: workers are lost again and again") from None
                give(batch, times + 1)
                continue
            except OSError as error:
                raise HarnessError(
                    f"--cluster {address}: the connection was lost: {one_line(str(error), 120)}"
                ) from None
            following = next(batches, None)
            if following is not None:
                give(following, 0)
            yield done


def judge_elsewhere(batch: Batch) -> list[Assessed]:
    """Judge a batch in a process of its own: what a worker of the cluster calls.

    Raises:
        HarnessError: it cannot be judged here.
    """
    command = [sys.executable, "-m", "harness.grading.cluster"]
    try:
        done = subprocess.run(
            command, input=pickle.dumps(batch), capture_output=True, check=False, timeout=_BATCH_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise HarnessError(f"a batch took longer than {_BATCH_SECONDS} s") from None
    if done.returncode:
        said = one_line(done.stderr.decode(errors="replace").strip().rpartition("\n")[2], 400)
        raise HarnessError(said or f"the judging process ended with status {done.returncode}")
    judged: list[Assessed] = pickle.loads(done.stdout)  # noqa: S301 - of our own process
    return judged


def judge_here(batch: Batch, sources: str) -> list[Assessed]:
    """Judge a batch in this process.

    Raises:
        HarnessError: this machine has another version of the project, or the rubric cannot be run.
    """
    if batch.sources != sources:
        raise HarnessError("a worker of the cluster has another version of the project than who grades")
    with tempfile.TemporaryDirectory(prefix="tcp-lab-") as name:
        folder, signers = Path(name) / "private", Path(name) / "allowed_signers"
        for path, content in batch.private.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        if batch.allowed_signers is not None:
            signers.write_bytes(batch.allowed_signers)
        settings = replace(
            batch.settings,
            private=folder if batch.private else None,
            allowed_signers=signers if batch.allowed_signers is not None else None,
        )

        def judged(judge: Judge) -> list[Assessed]:
            with pool(1, judge, settings) as workers:
                return [
                    one for some in workers.assess(batch.submissions, batch.known, opened=batch.opened) for one in some
                ]

        return with_judge(settings.lab, judged, settings.private)


def main() -> int:
    """Judge the batch on standard input; the result goes to standard output."""
    batch: Batch = pickle.load(sys.stdin.buffer)  # noqa: S301 - of `judge_elsewhere`
    try:
        judged = judge_here(batch, digest_of_sources(batch.settings.lab))
    except HarnessError as error:
        sys.stderr.write(one_line(str(error), 1000) + "\n")
        return 2
    sys.stdout.buffer.write(pickle.dumps(judged))
    return 0


if __name__ == "__main__":
    sys.exit(main())
