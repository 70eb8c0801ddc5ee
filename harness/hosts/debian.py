"""Builds the machine image: mmdebstrap(1) makes a small Debian's root, `guest/pack` its disk."""

import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from harness.announcing import Announce
from harness.errors import HarnessError, one_line
from harness.hosts.embedded import refusal
from harness.hosts.recipe import FILES, GUEST, Recipe
from harness.interrupts import held_back

BUILD_SECONDS = 1800.0
ENDING_SECONDS = 30.0
SPACE = 2 << 30  # bytes: the root, its disk, and the disk on its way out of it
TOOLS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "tar": "tar"}
STAGES = {
    "I: running apt-get update": "reading the lists of packages",
    "I: downloading packages": "fetching packages",
    "I: extracting archives": "unpacking them",
    "I: installing essential": "installing the base system",
    "I: installing remaining": "installing the kernel, sshd and the tools",
    "I: running --customize-hook": "making the disk",
    "I: running special hook: download": "copying the disk out",
}
MENDS = {
    r"No space left": "free some space there and in /tmp",
    r"NO_PUBKEY|is not signed|keyring": "run: sudo apt-get install debian-archive-keyring",
    r"resolv|Could ?n[o']t connect|Cannot initiate|Failed to fetch|timed out|no longer has a Release file": (
        "no way to the Debian mirror: building needs a network once"
    ),
}


def _path() -> str:
    """Where programs are looked for: an ordinary user's PATH often lacks mke2fs."""
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def mode_here() -> str:
    """How mmdebstrap becomes root: it is, or it is in a user namespace with users of its own.

    Raises:
        HarnessError: a tool is missing, or this user has no such namespace.
    """
    missing = [package for name, package in TOOLS.items() if shutil.which(name, path=_path()) is None]
    if os.geteuid() == 0:
        mode = "root"
    else:
        mode = "unshare"
        if shutil.which("newuidmap", path=_path()) is None:
            missing.append("uidmap")
    if missing:
        raise HarnessError(f"image: building it needs more programs; run: sudo apt-get install {' '.join(missing)}")
    if mode == "unshare":
        user = pwd.getpwuid(os.geteuid()).pw_name
        for path in (Path("/etc/subuid"), Path("/etc/subgid")):
            owners = [line.split(":")[0] for line in path.read_text().splitlines()] if path.exists() else []
            if not {user, str(os.geteuid())} & set(owners):
                raise HarnessError(
                    f"image: {path} gives {user} no range of users to build it with; run: "
                    f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                )
        if reason := refusal():
            raise HarnessError(f"image: {reason}")
    return mode


def check_space(folder: Path) -> None:
    """Say it now, not after a minute: where there is no room the last steps fail."""
    for path in {folder, Path(os.environ.get("TMPDIR", "/tmp"))}:  # noqa: S108 - where mmdebstrap makes the root
        free = shutil.disk_usage(path).free
        if free < SPACE:
            raise HarnessError(
                f"image: {path} has {free >> 20} MB free, building takes {SPACE >> 20}; free some space, or name "
                "other folders in XDG_CACHE_HOME (the image) and TMPDIR (while it is built)"
            )


def _mirrors(suite: str) -> list[str]:
    """This machine's own sources of the suite, as lines of sources.list(5); none means mmdebstrap's default."""
    fields = ("$(SIGNED_BY)", "$(REPO_URI)", "$(RELEASE)", "$(COMPONENT)", "$(CREATED_BY)")
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "|".join(fields)],
            capture_output=True,
            text=True,
            check=False,
            timeout=ENDING_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    suites = {suite, f"{suite}-updates", f"{suite}-security"}
    targets = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == len(fields) - 1]
    found = {
        f"deb {f'[signed-by={signed}] ' if signed.startswith('/') else ''}{uri} {release} main": release
        for signed, uri, release, component, created in targets
        if release in suites and component == "main" and created == "Packages"
    }
    return list(found) if suite in found.values() else []


