"""What the embedded testbed promises: two hosts of the inventory's making, apart from everything else."""

import os
import re
import secrets
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.hosts.embedded import embedded
from harness.hosts.host import Host, Testbed, undone_by
from harness.inventory import Inventory
from harness.observer import observing
from harness.session import prepared, session
from harness.waiting import wait_for
from tests.live.watching import Watch, trace_instances

RUN_ID = secrets.token_hex(4)  # trace instances are of the whole machine

# All of a host that a session may touch.
_LOOK = """
PATH=$PATH:/usr/sbin:/sbin
cat ~/.ssh/authorized_keys
stat -c '%i %a %u:%g' ~/.ssh ~/.ssh/authorized_keys
ls -A ~/.ssh /tmp
ip -4 route show table all
"""


def look(testbed: Testbed) -> list[str]:
    """What a session may touch, on both hosts."""
    return [host.shell(_LOOK).text for host in testbed.hosts]


def shown_key(host: Host, peer: Host) -> str:
    """The host key that *host* is shown where its *peer*'s address is."""
    scan = ("ssh-keyscan", "-T", "5", "-t", "ed25519", "-p", str(peer.entry.port), peer.entry.address)
    return " ".join(host.run(*scan).text.split()[1:])


def test_hosts_are_as_the_inventory_says(testbed: Testbed) -> None:
    """Each host has the inventory's name, address, interface and user, and a home of its own."""
    for host in testbed.hosts:
        entry = host.entry
        said = host.shell('hostname; id -un; cd && pwd; echo "$SSH_CONNECTION"').text.splitlines()
        assert said[:3] == [entry.role, entry.user, "/root"]
        assert said[3].split()[2] == "127.0.0.1"
        addresses = host.shell('PATH=$PATH:/sbin; ip -o -4 addr show dev "$1"', entry.interface).text
        assert re.findall(r"inet (\S+)", addresses) == [f"{entry.address}/24"]
        interfaces = {path.rpartition("/")[2] for path in host.shell("echo /sys/class/net/*").text.split()}
        # /sys shows the machine's own interfaces where it cannot be mounted anew.
        assert entry.interface in interfaces or interfaces == {"*"}


def test_hosts_reach_each_other(testbed: Testbed) -> None:
    """Over the lab link each host finds the other's sshd, with the other's key."""
    server, client = testbed.hosts
    assert shown_key(server, client) == client.host_key
    assert shown_key(client, server) == server.host_key
    assert server.host_key != client.host_key


def test_names_are_known(testbed: Testbed) -> None:
    """On both hosts the names server and client are the inventory's addresses."""
    for host in testbed.hosts:
        for other in testbed.hosts:
            assert host.run("getent", "hosts", other.role).text.split()[0] == other.entry.address


def test_terminals_belong_to_the_user(testbed: Testbed) -> None:
    """A terminal can be had, and is its user's alone: an ordinary user may give nothing to the group tty."""
    for host in testbed.hosts:
        with host.start("sh", "-c", 'tty && stat -c "%u:%g %a" "$(tty)"', pty=True) as process:
            said = process.wait().text.split()
        assert said[0].startswith("/dev/pts/")
        assert said[1:] == [f"{os.geteuid()}:{os.getegid()}", "600"]
        assert host.run("getent", "group", "tty", check=False).status == 2  # getent(1): no such key


def test_offloads_are_off(testbed: Testbed) -> None:
    """What is captured is what would be on a wire: no segment is joined, cut or without checksum."""
    for host in testbed.hosts:
        said = host.shell('PATH=$PATH:/usr/sbin:/sbin; ethtool -k "$1"', host.entry.interface).text
        switches = dict(re.findall(r"^([\w-]+): (on|off)", said, re.MULTILINE))
        for name in ("rx-checksumming", "tx-checksumming", "tcp-segmentation-offload"):
            assert switches[name] == "off", name
        for name in ("generic-segmentation-offload", "generic-receive-offload"):
            assert switches[name] == "off", name


def test_harness_is_not_on_the_lab_link(testbed: Testbed) -> None:
    """While the harness commands both hosts, not one packet of it is on the lab link."""
    for host in testbed.hosts:
        command = ("tcpdump", "-i", host.entry.interface, "-n", "ip or (ip6 and tcp)")
        with host.start(*command) as tcpdump:
            tcpdump.wait_for_output("it listened", "listening on", "stderr")
            for each in testbed.hosts:
                assert len(each.run("head", "-c", "200000", "/dev/zero").stdout) == 200_000
            ended = tcpdump.stop("INT")
        assert ended.text.strip() == ""
        assert "0 packets received by filter" in ended.stderr


def test_lab_link_is_silent(testbed: Testbed) -> None:
    """No host looks for routers or neighbours of its own accord: tcpdump would count that as what it lost."""
    for host in testbed.hosts:
        addresses = host.shell('PATH=$PATH:/sbin; ip -6 -o addr show dev "$1"', host.entry.interface).text
        assert addresses == ""


