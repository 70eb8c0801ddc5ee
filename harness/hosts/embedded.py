"""The embedded provider: two network namespaces on this machine, a real sshd in each.

The hosts are made by `holder.py`, process 1 of a PID namespace of its own; as root with this machine's own user
namespace, otherwise in a new one, where an ordinary user has the capabilities to do the same (user_namespaces(7)).
The lab link is a veth pair. The harness talks to each sshd over a socket that the holder connects inside the host's
network namespace, on its loopback, so nothing of the harness is ever on the lab link.
"""

import grp
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness.announcing import Announce, quietly
from harness.errors import HarnessError, one_line
from harness.hosts.host import Testbed
from harness.hosts.keys import KeyPair
from harness.hosts.own import check_one_link, hosts_file, sshd_config
from harness.interrupts import held_back
from harness.inventory import HostEntry, Inventory
from harness.waiting import wait_for

HOLDER = Path(__file__).with_name("holder.py")
TOOLS = ("unshare", "ip", "ethtool", "mount", "sshd")
PACKAGES = {"unshare": "util-linux", "ip": "iproute2", "sshd": "openssh-server"}
SECONDS = 10.0


def tool(name: str) -> str:
    """The absolute path of a program this provider needs.

    Raises:
        HarnessError: it is not installed; names the Debian package.
    """
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        package = PACKAGES.get(name, name)
        raise HarnessError(f"embedded: {name} is not installed on this machine; run: sudo apt-get install {package}")
    return found


