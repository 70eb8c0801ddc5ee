"""Logging in by password: from the environment or typed, never kept, never shown."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.existing import existing
from tests.live.conftest import Lab
from tests.live.sites import Site, another_sshd
from tests.live.terminals import at_a_terminal
from tests.live.watching import ROOT

pytestmark = pytest.mark.usefixtures("root")
PASSWORD = "correct horse%battery\\staple"  # noqa: S105 - of two machines that end with the test
VARIABLE = "LAB_PASSWORD"
_BY_WORD = "PermitRootLogin yes\nPubkeyAuthentication no\nPasswordAuthentication yes\nUsePAM no\n"
_BY_QUESTION = (
    "PermitRootLogin yes\nPubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\n"
    "UsePAM yes\n"
)


@pytest.fixture(params=[_BY_WORD, _BY_QUESTION], ids=["password", "keyboard-interactive"])
def behind_passwords(site: Site, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Two machines that take no keys."""
    if request.param == _BY_QUESTION and not Path("/etc/pam.d/sshd").exists():
        pytest.skip("this machine's sshd has no PAM")
    monkeypatch.setenv("HOME", str(site.folder))  # its user has no keys of his own
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    with ExitStack() as stack:
        for host in site.doors.testbed.hosts:
            host.shell("cat >/etc/shadow; cat /etc/shadow", stdin=f"root:{hashed}:19000:0:99999:7:::\n")
            stack.enter_context(another_sshd(host, 2222, request.param))
            site.proxies[host.role] = site.doors.proxy(host.role, 2222)
        site.changed = {"identity_file": None}
        yield site


def test_from_the_environment(
    behind_passwords: Site, start: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that the inventory names is used; the password is in no file, no output and no process's words."""
    behind_passwords.changed["password_env"] = VARIABLE
    monkeypatch.setenv(VARIABLE, PASSWORD)
    out = tmp_path / "run"
    finished = start("run-handshake-lab", "--inventory", behind_passwords.inventory_file, "--out", out).finish()
    assert finished.status == 0, finished
    kept = [finished.stdout, finished.stderr, *(file.read_text(errors="replace") for file in out.iterdir())]
    assert len(kept) > 6
    assert not [text for text in kept if PASSWORD in text]


def test_wrong_password(behind_passwords: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is one line, which does not tell it."""
    behind_passwords.changed["password_env"] = VARIABLE
    monkeypatch.setenv(VARIABLE, "wrong" + PASSWORD)
    with pytest.raises(HarnessError) as raised, existing(behind_passwords.inventory):
        pass
    assert str(raised.value).startswith("server (root@lab-server port 22): connecting: sshd refused the login")
    error: BaseException | None = raised.value
    while error is not None:
        assert PASSWORD not in repr(error)
        error = error.__cause__ or error.__context__


def test_typed(behind_passwords: Site, tmp_path: Path) -> None:
    """At a terminal each host's password is asked for once, and is not shown."""
    words = ("run-handshake-lab", "--inventory", behind_passwords.inventory_file, "--out", tmp_path / "run")
    with at_a_terminal((ROOT / "invoke", *words), os.environ) as terminal:
        for _ in range(2):
            terminal.hear("(it is not shown):")
            terminal.type(f"{PASSWORD}\n")
        assert terminal.status() == 0, terminal.said
    assert set(re.findall(r"Password of (\S+)", terminal.said)) == {"root@lab-server", "root@lab-client"}
    assert terminal.said.count("Password of") == 2
    assert PASSWORD not in terminal.said


def test_interrupted_at_the_prompt(behind_passwords: Site, tmp_path: Path) -> None:
    """Ctrl-C at the prompt ends the run in one line."""
    words = ("run-handshake-lab", "--inventory", behind_passwords.inventory_file, "--out", tmp_path / "run")
    with at_a_terminal((ROOT / "invoke", *words), os.environ) as terminal:
        terminal.hear("(it is not shown):")
        terminal.type("\x03")
        assert terminal.status() == 2
    assert "interrupted: " in terminal.said
    assert behind_passwords.proxies_left() == []


def test_nobody_to_ask(behind_passwords: Site, start: Lab) -> None:
    """Without a terminal and without a variable: one line that says how a password is given."""
    said = start("run-handshake-lab", "--inventory", behind_passwords.inventory_file).finish().refusal
    assert "sshd refused the login" in said
    assert "password_env" in said


def test_missing_variable(site: Site) -> None:
    """A variable that is not there is named before anybody logs in."""
    site.changed["password_env"] = VARIABLE
    expected = r"hosts\.server\.password_env: the environment has no LAB_PASSWORD"
    with pytest.raises(HarnessError, match=expected), existing(site.inventory):
        pass
