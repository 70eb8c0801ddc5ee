"""Hosts as they are found: ordinary users, old tools, and next to no tools at all."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.experiment import Experiment, run_experiment
from harness.hosts.existing import existing
from harness.hosts.host import Host
from harness.preflight import preflight
from tests.live.conftest import Lab
from tests.live.sites import Site
from tests.live.test_leftovers import left_of

pytestmark = pytest.mark.usefixtures("root")  # they change what the hosts' users find there

# An ordinary user of the host. $1: what may log in as her.
_ANN = """
home=$2
echo "ann:x:4242:4242::$home:/bin/sh" >>/etc/passwd
echo "ann:*:19000:0:99999:7:::" >>/etc/shadow
mkdir -p "$home/.ssh"
echo "$1" >"$home/.ssh/authorized_keys"
chmod 700 "$home" "$home/.ssh"
chown -R 4242:4242 "$home"
"""

# A tcpdump of her own, which may capture by itself; in a mount namespace of the host's.
_CAPABLE = """
cp "$(command -v tcpdump)" "$1/tcpdump"
setcap cap_net_raw,cap_net_admin+ep "$1/tcpdump"
mount --bind "$1/tcpdump" "$(command -v tcpdump)"
"""

# What she may do with sudo.
_SUDOERS = """
umask 077
cat >"$1/sudoers"
chmod 440 "$1/sudoers"
mount --bind "$1/sudoers" /etc/sudoers
"""

# A sudo that passes no signal on to its command.
_DEAF_SUDO = r"""
touch "$1/sudo.real"
mount --bind /usr/bin/sudo "$1/sudo.real"
printf '%s\n' '#!/bin/sh' "trap : TERM" "$1/sudo.real "'"$@" &' 'until wait $!; do kill -0 $! || break; done' >"$1/sudo"
chmod 755 "$1/sudo"
mount --bind "$1/sudo" /usr/bin/sudo
"""

# Nothing but a POSIX shell and its utilities, tcpdump and ssh. $1: a folder, $2: busybox or dash.
_BARE = """
mkdir -p "$1/bin" "$1/sbin"
for tool in cat chmod cp date echo env grep head id kill ln ls mkdir mv printf rm rmdir sed sleep tail tr uname wc; do
    if [ "$2" = busybox ]; then ln -s busybox "$1/bin/$tool"; else cp -L "/usr/bin/$tool" "$1/bin/$tool"; fi
done
if [ "$2" = busybox ]; then
    cp /usr/bin/busybox "$1/bin/busybox" && ln -s busybox "$1/bin/sh"
else
    cp -L /usr/bin/dash "$1/bin/sh"
fi
{ echo '#!/usr/bin/sh' && echo 'exec sh "$@"'; } >"$1/bin/bash" # who is logged in already has it as his shell
chmod 755 "$1/bin/bash"
cp -L /usr/bin/tcpdump /usr/bin/ssh "$1/bin"
cp -L /usr/sbin/sshd "$1/sbin"
mount --bind "$1/sbin" /usr/sbin
mount --bind "$1/bin" /usr/bin
"""

# A tcpdump that has no --immediate-mode, and tells its counters late and in fewer words.
_OLD = r"""
real=$1/tcpdump.real
cp -L /usr/bin/tcpdump "$real"
cat >"$1/tcpdump" <<END
#!/bin/sh
case " \$* " in
*" --immediate-mode "*) echo "tcpdump: unrecognized option '--immediate-mode'" >&2; exit 1 ;;
*" --help "*) echo "tcpdump version 4.1.1"; exit 0 ;;
*" -w "*) ;;
*) exec "$real" "\$@" ;;
esac
said=\$(mktemp "$1/said.XXXXXX")
"$real" "\$@" 2>"\$said" &
pid=\$!
trap 'kill -TERM \$pid' TERM INT
until grep -q "listening on" "\$said"; do kill -0 \$pid || exit 1; sleep 0.02; done
grep "listening on" "\$said" >&2
wait \$pid
wait \$pid
status=\$?
sleep 1
grep -v -e "listening on" -e "by interface" "\$said" >&2
exit \$status
END
chmod 755 "$1/tcpdump"
mount --bind "$1/tcpdump" /usr/bin/tcpdump
"""


def place(host: Host) -> str:
    """A folder of the host's own, which is on no list of what may have changed."""
    return f"/run/lab/{host.role}/own"


