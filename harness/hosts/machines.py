"""QEMU machines: started, watched, stopped. What they are for is in `pair.py`, what runs in them in `guest/`.

A machine is a process: a kernel of the image's, a disk that is an overlay of the image's, and a second disk with its
configuration as a tar archive. It has two network cards: one for management, whose ssh port is forwarded to a port on
this machine's loopback, and one for the lab link, which is a pair of datagram sockets between both machines.
"""

import fcntl
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, one_line
from harness.hosts.image import Image
from harness.hosts.recipe import recipe
from harness.interrupts import held_back
from harness.waiting import wait_for

READY = "tcp-lab: ready"  # what the guest prints when its sshd runs
MANAGEMENT = "10.0.2.15/24"  # the guest's address in QEMU's own network
MEMORY = "256"  # MB
BOOT_SECONDS = 180.0  # a deadline: 8 s on an idle machine without KVM
KVM_SECONDS = 5.0  # in which a kernel begins to speak, if KVM works
STOP_SECONDS = 10.0
_LAST_LINES = 3
# The keepers that this process started and that outlive it: a Popen that is collected before its child has ended warns.
_STAYING: "list[subprocess.Popen[bytes]]" = []

# Runs a command until its own standard input ends or says something; then it removes the folder, too, if one is named.
# The input ends when we close it or end, also when we are killed; that of a machine that is to stay is a pipe which
# never ends.
_UNTIL_WE_END = """
folder=$1
echo "$$" >"$2" # it leads its process group
shift 2
exec 3<&0
"$@" </dev/null 3<&- &
command=$!
# Once begun it is not to be cut short.
(read -r _ <&3; trap '' TERM; kill "$command"; [ -z "$folder" ] || rm -rf "$folder") &
reader=$!
exec 3<&-
wait "$command"
status=$?
kill "$reader" 2>/dev/null
wait "$reader" 2>/dev/null
exit "$status"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One machine.

    Attributes:
        role: "server" or "client".
        peer: the other's.
        files: the files of its configuration, by name (see guest/lab-init).
        lab_mac: the hardware address of its card on the lab link.
        management_mac: of the other.
        link: QEMU's -netdev for the lab link; by default a pair of sockets between both machines.
    """

    role: str
    peer: str
    files: dict[str, str]
    lab_mac: str
    management_mac: str
    link: str = ""


class Keeper(Protocol):
    """The process that runs a machine."""

    @property
    def runs(self) -> bool:
        """Whether it does."""

    def stop(self) -> None:
        """End it, and wait until it has ended."""


@dataclass(frozen=True, slots=True)
class OwnKeeper:
    """A keeper that ends with us.

    Attributes:
        process: our child.
    """

    process: "subprocess.Popen[bytes]"

    @property
    def runs(self) -> bool:
        """Whether the child is there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End its standard input; kill it if that does not help."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass(frozen=True, slots=True)
class StayingKeeper:
    """A keeper that stays when we end, and may have been started by another run.

    Attributes:
        pipe: what is written there ends it.
        lock: held by it and by QEMU; with its process group's number.
    """

    pipe: Path
    lock: Path

    @property
    def runs(self) -> bool:
        """Whether somebody holds the lock."""
        try:
            with self.lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def stop(self) -> None:
        """Write into the pipe; kill it if that does not help."""
        if not self.runs:
            return
        group = self.lock.read_text(encoding="ascii").strip()
        with suppress(OSError):  # nobody reads it any more
            pipe = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b"\n")
            os.close(pipe)
        try:
            wait_for("a machine to end", lambda: not self.runs, seconds=STOP_SECONDS)
        except HarnessError:
            with suppress(ProcessLookupError):
                os.killpg(int(group), signal.SIGKILL)
            wait_for("a killed machine to end", lambda: not self.runs, seconds=STOP_SECONDS)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that was started.

    Attributes:
        role: "server" or "client".
        folder: where its files are.
        port: the port on 127.0.0.1 that leads to its sshd.
        keeper: what runs QEMU, and ends when it does (`_UNTIL_WE_END`).
    """

    role: str
    folder: Path
    port: int
    keeper: "Keeper"

    @property
    def console(self) -> str:
        """What it has written to its serial line."""
        try:
            return (self.folder / f"{self.role}.console").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self.keeper.runs

    @property
    def last_words(self) -> str:
        """The last lines of its console."""
        lines = [line.strip() for line in self.console.splitlines() if line.strip()]
        return one_line(" / ".join(lines[-_LAST_LINES:]), 300) or "nothing"

    def wait_until_ready(self) -> None:
        """Wait for its sshd.

        Raises:
            HarnessError: it ended before, or was not ready in time; says its last words.
        """

        def ready() -> bool:
            if READY in self.console:
                return True
            if not self.runs:
                raise HarnessError(
                    f"vm: the {self.role}'s machine ended at start; its console's last: {self.last_words}"
                )
            return False

        try:
            wait_for(f"the {self.role}'s machine to boot", ready, seconds=BOOT_SECONDS)
        except HarnessError as error:
            if READY in self.console or not self.runs:
                raise
            raise HarnessError(f"{error}; its console's last: {self.last_words}") from None

    def stop(self) -> None:
        """End it; its disk is an overlay that nobody needs any more."""
        self.keeper.stop()


