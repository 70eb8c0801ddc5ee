"""The lab's ssh session: server → client, with a key that lives for one run."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError, one_line
from harness.hosts.host import RemoteProcess, Testbed, together, undone_by
from harness.hosts.keys import known_hosts_name, new_key_pair

CLOSES = ("three", "four", "as-is")

# $directory, $peer, $quick: for "four" this host is to acknowledge what $peer sends at once. A host route beside the
# subnet's, so that nothing which was there is touched; `ip route get` prints "PEER via GATEWAY dev INTERFACE src …".
# It is noted in the run's folder first, by which it is found should we be killed (see `harness.hosts.leftovers`).
_BEGIN = """
PATH=$PATH:/usr/sbin:/sbin
directory=$1 peer=$2 quick=$3 run=$4
umask 077
mkdir "$directory" || exit 1
if [ "$quick" = yes ]; then
    [ -z "$(ip route show "$peer/32")" ] || { echo "there is a host route to $peer already" >&2; exit 1; }
    route=$(ip route get "$peer" | sed -n '1s/^[^ ]* \\(.*src [0-9.]*\\).*/\\1/p')
    echo "$peer/32 quickack 1" >"$directory/route"
    # shellcheck disable=SC2086
    ip route add "$peer/32" $route quickack 1 || exit 1
fi
"""
_UNDO = """
PATH=$PATH:/usr/sbin:/sbin
directory=$1 peer=$2 run=$4
[ ! -f "$directory/route" ] || ip route del "$peer/32" quickack 1
rm -rf "$directory"
"""

# Standard input: the private key, if there is one, and the known_hosts line.
_ON_SERVER = f"""
{_BEGIN}
cd "$directory" || exit 1
while read -r line; do
    case $line in
    -----BEGIN*) file=id_ed25519 ;;
    esac
    echo "$line" >>"${{file:-known_hosts}}"
    case $line in
    -----END*) file=known_hosts ;;
    esac