def with_ann(site: Site) -> None:
    """Both hosts are reached as an ordinary user."""
    key = (site.folder / "id_ed25519").with_suffix(".pub")
    for host in site.doors.testbed.hosts:
        owners = host.shell("tail -n 1 ~/.ssh/authorized_keys").text.strip()
        host.shell(f'mkdir -p "$2"; {_ANN}', owners, f"{place(host)}/ann")
    assert not key.exists()
    site.changed = {"user": "ann"}


def ran(site: Site, **options: Any) -> tuple[Experiment, list[str]]:
    """An experiment on the hosts, and what was announced; nothing is left of it."""
    before, steps = site.look(), list[str]()
    experiment = run_experiment(site.inventory, "hosts", None, steps.append, **options)
    assert site.look() == before
    assert site.guests() == []
    assert experiment.captured.disagreement() is None
    return experiment, steps


def test_root_is_told(site: Site) -> None:
    """As whom the harness captures is one line, and stands in run.json."""
    experiment, steps = ran(site)
    assert experiment.facts["server"].captures == "as root"
    assert [step for step in steps if step.startswith("server: root captures as root; tcpdump 4")]
    assert experiment.facts["client"].captures is None


def test_capable_tcpdump(site: Site) -> None:
    """An ordinary user whose tcpdump has the capability needs nothing else."""
    with_ann(site)
    server = site.doors.testbed.server
    server.shell(_CAPABLE, place(server))
    experiment, steps = ran(site)
    assert experiment.facts["server"].captures == "with rights of its own"
    assert experiment.commands["tcpdump"][0] == "tcpdump"
    assert any(step.startswith("server: ann captures with rights of its own") for step in steps)


@pytest.mark.parametrize("kind", ["plain", "use_pty", "deaf"])
def test_sudo(site: Site, kind: str) -> None:
    """An ordinary user who may run tcpdump and kill with sudo -n, and nothing else."""
    if not shutil.which("sudo"):
        pytest.skip("sudo is not installed on this machine")
    with_ann(site)
    server = site.doors.testbed.server
    if kind == "deaf":
        server.shell(f'mkdir -p "$1"; {_DEAF_SUDO}', place(server))
    defaults = "Defaults use_pty\n" if kind == "use_pty" else ""
    rules = f"{defaults}ann ALL=(root) NOPASSWD: /usr/bin/tcpdump, /usr/bin/kill, /bin/kill\n"
    server.shell(_SUDOERS, place(server), stdin=rules)
    experiment, _ = ran(site)
    assert experiment.facts["server"].captures == "with sudo -n"
    assert experiment.commands["tcpdump"][:3] == ["sudo", "-n", "tcpdump"]


def test_killed_under_sudo(site: Site, start: Lab, tmp_path: Path) -> None:
    """When the harness is killed, tcpdump ends too, though it is root's."""
    if not shutil.which("sudo"):
        pytest.skip("sudo is not installed on this machine")
    with_ann(site)
    server = site.doors.testbed.server
    server.shell(_SUDOERS, place(server), stdin="ann ALL=(root) NOPASSWD: /usr/bin/tcpdump, /usr/bin/kill\n")
    before = site.look()
    killed = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run")
    killed.wait_for_step("open ssh from server to client")
    assert "tcpdump -i" in site.guests()
    killed.process.kill()
    killed.finish()
    for _ in range(200):
        if not site.guests() and site.look() == before:
            break
        server.run("sleep", "0.05")
    assert (site.guests(), site.look()) == ([], before)


def test_who_may_not_capture(site: Site) -> None:
    """What an ordinary user lacks is one line with three ways to mend it."""
    with_ann(site)
    with pytest.raises(HarnessError) as raised:
        run_experiment(site.inventory, "hosts", None, lambda _: None)
    said = str(raised.value)
    assert said.startswith("server (192.168.1.63): expected the right to capture; tcpdump said: ")
    assert "log in as root, let ann run tcpdump and kill with sudo -n, or run there: sudo setcap " in said