def refusal(settings: Path = Path("/proc/sys")) -> str | None:
    """Why this user may not make namespaces here, with the setting to change; None if nothing says so."""
    if os.geteuid() == 0:
        return None
    for name, forbids in (
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        path = settings / name
        if path.exists() and path.read_text().strip() == forbids:
            setting = name.replace("/", ".")
            wanted = {"user.max_user_namespaces": "15000", "kernel.unprivileged_userns_clone": "1"}
            return (
                f"this system forbids user namespaces to ordinary users ({setting} = {forbids}); "
                f"run: sudo sysctl {setting}={wanted.get(setting, '0')} - or run as root, which always works"
            )
    return None


def unshare_command() -> list[str]:
    """unshare(1) with the namespaces of a testbed; everything in them dies with it."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return [tool("unshare"), *as_user, "--net", "--mount", "--pid", "--fork", "--kill-child"]


def _accounts(entry: HostEntry) -> tuple[str, str]:
    """The host's passwd and shadow: this machine's, with the lab's user (whose uid is ours) in front."""
    home = "/root" if entry.user == "root" else f"/home/{entry.user}"
    shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
    uid, gid = os.geteuid(), os.getegid()
    passwd = [f"{entry.user}:x:{uid}:{gid}::{home}:{shell}"]
    passwd += [
        f"{other.pw_name}:x:{other.pw_uid}:{other.pw_gid}::{other.pw_dir}:{other.pw_shell}"
        for other in pwd.getpwall()
        if other.pw_name != entry.user and other.pw_uid != uid
    ]
    return "\n".join(passwd) + "\n", f"{entry.user}:*:::::::\n"


def _groups() -> str:
    """The host's groups: this machine's, but for tty.

    sshd gives a terminal to the group of that name, if there is one, and an ordinary user may not give it away.
    """
    return "".join(
        f"{group.gr_name}:x:{group.gr_gid}:{','.join(group.gr_mem)}\n"
        for group in grp.getgrall()
        if group.gr_name != "tty"
    )


def _host_plan(
    entry: HostEntry, host_key: KeyPair, user_key: KeyPair, names: str, banner: str | None
) -> dict[str, Any]:
    passwd, shadow = _accounts(entry)
    home = "/root" if entry.user == "root" else f"/home/{entry.user}"
    return {
        "address": entry.address,
        "interface": entry.interface,
        "home": home,
        "home_root": "/root" if entry.user == "root" else "/home",
        "sshd": tool("sshd"),
        "files": {
            "passwd": passwd,
            "shadow": shadow,
            "group": _groups(),
            "hosts": names,
            "host_key": host_key.private,
            "authorized_keys": user_key.public + " harness\n",
            "sshd_config": sshd_config(entry, f"/run/lab/{entry.role}", banner),
        },
    }


class Holder:
    """The harness's end of the control socket."""

    def __init__(self, control: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        self._control = control
        self._process = process

    def ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """Send one message; its answer, and the descriptors that came with it."""
        try:
            self._control.send(json.dumps(message).encode())
            answer, descriptors, _, _ = socket.recv_fds(self._control, 1 << 16, 1)
        except TimeoutError:
            raise HarnessError(f"embedded: the namespace holder did not answer in {SECONDS:g} s") from None
        except OSError:
            answer = b""
        if not answer:
            raise HarnessError(f"embedded: {self._said()}")
        return json.loads(answer), descriptors

    def set_up(self, plan: dict[str, Any]) -> None:
        """Have the hosts of a plan made; each host's sshd may still be starting when this returns.

        Raises:
            HarnessError: namespaces cannot be made here, or a step failed; says why.
        """
        answer, _ = self.ask(plan)
        if "error" in answer:
            raise HarnessError(f"embedded: setting up the namespaces failed: {one_line(answer['error'])}")

    def _said(self) -> str:
        """Why the holder is gone."""
        try:
            _, stderr = self._process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return "the namespace holder closed its socket"
        said = one_line(stderr.decode(errors="replace"))
        if os.geteuid() != 0 and self._process.returncode == 1:
            return refusal() or (f"this system did not let an ordinary user make namespaces ({said}); as root it works")
        hint = (
            "; root without CAP_SYS_ADMIN (in a container?) may not make namespaces" if "not permitted" in said else ""
        )
        return f"the namespace holder ended with status {self._process.returncode}: {said or 'it said nothing'}{hint}"

    def connect(self, role: str, port: int) -> socket.socket | None:
        """A socket connected to the host's sshd, or None while that does not listen yet.

        Raises:
            HarnessError: that sshd has ended; says its last words.
        """
        answer, descriptors = self.ask({"connect": role, "port": port})
        if descriptors:
            return socket.socket(fileno=descriptors[0])
        if answer.get("exited") is not None:
            said = one_line(answer["log"]) or "it said nothing"
            raise HarnessError(
                f"embedded: {role}'s sshd ended with status {answer['exited']} at start; it said: {said}"
            )
        return None


@contextmanager
def holding() -> Iterator[Holder]:
    """Start the namespace holder; it and all it makes are gone when the block is left."""
    if reason := refusal():
        raise HarnessError(f"embedded: {reason}")
    command = [*unshare_command(), sys.executable, "-I", "-S", str(HOLDER)]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process: subprocess.Popen[bytes] | None = None
    try:
        with theirs, held_back():
            process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the harness, which then ends this in order
                env={"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C"},
            )
        ours.settimeout(SECONDS)
        yield Holder(ours, process)
    finally:
        ours.close()  # the holder sees it and ends
        if process:
            try:
                process.wait(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()


def holding_nothing() -> None:
    """Start a namespace holder without hosts, and end it: can namespaces be made here?

    Raises:
        HarnessError: they cannot; says why.
    """
    with holding() as holder:
        holder.set_up({"hosts": {}})


@contextmanager
def embedded(inventory: Inventory, banner: str | None = None, _announce: Announce = quietly) -> Iterator[Testbed]:
    """Two namespaces as the inventory's hosts.

    Args:
        inventory: the hosts.
        banner: one printable word for the client host's SSH banner.

    Raises:
        HarnessError: a tool is missing, namespaces are forbidden, or the set-up failed; one line with the mend.
    """
    entries = (inventory.server, inventory.client)
    for name in TOOLS:
        tool(name)
    check_one_link(inventory)
    names = hosts_file(inventory)
    with ExitStack() as stack:
        holder = stack.enter_context(holding())  # started first: it sets up while paramiko is imported here
        from harness.hosts.keys import known_hosts_name, new_key_pair

        host_keys = {entry.role: new_key_pair() for entry in entries}
        user_key = new_key_pair()
        holder.set_up({"hosts": {e.role: _host_plan(e, host_keys[e.role], user_key, names, banner) for e in entries}})

        from harness.hosts.ssh import Login, both_connected

        logins = []
        for entry in entries:
            sock = wait_for(
                f"{entry.role}'s sshd to listen on port {entry.port}",
                lambda entry=entry: holder.connect(entry.role, entry.port),  # type: ignore[misc]
                seconds=SECONDS,
            )
            stack.callback(sock.close)
            pinned = f"{known_hosts_name(entry.address, entry.port)} {host_keys[entry.role].public}"
            logins.append(Login(entry, pinned, entry.address, sock=sock, private_key=user_key.private))
        server, client = stack.enter_context(both_connected(logins))
        yield Testbed("embedded", server, client, owned=True)
