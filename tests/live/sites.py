"""Two machines that are somebody's: an embedded testbed of the test's, reached as one reaches hosts behind a jump host.

That is by ssh_config's ProxyCommand, with keys in known_hosts and an identity_file.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.hosts.host import Host
from harness.hosts.keys import new_key_pair
from harness.inventory import Inventory, load_inventory
from tests.live.doors import Doors, opened_doors
from tests.live.watching import processes

SSHD = """
HostKey /run/lab/{role}/host_key
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
UseDNS no
PrintMotd no
PrintLastLog no
"""
_LOOK = """
PATH=$PATH:/usr/sbin:/sbin
cat ~/.ssh/authorized_keys
stat -c '%i %a %u:%g' ~/.ssh ~/.ssh/authorized_keys
ls -A ~/.ssh /tmp
ip -4 route show table all
true # on some there is neither stat nor ip
"""


@dataclass
class Site:
    """Two machines of somebody's, and the files with which that somebody reaches them."""

    doors: Doors
    folder: Path
    aliases: dict[str, str]
    proxies: dict[str, str]
    host_keys: dict[str, str]
    changed: dict[str, Any] = field(default_factory=dict)  # keys of both hosts' entries; None: left out
    ssh_config: str = ""  # more of it

    @property
    def inventory_file(self) -> Path:
        """Write the files; returns the inventory's."""
        ssh_config = "".join(
            f"Host {alias}\n  ProxyCommand {self.proxies[role]}\n"
            for role, alias in self.aliases.items()
            if role in self.proxies
        )
        known_hosts = "".join(f"{self.aliases[role]} {key}\n" for role, key in self.host_keys.items())
        (self.folder / "ssh_config").write_text(ssh_config + self.ssh_config, encoding="utf-8")
        (self.folder / "known_hosts").write_text(known_hosts, encoding="utf-8")
        (self.folder / "known_hosts").chmod(0o600)
        document: dict[str, Any] = {
            "provider": "hosts",
            "ssh_config": str(self.folder / "ssh_config"),
            "known_hosts": str(self.folder / "known_hosts"),
            "hosts": {
                host.role: {
                    "address": host.entry.address,
                    "user": host.entry.user,
                    "port": host.entry.port,
                    "interface": host.entry.interface,
                    "ssh_alias": self.aliases[host.role],
                    "identity_file": str(self.folder / "id_ed25519"),
                }
                for host in self.doors.testbed.hosts
            },
        }
        for entry in document["hosts"].values():
            entry.update(self.changed)
            for key in [key for key, value in entry.items() if value is None]:
                del entry[key]
        path = self.folder / "inventory.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    @property
    def inventory(self) -> Inventory:
        """The parsed inventory."""
        return load_inventory(self.inventory_file)

    def look(self) -> list[str]:
        """What a run may touch, on both hosts."""
        return [host.shell(_LOOK).text for host in self.doors.testbed.hosts]

    def guests(self) -> list[str]:
        """The commands of the experiment that still run on the hosts."""
        words = ("tcpdump -i", "tcp-lab-", "ssh -F /dev/null")
        said = self.doors.testbed.server.shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '", check=False).text
        return [word for word in words if word in said.replace("tcp-lab-test-", "")]

    def proxies_left(self, seconds: float = 3) -> list[str]:
        """The proxies that still run."""
        deadline = time.monotonic() + seconds
        while True:
            left = [p.command for p in processes() if p.pid != os.getpid() and self.doors.name in p.command]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)


@contextmanager
def another_sshd(host: Host, port: int, settings: str) -> Iterator[None]:
    """A second sshd on a host, with settings of its own."""
    config = f"/run/lab/{host.role}/sshd_config_{port}"
    host.shell('cat >"$1"', config, stdin=f"Port {port}\n{SSHD.format(role=host.role)}{settings}")
    with host.start("/usr/sbin/sshd", "-D", "-e", "-f", config) as sshd:
        sshd.wait_for_output("it listened", "Server listening on", "stderr")
        yield


@contextmanager
def opened_site(inventory: Inventory, folder: Path) -> Iterator[Site]:
    """Make them."""
    folder.mkdir()
    key = new_key_pair()
    identity = folder / "id_ed25519"
    identity.touch(mode=0o600)
    identity.write_text(key.private, encoding="utf-8")
    with opened_doors(inventory, folder) as doors:
        for host in doors.testbed.hosts:
            host.shell("cat >>~/.ssh/authorized_keys", stdin=f"{key.public} its-owner\n")
        yield Site(
            doors=doors,
            folder=folder,
            aliases={host.role: f"lab-{host.role}" for host in doors.testbed.hosts},
            proxies={host.role: doors.proxy(host.role) for host in doors.testbed.hosts},
            host_keys={host.role: host.host_key for host in doors.testbed.hosts},
        )
