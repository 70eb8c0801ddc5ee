"""The lab's ssh session: server → client, with a key that lives for one run."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError, one_line
from harness.hosts.host import RemoteProcess, Testbed, together, undone_by
from harness.hosts.keys import new_key_pair

CLOSES = ("three", "four", "as-is")

# $1: where the server host's folder of this run is; standard input: the private key, then the known_hosts line.
_ON_SERVER = """
umask 077
directory=$(mktemp -d /tmp/tcp-lab.XXXXXX) && cd "$directory" || exit 1
while read -r line; do
    echo "$line" >>id_ed25519
    case $line in *"END OPENSSH PRIVATE KEY"*) break ;; esac
done
cat >known_hosts
echo "$directory"
"""
_UNDO_ON_SERVER = 'rm -rf -- "$1"'

# $1: the server host's address, $2: "yes" for immediate ACKs; standard input: the line for authorized_keys.
# The route is a host route beside the subnet's, so that nothing which was there is touched.
_ON_CLIENT = """
PATH=$PATH:/usr/sbin:/sbin
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
# A file that does not end its last line must not swallow ours.
if [ -s "$file" ] && [ -n "$(tail -c 1 "$file")" ]; then echo >>"$file"; fi
cat >>"$file"
[ "$2" = yes ] || exit 0
[ -z "$(ip route show "$1/32")" ] || { echo "there is a host route to $1 already" >&2; exit 1; }
route=$(ip route get "$1" | sed -n '1s/^[^ ]* \\(.*src [0-9.]*\\).*/\\1/p') # "via GATEWAY dev INTERFACE src ADDRESS"
# shellcheck disable=SC2086
ip route add "$1/32" $route quickack 1
"""
# Keeps the file's inode and mode, and every line but the one that ends in this run's mark ($1).
_UNDO_ON_CLIENT = """
PATH=$PATH:/usr/sbin:/sbin
[ "$3" != yes ] || ip route del "$2/32" quickack 1
file=~/.ssh/authorized_keys
[ -f "$file" ] || exit 0
kept=$(mktemp "$file.XXXXXX") && { grep -v " $1\\$" "$file" >"$kept" || true; } && cat "$kept" >"$file"
rm -f "$kept"
"""
_CONNECTION = re.compile(r"lab-connection:([0-9.]+) (\d+) ([0-9.]+) (\d+)")


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

    For "four" the client host acknowledges at once while the block runs (route option quickack, ip-route(8)).

    Raises:
        HarnessError: a host refused one of the steps.
    """
    server, client = testbed.hosts
    key, mark = new_key_pair(), f"tcp-lab-{run_id}"
    quick = "yes" if close == "four" else "no"
    address = client.entry.address
    known_as = address if client.entry.port == 22 else f"[{address}]:{client.entry.port}"
    authorised = f'from="{server.entry.address}" {key.public} {mark}\n'

    def on_client() -> str:
        try:
            return client.shell(_ON_CLIENT, server.entry.address, quick, stdin=authorised).text
        except HarnessError as error:
            if close != "four":
                raise
            raise HarnessError(
                f"{error} - immediate ACKs (--close four) need root and iproute2 on the client host; "
                "--close as-is needs neither"
            ) from None

    with ExitStack() as stack:
        stack.enter_context(undone_by(client, _UNDO_ON_CLIENT, mark, server.entry.address, quick))
        made, _ = together(
            lambda: server.shell(_ON_SERVER, stdin=f"{key.private}{known_as} {client.host_key}\n").text,
            on_client,
        )
        ready = Prepared(made.strip())
        stack.enter_context(undone_by(server, _UNDO_ON_SERVER, ready.directory))
        yield ready


@contextmanager
def session(testbed: Testbed, ready: Prepared, close: str) -> Iterator[Session]:
    """Open ssh from the server host to the client host, as a user at the server's terminal would.

    Raises:
        HarnessError: ssh could not log in; says what it said.
    """
    server, client = testbed.hosts
    options = {
        "IdentityFile": ready.identity,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": ready.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
    }
    command = (
        "ssh",
        # A user's session has a terminal. And with one sshd takes a moment to end it, so that ssh sends its FIN first.
        *(() if close == "three" else ("-tt",)),
        "-F",
        "none",
        *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
        "-p",
        str(client.entry.port),
        f"{client.entry.user}@{client.entry.address}",
    )
    with server.start(*command) as process:
        process.send('echo "lab-connection:$SSH_CONNECTION"; uname -sr; echo "lab"-done\n')
        said = process.wait_for_output("the session was open", "lab-done", seconds=20)
        found = _CONNECTION.search(said)
        if not found:
            raise HarnessError(
                f"client: the session's shell did not tell its $SSH_CONNECTION; it said: {one_line(said)}"
            )
        four_tuple = FourTuple(f"{found[1]}:{found[2]}", f"{found[3]}:{found[4]}")
        yield Session(process, command, four_tuple, close)
