"""Make the bundle that a student hands in: what the task `submit` calls.

The bundle is a zip: the captures, run.json, states.json, answers.yaml, manifest.json with the SHA-256 of each, and
manifest.json.sig, the manifest signed with the student's own ssh key. The same files and key give the same bytes.
"""

import codecs
import hashlib
import io
import json
import select
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from harness.cli import complain, print_styled, say, width
from harness.errors import HarnessError, one_line
from harness.grading.judging import Question, with_judge
from harness.grading.provenance import MANIFEST, MAX_MANIFEST, SIGNATURE, make_manifest, read_manifest
from harness.grading.results import Results, describe_connection
from harness.grading.roster import why_unsafe
from harness.grading.signatures import sign
from harness.intake.answers import read_answers
from harness.intake.kinds import BESIDE
from harness.language import _
from harness.messages import translated
from harness.reports.columns import wrap
from harness.runs import CAPTURE, RUN, STATES, RunRecord, assignment_in, read_run, write_private

ANSWERS = "answers.yaml"
DEFAULT_KEY = Path("~/.ssh/id_ed25519")
UNSIGNED = Path("none")  # --key none
LOOK_SECONDS = 0.2
MAX_BYTES = 256 << 20  # of a bundle's files together
_CAPTURES = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


def submit(
    run: Path, student: str, *, key: Path | None, out: Path | None, questions: Sequence[Question] | None = None
) -> int:
    """Check a run as the grader will, ask what is not answered yet, and write the bundle. Returns 0.

    Args:
        run: the run folder; answers are kept in its answers.yaml.
        student: whose submission it is.
        key: the ssh key to sign with; `UNSIGNED` for none; None for `DEFAULT_KEY`, if it is there.
        out: the bundle's file; None for STUDENT-LAB.zip beside the run folder.
        questions: what to ask; None for what the lab's rubric asks.

    Raises:
        HarnessError: one line: what is wrong with the run, the student, the key or the place.
    """
    if why := why_unsafe(student):
        raise HarnessError(f"--student: the id {one_line(repr(student), 60)} {why}")
    record = read_run(run)
    lab = _lab_of(run, record, student)
    key = _key(key)
    out = out or run.resolve().parent / f"{student}-{lab}.zip"
    _check_place(out, student, lab)
    rubrics = _show_verdict(run, record, lab)
    ask(rubrics if questions is None else questions, run / ANSWERS)
    files = _files(run)
    manifest = make_manifest(lab, student, assignment_in(record.document).get("nonce"), files)
    signed = {MANIFEST: manifest}
    if key:
        complain("· " + _("sign with {key} (ssh-keygen may ask for its passphrase)").format(key=key))
        signed[SIGNATURE] = sign(key, manifest)
    write_private(out, bundle_of({**files, **signed}))
    say(_("bundle: {file} ({contents})").format(file=out, contents=", ".join([*files, *signed])))
    if key:
        say(_("signed with {key}: {student} can be shown to have handed in just this").format(key=key, student=student))
    else:
        say(_("not signed: nothing but the nonce, if the run had an assignment, shows whose it is (--key FILE signs)"))
    return 0


# -- checks before ---------------------------------------------------------------------------------------------------


def _lab_of(run: Path, record: RunRecord, student: str) -> str:
    """The lab of a run that may be handed in by a student."""
    lab = record.document.get("lab")
    if not isinstance(lab, str) or why_unsafe(lab):
        raise HarnessError(f"{run / RUN}: it does not say of which lab it is; run the lab again")
    owner = assignment_in(record.document).get("student", student)
    if owner != student:
        raise HarnessError(f"{run}: this run was made with the assignment of {one_line(owner, 100)}, not of {student}")
    return lab


def _key(key: Path | None) -> Path | None:
    """The key to sign with, if any."""
    if key is None:
        default = DEFAULT_KEY.expanduser()
        return default if default.is_file() else None
    if key == UNSIGNED:
        return None
    key = key.expanduser()
    if not key.is_file():
        raise HarnessError(f"--key {key}: there is no such file; make a key: ssh-keygen -t ed25519 -f {key}")
    return key


def _check_place(out: Path, student: str, lab: str) -> None:
    """A bundle takes a free place, or that of an earlier one of the same student and lab; nothing else."""
    if not out.parent.is_dir():
        raise HarnessError(f"{out}: there is no folder {out.parent}")
    if not out.exists() and not out.is_symlink():
        return
    try:
        with zipfile.ZipFile(out) as there:
            told = read_manifest(there.open(MANIFEST).read(MAX_MANIFEST + 1)) or {}
    except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile):
        told = {}
    if (told.get("student"), told.get("lab")) != (student, lab):
        raise HarnessError(f"{out}: exists already and is no bundle of {student} for {lab}; name another with --out")


