"""Processes that judge, each within limits of time and memory; what a submission does to its worker harms no other."""

import gc
import multiprocessing
import os
import resource
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from harness.errors import HarnessError, one_line
from harness.grading.assessing import Assessed, Opened, Settings, assess, not_assessed
from harness.grading.judging import Judge
from harness.intake.submission import Submission

T = TypeVar("T")
SECONDS = 30.0  # of wall time a batch may take, or one submission that is judged alone
MEMORY = 2 << 30  # bytes a worker may have more than when it began
AT_ONCE = 32  # submissions a batch
_GARBAGE = 50_000  # objects more than before, about three submissions', after which the collector looks
_NOT_ANSWERING = 10.0  # seconds after which a worker that ought to have been ended by its own alarm is killed


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker is given: submissions, or one that is not to be judged, and why."""

    submissions: tuple[Submission, ...]
    known: Mapping[str, str]
    opened: Mapping[str, Opened] = field(default_factory=dict)
    cause: str = ""


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    job: _Job | None = None


class Pool:
    """Workers at work."""

    def __init__(self, jobs: int, judge: Judge, settings: Settings, seconds: float, memory: int) -> None:
        self._judge, self._settings = judge, settings
        self._seconds, self._memory = seconds, memory
        self._jobs = jobs
        self._workers: list[_Worker] = []

    def assess(
        self,
        submissions: Iterable[Submission],
        known: Mapping[str, str],
        at_once: int = AT_ONCE,
        opened: Mapping[str, Opened] | None = None,
    ) -> Iterator[list[Assessed]]:
        """Judge all; each batch as it is done, in no order.

        A batch whose worker ends, or takes too long, is judged again one by one; who does it alone could not be judged.
        """
        batches = _batches(submissions, known, opened or {}, at_once)
        again: deque[_Job] = deque()
        while True:
            self._give(batches, again)
            busy = [worker for worker in self._workers if worker.job]
            if not busy:
                return
            ready = wait([worker.connection for worker in busy], self._seconds + _NOT_ANSWERING)
            if not ready:  # none was ended by its alarm: all hang in the kernel
                for worker in busy:
                    worker.process.kill()
                ready = [worker.connection for worker in busy]
            for worker in [one for one in busy if one.connection in ready]:
                done = self._result(worker)
                if done is None:
                    again.extend(self._one_by_one(worker))
                else:
                    self._give(batches, again)  # it goes on while what it has done is kept
                    yield done

    def _give(self, batches: Iterator[_Job], again: deque[_Job]) -> None:
        """Give every idle worker something to do."""
        while True:
            idle = next((worker for worker in self._workers if not worker.job), None)
            if idle is None and len(self._workers) >= self._jobs:
                return
            job = again.popleft() if again else next(batches, None)
            if job is None:
                return
            worker = idle or self._hire()
            worker.job = job
            with suppress(BrokenPipeError):  # it has ended: its result will not come
                worker.connection.send(job)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("fork")  # with the judge, which no other process could be given
        ours, theirs = context.Pipe()
        others = [worker.connection for worker in self._workers]
        process = context.Process(
            target=_work,
            args=(theirs, [ours, *others], self._judge, self._settings, self._seconds, self._memory),
            daemon=True,
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _result(self, worker: _Worker) -> list[Assessed] | None:
        """What a worker has done; None if it has ended instead."""
        try:
            done: list[Assessed] = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(_NOT_ANSWERING)
            worker.connection.close()
            self._workers.remove(worker)
            return None
        worker.job = None
        return done

    def _one_by_one(self, worker: _Worker) -> Iterator[_Job]:
        """What to do with the job of a worker that has ended."""
        job = worker.job
        if job is None:
            return
        if len(job.submissions) > 1:
            for one in job.submissions:
                yield _Job((one,), job.known, _some(job.opened, [one.student]))
        elif job.cause:
            raise HarnessError(f"the grader's worker ends on {one_line(job.submissions[0].source, 80)}: {job.cause}")
        else:
            yield _Job(job.submissions, {}, cause=_why(worker.process.exitcode, self._seconds))

    def stop(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()


def _batches(
    submissions: Iterable[Submission], known: Mapping[str, str], opened: Mapping[str, Opened], at_once: int
) -> Iterator[_Job]:
    waiting = iter(submissions)
    while batch := tuple(islice(waiting, at_once)):
        students = [one.student for one in batch]
        yield _Job(batch, _some(known, students), _some(opened, students))


def _some(of: Mapping[str, T], students: list[str]) -> dict[str, T]:
    return {student: of[student] for student in students if student in of}


def _why(status: int | None, seconds: float) -> str:
    if status == -signal.SIGALRM:
        return f"judging it took longer than {seconds:g} s"
    if status is not None and status < 0:
        return f"judging it ended the worker by {signal.Signals(-status).name}"
    return f"judging it ended the worker with status {status}"


@contextmanager
def pool(
    jobs: int, judge: Judge, settings: Settings, *, seconds: float = SECONDS, memory: int = MEMORY
) -> Iterator[Pool]:
    """Workers that are ended when the block is left.

    Args:
        jobs: how many.
        judge: the rubric, collected; the workers are forked off and inherit it.
        settings: what all are judged by.
        seconds: wall time that a batch may take.
        memory: bytes that a worker may have beyond what it began with.
    """
    with ExitStack() as stack:
        made = Pool(jobs, judge, settings, seconds, memory)
        stack.callback(made.stop)
        yield made


def _work(  # noqa: PLR0913 - a process's whole world
    connection: Connection,
    others: list[Connection],
    judge: Judge,
    settings: Settings,
    seconds: float,
    memory: int,
) -> None:
    """A worker: judges what comes down the connection, until that is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the grader is told, and ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process, whatever it is in
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGALRM))
    for other in others:
        other.close()  # so that each end's closing is seen
    limit = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.collect()
    gc.freeze()  # pytest's own objects are many, and stay: they are not to be looked through again and again
    gc.set_threshold(_GARBAGE, 10, 10)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job: _Job = connection.recv()
            signal.setitimer(signal.ITIMER_REAL, seconds)
            done = _done(job, judge, settings)
            signal.setitimer(signal.ITIMER_REAL, 0)
            connection.send(done)


def _address_space() -> int:
    """Bytes of address space that this process has (proc_pid_statm(5))."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _done(job: _Job, judge: Judge, settings: Settings) -> list[Assessed]:
    if job.cause:
        return [not_assessed(one, judge, settings, job.cause) for one in job.submissions]
    try:
        return assess(job.submissions, judge, settings, job.known, job.opened)
    except Exception:  # noqa: BLE001 - one of them; which one shows when each is judged alone
        return [_alone(one, job, judge, settings) for one in job.submissions]


def _alone(submission: Submission, job: _Job, judge: Judge, settings: Settings) -> Assessed:
    try:
        return assess([submission], judge, settings, job.known, job.opened)[0]
    except MemoryError:
        cause = "judging it needs more memory than there is"
    except Exception as error:  # noqa: BLE001 - whatever a submission makes of us is its own outcome
        cause = f"judging it failed: {type(error).__name__}: {one_line(str(error), 200)}"
    return not_assessed(submission, judge, settings, cause)
