"""The front door: every command of the project. `./invoke --list` shows them, `./invoke --help TASK` explains one."""

from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from harness.cli import ROOT, command, speaking_command
from harness.errors import HarnessError, one_line
from harness.language import LANGUAGES, _

LAB_HELP = {"lab": "the lab whose rubric judges (default: handshake)"}
LANG_HELP = {"lang": f"the language to speak: {', '.join(LANGUAGES)} (default: the locale's)"}
OUTPUT_HELP = {
    **LANG_HELP,
    "json": "print results.json and nothing else",
    "S": "absolute sequence numbers, as tcpdump -S prints them",
}
RUN_HELP = {
    "inventory": "the inventory file (default: inventory.yaml beside tasks.py)",
    "provider": "who brings up the two hosts: embedded, vm, hosts (default: the inventory's)",
    "close": "how the session is closed: three, four (segments) or as-is",
    "out": "the run folder (default: runs/<UTC time>-handshake)",
    "assignment": "your assignment.yaml: its nonce goes into run.json, and into the responder's SSH banner if it can",
    "keep": "with the provider vm: leave both machines up for the next run, until ./invoke down",
    "both": "capture on both hosts, and join the captures: what was sent, when it arrived, what never did",
    "no_key": "log in from server to client with the server host's own credentials, not with a key for this run",
    **OUTPUT_HELP,
}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _number(text: str, switch: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise HarnessError(f"{switch} {one_line(text, 40)}: want a whole number")
    return int(text)


def _run_lab(  # noqa: PLR0913 - the switches of two tasks
    lab: str,
    inventory: str,
    provider: str | None,
    close: str | None,
    out: str | None,
    assignment: str | None,
    *,
    S: bool,
    json: bool,
    keep: bool,
    both: bool,
    no_key: bool,
    slow: bool = False,
) -> int:
    from harness.lab import run_lab

    return run_lab(
        lab,
        inventory=Path(inventory),
        provider=provider,
        close=close,
        out=_path(out),
        absolute=S,
        as_json=json,
        assignment=_path(assignment),
        slow=slow,
        keep=keep,
        both=both,
        own_key=not no_key,
    )


@task(help=RUN_HELP)
@speaking_command
def run_handshake_lab(  # noqa: PLR0913
    _context: Context,
    inventory: str = str(ROOT / "inventory.yaml"),
    provider: str | None = None,
    close: str | None = None,
    out: str | None = None,
    assignment: str | None = None,
    S: bool = False,
    json: bool = False,
    keep: bool = False,
    both: bool = False,
    no_key: bool = False,
) -> int:
    """Run the handshake lab on the two hosts: capture one ssh session, judge it, show the verdict."""
    return _run_lab(
        *("handshake", inventory, provider, close, out, assignment), S=S, json=json, keep=keep, both=both, no_key=no_key
    )


@task(
    help={
        **RUN_HELP,
        "lab": "the lab: see ./invoke labs",
        "close": "for the lab handshake: three, four (segments) or as-is",
        "out": "the run folder (default: runs/<UTC time>-LAB)",
        "slow": "the scenes too that take a minute or more (time-wait)",
    }
)
@speaking_command
def run(  # noqa: PLR0913
    _context: Context,
    lab: str,
    inventory: str = str(ROOT / "inventory.yaml"),
    provider: str | None = None,
    close: str | None = None,
    out: str | None = None,
    assignment: str | None = None,
    S: bool = False,
    json: bool = False,
    slow: bool = False,
    keep: bool = False,
    both: bool = False,
    no_key: bool = False,
) -> int:
    """Run any lab on the two hosts: capture, judge, show the verdict."""
    return _run_lab(
        *(lab, inventory, provider, close, out, assignment),
        S=S,
        json=json,
        keep=keep,
        both=both,
        no_key=no_key,
        slow=slow,
    )


@task(
    help={
        "inventory": RUN_HELP["inventory"],
        "provider": RUN_HELP["provider"],
        "out": "the folder for claims.json and a run folder a lab (default: runs/<UTC time>-reproduce-article)",
        "only": "these claims: C10,C16",
        "slow": "watch TIME-WAIT to its end, which takes a minute",
        **LANG_HELP,
    }
)
@speaking_command
def reproduce_article(
    _context: Context,
    inventory: str = str(ROOT / "inventory.yaml"),
    provider: str | None = None,
    out: str | None = None,
    only: str | None = None,
    slow: bool = False,
) -> int:
    """Put the article to the test: run its labs, and say of each claim whether it holds, and by which frames."""
    from harness.reproducing import reproduce_article as reproduce

    return reproduce(inventory=Path(inventory), provider=provider, out=_path(out), only=only, slow=slow)


@task(help=LANG_HELP)
@speaking_command
def labs(_context: Context) -> int:
    """List the labs there are."""
    from harness.lab import list_labs

    return list_labs()


@task(help={"capture": "the capture file to judge", **LAB_HELP, **OUTPUT_HELP})
@speaking_command
def check(
    _context: Context,
    capture: str,
    lab: str = "handshake",
    S: bool = False,
    json: bool = False,
) -> int:
    """Judge a capture by a lab's rubric."""
    from harness.lab import check_capture

    return check_capture(lab, Path(capture), as_json=json, absolute=S)


@task(
    iterable=["capture"],
    help={
        "capture": "the capture file: pcap, pcapng, gzip of either, or tcpdump's text; may be given several times",
        "json": "print the document (schema tcp-lab/analysis/v1) and nothing else",
        "segments": "every conversation's segments too",
        "filter": "only conversations with this end: HOST:PORT, HOST or :PORT",
        "S": OUTPUT_HELP["S"],
        **LANG_HELP,
    },
)
@speaking_command
def analyze(
    _context: Context,
    capture: list[str],
    json: bool = False,
    segments: bool = False,
    filter: str | None = None,  # noqa: A002
    S: bool = False,
) -> int:
    """Say what each conversation of a capture is: how it opened and closed, both ends' states, notes on segments."""
    from harness.analysis import analyze as analyze_capture

    if not capture:
        raise HarnessError("which capture? ./invoke analyze --capture FILE")
    return analyze_capture([Path(name) for name in capture], json=json, segments=segments, filter_=filter, absolute=S)


@task(
    help={
        "capture": "the capture file: pcap, pcapng, or gzip of either",
        "out": "the pcapng file to write",
        "lab": "the lab whose checks are to be told of, or none (default: handshake)",
        "answers": "the answers.yaml to be judged too",
        **LANG_HELP,
    }
)
@speaking_command
def annotate(_context: Context, capture: str, out: str, lab: str = "handshake", answers: str | None = None) -> int:
    """Write a capture's frames with comments for Wireshark: what each is, and which checks speak of it."""
    from harness.annotating import annotate as annotate_capture

    return annotate_capture(lab, Path(capture), _path(answers), Path(out))


@task(
    help={
        "capture": "the capture file: pcap, pcapng, gzip of either, or tcpdump's text",
        "other": "the same connection as the other host captured it: drawn with what each segment took on the wire",
        "run": "a run folder, instead of a capture",
        "lab": "the lab whose rubric judges (default: the run's; of a capture, none)",
        "answers": "answers.yaml, to be judged too",
        "out": "the page to write: FILE.html (default: report.html in the run folder)",
        **LANG_HELP,
    }
)
@speaking_command
def report(  # noqa: PLR0913
    _context: Context,
    capture: str | None = None,
    other: str | None = None,
    run: str | None = None,
    lab: str | None = None,
    answers: str | None = None,
    out: str | None = None,
) -> int:
    """Write the report page: ladder, arithmetic, checks, states and times in one HTML file that loads nothing."""
    from harness.reporting import Asked
    from harness.reporting import report as write_page

    return write_page(Asked(_path(capture), _path(other), _path(run), lab, _path(answers)), _path(out))


@task(
    help={
        "lab": "the lab to assign (default: handshake)",
        "roster": "the roster: CSV with a header; ids in the column student, id, email, username or sid",
        "secret_file": "the file with the secret that the nonces are made with; at least 16 bytes, mode 0600",
        "out": "the folder to write to: STUDENT/assignment.yaml for each",
        "course": "the course's name; other courses have other nonces (default: tcp-lab)",
        **LANG_HELP,
    }
)
@speaking_command
def assign(
    _context: Context,
    roster: str,
    secret_file: str,
    out: str,
    lab: str = "handshake",
    course: str = "tcp-lab",
) -> int:
    """Give each student of a roster an assignment, with a nonce that shows whose run it is."""
    from harness.assigning import assign as assign_lab

    return assign_lab(lab, roster=Path(roster), secret_file=Path(secret_file), out=Path(out), course=course)


@task(
    help={
        "run": "the run folder to hand in",
        "student": "your id, as on the roster",
        "key": "the ssh key to sign with; none for no signature (default: ~/.ssh/id_ed25519, if it is there)",
        "out": "the bundle's file (default: STUDENT-LAB.zip beside the run folder)",
        **LANG_HELP,
    }
)
@speaking_command
def submit(_context: Context, run: str, student: str, key: str | None = None, out: str | None = None) -> int:
    """Check a run as the grader will, ask the lab's questions, and make the bundle to hand in, signed."""
    from harness.submitting import submit as submit_run

    return submit_run(Path(run), student, key=_path(key), out=_path(out))


@task(
    iterable=["export"],
    help={
        "lab": "the lab whose rubric judges (default: handshake)",
        "submissions": "the folder of all submissions, or a bulk download of Moodle, Canvas or Gradescope",
        "out": "the folder for gradebook.csv, gradebook.db and each student's feedback",
        "jobs": "processes that judge (default, 0: one a processor)",
        "resume": "go on with the gradebook in --out: only what is new or changed is judged",
        "private": "a folder with checks of your own, test_*.py",
        "roster": "the class, as for assign",
        "secret_file": "the secret of assign: whose nonce is in a capture",
        "course": "the course's name, as for assign (default: tcp-lab)",
        "allowed_signers": "the students' enrolled keys, in ssh-keygen's format of that name",
        "late_policy": "what lateness costs (docs/teachers.md)",
        "layout": "how submissions are named: auto, plain, moodle, canvas, gradescope",
        "export": "also for: gradescope, canvas, moodle, autolab (commas between several)",
        "cluster": "the address of a Dask scheduler that judges: tcp://HOST:PORT",
        "pages": "who gets a report page, too: all, none, or auto, which is all of up to 500 (default: auto)",
        "lang": f"the language of the feedback, and here: {', '.join(LANGUAGES)} (default: the locale's)",
    },
)
@speaking_command
def grade(  # noqa: PLR0913
    _context: Context,
    submissions: str,
    out: str,
    lab: str = "handshake",
    jobs: str = "0",
    resume: bool = False,
    private: str | None = None,
    roster: str | None = None,
    secret_file: str | None = None,
    course: str = "tcp-lab",
    allowed_signers: str | None = None,
    late_policy: str | None = None,
    layout: str = "auto",
    export: list[str] | None = None,
    cluster: str | None = None,
    pages: str = "auto",
) -> int:
    """Grade a folder of submissions: marks, feedback for each student, and a list of what needs a human eye."""
    from harness.grading.grader import Order
    from harness.grading.grader import grade as grade_all

    return grade_all(
        Order(
            lab,
            Path(submissions),
            Path(out),
            jobs=_number(jobs, "--jobs"),
            resume=resume,
            private=_path(private),
            roster=_path(roster),
            secret_file=_path(secret_file),
            course=course,
            allowed_signers=_path(allowed_signers),
            late_policy=_path(late_policy),
            layout=layout,
            exports=tuple(name for one in export or () for name in one.split(",")),
            cluster=cluster,
            pages=pages,
        )
    )


@task(
    help={
        "lab": "the lab whose rubric is proven (default: handshake)",
        "private": "a folder with checks of your own, test_*.py, to be proven with it",
        "every": "change the fields of every segment, not of a sample",
        "json": "print the document (schema tcp-lab/proof/v1) and nothing else",
        **LANG_HELP,
    }
)
@speaking_command
def prove_rubric(
    _context: Context, lab: str = "handshake", private: str | None = None, every: bool = False, json: bool = False
) -> int:
    """Grade the grader: what is wrong must lose points, what is legal must not; prints the kill table."""
    from harness.cli import print_styled, progress, say, width
    from harness.grading.proving import prove
    from harness.reports.kill_table import kill_table
    from harness.runs import dump_json

    with progress(quiet=json) as announce:
        proof = prove(lab, _path(private), announce, every=every)
    if json:
        say(dump_json(proof.to_json()).rstrip())
    else:
        print_styled(kill_table(proof, width()))
    return proof.exit_status


@task(
    help={
        "lab": "the lab that Gradescope is to grade (default: handshake)",
        "out": "the autograder's file (default: gradescope-LAB.zip)",
        **LANG_HELP,
    }
)
@speaking_command
def gradescope_bundle(_context: Context, lab: str = "handshake", out: str | None = None) -> int:
    """Make the autograder zip for Gradescope, which needs no network when it grades."""
    from harness.cli import say
    from harness.grading.gradescope_bundle import gradescope_bundle as bundle
    from harness.runs import write_private

    path = Path(out or f"gradescope-{lab}.zip")
    write_private(path, bundle(lab, ROOT))
    say(_("{path}: upload it as the assignment's autograder").format(path=path))
    return 0


@task(help=LANG_HELP)
@speaking_command
def doctor(_context: Context) -> int:
    """Say what this machine can run, and the mend for each lack."""
    from harness.doctor import report

    return report()


@task(
    help={
        "inventory": RUN_HELP["inventory"],
        "provider": "vm: two virtual machines (default: the inventory's)",
        **LANG_HELP,
    }
)
@speaking_command
def up(_context: Context, inventory: str = str(ROOT / "inventory.yaml"), provider: str | None = None) -> int:
    """Start two machines that stay up: for runs that take seconds, and for work by hand."""
    from harness.keeping import up as start

    return start(Path(inventory), provider)


@task(
    help={
        "host": "server or client",
        "command": "a command to run there (default: a shell)",
        **LANG_HELP,
    }
)
@speaking_command
def ssh(_context: Context, host: str, command: str | None = None) -> int:
    """Log in to one of the machines that are up."""
    from harness.keeping import log_in

    log_in(host, command)


@task(help=LANG_HELP)
@speaking_command
def down(_context: Context) -> int:
    """End the machines that are up."""
    from harness.keeping import down as end

    return end()


@task(
    help={
        "inventory": RUN_HELP["inventory"],
        "yes": "accept the keys without being asked (for scripts: compare the fingerprints first)",
        "replace": "take a new key in place of one that is pinned: the host was set up anew",
        **LANG_HELP,
    }
)
@speaking_command
def trust(
    _context: Context,
    inventory: str = str(ROOT / "inventory.yaml"),
    yes: bool = False,
    replace: bool = False,
) -> int:
    """Show the host keys of machines that you have already, and pin them in known_hosts beside the inventory."""
    from harness.trusting import trust as show_and_pin

    return show_and_pin(Path(inventory), yes=yes, replace=replace)


@task(
    help={
        "inventory": RUN_HELP["inventory"],
        "provider": "hosts: on both hosts of the inventory, too (default: the inventory's provider)",
        **LANG_HELP,
    }
)
@speaking_command
def clean(_context: Context, inventory: str = str(ROOT / "inventory.yaml"), provider: str | None = None) -> int:
    """Remove what runs that were killed have left, and nothing else; says what it was."""
    from harness.cleaning import clean as remove_leftovers

    return remove_leftovers(Path(inventory), provider)


@task(
    help={
        "runs": "how often (default: 100)",
        "at_once": "so many at the same time (default: 1)",
        "inventory": RUN_HELP["inventory"],
        "provider": RUN_HELP["provider"],
        "out": "the folder for the runs that did not pass (default: runs/<UTC time>-soak)",
        **LANG_HELP,
    }
)
@speaking_command
def soak(
    _context: Context,
    runs: str = "100",
    at_once: str = "1",
    inventory: str = str(ROOT / "inventory.yaml"),
    provider: str | None = None,
    out: str | None = None,
) -> int:
    """Run the handshake lab many times, with each kind of close: what goes wrong, by kind, and the memory it takes."""
    from harness.soaking import soak as run_many

    return run_many(_number(runs, "--runs"), _number(at_once, "--at-once"), Path(inventory), provider, _path(out))


@task(help=LANG_HELP)
@speaking_command
def vm_build(_context: Context) -> int:
    """Build the image that the virtual machines boot: about a minute, once, with a network."""
    from harness.building import vm_build as build

    return build()


@task(
    help={
        "inventory": RUN_HELP["inventory"],
        "out": "the folder for the pictures (default: docs/images)",
    }
)
@command
def screenshots(
    _context: Context, inventory: str = str(ROOT / "inventory.yaml"), out: str = str(ROOT / "docs" / "images")
) -> int:
    """Make the documents' pictures from a real run, with headless Chromium."""
    from harness.picturing import screenshots as take

    return take(inventory=Path(inventory), out=Path(out))


@task(
    help={
        "what": "run (the same by hand), analyze (tcptrace, tshark, dpkt) or grade (tshark, pytest + scapy)",
        "rounds": "how often (default: 5)",
    }
)
@command
def bench(_context: Context, what: str, rounds: str = "5") -> int:
    """Measure against peers, side by side: `bench run`, `bench analyze`, `bench grade`."""
    from harness.developing import bench as measure

    return measure(what, _number(rounds, "--rounds"))


@task(help={"minutes": "for how long (default: 10)"})
@command
def fuzz(_context: Context, minutes: str = "10") -> int:
    """Feed the readers ever stranger files, guided by what code they reach."""
    from harness.developing import fuzz as run_fuzzer

    return run_fuzzer(_number(minutes, "--minutes"))


@task(
    help={
        "args": "more arguments for pytest, in one string",
        "machines": "run all tests of virtual machines, also where KVM does not work: six minutes more",
    }
)
@command
def test(_context: Context, args: str = "", machines: bool = False) -> int:
    """Run the project's tests."""
    from harness.developing import test as run_tests

    return run_tests(args, machines=machines)


@task(help={"fix": "mend what can be mended"})
@command
def lint(_context: Context, fix: bool = False) -> int:
    """Check format, lint and types."""
    from harness.developing import lint as run_lint

    return run_lint(fix=fix)


@task
@command
def catalogue(_context: Context) -> int:
    """Take the texts to translate from the source into each language's catalogue; translations are kept."""
    from harness.catalogues import update

    return update()


@task
@command
def lock(_context: Context) -> int:
    """Write requirements.lock anew from pyproject.toml (needs uv)."""
    from harness.developing import lock as run_lock

    return run_lock()
