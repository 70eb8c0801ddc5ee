"""The way to a machine: what inventory and ssh_config(5) say of it, jump hosts too, and a socket that leads there.

A jump host (ProxyJump) is passed with the system's own ssh -W: what the user has for it (keys, an agent, certificates)
works as it does on the command line, but it may ask nobody (BatchMode), and its host key must be pinned, too.
"""

import os
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, LostError, one_line
from harness.hosts import known_hosts
from harness.hosts.keys import SSH_PORT, known_hosts_name
from harness.interrupts import held_back
from harness.inventory import HostEntry, Inventory

KNOWN_HOSTS = "known_hosts"  # the project's, beside the inventory
_USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"  # ssh_config(5), UserKnownHostsFile
_END_SECONDS = 5.0
_CONNECT_SECONDS = 15.0
_LAST_LINES = 3
_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?")
_JUMP_HOST = "jump host "
_DEEPEST = 8  # of jump hosts behind jump hosts


@dataclass(frozen=True, slots=True)
class Way:
    """How one machine is reached.

    Attributes:
        who: the machine in the user's words: "server", "jump host gate".
        host: what is dialled.
        port: where its sshd listens.
        user: whom to log in as; None: as ssh itself would.
        pinned_as: the name under which its key stands in known_hosts.
        key_files: private keys to try.
        command: the command whose input and output lead there (ProxyCommand); None: it is dialled.
        jumps: the ways to the jump hosts that it leads through, nearest first.
        project_file: where the project pins host keys.
        user_files: where the user does.
    """

    who: str
    host: str
    port: int
    user: str | None
    pinned_as: str
    key_files: tuple[str, ...]
    command: str | None
    jumps: tuple["Way", ...]
    project_file: Path
    user_files: tuple[Path, ...]

    @property
    def host_keys(self) -> str:
        """The known_hosts text that counts: the project's if it has the machine, else the user's.

        Raises:
            HarnessError: a file cannot be read.
        """
        ours = known_hosts.read([self.project_file])
        return ours if known_hosts.pinned(ours, self.pinned_as) else known_hosts.read(self.user_files)

    @contextmanager
    def opened(self) -> Iterator[socket.socket]:
        """A socket that leads there, while the block runs.

        Raises:
            HarnessError: it could not be dialled; or what went wrong in the block, with what the command said last.
        """
        if self.command is not None:
            with _through(self.who, self.command) as sock:
                yield sock
            return
        try:
            sock = socket.create_connection((self.host, self.port), timeout=_CONNECT_SECONDS)
        except TimeoutError:
            raise HarnessError(f"{self._dialled}: no answer in time; is it up and its address right?") from None
        except OSError as error:
            raise HarnessError(f"{self._dialled}: {error.strerror or error}; is its sshd running?") from None
        with sock:
            yield sock

    @property
    def _dialled(self) -> str:
        return f"{self.who} ({self.host} port {self.port}): connecting"


