"""The front door: every command of the project. `./invoke --list` shows them, `./invoke --help TASK` explains one."""

from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from harness.cli import ROOT, command
from harness.errors import HarnessError

LAB_HELP = {"lab": "the lab whose rubric judges (default: handshake)"}
OUTPUT_HELP = {
    "json": "print results.json and nothing else",
    "S": "absolute sequence numbers, as tcpdump -S prints them",
}
RUN_HELP = {
    "inventory": "the inventory file (default: inventory.yaml beside tasks.py)",
    "provider": "who brings up the two hosts: embedded, hosts (default: the inventory's)",
    "close": "how the session is closed: three, four (segments) or as-is",
    "out": "the run folder (default: runs/<UTC time>-handshake)",
    **OUTPUT_HELP,
}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


@task(help=RUN_HELP)
@command
def run_handshake_lab(  # noqa: PLR0913
    _context: Context,
    inventory: str = str(ROOT / "inventory.yaml"),
    provider: str | None = None,
    close: str | None = None,
    out: str | None = None,
    S: bool = False,
    json: bool = False,
) -> int:
    """Run the handshake lab on the two hosts: capture one ssh session, judge it, show the verdict."""
    from harness.lab import run_lab

    return run_lab(
        "handshake",
        inventory=Path(inventory),
        provider=provider,
        close=close,
        out=_path(out),
        absolute=S,
        as_json=json,
    )


@task(help={"capture": "the capture file to judge", **LAB_HELP, **OUTPUT_HELP})
@command
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
    }
)
@command
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


@task
@command
def doctor(_context: Context) -> int:
    """Say what this machine can run, and the mend for each lack."""
    from harness.doctor import report

    return report()


@task(
    help={
        "what": "run (a lab run, and the same by hand) or analyze (captures; tcptrace, tshark, dpkt)",
        "rounds": "how often (default: 5)",
    }
)
@command
def bench(_context: Context, what: str, rounds: int = 5) -> int:
    """Measure against peers, side by side: `bench run`, `bench analyze`."""
    from harness.developing import bench as measure

    return measure(what, rounds)


@task(help={"minutes": "for how long (default: 10)"})
@command
def fuzz(_context: Context, minutes: int = 10) -> int:
    """Feed the readers ever stranger files, guided by what code they reach."""
    from harness.developing import fuzz as run_fuzzer

    return run_fuzzer(minutes)


@task(help={"args": "more arguments for pytest, in one string"})
@command
def test(_context: Context, args: str = "") -> int:
    """Run the project's tests."""
    from harness.developing import test as run_tests

    return run_tests(args)


@task(help={"fix": "mend what can be mended"})
@command
def lint(_context: Context, fix: bool = False) -> int:
    """Check format, lint and types."""
    from harness.developing import lint as run_lint

    return run_lint(fix=fix)


@task
@command
def lock(_context: Context) -> int:
    """Write requirements.lock anew from pyproject.toml (needs uv)."""
    from harness.developing import lock as run_lock

    return run_lock()
