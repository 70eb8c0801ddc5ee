"""Grade a folder of submissions: what the task `grade` calls."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cli import print_styled, say, width
from harness.errors import HarnessError, one_line
from harness.evidence import evidence_of_capture
from harness.grading.assessing import FEEDBACK, Assessed, Settings
from harness.grading.cluster import assess_on_cluster
from harness.grading.copies import Group
from harness.grading.exports.systems import EXPORTS, export
from harness.grading.graded import Flag, Graded
from harness.grading.judging import Judge, digest_of_sources, rubric_folder, with_judge
from harness.grading.late import read_late_policy
from harness.grading.nonces import nonce, read_secret
from harness.grading.roster import Student, partner_pairs, read_roster
from harness.grading.store import Store, open_store
from harness.grading.workers import AT_ONCE, SECONDS, pool
from harness.intake.layouts import find_submissions
from harness.intake.submission import Submission
from harness.language import ENGLISH, TAGS, _, speaking, spoken
from harness.reports.class_summary import ClassSummary
from harness.reports.counting import counting
from harness.reports.gradebook import gradebook_csv
from harness.reports.page.classroom import Classroom
from harness.reports.pages import REPORT, class_page
from harness.runs import PARTIAL, dump_json, write_private

SCHEMA_COPIES = "tcp-lab/copies/v1"
GOOD = "good"  # a lab's folder of captures that pass
PAGED = 500  # submissions that get a report page each unless it is asked for: it takes as long as judging, and 140 kB


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be graded, and how: the switches of `./invoke grade`.

    Attributes:
        lab: the lab's name.
        submissions: the folder, or a bulk download's zip.
        out: where the marks go.
        jobs: worker processes; 0: one a processor.
        resume: go on with the gradebook that is there.
        private: a folder of the teacher's own checks.
        roster: the class.
        secret_file: the secret of `./invoke assign`.
        course: as given to `./invoke assign`.
        allowed_signers: the students' keys.
        late_policy: what lateness costs.
        layout: whose bulk download it is.
        exports: names of systems to export the marks to.
        cluster: a Dask scheduler's address.
        pages: who gets a report page, too: "all", "none", or "auto": all, where they are no more than `PAGED`.
        seconds: how long one submission may take.
    """

    lab: str
    submissions: Path
    out: Path
    jobs: int = 0
    resume: bool = False
    private: Path | None = None
    roster: Path | None = None
    secret_file: Path | None = None
    course: str = "tcp-lab"
    allowed_signers: Path | None = None
    late_policy: Path | None = None
    layout: str = "auto"
    exports: tuple[str, ...] = ()
    cluster: str | None = None
    pages: str = "auto"
    seconds: float = SECONDS


def grade(order: Order) -> int:
    """Grade all, write the gradebook and each student's feedback, print the summary; returns 0.

    Raises:
        HarnessError: something of the order cannot be used, or the rubric cannot be run; no mark is touched by that.
    """
    _look_at(order)
    students = read_roster(order.roster) if order.roster else ()
    settings = _settings(order, students)
    found = find_submissions(order.submissions, order.layout)
    settings = replace(settings, pages=order.pages == "all" or (order.pages == "auto" and len(found) <= PAGED))
    try:
        order.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(f"{order.out}: cannot make the folder for the marks: {error.strerror}") from None
    _tidy(order.out)
    with open_store(order.out, _judged_by(order, settings), resume=order.resume) as store:
        with_judge(order.lab, lambda judge: _judge_all(order, settings, found, store, judge), order.private)
        store.forget_all_but(one.student for one in found)
        _write_marks(order, students, found, store)
    return 0


