"""The machine image, as it is used: built by mmdebstrap, booted by QEMU without KVM, spoken to by ssh."""

import io
import platform
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.image import Image, cached, image
from harness.hosts.keys import KeyPair, known_hosts_name, new_key_pair
from harness.hosts.recipe import ARCHITECTURES, FILES
from harness.waiting import wait_for

SECONDS_EACH = 300
QEMU = f"qemu-system-{platform.machine()}"
MACHINE = {"x86_64": ("pc", "qemu64", "ttyS0"), "aarch64": ("virt", "cortex-a72", "ttyAMA0")}
BOOT_SECONDS = 90.0
LAB_MAC, MANAGEMENT_MAC = "52:54:00:12:34:01", "52:54:00:12:34:02"
ENV = f"""\
ROLE=server
ADDRESS=192.168.1.63
PREFIX=24
INTERFACE=ens33
LAB_MAC={LAB_MAC}
MANAGEMENT_MAC={MANAGEMENT_MAC}
MANAGEMENT_ADDRESS=10.0.2.15/24
"""
SSHD_CONFIG = "HostKey /run/lab/host_key\nPasswordAuthentication no\nUsePAM no\nUseDNS no\n"
MACHINE_STATE = Path("/var/lib/apt/lists")
NOT_HERE = ("no way to the Debian mirror", "needs more programs", "no range of users", "forbids user namespaces")


@pytest.fixture(scope="module")
def built() -> Image:
    """The image in the ordinary cache: built here if it is missing, which leaves this machine's own apt alone."""
    if platform.machine() not in ARCHITECTURES or not shutil.which(QEMU):
        pytest.skip(f"{QEMU} is not installed; run: ./invoke vm-build, which installs it")
    before = sorted(path.name for path in MACHINE_STATE.glob("*"))
    was_there = cached() is not None
    try:
        made = image(lambda _step: None)
    except HarnessError as error:
        if any(words in str(error) for words in NOT_HERE):
            pytest.skip(str(error))
        raise
    assert was_there or sorted(path.name for path in MACHINE_STATE.glob("*")) == before
    return made