def command(made: Recipe, mode: str, partial: Path, mirrors: list[str]) -> list[str]:
    """mmdebstrap(1): its hooks make the disk and put it, as a tar, into the partial folder."""
    return [
        "mmdebstrap",
        f"--mode={mode}",
        f"--architectures={made.architecture}",
        f"--include={','.join(made.packages)}",
        *made.options,
        f"--customize-hook=upload {shlex.quote(str(GUEST / 'lab-init'))} /usr/sbin/lab-init",
        f"--customize-hook={made.files['pack']}",
        f"--customize-hook=download /srv.tar {shlex.quote(str(partial / 'image.tar'))}",
        made.suite,
        "/dev/null",  # the root itself is not kept
        *mirrors,
    ]


def _environment() -> dict[str, str]:
    """For programs whose words are read; without a HOME whose files the users of the namespace may not read."""
    return {**os.environ, "PATH": _path(), "LC_ALL": "C.UTF-8", "HOME": "/"}


def build(made: Recipe, mode: str, partial: Path, announce: Announce) -> None:
    """Build the image's files in an empty folder.

    Args:
        made: what is to be built.
        mode: how mmdebstrap becomes root.
        partial: the folder.
        announce: called with the name of each step as it begins.

    Raises:
        HarnessError: it failed; one line with the mend.
    """
    announce(f"building the machine image, once (mmdebstrap --mode={mode})")
    _run(command(made, mode, partial, _mirrors(made.suite)), partial / "build.log", announce)
    unpack = ["tar", "-xf", "image.tar", "--no-same-owner", *FILES]  # the holes of a sparse file stay holes
    unpacked = subprocess.run(
        unpack, cwd=partial, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS, env=_environment()
    )
    if unpacked.returncode:
        raise HarnessError(f"image: unpacking the disk failed: {one_line(unpacked.stderr)}")
    for name in FILES:
        (partial / name).chmod(0o644)
    (partial / "image.tar").unlink()


def _run(argv: list[str], log: Path, announce: Announce) -> None:
    """Run mmdebstrap to its end, telling its stages; what it says stays in the log.

    It removes what it made in /tmp when it is asked to end, so it is asked, and gets time for it.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with held_back():
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us
            )
        deadline = threading.Timer(BUILD_SECONDS, os.killpg, (process.pid, signal.SIGTERM))
        deadline.daemon = True
        deadline.start()
        try:
            said = _follow(process, log, announce)
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
            late = deadline.finished.is_set() or process.poll() is None
        finally:
            deadline.cancel()
    finally:
        if process:
            _end(process)
    if late:
        raise HarnessError(f"image: mmdebstrap did not end in {BUILD_SECONDS / 60:g} minutes; its output is in {log}")
    if process.returncode:
        raise HarnessError(_failure(said, log))


def _follow(process: "subprocess.Popen[str]", log: Path, announce: Announce) -> deque[str]:
    """Read what mmdebstrap says until it closes its end; its last lines."""
    said: deque[str] = deque(maxlen=200)
    stage = ""
    assert process.stderr  # noqa: S101 - it is a pipe
    with log.open("w", encoding="utf-8") as written:
        for line in process.stderr:
            written.write(line)
            said.append(line)
            begun = next((name for start, name in STAGES.items() if line.startswith(start)), stage)
            if begun != stage:
                stage = begun
                announce(stage)
    return said


def _end(process: "subprocess.Popen[str]") -> None:
    """Ask the whole process group to end, if it has not; then kill it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.communicate(timeout=ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    if process.stderr:
        process.stderr.close()


def _failure(said: "deque[str]", log: Path) -> str:
    """One line for what mmdebstrap said; its first error is nearest to the cause."""
    errors = [line for line in said if re.match(r"(E|mke2fs|tar|mount|cp):", line)]
    errors = errors or list(said)[-1:]
    why = one_line(errors[0], 200) if errors else "it said nothing"
    mend = next((mend for pattern, mend in MENDS.items() if re.search(pattern, "".join(errors))), None)
    return f"image: mmdebstrap failed: {why}; {f'{mend}; ' if mend else ''}whole output in {log}"
