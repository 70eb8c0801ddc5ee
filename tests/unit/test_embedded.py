"""The embedded provider, as far as it needs no namespaces."""

import os
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts import embedded
from harness.inventory import HostEntry


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=15000"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_forbidden_namespaces_name_the_setting(
    setting: str, value: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line: which setting forbids it, how to change it, and that root works; nothing of it for root."""
    path = tmp_path / setting
    path.parent.mkdir(parents=True)
    path.write_text(value + "\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = embedded.refusal(tmp_path)
    assert said is not None
    assert mend in said
    assert "run as root" in said
    assert "\n" not in said
    path.write_text("1\n" if value == "0" else "0\n")
    assert embedded.refusal(tmp_path) is None
    path.write_text(value + "\n")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert embedded.refusal(tmp_path) is None


def test_a_missing_tool_names_its_package() -> None:
    """One line with the command that installs it."""
    with pytest.raises(HarnessError, match=r"no-such-tool is not installed.*sudo apt-get install no-such-tool"):
        embedded.tool("no-such-tool")


def test_accounts_put_the_labs_user_first() -> None:
    """The lab's user has our uid, a home of its own, and no password; nobody else has that name or uid."""
    entry = HostEntry("server", "192.168.1.63", "tester", 22, "ens33")
    passwd, shadow = embedded._accounts(entry)
    first, *rest = passwd.splitlines()
    assert first.startswith(f"tester:x:{os.geteuid()}:{os.getegid()}::/home/tester:")
    assert all(line.split(":")[0] != "tester" and line.split(":")[2] != str(os.geteuid()) for line in rest)
    assert any(line.startswith("sshd:") for line in rest)
    assert shadow.startswith("tester:*:")
