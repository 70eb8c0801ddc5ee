"""The namespace holder: process 1 of the embedded testbed, in namespaces of its own.

Run by `embedded.py` under unshare(1) as a plain script with nothing but the standard library. It makes the two hosts
(each a network, mount and UTS namespace), and then answers one question: "connect to this host", with a socket made
inside that host's namespace. Everything in the testbed is a descendant of this process and lives in its PID
namespace and its private /run, so the testbed is gone when it ends: when its owner closes the control socket, or dies
(the socket closes all the same), or when somebody kills it.

Protocol, on a SOCK_SEQPACKET pair: one JSON object a message. First the plan (see `embedded.plan`), answered by
{"ok": true}; then {"connect": ROLE, "port": N}, answered by {"ok": true} with the socket attached. An answer
with "error" says what went wrong.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LAB = Path("/run/lab")
CLONE_NEWNET = 0x40000000
GRACE_SECONDS = 5.0

# One host: runs inside its network namespace (ip netns exec), in mount and UTS namespaces of its own.
HOST_INIT = """
hostname "$role"
ip addr add "$address/24" dev "$interface"
# Without an IPv6 address nobody looks for routers and neighbours here: tcpdump counts what comes before it has its
# filter as received, though never captured.
ip link set "$interface" addrgenmode none
ip link set "$interface" up
ip link set lo up
# The harness's own connections: an ACK that waits 40 ms would wait at every command (ip-route(8), quickack).
ip route replace table local local 127.0.0.0/8 dev lo proto kernel scope host src 127.0.0.1 quickack 1
ethtool -K "$interface" tso off gso off gro off tx off rx off >/dev/null
mount --bind "$files/passwd" /etc/passwd
mount --bind "$files/group" /etc/group
[ ! -e /etc/shadow ] || mount --bind "$files/shadow" /etc/shadow
mount --bind "$files/hosts" /etc/hosts
mount -t tmpfs -o mode=0755 tmpfs "$home_root"
mkdir -p "$home/.ssh"
cp "$files/authorized_keys" "$home/.ssh/authorized_keys"
chmod 700 "$home" "$home/.ssh"
chmod 600 "$home/.ssh/authorized_keys"
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /var/log
touch /var/log/lastlog /var/log/wtmp # sshd complains on the user's terminal where they are missing
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null || true # only root may; without it states are sampled
cd "$home"
# An ssh client that says goodbye closes 30 µs later, sshd a millisecond after it has heard. On a wire ssh is first.
# Here the wire takes no time, and on a busy CPU sshd, just woken, would now and then be put in front; as a batch
# process it does not preempt (sched(7)). The path is absolute: sshd executes itself again for each connection.
exec chrt --batch 0 "$sshd" -D -e -f "$files/sshd_config"
"""


class SetupError(Exception):
    """A step of the set-up failed."""


def run(*argv: str, stdin: str = "") -> None:
    """Run a command; its error output becomes a `SetupError`."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")


def raise_testbed(plan: dict[str, Any]) -> dict[str, subprocess.Popen[bytes]]:
    """Make both hosts; returns each host's sshd."""
    # /proc of this PID namespace; where that may not be mounted (inside some containers) the outer one serves.
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], stderr=subprocess.DEVNULL, check=False)
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    Path("/run/sshd").mkdir()  # sshd's privilege separation directory
    hosts = plan["hosts"]
    links = [f"{host['interface']} netns {role}" for role, host in hosts.items()]
    netns = "".join(f"netns add {role}\n" for role in hosts)
    if links:
        run("ip", "-batch", "-", stdin=f"{netns}link add {links[0]} type veth peer name {links[1]}\n")
    return {role: start_host(role, host) for role, host in hosts.items()}


def start_host(role: str, host: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Make one host in its network namespace; returns its sshd, which its set-up script becomes."""
    files = LAB / role
    files.mkdir(parents=True)
    for name, text in host["files"].items():
        path = files / name
        path.write_text(text)
        path.chmod(0o600 if name == "host_key" else 0o644)
    variables = {
        "role": role,
        "files": str(files),
        **{key: host[key] for key in ("address", "interface", "home", "home_root", "sshd")},
    }
    with (files / "log").open("wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", role, "unshare", "--mount", "--uts", "sh", "-ec", HOST_INIT],
            env={"PATH": os.environ["PATH"], **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def enter_network(namespace: int) -> None:
    """setns(2); os.setns came with Python 3.12."""
    if hasattr(os, "setns"):
        os.setns(namespace, CLONE_NEWNET)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def connect(role: str, port: int) -> socket.socket:
    """A TCP connection over the host's own loopback: a socket belongs to the namespace it was made in."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{role}", os.O_RDONLY)
    try:
        enter_network(there)
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            enter_network(home)
    finally:
        os.close(home)
        os.close(there)
    try:
        made.connect(("127.0.0.1", port))
    except OSError:
        made.close()
        raise
    return made


def serve(control: socket.socket) -> None:
    """Make the testbed, then answer until the owner is gone."""

    def answer(message: dict[str, Any], *sockets: socket.socket) -> None:
        socket.send_fds(control, [json.dumps(message).encode()], [s.fileno() for s in sockets])

    def receive() -> Any:
        message = control.recv(1 << 20)
        return json.loads(message) if message else None

    plan = receive()
    if plan is None:
        return
    try:
        sshds = raise_testbed(plan)
    except (SetupError, OSError) as error:
        answer({"error": str(error)})
        return
    answer({"ok": True})
    while request := receive():
        role = request["connect"]
        try:
            with connect(role, request["port"]) as made:
                answer({"ok": True}, made)
        except OSError as error:
            log = (LAB / role / "log").read_text(errors="replace").strip()
            answer({"error": error.strerror or str(error), "exited": sshds[role].poll(), "log": log[-2000:]})


def end_all() -> None:
    """Ask every process of this PID namespace to end and reap them; the kernel kills what stays when we return."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.002)


def main() -> None:
    """Serve the control socket whose descriptor is the first argument."""
    if os.getpid() != 1:
        sys.exit("holder.py: not process 1 of a PID namespace; it is started by the embedded provider only")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                serve(control)
        finally:
            end_all()


if __name__ == "__main__":
    main()
