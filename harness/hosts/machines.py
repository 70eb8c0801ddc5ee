"""Two QEMU machines: started, watched, stopped. What they are for is in `vm.py`, what runs in them in `guest/`.

A machine is a process: a kernel of the image's, a disk that is an overlay of the image's, and a second disk with its
configuration as a tar archive. It has two network cards: one for management, whose ssh port is forwarded to a port on
this machine's loopback, and one for the lab link, which is a pair of datagram sockets between both machines.
"""

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

from harness.errors import HarnessError, one_line
from harness.hosts.image import Image, recipe
from harness.interrupts import held_back
from harness.waiting import wait_for

READY = "tcp-lab: ready"  # what the guest prints when its sshd runs
MANAGEMENT = "10.0.2.15/24"  # the guest's address in QEMU's own network
MEMORY = "256"  # MB
BOOT_SECONDS = 180.0  # a deadline: 8 s on an idle machine without KVM
KVM_SECONDS = 5.0  # in which a kernel begins to speak, if KVM works
STOP_SECONDS = 10.0
_LAST_LINES = 3


# Runs a command until its own standard input ends, which is when we close it or end, also when we are killed; then it
# removes the folder, too.
_UNTIL_WE_END = """
folder=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
command=$!
(read -r _ <&3; trap '' TERM; kill "$command"; rm -rf "$folder") & # once begun it is not to be cut short
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
    """

    role: str
    peer: str
    files: dict[str, str]
    lab_mac: str
    management_mac: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that was started.

    Attributes:
        role: "server" or "client".
        folder: where its files are.
        process: what runs QEMU, and ends when it does (`_UNTIL_WE_END`).
        port: the port on 127.0.0.1 that leads to its sshd.
    """

    role: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    port: int

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
        return self.process.poll() is None

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
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


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
    link = f"local.type=unix,local.path={plan.role}.link,remote.type=unix,remote.path={plan.peer}.link"
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
        "-netdev", f"dgram,id=lab,{link}",
        "-device", f"virtio-net-pci,netdev=lab,mac={plan.lab_mac}",
    ]  # fmt: skip


def start(plan: Plan, folder: Path, image: Image, accelerated: str) -> Machine:
    """Start a machine; it boots while this returns.

    Raises:
        HarnessError: QEMU could not be started; says what it said.
    """
    (folder / f"{plan.role}.tar").write_bytes(_archive(plan.files))
    overlay = folder / f"{plan.role}.qcow2"
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image.disk), "-F", "raw", str(overlay)]
    made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode:
        raise HarnessError(f"vm: qemu-img ended with status {made.returncode}: {one_line(made.stderr)}")
    port = _free_port()
    errors = folder / f"{plan.role}.errors"
    with held_back(), errors.open("wb") as said:
        process = subprocess.Popen(
            ["sh", "-c", _UNTIL_WE_END, "sh", str(folder), *_command(plan, folder, image, accelerated, port)],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the harness
        )
    machine = Machine(plan.role, folder, process, port)
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.1)  # what is wrong with its command line it says at once
        raise HarnessError(f"vm: QEMU ended with status {process.returncode}: {one_line(errors.read_text())}")
    return machine


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
