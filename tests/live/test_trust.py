"""Whose key is it: `./invoke trust`, and what a run does with keys that are unknown or have changed."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from harness.errors import HarnessError
from harness.hosts.existing import existing
from harness.hosts.keys import new_key_pair
from harness.hosts.known_hosts import HostKey
from harness.hosts.ways import ways_to
from harness.inventory import Inventory, load_inventory
from tests.live.sites import Site, another_sshd
from tests.live.terminals import at_a_terminal
from tests.live.watching import ROOT, Finished

Run = Callable[..., Finished]


def fingerprint(public: str) -> str:
    """A public key's, as OpenSSH shows it."""
    return HostKey(*public.split()[:2]).fingerprint


def pins(site: Site) -> str:
    """The project's known_hosts."""
    return (site.folder / "known_hosts").read_text()


@pytest.fixture
def known(site: Site) -> dict[str, str]:
    """The real host keys of a site that knows none of them yet."""
    real = dict(site.host_keys)
    site.host_keys.clear()
    return real


def test_trust_records_what_it_shows(site: Site, known: dict[str, str], run: Run) -> None:
    """The keys of both hosts are shown in OpenSSH's words, and pinned; then the hosts can be reached."""
    inventory = site.inventory_file
    done = run("trust", "--inventory", inventory, "--yes")
    assert (done.status, done.stderr) == (0, "")
    for role, key in known.items():
        assert f"{role} (lab-{role}): {fingerprint(key)}\n" in done.stdout
        assert f"lab-{role} {key}\n" in pins(site)
    assert (site.folder / "known_hosts").stat().st_mode & 0o777 == 0o600
    again = run("trust", "--inventory", inventory)  # needs no answer: there is nothing to ask
    assert (again.status, again.stdout.count("known already")) == (0, 2)
    assert site.proxies_left() == []


def test_trust_without_a_terminal(site: Site, known: dict[str, str], run: Run) -> None:
    """Nobody can be asked: one line with the fingerprint, exit 2, and nothing is recorded."""
    finished = run("trust", "--inventory", site.inventory_file)
    assert fingerprint(known["server"]) in finished.refusal
    assert "--yes" in finished.refusal
    assert pins(site) == ""


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_trust_asks_at_a_terminal(site: Site, known: dict[str, str], watch: object, answer: str) -> None:
    """Each key is asked for; "no" records nothing."""
    assert watch
    with at_a_terminal((ROOT / "invoke", "trust", "--inventory", site.inventory_file), os.environ) as terminal:
        assert fingerprint(known["server"]) in terminal.hear("(yes/no)")
        terminal.type(f"perhaps\n{answer}\n")
        if answer == "yes":
            terminal.hear("recorded")
            terminal.hear("(yes/no)")
            terminal.type("yes\n")
        assert terminal.status() == (0 if answer == "yes" else 2)
    assert [f"lab-{role} {key}" in pins(site) for role, key in known.items()] == [answer == "yes"] * 2


def test_changed_key(site: Site, known: dict[str, str], run: Run) -> None:
    """A key that has changed is refused with both fingerprints, by a run and by trust; --replace takes it."""
    old = new_key_pair().public
    site.host_keys = {**known, "client": old}
    inventory = site.inventory_file
    both = (fingerprint(old), fingerprint(known["client"]))
    for task in ("run-handshake-lab", "trust"):
        said = run(task, "--inventory", inventory).refusal
        assert all(one in said for one in both), said
        assert "--replace" in said
    assert f"lab-client {old}" in pins(site)
    done = run("trust", "--inventory", inventory, "--replace", "--yes")
    assert done.status == 0
    assert f"in place of {fingerprint(old)}" in done.stdout
    assert old not in pins(site)
    assert f"lab-client {known['client']}" in pins(site)


def test_unknown_key_in_a_run(site: Site, known: dict[str, str], run: Run) -> None:
    """One line with the fingerprint that was shown, and what to run."""
    said = run("run-handshake-lab", "--inventory", site.inventory_file).refusal
    assert fingerprint(known["server"]) in said
    assert "run ./invoke trust" in said