done
"""

# Standard input: the line for authorized_keys; nothing without a key of our own.
_ON_CLIENT = f"""
{_BEGIN}
line=$(cat)
[ -n "$line" ] || exit 0
[ -d ~/.ssh ] || {{ mkdir ~/.ssh && echo "$HOME/.ssh" >"$directory/made"; }}
file=~/.ssh/authorized_keys
[ -e "$file" ] || echo "$file" >>"$directory/made"
# A file that does not end its last line must not swallow ours.
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
echo "$line" >>"$file"
"""
# Keeps the file's inode and mode, and every line but the one that ends in this run's mark.
_UNDO_ON_CLIENT = rf"""
file=~/.ssh/authorized_keys
made=$(cat "$1/made" 2>/dev/null)
{_UNDO}
[ -f "$file" ] && grep -q " tcp-lab-$run\$" "$file" || exit 0
umask 077
kept=$file.tcp-lab-$run
grep -v " tcp-lab-$run\$" "$file" >"$kept"
[ "$?" -gt 1 ] || cat "$kept" >"$file" # 1: no other line; more: it could not be written
rm -f "$kept"
case $made in *"$file"*) [ -s "$file" ] || rm -f "$file" ;; esac
case $made in "$HOME/.ssh"*/.ssh/*) rmdir ~/.ssh 2>/dev/null ;; esac
exit 0
"""
# An old sshd knows these options as a new one does (sshd(8), AUTHORIZED_KEYS FILE FORMAT; "restrict" came with 7.2).
_KEY_OPTIONS = "no-agent-forwarding,no-port-forwarding,no-X11-forwarding"
CONNECTION = re.compile(r"lab-connection:([0-9.]+) (\d+) ([0-9.]+) (\d+)")


@dataclass(frozen=True, slots=True)
class FourTuple:
    """The lab's connection: "IP:PORT" of both ends, the one that opened it first."""

    initiator: str
    responder: str


@dataclass(frozen=True, slots=True)
class Session:
    """An open ssh session from the server host to the client host.

    Attributes:
        process: ssh on the server host.
        command: its command line.
        four_tuple: from the client host's `$SSH_CONNECTION`.
        close: how it is to be closed: one of `CLOSES`.
    """

    process: RemoteProcess
    command: tuple[str, ...]
    four_tuple: FourTuple
    close: str

    def end(self) -> None:
        """Close the session as a user would: `exit`; or, for "three", by closing the window (SIGHUP).

        A hung-up ssh says goodbye and closes at once, without a word from the far end before it, so that sshd's FIN
        finds the ACK of ssh's FIN still waiting (RFC 9293 §3.8.6.3) and takes it along.

        Raises:
            HarnessError: it had ended by itself, or did not end.
        """
        if not self.process.runs:
            said = one_line(self.process.wait().stderr) or "nothing"
            raise HarnessError(
                f"{self.process.host.role}: ssh ended before it was to be closed; it said: {said}; is sshd still "
                "running on the client host?"
            )
        if self.close == "three":
            self.process.stop("HUP")
        else:
            self.process.send("exit\n")
            self.process.wait(seconds=30)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the session needs, made for one run.

    Attributes:
        directory: the run's folder, of one name on both hosts.
        own_key: whether the session has a key of its own, for one run.
    """

    directory: str
    own_key: bool = True

    @property
    def identity(self) -> str:
        """The private key on the server host."""
        return f"{self.directory}/id_ed25519"

    @property
    def known_hosts(self) -> str:
        """The known_hosts file on the server host."""
        return f"{self.directory}/known_hosts"


@contextmanager
def prepared(testbed: Testbed, run_id: str, close: str, *, own_key: bool = True) -> Iterator[Prepared]:
    """A key pair that the server host may use on the client host while the block runs, and what *close* needs.

    For "four", both hosts acknowledge at once while the block runs (route option quickack, ip-route(8)): an ACK that
    waits would be taken along by the second FIN. Both, since now and then it is sshd whose FIN is first.

    Args:
        testbed: the hosts.
        run_id: names the run on both.
        close: how the session is to be closed.
        own_key: False: nothing is added to the client host's authorized_keys; the server host has credentials.

    Raises:
        HarnessError: a host refused one of the steps.
    """
    server, client = testbed.hosts
    key = new_key_pair()
    quick = "yes" if close == "four" else "no"
    directory = f"/tmp/tcp-lab-{run_id}.{secrets.token_hex(3)}"  # noqa: S108 - nobody can guess it
    on_server = (directory, client.entry.address, quick, run_id)
    on_client = (directory, server.entry.address, quick, run_id)
    known_as = known_hosts_name(client.entry.address, client.entry.port)
    identity = f"{key.private if own_key else ''}{known_as} {client.host_key}\n"
    authorised = f'from="{server.entry.address}",{_KEY_OPTIONS} {key.public} tcp-lab-{run_id}\n' if own_key else ""
    with undone_by(server, _UNDO, *on_server), undone_by(client, _UNDO_ON_CLIENT, *on_client):
        try:
            together(
                lambda: server.shell(_ON_SERVER, *on_server, stdin=identity),
                lambda: client.shell(_ON_CLIENT, *on_client, stdin=authorised),
            )
        except HarnessError as error:
            if close != "four":
                raise
            raise HarnessError(
                f"{error} (--close four needs root and iproute2 on both hosts; --close as-is does not)"
            ) from None
        yield Prepared(directory, own_key)


def ssh_options(ready: Prepared) -> dict[str, str]:
    """What ssh is to be told (ssh_config(5)): this run's key and host key, and to ask nobody.

    Without a key of our own ssh finds its user's, also in his configuration; what else stands there must not lead the
    session another way, or into a connection that is open already.
    """
    identity = {"IdentityFile": ready.identity, "IdentitiesOnly": "yes"}
    own_way = {"ProxyCommand": "none", "ControlPath": "none", "ClearAllForwardings": "yes"}
    return {
        **(identity if ready.own_key else own_way),
        "UserKnownHostsFile": ready.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
    }


@contextmanager
def session(testbed: Testbed, ready: Prepared, close: str) -> Iterator[Session]:
    """Open ssh from the server host to the client host, as a user at the server's terminal would.

    Raises:
        HarnessError: ssh could not log in; says what it said.
    """
    server, client = testbed.hosts
    there = f"{client.entry.user}@{client.entry.address}"
    command = (
        "ssh",
        *(("-F", "/dev/null") if ready.own_key else ()),
        *(word for key, value in ssh_options(ready).items() for word in ("-o", f"{key}={value}")),
        "-p",
        str(client.entry.port),
        there,
    )
    with server.start(*command) as process:
        try:
            process.send('echo "lab-connection:$SSH_CONNECTION"; uname -sr; echo "lab"-done\n')
            said = process.wait_for_output("the session was open", "lab-done", seconds=60)
        except HarnessError as error:
            if ready.own_key:
                raise
            raise HarnessError(
                f"{error}; with --no-key the server host logs in with its own credentials: as {server.entry.user} "
                f"there, run ssh-copy-id -p {client.entry.port} {there}, or leave --no-key out"
            ) from None
        found = CONNECTION.search(said)
        if not found:
            raise HarnessError(
                f"client: the session's shell did not tell its $SSH_CONNECTION; it said: {one_line(said)}"
            )
        four_tuple = FourTuple(f"{found[1]}:{found[2]}", f"{found[3]}:{found[4]}")
        yield Session(process, command, four_tuple, close)
