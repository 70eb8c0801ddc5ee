"""Judge what students handed in, many submissions at a time: each is opened, read, judged, and told about.

Everything here is done to one submission without looking at another, and whatever one holds, the others are judged.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.answers import Scalar
from harness.captures.capture import Capture
from harness.captures.reading import no_tcp, read_many
from harness.errors import HarnessError, one_line
from harness.evidence import Evidence, lab_conversation
from harness.grading.editing import signs
from harness.grading.fingerprints import Fingerprint, fingerprint
from harness.grading.graded import Flag, Graded
from harness.grading.judging import Checks, Judge, combined
from harness.grading.late import LatePolicy, lateness
from harness.grading.provenance import Provenance, banner_nonces, files_beside, provenance_of
from harness.grading.results import Results, describe_connection, results_json
from harness.grading.signatures import verify
from harness.intake.answers import read_answers
from harness.intake.contents import Contents, Limits, content_hash
from harness.intake.parts import Parts, parts_of
from harness.intake.submission import Submission
from harness.language import ENGLISH, speaking
from harness.reports.feedback import feedback_html, feedback_markdown
from harness.reports.junit import junit
from harness.reports.ladder import ladder
from harness.tcp.conversation import Conversation, conversations_of_many

FEEDBACK = "feedback.html"
NO_PAGES: Mapping[str, bytes] = MappingProxyType({})
_MOST_DRAWN = 400  # segments of a ladder; what is longer is cut, and says so


@dataclass(frozen=True, slots=True)
class Settings:
    """What all submissions are judged by.

    Attributes:
        lab: the lab's name.
        private: a folder of the teacher's own checks.
        limits: what a submission may hold.
        nonces: student → nonce; empty if they are not known.
        students: nonce → student.
        partners: student → those who may share a run.
        allowed_signers: ssh-keygen's file of that name.
        policy: what lateness costs.
        lang: the language of the feedback; nothing else is in it.
        pages: whether each gets a report page, too.
    """

    lab: str
    private: Path | None = None
    limits: Limits = field(default_factory=Limits)
    nonces: Mapping[str, str] = field(default_factory=dict)
    students: Mapping[str, str] = field(default_factory=dict)
    partners: Mapping[str, frozenset[str]] = field(default_factory=dict)
    allowed_signers: Path | None = None
    policy: LatePolicy | None = None
    lang: str = ENGLISH
    pages: bool = False


@dataclass(frozen=True, slots=True)
class Assessed:
    """A submission, judged, and all that is kept of it.

    Attributes:
        student: who handed it in.
        graded: the outcome, as `Graded.dumps` has it; None if the submission is what it was before.
        row: source, content, outcome, score, maximum and provenance.
        outcomes: each check's id, outcome and score.
        files: what its folder holds: name → content.
        fingerprints: of the connections in it.
    """

    student: str
    graded: str | None = None
    row: tuple[str, str, str, float | None, int, str] | None = None
    outcomes: tuple[tuple[str, str, int | None], ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    fingerprints: tuple[Fingerprint, ...] = ()


Opened = Contents | str  # or why it could not be


@dataclass(slots=True)
class _Work:
    """One submission on its way."""

    submission: Submission
    contents: Contents = field(default_factory=lambda: Contents({}, ()))
    parts: Parts = field(default_factory=Parts)
    content: str = ""
    captures: list[tuple[Capture, bytes]] = field(default_factory=list)
    found: list[list[Conversation]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    cause: str = ""


def assess(
    submissions: Sequence[Submission],
    judge: Judge,
    settings: Settings,
    known: Mapping[str, str] | None = None,
    opened: Mapping[str, Opened] | None = None,
) -> list[Assessed]:
    """Judge submissions; small captures are worked out together.

    Args:
        submissions: any number; some dozens at a time are fastest.
        judge: the lab's.
        settings: what they are judged by.
        known: student → content hash of what was judged before: what is the same is not judged again.
        opened: student → what was opened elsewhere.
    """
    known, opened = known or {}, opened or {}
    with speaking(ENGLISH):  # what is kept is the same whatever the language of the feedback
        works = [
            _sorted(submission, opened.get(submission.student) or open_within(submission, settings.limits))
            for submission in submissions
        ]
        new = [work for work in works if known.get(work.submission.student) != work.content]
        _read(new)
        is_new = {id(work) for work in new}
        return [
            _assessed(work, judge, settings) if id(work) in is_new else Assessed(work.submission.student)
            for work in works
        ]


def open_within(submission: Submission, limits: Limits) -> Opened:
    """What a submission holds, or why nothing of it can be opened."""
    try:
        return submission.open(limits)
    except HarnessError as error:
        return str(error)


def _sorted(submission: Submission, opened: Opened) -> _Work:
    work = _Work(submission, problems=list(submission.problems))
    if isinstance(opened, str):
        work.cause = opened
    else:
        work.contents, work.parts = opened, parts_of(opened)
        work.problems += [*opened.problems, *work.parts.problems]
        if not work.parts.captures:
            work.cause = "there is no capture in it: hand in capture.pcap, or handshake.pcap and teardown.pcap"
    work.content = content_hash(work.contents)
    return work


def _read(works: list[_Work]) -> None:
    """Read all captures, and work out their conversations, together."""
    files = [(work, part) for work in works for part in work.parts.captures]
    whole: list[tuple[_Work, Capture, bytes]] = []
    for (work, part), capture in zip(files, read_many([(part.name, part.data) for _, part in files]), strict=True):
        if isinstance(capture, HarnessError):
            work.cause = work.cause or str(capture)
            continue
        if capture.damage:
            work.problems.append(f"{part.name}: {capture.damage}; what stands before it was judged")
        if not len(capture.segments):
            work.cause = work.cause or no_tcp(part.name, capture)
            continue
        whole.append((work, capture, part.data))
    for (work, capture, data), found in zip(
        whole, conversations_of_many([capture.segments for _, capture, _ in whole]), strict=True
    ):
        work.captures.append((capture, data))
        work.found.append(found)


def _assessed(work: _Work, judge: Judge, settings: Settings) -> Assessed:
    submission = work.submission
    run = _run_document(work)
    chosen = [] if work.cause else [_lab_conversation(found, run) for found in work.found]
    if len({frozenset((one.initiator, one.responder)) for one in chosen}) > 1:
        work.flags.append(Flag("two-connections", "the captures handed in show different connections"))
    checks = _judged(work, chosen, judge)
    results = Results(
        settings.lab, None, describe_connection(chosen[0]) if chosen else None, checks, one_line(work.cause, 400)
    )
    for (capture, data), one in zip(work.captures, chosen, strict=False):
        work.flags += signs(capture, one, data)
    provenance = _provenance(work, chosen, run, settings)
    late = None
    if settings.policy is not None:
        late = lateness(settings.policy, submission.time, results.max_score, results.score or 0)
    graded = Graded(
        student=submission.student,
        source=submission.source,
        content=work.content,
        results=results,
        ladder=tuple(line for one in chosen for line in _drawn(one)),
        provenance=provenance.kind,
        flags=(*work.flags, *provenance.flags),
        problems=tuple(dict.fromkeys(work.problems)),
        lateness=late,
    )
    fingerprints = tuple(fingerprint(one) for one in chosen)
    parts = list(zip(chosen, work.found, strict=True)) if chosen else []
    pages = _pages(graded, parts, settings)
    for one in (one for found in work.found for one in found):
        one.forget_segments()
    return _told(graded, settings.lang, fingerprints, pages)


def _told(
    graded: Graded, lang: str, fingerprints: tuple[Fingerprint, ...] = (), pages: Mapping[str, bytes] = NO_PAGES
) -> Assessed:
    """All that is kept of a submission, worked out here, where many processes share the work."""
    results = graded.results
    return Assessed(
        graded.student,
        graded.dumps(),
        (graded.source, graded.content, results.outcome, graded.score, results.max_score, graded.provenance),
        tuple((check.id, check.outcome, check.score) for check in results.checks),
        {**_files(graded, lang), **pages},
        fingerprints,
    )


def _pages(
    graded: Graded, parts: Sequence[tuple[Conversation, Sequence[Conversation]]], settings: Settings
) -> dict[str, bytes]:
    """A report page for each capture that was handed in, if pages are wanted: name → content."""
    if not settings.pages:
        return {}
    from harness.reports.pages import student_pages

    with speaking(settings.lang):
        return {name: page.encode(errors="replace") for name, page in student_pages(graded, parts).items()}


def _judged(work: _Work, chosen: list[Conversation], judge: Judge) -> Checks:
    answers = _answers(work)
    if work.cause:
        return judge.not_judged(one_line(work.cause, 400))
    parts = zip(chosen, work.found, strict=True)
    return combined([judge(Evidence(one, None, answers, tuple(found))) for one, found in parts])


def _answers(work: _Work) -> Mapping[str, Scalar]:
    """What was answered; nothing where there are no answers, or none that can be read."""
    part = work.parts.answers
    if part is None:
        work.problems.append("there is no answers.yaml: the lab's questions count as not answered")
        return {}
    try:
        return read_answers(part.data)
    except HarnessError as error:
        work.problems.append(f"{part.name}: {error}")
        return {}


def _lab_conversation(found: list[Conversation], run: Any) -> Conversation:
    """The one that run.json names, if it does; else the one that looks like it."""
    ends = run.get("four_tuple") if isinstance(run, dict) else None
    if isinstance(ends, dict):
        for one in found:
            if ends.get("initiator") == one.initiator and ends.get("responder") == one.responder:
                return one
    return lab_conversation(found, "")


def _run_document(work: _Work) -> Any:
    """run.json, parsed; None if there is none, or it is none."""
    if work.parts.run is None:
        return None
    try:
        return json.loads(work.parts.run.data)
    except (ValueError, RecursionError):
        work.problems.append(f"{work.parts.run.name}: not a run.json of the harness; it was left out")
        return None


def _provenance(work: _Work, chosen: list[Conversation], run: Any, settings: Settings) -> Provenance:
    student, parts = work.submission.student, work.parts
    manifest = parts.manifest.data if parts.manifest else None
    files = files_beside(parts.manifest.name, work.contents.files) if parts.manifest else None
    partners = settings.partners.get(student)
    others = settings.students
    if partners:
        others = {nonce: whose for nonce, whose in others.items() if whose not in partners}
    signature = parts.signature.data if parts.signature else None
    return provenance_of(
        student,
        lab=settings.lab,
        banner_nonces=tuple(nonce for one in chosen for nonce in banner_nonces(one)),
        run_document=run,
        manifest=manifest,
        files=files,
        signature=verify(settings.allowed_signers, student, manifest or b"", signature),
        expected_nonce=settings.nonces.get(student),
        nonces_of_others=others,
    )


def _drawn(conversation: Conversation) -> Iterator[str]:
    for place, line in enumerate(ladder(conversation, width=80)):
        if place >= _MOST_DRAWN:
            yield f"… and {len(conversation.rows_in_order) - _MOST_DRAWN + 2} more segments"
            return
        yield line.text.rstrip()


def _files(graded: Graded, lang: str) -> dict[str, bytes]:
    with speaking(lang):
        told = {"feedback.md": feedback_markdown(graded), FEEDBACK: feedback_html(graded)}
    return {
        "results.json": results_json(graded.results).encode(errors="replace"),
        **{name: text.encode(errors="replace") for name, text in told.items()},
        "junit.xml": junit(graded.results),
    }


def not_assessed(submission: Submission, judge: Judge, settings: Settings, cause: str) -> Assessed:
    """A submission that could not even be looked at, and why."""
    results = Results(settings.lab, None, None, judge.not_judged(cause), cause)
    graded = Graded(submission.student, submission.source, "", results, problems=submission.problems)
    return _told(graded, settings.lang, pages=_pages(graded, (), settings))