def test_project_beside_the_users_own(site: Site, known: dict[str, str], tmp_path: Path) -> None:
    """The user's own known_hosts counts for hosts that the project's has not; for others the project's is asked."""
    users = tmp_path / "users"
    users.write_text("".join(f"lab-{role} {key}\n" for role, key in known.items()))
    site.ssh_config = f"Host *\n  UserKnownHostsFile {users}\n"
    with existing(site.inventory) as testbed:
        assert [host.run("hostname").text for host in testbed.hosts] == ["server\n", "client\n"]
    site.host_keys["server"] = new_key_pair().public
    with pytest.raises(HarnessError, match="wrong host key"), existing(site.inventory):
        pass


def test_jump_host(site: Site, known: dict[str, str], run: Run) -> None:
    """A host behind a ProxyJump: the jump host's key is pinned, too, and the way leads through it."""
    server = site.doors.testbed.server
    del site.proxies["client"]  # it is reached by way of the server host, as are hosts of a network of its own
    site.ssh_config = (
        "Host lab-client\n  HostName 192.168.1.64\n  ProxyJump gate\n"
        f"Host gate\n  ProxyCommand {site.doors.proxy('server', 2222)}\n  Port 2222\n  User root\n"
        f"  IdentityFile {site.folder / 'id_ed25519'}\n  IdentitiesOnly yes\n"
    )
    with another_sshd(server, 2222, "AllowTcpForwarding yes\n"):
        inventory = site.inventory_file
        done = run("trust", "--inventory", inventory, "--yes")
        assert (done.status, done.stderr) == (0, "")
        assert f"jump host gate ([gate]:2222): {fingerprint(known['server'])}" in done.stdout
        assert f"192.168.1.64 {known['client']}" in pins(site)
        trusted = pins(site)
        with existing(load(site)) as testbed:
            said = testbed.client.shell('echo "$SSH_CONNECTION"').text
        assert said.startswith("192.168.1.63 ")  # from the jump host, over the lab link
        # The jump host's key is pinned as strictly as the hosts'.
        (site.folder / "known_hosts").write_text(
            trusted.replace(f"[gate]:2222 {known['server']}", f"[gate]:2222 {new_key_pair().public}")
        )
        with pytest.raises(HarnessError, match=r"client.*Host key verification failed"), existing(load(site)):
            pass
    assert site.proxies_left() == []


def load(site: Site) -> Inventory:
    """The inventory as it is written, known_hosts left as it is."""
    return load_inventory(site.folder / "inventory.yaml")


def test_words_of_the_jump_command_are_quoted(site: Site) -> None:
    """Nothing of a host's name reaches a shell unquoted."""
    del site.proxies["client"]
    site.ssh_config = "Host lab-client\n  HostName 10.0.0.9\n  ProxyJump a,user@b:2200\n"
    way = ways_to(site.inventory)[1]
    assert [jump.who for jump in way.jumps] == ["jump host a", "jump host b"]
    words = shlex.split(way.command or "")
    assert words[-2:] == ["[10.0.0.9]:22", "b"]
    inner = next(word for word in words if word.startswith("ProxyCommand="))
    assert shlex.split(inner.removeprefix("ProxyCommand="))[-2:] == ["[b]:2200", "a"]


def test_nobody_there(run: Run, tmp_path: Path) -> None:
    """A host that is dialled and does not answer is one line."""
    hosts = {
        role: {"address": address, "user": "root", "port": 1, "interface": "lo"}
        for role, address in (("server", "127.0.0.1"), ("client", "127.0.0.2"))
    }
    path = tmp_path / "inventory.yaml"
    path.write_text(yaml.safe_dump({"provider": "hosts", "hosts": hosts}))
    assert run("trust", "--inventory", path).refusal == (
        "server (127.0.0.1 port 1): connecting: Connection refused; is its sshd running?"
    )
    assert not (tmp_path / "known_hosts").exists()


def test_files_beside_the_inventory(site: Site, known: dict[str, str], run: Run) -> None:
    """ssh_config and known_hosts may be named as they stand beside the inventory; known_hosts is the default there."""
    document = yaml.safe_load(site.inventory_file.read_text())
    document["ssh_config"] = "ssh_config"
    del document["known_hosts"]
    (site.folder / "known_hosts").unlink()
    path = site.folder / "inventory.yaml"
    path.write_text(yaml.safe_dump(document))
    assert run("trust", "--inventory", path, "--yes").status == 0
    assert all(f"lab-{role} {key}" in pins(site) for role, key in known.items())