@contextmanager
def _through(who: str, command: str) -> Iterator[socket.socket]:
    """A socket to a running command, which is ended and waited for when the block is left."""
    ours, theirs = socket.socketpair()
    process: subprocess.Popen[bytes] | None = None
    with ours, tempfile.TemporaryFile() as said:
        try:
            with theirs, held_back():
                process = subprocess.Popen(
                    ["sh", "-c", f"exec {command}"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=said,
                    start_new_session=True,
                )
            yield ours
        except LostError as error:
            if not str(error).startswith(who):  # it is another one that is lost
                raise
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
            raise LostError(f"{error}; the way there said: {one_line(' '.join(last)) or 'nothing'}") from None
        finally:
            ours.close()
            if process:
                process.terminate()
                try:
                    process.wait(_END_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


class _Config:
    """The user's ssh_config, and what the inventory says of where keys are pinned."""

    def __init__(self, inventory: Inventory) -> None:
        import paramiko

        named, beside = inventory.ssh_config, inventory.path.parent
        self.path = beside / Path(named or "~/.ssh/config").expanduser()
        self._file = ["-F", str(self.path)] if named else []
        self.project_file = beside / Path(inventory.known_hosts or KNOWN_HOSTS).expanduser()
        try:
            if named is None and not self.path.exists():
                self._config = paramiko.SSHConfig()
            else:
                self._config = paramiko.SSHConfig.from_path(str(self.path))
        except (OSError, paramiko.ConfigParseError, UnicodeDecodeError) as error:
            raise HarnessError(f"{self.path}: cannot read the ssh_config: {one_line(str(error))}") from None

    def of(self, name: str) -> dict[str, Any]:
        """What it says of a name: keyword in lower case → value."""
        return dict(self._config.lookup(name))

    def user_files(self, said: dict[str, Any]) -> tuple[Path, ...]:
        """Where the user pins the keys of one host."""
        named = shlex.split(str(said.get("userknownhostsfile", _USER_KNOWN_HOSTS)))
        return tuple(Path(name).expanduser() for name in named)

    def jump_command(self, jump: Way, target: str) -> str:
        """The command that leads to *target* ("[host]:port") by way of a jump host: ssh(1), -W."""
        known = " ".join(f'"{path}"' for path in (jump.project_file, *jump.user_files))
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": known,
            "ControlPath": "none",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": f"{_CONNECT_SECONDS:g}",
            # Within a ProxyCommand a % begins a token.
            "ProxyCommand": jump.command.replace("%", "%%") if jump.command else "none",
        }
        words = ["ssh", *self._file, *(w for key, value in options.items() for w in ("-o", f"{key}={value}"))]
        login = ["-l", jump.user] if jump.user else []
        aliased = jump.who.removeprefix(_JUMP_HOST)
        return shlex.join([*words, *login, "-p", str(jump.port), "-W", target, aliased])


def _pinned_as(said: dict[str, Any], host: str, port: int) -> str:
    """A machine's name in known_hosts: its HostKeyAlias as it is, else what is dialled."""
    alias = said.get("hostkeyalias")
    return str(alias) if alias else known_hosts_name(host, port)


def _jumps(config: _Config, spec: str, depth: int) -> tuple[Way, ...]:
    """The ways to the jump hosts of a ProxyJump: each through those before it, the first as its own block says."""
    if depth > _DEEPEST:
        raise HarnessError(f"{config.path}: more than {_DEEPEST} jump hosts behind each other; is there a circle?")
    ways: tuple[Way, ...] = ()
    for one in spec.split(","):
        found = _JUMP.fullmatch(one.strip())
        if not found:
            raise HarnessError(f"{config.path}: ProxyJump {one_line(one, 60)!r}: expected [user@]host[:port]")
        name = found["host"].strip("[]")
        said = config.of(name)
        port = int(found["port"] or said.get("port", SSH_PORT))
        host = str(said.get("hostname", name))
        through = ways or _own_jumps(config, said, depth)
        target = f"[{host}]:{port}"
        way = Way(
            who=f"{_JUMP_HOST}{name}",
            host=host,
            port=port,
            user=found["user"] or said.get("user"),
            pinned_as=_pinned_as(said, host, port),
            key_files=(),  # ssh itself finds them
            command=config.jump_command(ways[-1], target) if ways else _command(config, said, through, target),
            jumps=through,
            project_file=config.project_file,
            user_files=config.user_files(said),
        )
        ways = (*ways, way)
    return (*ways[0].jumps, *ways)


def _own_jumps(config: _Config, said: dict[str, Any], depth: int) -> tuple[Way, ...]:
    spec = str(said.get("proxyjump", "none"))
    return () if spec.lower() == "none" else _jumps(config, spec, depth + 1)


def _command(config: _Config, said: dict[str, Any], jumps: tuple[Way, ...], target: str) -> str | None:
    command = str(said.get("proxycommand", "none"))
    if command != "none":
        return command
    return config.jump_command(jumps[-1], target) if jumps else None


def _way(config: _Config, entry: HostEntry) -> Way:
    """As the inventory has a host, and, by its alias or for its address, as ssh_config has it."""
    said = config.of(entry.ssh_alias or entry.address)
    by_alias = said if entry.ssh_alias else {}  # user and port of an address are the inventory's
    files = [entry.identity_file] if entry.identity_file else said.get("identityfile", [])
    host, port = str(said.get("hostname", entry.address)), int(str(by_alias.get("port", entry.port)))
    jumps = _own_jumps(config, said, 0)
    return Way(
        who=entry.role,
        host=host,
        port=port,
        user=str(by_alias.get("user", entry.user)),
        pinned_as=_pinned_as(said, host, port),
        key_files=tuple(os.path.expanduser(str(name)) for name in files),  # noqa: PTH111
        command=_command(config, said, jumps, f"[{host}]:{port}"),
        jumps=jumps,
        project_file=config.project_file,
        user_files=config.user_files(said),
    )


def ways_to(inventory: Inventory) -> list[Way]:
    """The ways to both hosts, the server's first.

    The inventory's address is the lab link's; where ssh_config names another HostName, Port, User, ProxyCommand or
    ProxyJump for the host (looked up by `ssh_alias`, else by the address), the harness goes that way.

    Raises:
        HarnessError: the ssh_config cannot be read.
    """
    config = _Config(inventory)
    return [_way(config, entry) for entry in (inventory.server, inventory.client)]
