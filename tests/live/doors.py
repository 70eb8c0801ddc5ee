"""A way to the sshds of an embedded testbed for programs outside it: what ssh_config calls a ProxyCommand."""

import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from harness.hosts import embedded as provider
from harness.hosts.embedded import Holder, embedded, holding
from harness.hosts.host import Testbed
from harness.inventory import Inventory

# Asks for a connected socket by a unix socket (in the abstract namespace: no file), then carries bytes to and fro.
_PROXY = """
import os, select, socket, sys
name, role = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
    door.connect("\\0" + name)
    door.send(role.encode())
    _, descriptors, _, _ = socket.recv_fds(door, 16, 1)
host = socket.socket(fileno=descriptors[0])
while True:
    ready, _, _ = select.select([0, host], [], [])
    if host in ready:
        data = host.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        host.sendall(data)
"""


@dataclass(frozen=True)
class Doors:
    """Leads to both hosts of a testbed.

    Attributes:
        testbed: the testbed.
        holder: its namespace holder.
        name: of the unix socket; stands in the command line of every proxy.
        script: the proxy's program.
    """

    testbed: Testbed
    holder: Holder
    name: str
    script: Path

    def proxy(self, role: str, port: int | None = None) -> str:
        """The ProxyCommand to a host: to its sshd, or to whatever else listens there."""
        return f"{sys.executable} -I -S {self.script} {self.name} {role if port is None else f'{role}:{port}'}"

    def port(self, role: str) -> int:
        """Where a host's sshd listens."""
        return {host.role: host.entry.port for host in self.testbed.hosts}[role]

    def socket_to(self, where: str) -> socket.socket:
        """A socket connected to a host's sshd, "server", or to another port of its, "server:2222"."""
        role, _, port = where.partition(":")
        made = self.holder.connect(role, int(port or self.port(role)))
        assert made is not None
        return made


@contextmanager
def opened_doors(inventory: Inventory, folder: Path) -> Iterator[Doors]:
    """Bring up an embedded testbed and serve sockets to its hosts."""
    holders: list[Holder] = []

    @contextmanager
    def remembered() -> Iterator[Holder]:
        with holding() as holder:
            holders.append(holder)
            yield holder

    with mock.patch.object(provider, "holding", remembered), embedded(inventory) as testbed:
        doors = Doors(testbed, holders[0], f"tcp-lab-test-{uuid.uuid4().hex}", folder / "proxy.py")
        doors.script.write_text(_PROXY, encoding="utf-8")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind("\0" + doors.name)
            door.listen()
            doorman = threading.Thread(target=_serve, args=(door, doors), daemon=True)
            doorman.start()
            try:
                yield doors
            finally:
                door.shutdown(socket.SHUT_RDWR)  # wakes accept
                doorman.join(10)


def _serve(door: socket.socket, doors: Doors) -> None:
    while True:
        try:
            guest, _ = door.accept()
        except OSError:
            return
        with guest, doors.socket_to(guest.recv(16).decode()) as made:
            socket.send_fds(guest, [b"here"], [made.fileno()])