@pytest.mark.parametrize("kind", ["busybox", "dash"])
def test_bare_hosts(site: Site, start: Lab, tmp_path: Path, kind: str) -> None:
    """A POSIX shell with its utilities, tcpdump, ssh and sshd are all that is needed; what is missing is said."""
    if not Path("/usr/bin", kind).exists():
        pytest.skip(f"{kind} is not installed on this machine")
    for host in site.doors.testbed.hosts:
        host.shell(_BARE, place(host), kind)
    assert (
        site.doors.testbed.server.run("sh", "-c", "command -v ip ss sha256sum mktemp python3", check=False).text == ""
    )
    before = site.look()
    finished = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run").finish()
    assert finished.status == 0, finished.stdout
    for line in (
        "server: no ip: whether 192.168.1.63 is on ens33, and that is up, was not checked",
        "client: no ss: its sockets' states are read from /proc/net/tcp",
        "server: no sha256sum: the fetched capture is compared by its size only",
    ):
        assert f"· {line}\n" in finished.stderr
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(document["hosts"]["server"]["unchecked"]) == 3
    assert site.look() == before
    assert site.guests() == []
    assert left_of(start("clean", "--inventory", site.inventory_file).finish()) == []


def test_old_tcpdump(site: Site, start: Lab, tmp_path: Path) -> None:
    """A tcpdump without --immediate-mode, whose counters come late: the capture is whole all the same."""
    server = site.doors.testbed.server
    server.shell(f'mkdir -p "$1"; {_OLD}', place(server))
    finished = start(
        "run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run", "--json"
    ).finish()
    assert finished.status == 0, finished.stdout
    assert json.loads(finished.stdout)["score"] == 100
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "--immediate-mode" not in document["commands"]["tcpdump"]
    counters = document["tcpdump_counters"]
    assert counters["captured"] + counters["left_in_buffer"] == counters["received_by_filter"]
    assert counters["captured"] > 40
    assert site.guests() == []


def test_clock_an_hour_off(site: Site, start: Lab, tmp_path: Path) -> None:
    """A host's clock that is an hour off is said, and disturbs nothing."""
    host = site.doors.testbed.client
    script = (
        'mkdir -p "$1"; cp -L /usr/bin/date "$1/date.real"; '
        """{ echo '#!/bin/sh'; echo 'exec '"$1"'/date.real -d "+1 hour" "$@"'; } >"$1/date"; """
        'chmod 755 "$1/date"; mount --bind "$1/date" /usr/bin/date'
    )
    host.shell(script, place(host))
    finished = start("run-handshake-lab", "--inventory", site.inventory_file, "--out", tmp_path / "run").finish()
    assert finished.status == 0, finished.stdout
    told = r"· client: its clock is (\d+) s ahead of this machine's; nothing depends on it"
    said = next(filter(None, (re.fullmatch(told, line) for line in finished.stderr.splitlines())), None)
    assert said
    assert abs(int(said[1]) - 3600) <= 5  # a second or two pass while it is asked


def test_missing_interface(site: Site) -> None:
    """The interface that holds the route to the peer is proposed."""
    site.changed = {"interface": "eth7"}
    with pytest.raises(HarnessError) as raised, existing(site.inventory) as testbed:
        preflight(testbed)
    assert str(raised.value) == (
        "server (192.168.1.63): interface eth7 is not there; the route to 192.168.1.64 goes by ens33: "
        "put interface: ens33 into the inventory"
    )


def test_no_key(site: Site, start: Lab, tmp_path: Path) -> None:
    """--no-key uses the server host's own credentials, and adds nothing to the client host's authorized_keys."""
    server, client = site.doors.testbed.hosts
    words = ("run-handshake-lab", "--inventory", site.inventory_file, "--no-key")
    refusal = start(*words, "--out", tmp_path / "one").finish().refusal
    assert "ssh-copy-id -p 22 root@192.168.1.64" in refusal
    assert "--no-key" in refusal
    server.shell("umask 077; cat >~/.ssh/id_ed25519", stdin=(site.folder / "id_ed25519").read_text())
    before = client.shell("cat ~/.ssh/authorized_keys; stat -c %Y ~/.ssh/authorized_keys").text
    finished = start(*words, "--out", tmp_path / "two").finish()
    assert finished.status == 0, finished.stdout
    assert client.shell("cat ~/.ssh/authorized_keys; stat -c %Y ~/.ssh/authorized_keys").text == before
    assert os.listdir(tmp_path / "two")  # noqa: PTH208