def _look_at(order: Order) -> None:
    """See that what was asked for can be done at all.

    Raises:
        HarnessError: it cannot.
    """
    rubric_folder(order.lab)
    if not 0 <= order.jobs <= 1024:
        raise HarnessError(f"--jobs {order.jobs}: from 1 to 1024 processes, or 0 for one a processor")
    if order.pages not in ("all", "none", "auto"):
        raise HarnessError(f"--pages {one_line(order.pages, 20)}: known are all, none, auto")
    for system in order.exports:
        if system not in EXPORTS:
            raise HarnessError(f"--export {one_line(system, 40)}: known are {', '.join(sorted(EXPORTS))}")
    if order.cluster and not re.fullmatch(r"(?:tcp|tls)://[^\s/:]+:\d{1,5}", order.cluster):
        raise HarnessError(f"--cluster {one_line(order.cluster, 60)}: want the scheduler's address, tcp://HOST:PORT")
    if order.secret_file and not order.roster:
        raise HarnessError("--secret-file needs --roster: whose nonces are to be known?")


def _settings(order: Order, students: tuple[Student, ...]) -> Settings:
    nonces = {}
    if order.secret_file:
        secret = read_secret(order.secret_file)
        nonces = {one.id: nonce(secret, order.course, order.lab, one.id) for one in students}
    if order.allowed_signers and not os.access(order.allowed_signers, os.R_OK):
        raise HarnessError(f"--allowed-signers {order.allowed_signers}: cannot read it")
    return Settings(
        order.lab,
        private=order.private,
        nonces=nonces,
        students={its: student for student, its in nonces.items()},
        partners=_by_student(partner_pairs(students)),
        allowed_signers=order.allowed_signers,
        policy=read_late_policy(order.late_policy) if order.late_policy else None,
        lang=spoken(),
    )