def qemu() -> str:
    """The program for this machine's architecture.

    Raises:
        HarnessError: it is not installed.
    """
    name = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[recipe().architecture]
    for tool, package in ((name, "qemu-system-x86"), ("qemu-img", "qemu-utils")):
        if shutil.which(tool) is None:
            raise HarnessError(f"vm: {tool} is not installed on this machine; run: sudo apt-get install {package}")
    return name


def _machine_type(accelerator: str) -> tuple[str, ...]:
    if recipe().architecture == "arm64":
        return ("-machine", "virt", "-cpu", "host" if accelerator == "kvm" else "max")
    return ("-machine", "q35", "-cpu", "host" if accelerator == "kvm" else "max")


def _serial() -> str:
    return "ttyAMA0" if recipe().architecture == "arm64" else "ttyS0"


def accelerator(image: Image, cache: Path) -> str:
    """KVM where a kernel starts under it, else TCG: a /dev/kvm that opens may still not work.

    What was found is noted for as long as this machine runs.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    note = cache / f"accelerator-{boot}"
    with suppress(OSError):
        return note.read_text(encoding="ascii")
    found = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _starts_under_kvm(image) else "tcg"
    with suppress(OSError):
        note.write_text(found, encoding="ascii")
    return found


def _starts_under_kvm(image: Image) -> bool:
    """Whether a kernel, without a disk, begins to speak under KVM."""
    command = [
        qemu(), "-accel", "kvm", *_machine_type("kvm"), "-m", MEMORY, "-nodefaults", "-no-user-config",
        "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(image.kernel),
        "-append", f"console={_serial()} panic=-1",
    ]  # fmt: skip
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        return b"Linux version" in (error.stdout or b"")
    return b"Linux version" in said.stdout


def _free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def _archive(files: dict[str, str]) -> bytes:
    """The configuration as a tar archive, of whole sectors."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o600
            archive.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


def _command(plan: Plan, folder: Path, image: Image, accelerated: str, port: int) -> list[str]:
    """QEMU's command line; the lab link's sockets are named within the folder, where QEMU is started."""
    sockets = f"local.type=unix,local.path={plan.role}.link,remote.type=unix,remote.path={plan.peer}.link"
    link = plan.link or f"dgram,{sockets}"
    return [
        qemu(), "-name", f"tcp-lab-{plan.role}", "-accel", accelerated, *_machine_type(accelerated),
        "-m", MEMORY, "-smp", "1", "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-monitor", "none", "-serial", f"file:{plan.role}.console",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", f"root=/dev/vda rw console={_serial()} quiet init=/sbin/lab-init",
        "-drive", f"file={folder / plan.role}.qcow2,if=virtio,format=qcow2",
        "-drive", f"file={plan.role}.tar,if=virtio,format=raw,readonly=on",
        "-device", "virtio-rng-pci",
        "-netdev", f"user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", f"virtio-net-pci,netdev=management,mac={plan.management_mac}",
        "-netdev", f"{link},id=lab",
        "-device", f"virtio-net-pci,netdev=lab,mac={plan.lab_mac}",
    ]  # fmt: skip


