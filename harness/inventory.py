"""The inventory: which provider, and the two hosts of the lab, parsed strictly."""

import ipaddress
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from harness.errors import HarnessError, one_line

ROLES = ("server", "client")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")  # within the kernel's rule (dev_valid_name), printable


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host of the inventory.

    Attributes:
        role: "server" or "client" (whatever end of the TCP connection it plays).
        address: its IPv4 address on the lab link.
        user: whom to log in as.
        port: where its sshd listens.
        interface: the lab link's interface on this host.
        ssh_alias: the Host of the user's ssh_config to connect by, if not the address.
        identity_file: the private key to connect with.
        password_env: the environment variable that has its password (the password itself is nowhere).
    """

    role: str
    address: str
    user: str
    port: int
    interface: str
    ssh_alias: str | None = None
    identity_file: str | None = None
    password_env: str | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """The parsed inventory file.

    Attributes:
        path: where it was read from.
        provider: who brings up the two hosts.
        server: the host that opens the session and captures.
        client: the host it connects to.
        ssh_config: the user's ssh_config (only for hosts that exist already); beside the inventory if it has no path.
        known_hosts: the file of pinned host keys, if not known_hosts beside the inventory (only for hosts that exist
            already).
    """

    path: Path
    provider: str
    server: HostEntry
    client: HostEntry
    ssh_config: str | None = None
    known_hosts: str | None = None


def _found(value: Any) -> str:
    """What was found instead, for an error: a few aliases can make a collection's text endless."""
    if isinstance(value, list | dict | set | tuple):
        return f"a {type(value).__name__}"
    try:
        return one_line(repr(value), 80)
    except ValueError:  # sys.set_int_max_str_digits
        return "a number too long to print"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice (YAML 1.2 §3.2.1.3; PyYAML keeps the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"{_found(key)} is not a key's name", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key!r}", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _mapping(value: Any, where: str, required: set[str], optional: set[str]) -> dict[str, Any]:
    known = ", ".join(sorted(required) + sorted(optional))
    if not isinstance(value, dict):
        raise HarnessError(f"{where}: expected a mapping with the keys {known}")
    for key in value:
        if key not in required | optional:
            raise HarnessError(f"{where}: unknown key {key!r}; known are: {known}")
    for key in sorted(required):
        if key not in value:
            raise HarnessError(f"{where}: missing key {key!r}; known are: {known}")
    return value


def _address(value: Any, bad: Callable[[str], NoReturn]) -> str:
    try:
        return str(ipaddress.IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        bad("an IPv4 address such as 192.168.1.63")


def _host(role: str, value: Any, where: str) -> HostEntry:
    if isinstance(value, dict) and "password" in value:
        raise HarnessError(
            f"{where}.password: a password does not belong in a file that is shared and kept; leave it out to be asked "
            "for it, or name the environment variable that has it: password_env: LAB_PASSWORD"
        )
    optional = {"ssh_alias", "identity_file", "password_env"}
    entry = _mapping(value, where, {"address", "user", "port", "interface"}, optional)

    def bad(key: str) -> Callable[[str], NoReturn]:
        def report(expected: str) -> NoReturn:
            raise HarnessError(f"{where}.{key}: expected {expected}, found {_found(entry[key])}")

        return report

    if not isinstance(entry["user"], str) or not _NAME.fullmatch(entry["user"]):
        bad("user")("a user name")
    port = entry["port"]
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        bad("port")("a port number from 1 to 65535")
    if not isinstance(entry["interface"], str) or not _INTERFACE.fullmatch(entry["interface"]):
        bad("interface")("an interface name of at most 15 characters, such as ens33")
    for key in ("ssh_alias", "identity_file"):
        if not isinstance(entry.get(key), str | None):
            bad(key)("a text")
    variable = entry.get("password_env")
    if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
        # Not shown: who mistakes it for the password's place has written it there.
        raise HarnessError(f"{where}.password_env: expected the name of an environment variable, such as LAB_PASSWORD")
    return HostEntry(
        role=role,
        address=_address(entry["address"], bad("address")),
        user=entry["user"],
        port=port,
        interface=entry["interface"],
        ssh_alias=entry.get("ssh_alias"),
        identity_file=entry.get("identity_file"),
        password_env=variable,
    )


def load_inventory(path: Path) -> Inventory:
    """Read and check an inventory file.

    Raises:
        HarnessError: one line with the file, the key, and what was expected or which keys are known.
    """
    where = str(path) if str(path).isprintable() else repr(str(path))  # a path may hold a line's end
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{where}: cannot read the inventory: {error.strerror}") from None
    except UnicodeDecodeError:
        raise HarnessError(f"{where}: the inventory is not UTF-8 text") from None
    except ValueError as error:  # a NUL in the path
        raise HarnessError(f"{where}: cannot read the inventory: {error}") from None
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, stricter
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise HarnessError(f"{where}:{line}: {one_line(error.problem or 'not YAML')}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise HarnessError(f"{where}: not YAML: {one_line(str(error))}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError):
        # PyYAML's own slips: !!int "", !!bool x, !!timestamp x, !!map [x], "\UFFFFFFFF"
        raise HarnessError(f"{where}: not YAML: a tag or an escape does not fit its value") from None

    top = _mapping(document, where, {"provider", "hosts"}, {"ssh_config", "known_hosts"})
    for key in ("provider", "ssh_config", "known_hosts"):
        if key in top and not isinstance(top[key], str):
            raise HarnessError(f"{where}: {key}: expected a text, found {_found(top[key])}")
    hosts = _mapping(top["hosts"], f"{where}: hosts", set(ROLES), set())
    server, client = (_host(role, hosts[role], f"{where}: hosts.{role}") for role in ROLES)
    if server.address == client.address:
        raise HarnessError(f"{where}: hosts.client.address: {client.address} is a duplicate of hosts.server.address")
    return Inventory(
        path=path,
        provider=top["provider"],
        server=server,
        client=client,
        ssh_config=top.get("ssh_config"),
        known_hosts=top.get("known_hosts"),
    )
