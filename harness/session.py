"""The lab's ssh session: server → client, with a key that lives for one run."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError, one_line
from harness.hosts.host import RemoteProcess, Testbed, together, undone_by
from harness.hosts.keys import known_hosts_name, new_key_pair

CLOSES = ("three", "four", "as-is")

# $peer, $quick: for "four" this host is to acknowledge what $peer sends at once. A host route beside the subnet's, so
# that nothing which was there is touched; `ip route get` prints "PEER via GATEWAY dev INTERFACE src ADDRESS …".
_ACK_AT_ONCE = """
PATH=$PATH:/usr/sbin:/sbin
if [ "$quick" = yes ]; then
    [ -z "$(ip route show "$peer/32")" ] || { echo "there is a host route to $peer already" >&2; exit 1; }
    route=$(ip route get "$peer" | sed -n '1s/^[^ ]* \\(.*src [0-9.]*\\).*/\\1/p')
    # shellcheck disable=SC2086
    ip route add "$peer/32" $route quickack 1 || exit 1
fi
"""
_UNDO_ACK_AT_ONCE = """
PATH=$PATH:/usr/sbin:/sbin
[ "$quick" != yes ] || ip route del "$peer/32" quickack 1
"""

# Standard input: the private key, then the known_hosts line. Prints the run's folder on this host.
_ON_SERVER = f"""
peer=$1 quick=$2
{_ACK_AT_ONCE}
umask 077
directory=$(mktemp -d "/tmp/tcp-lab-$3.XXXXXX") && cd "$directory" || exit 1
while read -r line; do
    echo "$line" >>id_ed25519
    case $line in *"END OPENSSH PRIVATE KEY"*) break ;; esac
done
cat >known_hosts
echo "$directory"
"""
_UNDO_ON_SERVER = f"""
peer=$1 quick=$2
{_UNDO_ACK_AT_ONCE}
rm -rf "/tmp/tcp-lab-$3".??????
"""

# Standard input: the line for authorized_keys.
_ON_CLIENT = f"""
peer=$1 quick=$2
{_ACK_AT_ONCE}
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
# A file that does not end its last line must not swallow ours.
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
cat >>"$file"
"""
# Keeps the file's inode and mode, and every line but the one that ends in this run's mark.
_UNDO_ON_CLIENT = f"""
peer=$1 quick=$2
{_UNDO_ACK_AT_ONCE}
file=~/.ssh/authorized_keys
[ -f "$file" ] || exit 0
kept=$(mktemp "$file.XXXXXX") && {{ grep -v " tcp-lab-$3\\$" "$file" >"$kept" || true; }} && cat "$kept" >"$file"
rm -f "$kept"
"""
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
        """
        if self.close == "three":
            self.process.stop("HUP")
        else:
            self.process.send("exit\n")
            self.process.wait(seconds=15)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the session needs, made for one run.

    Attributes:
        directory: the run's folder on the server host.
    """

    directory: str

    @property
    def identity(self) -> str:
        """The private key on the server host."""
        return f"{self.directory}/id_ed25519"

    @property
    def known_hosts(self) -> str:
        """The known_hosts file on the server host."""
        return f"{self.directory}/known_hosts"


@contextmanager
def prepared(testbed: Testbed, run_id: str, close: str) -> Iterator[Prepared]:
    """A key pair that the server host may use on the client host while the block runs, and what *close* needs.

    For "four", both hosts acknowledge at once while the block runs (route option quickack, ip-route(8)): an ACK that
    waits would be taken along by the second FIN. Both, since now and then it is sshd whose FIN is first.

    Raises:
        HarnessError: a host refused one of the steps.
    """
    server, client = testbed.hosts
    key = new_key_pair()
    quick = "yes" if close == "four" else "no"
    on_server = (client.entry.address, quick, run_id)
    on_client = (server.entry.address, quick, run_id)
    known_as = known_hosts_name(client.entry.address, client.entry.port)
    identity = f"{key.private}{known_as} {client.host_key}\n"
    authorised = f'from="{server.entry.address}" {key.public} tcp-lab-{run_id}\n'
    with undone_by(server, _UNDO_ON_SERVER, *on_server), undone_by(client, _UNDO_ON_CLIENT, *on_client):
        try:
            made, _ = together(
                lambda: server.shell(_ON_SERVER, *on_server, stdin=identity).text,
                lambda: client.shell(_ON_CLIENT, *on_client, stdin=authorised),
            )
        except HarnessError as error:
            if close != "four":
                raise
            raise HarnessError(
                f"{error} (--close four needs root and iproute2 on both hosts; --close as-is does not)"
            ) from None
        yield Prepared(made.strip())


def ssh_options(ready: Prepared) -> dict[str, str]:
    """What ssh is to be told (ssh_config(5)): this run's key and host key, and to ask nobody."""
    return {
        "IdentityFile": ready.identity,
        "IdentitiesOnly": "yes",
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
    command = (
        "ssh",
        "-F",
        "none",
        *(word for key, value in ssh_options(ready).items() for word in ("-o", f"{key}={value}")),
        "-p",
        str(client.entry.port),
        f"{client.entry.user}@{client.entry.address}",
    )
    with server.start(*command) as process:
        process.send('echo "lab-connection:$SSH_CONNECTION"; uname -sr; echo "lab"-done\n')
        said = process.wait_for_output("the session was open", "lab-done", seconds=60)
        found = CONNECTION.search(said)
        if not found:
            raise HarnessError(
                f"client: the session's shell did not tell its $SSH_CONNECTION; it said: {one_line(said)}"
            )
        four_tuple = FourTuple(f"{found[1]}:{found[2]}", f"{found[3]}:{found[4]}")
        yield Session(process, command, four_tuple, close)