def _made(plan: Plan, folder: Path, image: Image) -> None:
    """The files of a machine: its configuration, and an overlay of the image's disk."""
    (folder / f"{plan.role}.tar").write_bytes(_archive(plan.files))
    overlay = folder / f"{plan.role}.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk), "-F", "raw", str(overlay)]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode:
        raise HarnessError(f"vm: qemu-img ended with status {made.returncode}: {one_line(made.stderr)}")


def _keeper(
    plan: Plan, folder: Path, command: list[str], stdin: int, held: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start what runs a machine; it stays and holds the lock's descriptor, or removes the folder in the end."""
    ends = (str(folder), "/dev/null") if held is None else ("", f"{plan.role}.lock")
    errors = folder / f"{plan.role}.errors"
    with held_back(), errors.open("wb") as said:
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_WE_END, "sh", *ends, *command],
            cwd=folder,
            stdin=stdin,
            stdout=said,
            stderr=said,
            pass_fds=() if held is None else (held,),
            start_new_session=True,  # Ctrl-C is for the harness
        )
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.1)  # what is wrong with its command line it says at once
        raise HarnessError(f"vm: QEMU ended with status {process.returncode}: {one_line(errors.read_text())}")
    return process


def start(plan: Plan, folder: Path, image: Image, accelerated: str) -> Machine:
    """Start a machine that ends with us; it boots while this returns.

    Raises:
        HarnessError: QEMU could not be started; says what it said.
    """
    _made(plan, folder, image)
    port = _free_port()
    process = _keeper(plan, folder, _command(plan, folder, image, accelerated, port), subprocess.PIPE)
    return Machine(plan.role, folder, port, OwnKeeper(process))


def start_kept(plan: Plan, folder: Path, image: Image, accelerated: str) -> Machine:
    """Start a machine that stays when we end; it boots while this returns.

    Raises:
        HarnessError: QEMU could not be started; says what it said.
    """
    _made(plan, folder, image)
    port = _free_port()
    machine = kept_machine(plan.role, folder, port)
    os.mkfifo(folder / f"{plan.role}.pipe", 0o600)
    pipe = os.open(folder / f"{plan.role}.pipe", os.O_RDWR)  # its own writer: it never ends
    with (folder / f"{plan.role}.lock").open("wb") as lock:
        held = fcntl.fcntl(lock, fcntl.F_DUPFD_CLOEXEC, 10)  # the keeper's script uses 3
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            _STAYING.append(_keeper(plan, folder, _command(plan, folder, image, accelerated, port), pipe, held))
        finally:
            os.close(held)
            os.close(pipe)
    return machine


def kept_machine(role: str, folder: Path, port: int) -> Machine:
    """A machine that was started to stay, by whomsoever."""
    return Machine(role, folder, port, StayingKeeper(folder / f"{role}.pipe", folder / f"{role}.lock"))


@contextmanager
def running(plans: list[Plan], folder: Path, image: Image, cache: Path) -> Iterator[list[Machine]]:
    """Both machines, booted; they are ended when the block is left, however that happens.

    Raises:
        HarnessError: one could not be started, or did not boot.
    """
    accelerated = accelerator(image, cache)
    with ExitStack() as stack:
        machines = []
        for plan in plans:
            machine = start(plan, folder, image, accelerated)
            stack.callback(machine.stop)
            machines.append(machine)
        for machine in machines:
            machine.wait_until_ready()
        yield machines