def debugfs(disk: Path, request: str) -> str:
    """debugfs(8) reads a file system that is not mounted."""
    tool = shutil.which("debugfs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert tool
    done = subprocess.run([tool, "-R", request, str(disk)], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout + done.stderr


def entries(disk: Path, folder: str) -> set[str]:
    """The names in a folder of the disk."""
    lines = [line.split("/") for line in debugfs(disk, f"ls -p {folder}").splitlines() if line.startswith("/")]
    return {fields[5] for fields in lines} - {".", ".."}


def config(path: Path, host_key: KeyPair, user_key: KeyPair, **changed: str) -> None:
    """The second disk: a tar archive, filled up to whole sectors as it always is."""
    files = {
        "env": ENV,
        "host_key": host_key.private,
        "authorized_keys": user_key.public + "\n",
        "hosts": "127.0.0.1 localhost\n192.168.1.63 server\n",
        "sshd_config": SSHD_CONFIG,
        **changed,
    }
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def booted(made: Image, folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A machine; its console is in the folder, its sshd behind the port."""
    kind, cpu, console = MACHINE[platform.machine()]
    command = [QEMU, "-machine", kind, "-cpu", cpu, "-accel", "tcg", "-m", "256", "-nodefaults", "-no-user-config"]
    command += ["-display", "none", "-no-reboot", "-serial", f"file:{folder / 'console'}"]
    command += ["-kernel", str(made.kernel), "-initrd", str(made.initrd)]
    command += ["-append", f"root=/dev/vda rw console={console} quiet panic=-1 init=/sbin/lab-init"]
    command += ["-drive", f"file={made.disk},format=raw,if=virtio,snapshot=on"]
    command += ["-drive", f"file={folder / 'config.tar'},format=raw,if=virtio,readonly=on"]
    command += ["-netdev", f"user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    command += ["-device", f"virtio-net-pci,netdev=management,mac={MANAGEMENT_MAC},romfile="]
    command += ["-netdev", "hubport,id=lab,hubid=0", "-device", f"virtio-net-pci,netdev=lab,mac={LAB_MAC},romfile="]
    with (folder / "qemu").open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def console(folder: Path) -> str:
    path = folder / "console"
    return path.read_text(errors="replace") if path.exists() else ""


def test_the_image_holds_no_key_and_nothing_of_this_machine(built: Image) -> None:
    """Keys come with the testbed; names, mirrors and the like stay where they are."""
    assert {name for name in entries(built.disk, "/etc/ssh") if "key" in name} == set()
    assert {"sshd_config", "ssh_config"} <= entries(built.disk, "/etc/ssh")
    assert ".ssh" not in entries(built.disk, "/root")
    assert entries(built.disk, "/home") == set()
    assert not {"machine-id", "resolv.conf", "hostname"} & entries(built.disk, "/etc")
    assert "sources.list" not in entries(built.disk, "/etc/apt")
    for folder in ("/tmp", "/srv", "/mnt", "/proc", "/sys", "/boot"):
        assert entries(built.disk, folder) == set(), folder


def test_the_image_is_small_and_has_room(built: Image) -> None:
    assert {path.name for path in built.disk.parent.iterdir()} >= set(FILES)
    assert built.disk.stat().st_blocks * 512 < 350e6 < built.disk.stat().st_size + 100e6
    superblock = dict(
        line.split(":", 1) for line in debugfs(built.disk, "show_super_stats -h").splitlines() if ":" in line
    )
    assert int(superblock["Free blocks"]) * int(superblock["Block size"]) > 80e6


@pytest.fixture(scope="module")
def keys() -> tuple[KeyPair, KeyPair]:
    return new_key_pair(), new_key_pair()


def test_it_boots_to_the_host_that_its_second_disk_describes(
    built: Image, keys: tuple[KeyPair, KeyPair], tmp_path: Path
) -> None:
    """Ready within the deadline; sshd has the host key given; tools and names are there; SIGTERM switches it off."""
    host_key, user_key = keys
    config(tmp_path / "config.tar", host_key, user_key)
    port = free_port()
    (tmp_path / "user").write_text(user_key.private)
    (tmp_path / "user").chmod(0o600)
    (tmp_path / "known").write_text(f"{known_hosts_name('127.0.0.1', port)} {host_key.public}\n")
    options = [f"UserKnownHostsFile={tmp_path / 'known'}", "GlobalKnownHostsFile=/dev/null", "BatchMode=yes"]
    options += ["StrictHostKeyChecking=yes", "ConnectTimeout=20", "IdentitiesOnly=yes"]
    ssh = ["ssh", "-F", "none", "-p", str(port), "-i", str(tmp_path / "user")]
    ssh += [word for option in options for word in ("-o", option)] + ["root@127.0.0.1"]

    def said(command: str) -> str:
        done = subprocess.run([*ssh, command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with booted(built, tmp_path, port) as machine:
        wait_for(
            "the machine to boot",
            lambda: "tcp-lab:" in console(tmp_path) or machine.poll() is not None,
            seconds=BOOT_SECONDS,
        )
        assert "tcp-lab: ready" in console(tmp_path), console(tmp_path) + (tmp_path / "qemu").read_text()
        assert said("hostname; cat /proc/1/comm; getent hosts server").split() == [
            *("server", "lab-init"),
            *("192.168.1.63", "server"),
        ]
        tools = "tcpdump ip ss nft tc ethtool python3 ssh sshd ps mount chrt unshare setpriv"
        assert len(said(f"for tool in {tools}; do command -v $tool; done").splitlines()) == len(tools.split())
        said("python3 -I -S -c 'import fcntl, hashlib, json, resource, select, socket, struct, termios'")
        said("modprobe sch_netem && nft list ruleset && test -e /sys/kernel/tracing/events/sock/inet_sock_set_state")
        links = said("ip -brief -4 address").splitlines()
        assert sorted(line.split()[0] for line in links) == ["ens33", "lo", "management"]
        assert any("192.168.1.63/24" in line for line in links if line.startswith("ens33"))
        offloads = said("ethtool -k ens33")
        for name in ("tcp-segmentation-offload", "generic-receive-offload", "tx-checksumming"):
            assert f"{name}: off" in offloads
        said("sh -c 'sleep 0.01 & exec true'; sleep 0.5; ! ps -e -o stat= | grep -q Z")
        said("kill -TERM 1")
        assert machine.wait(30) == 0


def test_what_fails_in_the_machine_is_said_and_ends_it(
    built: Image, keys: tuple[KeyPair, KeyPair], tmp_path: Path
) -> None:
    """An sshd_config that sshd refuses: one line on the console, and the machine is off."""
    config(tmp_path / "config.tar", *keys, sshd_config="HostKey /run/lab/host_key\nNoSuchWord yes\n")
    with booted(built, tmp_path, free_port()) as machine:
        assert machine.wait(BOOT_SECONDS) == 0
    assert "tcp-lab: failed: /usr/sbin/sshd" in console(tmp_path)
    assert "NoSuchWord" in console(tmp_path)