def _by_student(pairs: Iterable[frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for pair in pairs:
        for one in pair:
            found[one] = found.get(one, frozenset()) | pair - {one}
    return found


def _judged_by(order: Order, settings: Settings) -> str:
    """A digest of all that marks depend on beside the submissions: the harness, the rubric, and the settings."""
    files = [*(sorted(order.private.rglob("*.py")) if order.private else ()), order.allowed_signers, order.late_policy]
    contents = [hashlib.sha256(file.read_bytes()).hexdigest() if file else "" for file in files]
    words = [digest_of_sources(order.lab), *contents, sorted(settings.nonces.items())]
    words += [sorted((one, *sorted(others)) for one, others in settings.partners.items())]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _judge_all(order: Order, settings: Settings, found: list[Submission], store: Store, judge: Judge) -> None:
    """Judge what is new; each batch is kept as it comes."""
    _try_out(order.lab, judge)
    done = 0
    with ExitStack() as stack:
        try:
            told = order.out / "students"
            known = {
                student: content for student, content in store.known().items() if _is_told(told / student, settings)
            }
            batches = _batches(order, settings, found, known, judge, stack)
            advance = stack.enter_context(counting(_("judged"), len(found)))
            for judged in batches:
                for one in judged:
                    _write_student(order.out, one)
                store.put(judged)
                done += len(judged)
                advance(len(judged))
        except KeyboardInterrupt:
            raise HarnessError(
                f"interrupted: {done} of {len(found)} submissions are judged and kept; go on with --resume"
            ) from None


def _batches(  # noqa: PLR0913
    order: Order,
    settings: Settings,
    found: list[Submission],
    known: Mapping[str, str],
    judge: Judge,
    stack: ExitStack,
) -> Iterator[list[Assessed]]:
    """Who judges: a cluster, or processes here, which are ended with the stack."""
    if order.cluster:
        sources = digest_of_sources(order.lab)
        return stack.enter_context(closing(assess_on_cluster(order.cluster, found, known, settings, sources)))
    jobs = order.jobs or os.cpu_count() or 1
    workers = stack.enter_context(pool(jobs, judge, settings, seconds=order.seconds))
    return workers.assess(found, known, max(1, min(AT_ONCE, len(found) // (4 * jobs))))


def _try_out(lab: str, judge: Judge) -> None:
    """Judge a capture that is known to be good: a check that cannot be run shows here, and not in the marks.

    Raises:
        HarnessError: one cannot be run.
    """
    for path in sorted((rubric_folder(lab) / GOOD).glob("*.pcap"))[:1]:
        for check in judge(replace(evidence_of_capture(path), answers={})):
            if check.outcome == "not-judged":
                raise HarnessError(f"the rubric of lab {lab!r} cannot be run: {check.id}: {check.message}")


def _write_student(out: Path, judged: Assessed) -> None:
    if judged.graded is None:
        return
    folder = out / "students" / judged.student
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        _tidy(folder)
    for name, content in judged.files.items():
        write_private(folder / name, content)


def _is_told(folder: Path, settings: Settings) -> bool:
    """Whether all that a student reads is there, in the language that is spoken.

    What an earlier grading told in another one, or without a page, is judged again, which gives the same marks: a page
    is drawn from the packets.
    """
    mark = f'<html lang="{TAGS[spoken()]}"'.encode()
    pages = list(folder.glob("*.html"))
    wanted = {folder / FEEDBACK, *([folder / REPORT] if settings.pages else [])}
    return wanted <= set(pages) and all(mark in _head(page) for page in pages)


def _head(page: Path) -> bytes:
    with page.open("rb") as file:
        return file.read(100)


def _tidy(folder: Path) -> None:
    """Remove what a grading that was killed left half-written."""
    for path in folder.glob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)


def _write_marks(order: Order, students: tuple[Student, ...], found: list[Submission], store: Store) -> None:
    """gradebook.csv, copies.json, the exports, and the summary on the terminal."""
    partners = partner_pairs(students) | {
        frozenset((one.student, partner)) for one in found for partner in one.partners
    }
    copies = store.copies(partners)
    roster = {student.id for student in students}
    flags = _flags(copies, roster, [one.student for one in found])
    write_private(order.out / "copies.json", dump_json(_copies_document(copies)).encode())
    summary = ClassSummary()
    room = Classroom(lambda student: REPORT if (order.out / "students" / student / REPORT).exists() else FEEDBACK)

    def graded() -> Iterator[Graded]:
        for one in store.graded(lambda student: flags.get(student, ())):
            summary.add(one)
            room.add(one)
            yield one

    write_private(order.out / "gradebook.csv", "".join(gradebook_csv(graded())).encode())
    write_private(order.out / "gradebook.html", class_page(order.lab, room).encode(errors="replace"))
    with speaking(ENGLISH):  # what other systems read is the same in every language
        for system in order.exports:
            for name, content in export(system, order.lab, store.graded()):
                path = order.out / "export" / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_private(path, content)
    print_styled(summary.lines(width()))
    missing = sorted(roster - {one.student for one in found})
    if missing:
        say("\n" + _("nothing handed in ({count}): {students}").format(count=len(missing), students=_some(missing)))
    for group in copies[:10]:
        words = _("one connection: {students}: {count} frames in common")
        say(words.format(students=_some(group.students), count=len(group.pairs[0].shared.frames)))
    say("\n" + _("marks: {file}").format(file=order.out / "gradebook.csv"))


def _some(names: Iterable[str]) -> str:
    known = list(names)
    more = _(", … and {more} more").format(more=len(known) - 10) if len(known) > 10 else ""
    return ", ".join(one_line(name, 60) for name in known[:10]) + more


def _flags(copies: list[Group], roster: set[str], students: list[str]) -> dict[str, tuple[Flag, ...]]:
    """What is known of each student only when all are known."""
    found: dict[str, list[Flag]] = {}
    for group in copies:
        for pair in group.pairs:
            for one, two, side in ((pair.one, pair.two, 0), (pair.two, pair.one, 1)):
                frames = tuple(both[side] for both in pair.shared.frames)
                flag = Flag("copy", one_line(f"the same connection as {two}, by its {pair.shared.how}", 200), frames)
                found.setdefault(one, []).append(flag)
    if roster:
        for student in students:
            if student not in roster:
                found.setdefault(student, []).append(Flag("not-on-roster", "nobody of this name is on the roster"))
    return {student: tuple(flags) for student, flags in found.items()}


def _copies_document(copies: list[Group]) -> dict[str, object]:
    return {
        "schema": SCHEMA_COPIES,
        "groups": [
            {
                "students": list(group.students),
                "pairs": [
                    {
                        "students": [pair.one, pair.two],
                        "how": pair.shared.how,
                        "shared_frames": [list(both) for both in pair.shared.frames],
                    }
                    for pair in group.pairs
                ],
            }
            for group in copies
        ],
    }