def test_two_testbeds_do_not_see_each_other(testbed: Testbed, inventory: Inventory, watch: Watch) -> None:
    """Two testbeds at the same time have the same names and addresses, and nothing else in common."""
    with embedded(inventory) as second:
        watch.look()
        keys = set()
        for one in (testbed, second):
            assert shown_key(one.server, one.client) == one.client.host_key
            assert one.server.run("hostname").text == "server\n"
            keys.add(one.client.host_key)
        assert len(keys) == 2
        testbed.server.shell("echo mine >/tmp/mine; echo mine >~/mine")
        assert second.server.shell("ls -A /tmp ~/mine", check=False).stdout == b"/tmp:\n"
        with testbed.server.start("sleep", "1000") as sleeper:
            found = second.server.shell('kill -0 "$1" && cat "/proc/$1/cmdline"', str(sleeper.pid), check=False)
            assert b"sleep" not in found.stdout
    # The one that stays is not harmed by the other's end.
    assert shown_key(testbed.server, testbed.client) == testbed.client.host_key


def test_hosts_have_files_of_their_own(testbed: Testbed, tmp_path: Path) -> None:
    """Each host's home and /tmp are its own: not the other's, and not the machine's."""
    testbed.server.shell("echo x >~/of-the-server; echo x >/tmp/of-the-server")
    assert testbed.client.shell("ls ~/of-the-server /tmp/of-the-server", check=False).stdout == b""
    assert testbed.server.run("test", "-e", str(tmp_path), check=False).status == 1
    assert not Path("/tmp/of-the-server").exists()


@pytest.mark.parametrize("close", ["three", "four", "as-is"])
def test_session_leaves_both_hosts_as_they_were(testbed: Testbed, close: str) -> None:
    """A session's key, its folder and its host route are there while it runs, and gone after it."""
    testbed.client.shell('echo "ssh-ed25519 AAAA somebody" >>~/.ssh/authorized_keys; chmod 640 ~/.ssh/authorized_keys')
    before = look(testbed)
    with prepared(testbed, RUN_ID, close) as ready:
        during = look(testbed)
        assert f"tcp-lab-{RUN_ID}" in during[1]
        assert ("quickack 1" in during[0].replace("127.0.0.1 quickack 1", "")) == (close == "four")
        assert testbed.server.shell('stat -c %a "$1" "$2"', ready.directory, ready.identity).text == "700\n600\n"
        with session(testbed, ready, close) as opened:
            assert opened.four_tuple.initiator.startswith("192.168.1.63:")
            assert opened.four_tuple.responder == "192.168.1.64:22"
            opened.end()
    assert look(testbed) == before


def test_session_that_fails_leaves_both_hosts_as_they_were(testbed: Testbed) -> None:
    """Whatever happens while it runs, a session is undone, and what happened is not hidden."""
    before = look(testbed)
    with pytest.raises(ZeroDivisionError), prepared(testbed, RUN_ID, "four") as ready, session(testbed, ready, "four"):
        raise ZeroDivisionError
    assert look(testbed) == before


def test_authorized_keys_without_a_last_newline(testbed: Testbed) -> None:
    """A file that does not end its last line loses no key, neither during the session nor after it."""
    testbed.client.shell('printf "ssh-ed25519 AAAA last" >>~/.ssh/authorized_keys')
    before = testbed.client.fetch(".ssh/authorized_keys")
    with prepared(testbed, RUN_ID, "as-is") as ready:
        during = testbed.client.fetch(".ssh/authorized_keys").splitlines()
        assert during[:-1] == before.splitlines()
        with session(testbed, ready, "as-is") as opened:
            opened.end()
    assert testbed.client.fetch(".ssh/authorized_keys").splitlines() == before.splitlines()


def test_much_on_standard_error_does_not_hang(testbed: Testbed) -> None:
    """Both streams are drained: 5 MB on standard error, and the command ends."""
    done = testbed.server.shell("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo done")
    assert done.text == "done\n"
    assert len(done.stderr) == 5_000_000


def test_bytes_arrive_as_they_are(testbed: Testbed) -> None:
    """Standard input and output carry any bytes."""
    data = bytes(range(256)) * 4096
    assert testbed.client.run("cat", stdin=data).stdout == data


def test_arguments_arrive_as_they_are(testbed: Testbed) -> None:
    """No word of a command is read by a shell."""
    words = ("a b", "$HOME", "'", '"', "`id`", "*", "", "\n", "é", "-n")
    assert testbed.server.run("printf", "%s|", *words).text == "".join(f"{word}|" for word in words)


def test_failed_command_says_what_it_said(testbed: Testbed) -> None:
    """A status that is not 0 is an error in one line, with the host, the status and the command's own words."""
    with pytest.raises(HarnessError) as raised:
        testbed.client.shell("echo no such luck >&2; exit 3")
    assert str(raised.value) == "client: sh ended with status 3; it said: no such luck"
    assert testbed.client.shell("exit 3", check=False).status == 3


def test_command_without_end_is_given_up(testbed: Testbed) -> None:
    """A command that does not end in time is an error that says so."""
    began = time.monotonic()
    with pytest.raises(HarnessError, match=r"^server: sleep did not end in 0\.3 s$"):
        testbed.server.run("sleep", "1000", seconds=0.3)
    assert time.monotonic() - began < 5


