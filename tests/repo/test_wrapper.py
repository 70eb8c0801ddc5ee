"""The wrapper ./invoke: sets up once, says what is missing, and gets out of the way."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASICS = (
    "sh",
    "cat",
    "cmp",
    "env",
    "rm",
    "mkdir",
    "flock",
    "id",
    "grep",
    "tail",
    "chmod",
    "dirname",
    "printf",
    "uname",
)
TOOLS = ("tcpdump", "sshd", "ssh", "ssh-keygen", "ip", "ss", "nft", "ethtool", "unshare", "setpriv", "mount", "apt-get")
MACHINE_TOOLS = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-img", "mmdebstrap", "newuidmap", "mke2fs")

# A Python that makes a .venv whose invoke says what it was called with.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
"-m venv "*)
    mkdir -p "$3/bin"
    echo made >>"$MADE"
    printf '#!/bin/sh\\nexit 0\\n' >"$3/bin/python"
    printf '#!/bin/sh\\necho "invoke $*"\\n' >"$3/bin/invoke"
    chmod +x "$3/bin/python" "$3/bin/invoke"
    ;;
--version) echo "Python $VERSION" ;;
*version_info*) [ "$VERSION" != 3.9.2 ] ;;
esac
"""


class Clone:
    """A folder with the wrapper, and a PATH with nothing but what is put there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "clone"
        self.bin = folder / "bin"
        self.made = folder / "made"
        self.folder.mkdir()
        self.bin.mkdir()
        # The wrapper looks in /usr/sbin and /sbin too; here it must not find this machine's tools.
        text = (ROOT / "invoke").read_text(encoding="utf-8").replace(":/usr/sbin:/sbin", "")
        assert text != (ROOT / "invoke").read_text(encoding="utf-8")
        (self.folder / "invoke").write_text(text, encoding="utf-8")
        (self.folder / "invoke").chmod(0o755)
        (self.folder / "requirements.lock").write_text("one==1\n")
        for name in BASICS:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        for name in TOOLS:
            self.tool(name, "#!/bin/sh\nexit 0\n")
        self.tool("python3", FAKE_PYTHON)
        for name, value in {"PATH": str(self.bin), "MADE": str(self.made), "VERSION": "3.11.2"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("LAB_NO_INSTALL", raising=False)
        monkeypatch.delenv("LAB_PYTHON", raising=False)

    def tool(self, name: str, script: str) -> None:
        (self.bin / name).unlink(missing_ok=True)  # it may be a link to this machine's
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(self.folder / "invoke"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60, cwd="/"
        )

    def times_made(self) -> int:
        return len(self.made.read_text().splitlines()) if self.made.exists() else 0


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    return Clone(tmp_path, monkeypatch)


def test_the_first_call_sets_up_and_later_ones_do_not(clone: Clone) -> None:
    """.venv is made once; arguments go to invoke as they are, from any folder."""
    first = clone.run("check", "--capture", "a b.pcap")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"invoke --search-root {clone.folder} check --capture a b.pcap\n"
    assert "making .venv" in first.stderr
    second = clone.run("--list")
    assert (second.returncode, second.stderr) == (0, "")
    assert clone.times_made() == 1


def test_a_changed_lock_or_a_moved_clone_sets_up_again(clone: Clone) -> None:
    """The stamp names the lock and the place."""
    clone.run()
    (clone.folder / "requirements.lock").write_text("two==2\n")
    clone.run()
    assert clone.times_made() == 2
    moved = clone.folder.with_name("moved")
    clone.folder.rename(moved)
    clone.folder = moved
    assert clone.run().returncode == 0
    assert clone.times_made() == 3


def test_two_first_calls_at_once_set_up_once(clone: Clone) -> None:
    """The second waits and finds all done."""
    command = [str(clone.folder / "invoke")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        process.communicate(timeout=60)
    assert [process.returncode for process in both] == [0, 0]
    assert clone.times_made() == 1


def test_missing_packages_are_only_reported_if_asked(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """LAB_NO_INSTALL=1: the one line to run, exit 2, nothing installed."""
    monkeypatch.setenv("LAB_NO_INSTALL", "1")
    clone.tool("apt-get", '#!/bin/sh\necho called >>"$MADE"\n')
    for name in ("tcpdump", "sshd", "ss"):
        (clone.bin / name).unlink()
    done = clone.run("run-handshake-lab")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "./invoke: missing; run: sudo apt-get install --no-install-recommends tcpdump openssh-server iproute2\n"
    )
    assert clone.times_made() == 0


def test_without_rights_the_line_to_run_is_printed(clone: Clone) -> None:
    """Neither root nor sudo: one line, exit 2."""
    clone.tool("id", "#!/bin/sh\necho 1000\n")
    (clone.bin / "nft").unlink()
    done = clone.run()
    assert done.returncode == 2
    assert done.stderr.endswith("run as root: apt-get install --no-install-recommends nftables\n")
    assert len(done.stderr.splitlines()) == 1


def test_root_installs_what_is_missing(clone: Clone) -> None:
    """As root: says what it installs, installs it, and goes on."""
    clone.tool("id", "#!/bin/sh\necho 0\n")
    (clone.bin / "ethtool").unlink()
    clone.tool("apt-get", f'#!/bin/sh\necho "$*" >>{clone.folder}/apt\n')
    done = clone.run("doctor")
    assert done.returncode == 0, done.stderr
    assert "installing Debian packages: ethtool" in done.stderr
    assert (clone.folder / "apt").read_text().splitlines()[-1].endswith("--no-install-recommends ethtool")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("vm-build",), True),
        (("up",), True),
        (("run-handshake-lab", "--provider", "vm"), True),
        (("run", "teardown", "--provider=vm"), True),
        (("run-handshake-lab",), False),
        (("run", "teardown", "--provider", "embedded"), False),
        (("check", "--capture", "test"), False),
    ],
)
def test_machines_packages_are_asked_for_where_machines_are_wanted(
    clone: Clone, arguments: tuple[str, ...], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU and the rest: also after the set-up, by the tasks that start machines, and by no other."""
    clone.run()
    monkeypatch.setenv("LAB_NO_INSTALL", "1")
    clone.tool("uname", "#!/bin/sh\necho x86_64\n")
    done = clone.run(*arguments)
    assert done.returncode == (2 if wanted else 0)
    assert done.stderr == (
        "./invoke: missing; run: sudo apt-get install --no-install-recommends "
        "qemu-system-x86 qemu-utils mmdebstrap uidmap e2fsprogs\n"
        if wanted
        else ""
    )
    assert done.stdout == ("" if wanted else f"invoke --search-root {clone.folder} {' '.join(arguments)}\n")
    for name in MACHINE_TOOLS:
        clone.tool(name, "#!/bin/sh\nexit 0\n")
    assert clone.run(*arguments).returncode == 0