def _show_verdict(run: Path, record: RunRecord, lab: str) -> tuple[Question, ...]:
    """Judge the run by the lab's rubric, and show what the grader will see of it; returns the rubric's questions.

    Raises:
        HarnessError: it could not be judged.
    """
    from harness.evidence import evidence_of_run
    from harness.reports.text import check_lines, verdict_line

    try:
        kept = json.loads((run / "results.json").read_text(encoding="utf-8"))
        outcome, cause = kept["outcome"], kept.get("cause", "")
    except OSError:
        raise HarnessError(f"{run}: there is no results.json: this run was not judged; run the lab again") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise HarnessError(f"{run / 'results.json'}: damaged; run the lab again") from None
    if outcome not in {"passed", "failed"}:
        raise HarnessError(
            f"{run}: this run could not be judged ({one_line(str(cause), 200) or 'no cause'}); run the lab again"
        )
    if hashlib.sha256(_read(run / CAPTURE)).hexdigest() != record.document.get("capture_sha256"):
        raise HarnessError(
            f"{run / CAPTURE}: not the capture that run.json tells of: its SHA-256 differs; run the lab again"
        )
    evidence = evidence_of_run(run)
    checks, questions = with_judge(lab, lambda judge: (judge(evidence), judge.questions))
    results = Results(lab, None, describe_connection(evidence.conversation), checks)
    lost = [check for check in results.checks if check.outcome != "passed"]
    if results.outcome == "not-judged":
        raise HarnessError(f"{run}: {verdict_line(results)}; run the lab again")
    if lost:
        print_styled(check_lines(replace(results, checks=tuple(lost)), width()))
    print_styled([(verdict_line(results), "bold")])
    return questions


# -- questions -------------------------------------------------------------------------------------------------------


def ask(questions: Sequence[Question], path: Path) -> None:
    """Ask on the terminal what the file of answers does not answer yet; each answer is kept there as it is given.

    An empty line leaves a question out. Where there is no terminal, a file that is there is taken as it is.

    Raises:
        HarnessError: there is neither a file nor a terminal; or Ctrl-C or Ctrl-D ended it: what was answered is kept.
    """
    data = _read(path) if path.is_file() else b""
    known = _known(data, path)
    text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    open_ = [question for question in questions if question.id not in known]
    if open_ and not sys.stdin.isatty():
        names = ", ".join(question.id for question in open_)
        if not path.is_file():
            raise HarnessError(
                f"there is no terminal to ask on: write {path}, a line `NAME: answer` for each of: {names}"
            )
        complain(_("{file}: not answered: {names}").format(file=path, names=names))
        return
    try:
        for number, question in enumerate(open_, 1):
            say("\n".join(wrap(f"{number}/{len(open_)} {translated(question.text)}", width())))
            if answer := _typed():
                text = _with_answer(text, question.id, answer, path)
                write_private(path, text)
    except (KeyboardInterrupt, EOFError):
        say()  # the terminal has echoed the keys
        kept = f"the answers so far are in {path}" if text else "nothing was answered"
        raise HarnessError(f"stopped: {kept}; the same command asks for the rest") from None
    if open_:
        say(_("answers: {file}").format(file=path))


def _known(data: bytes, path: Path) -> dict[str, str]:
    """What is answered in an answers.yaml."""
    try:
        answers = read_answers(data)
    except HarnessError as error:
        raise HarnessError(f"{path}: {str(error).removeprefix(f'{ANSWERS}: ')}") from None
    return {name: str(given) for name, given in answers.items() if given is not None and str(given).strip()}


def _typed() -> str:
    """A line from the terminal, as far as it is printable.

    Raises:
        EOFError: there is no more.
    """
    while True:
        sys.stdout.write("> ")
        sys.stdout.flush()
        # A Ctrl-C that comes just before Python begins to read would not be answered until the line's end.
        while not select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
            pass
        try:
            if not (line := sys.stdin.readline()):
                raise EOFError
            return "".join(c for c in line if c.isprintable()).strip()
        except UnicodeDecodeError:
            say(_("this was not text; once more:"))


def _with_answer(text: str, name: str, answer: str, path: Path) -> str:
    """The text of answers.yaml with one answer more; all else that the student wrote in it stays as it is."""
    line = yaml.safe_dump({name: answer}, allow_unicode=True, width=100_000)
    kept = "".join(old for old in text.splitlines(keepends=True) if old.strip() != f"{name}:")
    longer = f"{kept.rstrip()}\n{line}".lstrip()
    if _known(longer.encode(), path).get(name) != answer:
        raise HarnessError(f"{path}: cannot add to it; write your answer to {name} into it yourself")
    return longer


# -- the bundle ------------------------------------------------------------------------------------------------------


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise HarnessError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which is more than a bundle takes")
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot read it: {error.strerror}") from None


def _files(run: Path) -> dict[str, bytes]:
    """What is handed in of a run folder, by name."""
    names = {path.name for path in run.iterdir() if path.is_file() and not path.name.startswith(".")}
    captures = {name for name in names if name.endswith(_CAPTURES)} - BESIDE
    answers = {ANSWERS} if (run / ANSWERS).is_file() else set()
    files = {name: _read(run / name) for name in sorted({CAPTURE, RUN, STATES} | captures | answers)}
    if sum(map(len, files.values())) > MAX_BYTES:
        raise HarnessError(f"{run}: its captures are larger than the {MAX_BYTES >> 20} MiB that a bundle takes")
    return files


def bundle_of(files: Mapping[str, bytes]) -> bytes:
    """A zip of some files, by name: in order, without times, so that the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o100600 << 16  # Unix: a file of mode 0600
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, files[name])
    return out.getvalue()