def test_one_process_is_stopped_and_no_other(testbed: Testbed) -> None:
    """`stop` ends the very process that was started, by its id."""
    with testbed.server.start("sleep", "1000") as one, testbed.server.start("sleep", "1000") as other:
        assert one.pid != other.pid
        assert testbed.server.shell('cat "/proc/$1/comm"', str(one.pid)).text == "sleep\n"
        assert one.stop().status == -1
        assert testbed.server.run("kill", "-0", str(one.pid), check=False).status != 0
        assert testbed.server.run("kill", "-0", str(other.pid), check=False).status == 0
    assert testbed.server.run("kill", "-0", str(other.pid), check=False).status != 0


def test_start_takes_the_output_and_the_input(testbed: Testbed) -> None:
    """A started command can be talked to; its own words are all that is in its output."""
    with testbed.client.start("cat") as process:
        process.send("hello\n")
        assert process.wait_for_output("it answered", "hello\n") == "hello\n"
        process.end_input()
        assert process.wait(seconds=5).status == 0
    wrong = pytest.raises(HarnessError, match=r"^client: sh ended before it was ready; it said: wrong$")
    with testbed.client.start("sh", "-c", "echo wrong >&2") as process, wrong:
        process.wait()
        process.send("too late\n")
        process.wait_for_output("it was ready", "ready")


def test_undo_runs_after_an_exception(testbed: Testbed) -> None:
    """`undone_by` undoes whatever happens, and lets the exception through."""
    testbed.server.shell("touch /tmp/made")
    with pytest.raises(KeyError), undone_by(testbed.server, 'rm "$1"', "/tmp/made"):  # noqa: PT012 - not the first
        assert testbed.server.run("test", "-e", "/tmp/made", check=False).status == 0
        raise KeyError
    assert testbed.server.run("test", "-e", "/tmp/made", check=False).status == 1


def test_lost_host_is_one_line(testbed: Testbed) -> None:
    """Where the connection to a host is lost that is what is told, whatever was to be undone there."""
    lost = pytest.raises(HarnessError, match=r"^server: the connection was lost while sh ran; is the host up\?$")
    with lost, undone_by(testbed.server, "true"):
        own = 'pid=$PPID; grep -q sshd "/proc/$pid/comm" || read -r _ _ _ pid _ <"/proc/$PPID/stat"; kill -9 "$pid"'
        testbed.server.shell(own, check=False)  # the sshd of this very connection, or of the shell between
    assert not testbed.server.alive()
    assert testbed.client.alive()


def sockets(host: Host) -> list[str]:
    """The states of a host's connections over the lab link."""
    return [line.split()[0] for line in host.shell("PATH=$PATH:/sbin; ss -Htan src 192.168.1.0/24").text.splitlines()]


def test_kernel_tells_the_states(testbed: Testbed) -> None:
    """After a session who closed first holds TIME-WAIT; the trace, where it may be read, has what led there."""
    with (
        observing(testbed, RUN_ID) as observer,
        prepared(testbed, RUN_ID, "three") as ready,
        session(testbed, ready, "three") as opened,
    ):
        opened.end()
        wait_for(
            "TIME-WAIT, and nothing else",
            lambda: {state for host in testbed.hosts for state in sockets(host)} == {"TIME-WAIT"},
            seconds=5,
        )
        states = observer.finish()
    both = {opened.four_tuple.initiator, opened.four_tuple.responder}
    # Mostly the server host, whose ssh closes; now and then sshd was first, or both were.
    held = {
        role: [row.state for row in said.final or () if {row.local, row.remote} == both]
        for role, said in states.items()
    }
    closers = [role for role, seen in held.items() if seen == ["TIME-WAIT"]]
    assert closers, held
    assert all(seen in ([], ["TIME-WAIT"]) for seen in held.values())
    assert "ESTABLISHED" in {row.state for row in states["server"].samples or ()}
    for role, said in states.items():
        if trace_instances() is None:
            assert said.trace is None
            continue
        traced = [row.state for row in said.trace or () if {row.local, row.remote} == both]
        assert traced[:2] == [{"server": "SYN-SENT", "client": "SYN-RECEIVED"}[role], "ESTABLISHED"]
        assert ("FIN-WAIT-1" in traced) == (role in closers)
        assert traced[-1] == "CLOSED"
    assert not [name for name in trace_instances() or () if RUN_ID in name]


def test_nothing_of_a_testbed_remains(inventory: Inventory, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its block is left, by an exception too, every process of the testbed is gone at once."""
    monkeypatch.setenv("PATH", watch.path)
    with pytest.raises(ZeroDivisionError), embedded(inventory) as made:  # noqa: PT012 - in the middle of things
        made.server.start("sleep", "1000")
        made.client.shell("(trap '' TERM HUP; sleep 1000) >/dev/null 2>&1 &")
        assert len(watch.look()) >= 6
        assert watch.namespaces
        raise ZeroDivisionError
    assert watch.look() == []