def test_root_installs_what_machines_need(clone: Clone) -> None:
    """As root they are installed, with the emulator of this architecture."""
    clone.tool("id", "#!/bin/sh\necho 0\n")
    clone.tool("apt-get", f'#!/bin/sh\necho "$*" >>{clone.folder}/apt\n')
    for name in MACHINE_TOOLS[2:]:
        clone.tool(name, "#!/bin/sh\nexit 0\n")
    for architecture, package in (("x86_64", "qemu-system-x86"), ("aarch64", "qemu-system-arm")):
        clone.tool("uname", f"#!/bin/sh\necho {architecture}\n")
        assert clone.run("vm-build").returncode == 0
        assert (clone.folder / "apt").read_text().splitlines()[-1].endswith(f"--no-install-recommends {package}")


def test_the_tests_run_without_what_machines_need(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be installed, two lines say so, and the tests begin."""
    monkeypatch.setenv("LAB_NO_INSTALL", "1")
    done = clone.run("test", "--args", "-x")
    assert done.returncode == 0
    assert done.stdout == f"invoke --search-root {clone.folder} test --args -x\n"
    said = done.stderr.splitlines()
    assert said[-4].startswith("./invoke: missing; run: sudo apt-get install")
    assert said[-3] == "./invoke: the tests of virtual machines will skip"
    assert said[-2] == "./invoke: missing; run: sudo apt-get install --no-install-recommends chromium"
    assert said[-1] == "./invoke: the tests of the pages will skip"


def test_a_browser_is_asked_for_where_it_is_wanted(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures need it; nothing else but the tests does."""
    clone.run()
    monkeypatch.setenv("LAB_NO_INSTALL", "1")
    done = clone.run("screenshots")
    assert done.returncode == 2
    assert done.stderr == "./invoke: missing; run: sudo apt-get install --no-install-recommends chromium\n"
    assert clone.run("report", "--run", "x").returncode == 0
    clone.tool("chromium", "#!/bin/sh\nexit 0\n")
    assert clone.run("screenshots").stdout == f"invoke --search-root {clone.folder} screenshots\n"


def test_a_failed_install_is_one_line(clone: Clone) -> None:
    """apt-get that fails: its last words, exit 2."""
    clone.tool("id", "#!/bin/sh\necho 0\n")
    (clone.bin / "ethtool").unlink()
    clone.tool("apt-get", "#!/bin/sh\necho 'E: no network'; exit 100\n")
    done = clone.run()
    assert done.returncode == 2
    assert "apt-get failed (E: no network)" in done.stderr.splitlines()[-1]


def test_an_old_python_is_named(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python older than 3.11: says which there is and what is needed."""
    monkeypatch.setenv("VERSION", "3.9.2")
    done = clone.run()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "./invoke: Python 3.11 or newer is needed, but python3 is Python 3.9.2"
    )
    assert clone.times_made() == 0


def test_a_broken_setup_is_done_again(clone: Clone) -> None:
    """If making .venv fails, the next call tries again, and nothing half-made is taken for whole."""
    clone.tool(
        "python3",
        "#!/bin/sh\ncase \"$*\" in *venv*) case $* in -c*) exit 0;; esac; echo 'error: disk full'; exit 1;; esac\n",
    )
    done = clone.run()
    assert done.returncode == 2
    assert "making .venv failed (error: disk full)" in done.stderr
    clone.tool("python3", FAKE_PYTHON)
    assert clone.run().returncode == 0


def test_the_wrapper_is_posix_sh() -> None:
    """It parses under dash, which is Debian's sh."""
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("dash is not installed")
    assert subprocess.run([dash, "-n", str(ROOT / "invoke")], check=False).returncode == 0
    assert os.access(ROOT / "invoke", os.X_OK)
