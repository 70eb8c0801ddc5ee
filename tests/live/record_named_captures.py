"""Record the captures that docs/analysis.md explains its names by: real TCP between a testbed's two hosts.

    .venv/bin/python -m tests.live.record_named_captures DIR [NAME...]

writes DIR/<name>.pcap for each of these names, or all. Run it by hand, as root: it makes network namespaces and sends
segments of its own making. Then `.venv/bin/python -m tests.repo.draw_ladders` draws the document's ladders anew.

The initiator is on the testbed's server host, the responder on its client host. One program, which is this file too
and there has the standard library only, runs on the server host and makes sockets in both network namespaces, so that
each scene is a script from top to bottom. All that is captured are the kernel's own segments, but for what a scene
forges because no Linux sends it: a RST or SYN that is not the connection's, a probe of one byte, an old frame again.
What is lost nftables drops, once: in its receiver's input hook (both ends' captures show it) or in its sender's output
hook (neither does). What is to wait waits for its peer's hardware address in the neighbour table, before the capture.
Two captures lack a frame on purpose, as when tcpdump itself loses one.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Side = Literal["i", "r"]  # initiator, responder
HOSTS: dict[Side, str] = {"i": "server", "r": "client"}
RESPONDER_PORT, FIRST_PORT = 9000, 40001
SECONDS = 5.0  # a deadline
SNAPLEN = 128
PROGRAM, FOLDER = "/tmp/record_named_captures.py", "/tmp/named"

CLONE_NEWNET = 0x40000000
# include/uapi/linux/tcp.h, include/net/tcp_states.h
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
REPAIR_ON, REPAIR_OFF_NO_PROBE, RECEIVE_QUEUE, SEND_QUEUE = 1, -1, 1, 2
SYN, RST, ACK = 2, 4, 16
ESTABLISHED, FIN_WAIT_2 = 1, 5

SETTINGS = {
    "net.ipv4.conf.ens33.arp_ignore": "8",  # hardware addresses are told by `Network.release`, and not asked for
    "net.ipv4.neigh.ens33.mcast_solicit": "100",
    "net.ipv4.tcp_fastopen": "3",
}


def until(what: str, condition: Callable[[], object], *, seconds: float = SECONDS) -> None:
    """Wait for a named condition; here is no harness.waiting."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(0.0005)


def after(milliseconds: float) -> None:
    """Let the clock go on: timestamps count milliseconds (RFC 7323)."""
    then = time.monotonic() + milliseconds / 1000
    until("the clock", lambda: time.monotonic() > then)


# -- the two hosts ---------------------------------------------------------------------------------------------------


@contextmanager
def on(side: Side) -> Iterator[None]:
    """Be in that host's network: sockets made there, and commands run there, belong to it (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{HOSTS[side]}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def command(side: Side, *argv: str, stdin: str = "") -> str:
    """Run a command on a host; its output."""
    with on(side):
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def setting(side: Side, name: str, value: str) -> None:
    """Change a sysctl of a host's network."""
    command(side, "sysctl", "-q", "-w", f"{name}={value}")


@dataclass(frozen=True)
class Network:
    """The lab link.

    Attributes:
        addresses: of the hosts.
        hardware: likewise.
    """

    addresses: dict[Side, str]
    hardware: dict[Side, str] = field(default_factory=dict)

    def set_up(self) -> None:
        for side in HOSTS:
            for name, value in SETTINGS.items():
                setting(side, name, value)
            self.hardware[side] = re.findall(r"link/ether (\S+)", command(side, "ip", "link", "show", "ens33"))[0]
        for side in HOSTS:
            self.release(side)

    def _peer(self, side: Side) -> Side:
        return "r" if side == "i" else "i"

    def hold(self, side: Side) -> None:
        """Keep back what that host sends, before any capture sees it."""
        command(side, "ip", "neigh", "del", self.addresses[self._peer(side)], "dev", "ens33")

    def let_go(self, side: Side) -> None:
        """Let go what it has sent so far, and keep back what it sends from now on: none overtakes."""
        self.release(side)
        self.hold(side)

    def release(self, side: Side) -> None:
        """Let go all that was kept back."""
        self.tell(side, self.addresses[self._peer(side)])

    def tell(self, side: Side, address: str) -> None:
        """Tell a host that the other one's hardware has this address."""
        hardware = self.hardware[self._peer(side)]
        command(side, "ip", "neigh", "replace", address, "dev", "ens33", "lladdr", hardware, "nud", "permanent")


# -- a scene ---------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """What a scene has at hand.

    Attributes:
        network: the link.
        name: the scene's.
        port: the initiator's.
    """

    network: Network
    name: str
    port: int
    stack: ExitStack = field(default_factory=ExitStack)

    # -- sockets

    def listen(self, *, receive_buffer: int = 0, fast_open: bool = False) -> socket.socket:
        """A listening socket on the responder's host."""
        with on("r"):
            listener = self.stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if fast_open:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        listener.bind((self.network.addresses["r"], RESPONDER_PORT))
        listener.settimeout(SECONDS)
        listener.listen()
        return listener

    def fresh(self, side: Side = "i", port: int = 0) -> socket.socket:
        """A socket with a host's address and the initiator's port, or another."""
        with on(side):
            made = self.stack.enter_context(socket.socket())
        made.settimeout(SECONDS)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((self.network.addresses[side], port or self.port))
        return made

    def connect(self, made: socket.socket) -> None:
        """Connect it to the responder."""
        made.connect((self.network.addresses["r"], RESPONDER_PORT))

    def start_connecting(self, made: socket.socket, side: Side = "i") -> None:
        """Send the SYN, and wait for nothing."""
        made.setblocking(False)
        there: tuple[Side, int] = ("r", RESPONDER_PORT) if side == "i" else ("i", self.port)
        with contextlib.suppress(BlockingIOError):
            made.connect((self.network.addresses[there[0]], there[1]))

    def open(self, *, receive_buffer: int = 0) -> tuple[socket.socket, socket.socket]:
        """A connection: the initiator's socket and the responder's."""
        with self.listen(receive_buffer=receive_buffer) as listener:
            initiator = self.fresh()
            self.connect(initiator)
            return initiator, self.accept(listener)

    def open_slowly(self, milliseconds: float) -> tuple[socket.socket, socket.socket]:
        """A connection whose SYN-ACK takes so long."""
        if not milliseconds:
            return self.open()
        self.network.hold("r")
        with self.listen() as listener:
            initiator = self.fresh()
            self.start_connecting(initiator)
            after(milliseconds)
            self.network.release("r")
            responder = self.accept(listener)
        until("the connection", lambda: state(initiator) == ESTABLISHED)
        initiator.settimeout(SECONDS)
        return initiator, responder

    def accept(self, listener: socket.socket) -> socket.socket:
        """The responder's socket."""
        responder = self.stack.enter_context(listener.accept()[0])
        responder.settimeout(SECONDS)
        responder.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return responder

    # -- the network

    @contextmanager
    def losing(self, side: Side, hook: str, match: str, *, once: bool = True) -> Iterator[None]:
        """Drop the first segment in a host's input or output hook that matches, or all, while the block runs."""
        port = "tcp sport" if (side == "i") == (hook == "output") else "tcp dport"
        is_first = f"{port} != @lost add @lost {{ {port} }}" if once else ""
        rules = f"""table ip named {{
            set lost {{ type inet_service; flags dynamic; size 65535; }}
            chain {hook} {{
                type filter hook {hook} priority 0;
                {port} {self.port} {match} {is_first} drop
            }}
        }}"""
        command(side, "nft", "-f", "-", stdin=rules)
        try:
            yield
        finally:
            command(side, "nft", "delete", "table", "ip", "named")

    @contextmanager
    def detour(self, match: str) -> Iterator[Callable[[], None]]:
        """Send what matches of the initiator's segments another way, where it waits until the yielded call.

        The other way is a second address of the same peer, through a routing table of its own (ip-rule(8)).
        """
        address, other = self.network.addresses["r"], "192.168.1.65"
        rules = f"""table ip named {{
            chain output {{
                type route hook output priority mangle;
                tcp sport {self.port} {match} meta mark set 7
            }}
        }}"""
        command("i", "nft", "-f", "-", stdin=rules)
        command("i", "ip", "rule", "add", "fwmark", "7", "table", "7")
        command("i", "ip", "route", "add", address, "via", other, "dev", "ens33", "table", "7")
        try:
            yield lambda: self.network.tell("i", other)
        finally:
            command("i", "ip", "neigh", "flush", other)
            command("i", "ip", "route", "flush", "table", "7")
            command("i", "ip", "rule", "del", "fwmark", "7")
            command("i", "nft", "delete", "table", "ip", "named")

    # -- segments that no socket sends

    def forge(self, flags: int, numbers: tuple[int, int], payload: bytes = b"") -> None:
        """Send a segment with the initiator's addresses and ports, and these seq and ack."""
        seq, ack = numbers
        here, there = self.network.addresses["i"], self.network.addresses["r"]
        fields = (self.port, RESPONDER_PORT, seq % (1 << 32), ack, 5 << 12 | flags, 501, 0, 0)
        header = struct.pack("!HHIIHHHH", *fields)
        length = len(header) + len(payload)
        summed = socket.inet_aton(here) + socket.inet_aton(there) + struct.pack("!HH", socket.IPPROTO_TCP, length)
        summed += header + payload + bytes(length % 2)
        # RFC 1071: a sum of 16-bit words whose carries go round is the number modulo 0xFFFF.
        checksum = 0xFFFF - int.from_bytes(summed, "big") % 0xFFFF
        with on("i"), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(header[:16] + struct.pack("!H", checksum) + header[18:] + payload, (there, 0))

    def send_again(self, frame: bytes) -> None:
        """Put a captured frame on the link once more, as it was."""
        with on("i"), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("ens33", 0))
            raw.send(frame)

    # -- the capture

    @property
    def path(self) -> Path:
        """The capture."""
        return Path(FOLDER, f"{self.name}.pcap")

    @contextmanager
    def captured(self, count: int, side: Side = "i", also: str = "", interface: str = "ens33") -> Iterator[None]:
        """Capture so many segments on a host while the block runs; they must come before it is left."""
        argv = ("tcpdump", "-i", interface, "-n", "--immediate-mode", "-U", "-s", str(SNAPLEN), "-c", str(count), "-w")
        expression = f"tcp port {self.port} {also}".strip()
        with self.path.open("wb") as file, on(side):
            process = subprocess.Popen([*argv, "-", expression], stdout=file, stderr=subprocess.PIPE, text=True)
        assert process.stderr
        try:
            said = process.stderr.readline()
            while said and "listening on" not in said:
                said = process.stderr.readline()
            if not said:
                raise RuntimeError("tcpdump ended at once")
            yield
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{len(self.frames())} of {count} segments were captured") from None
            if "0 packets dropped by kernel" not in process.stderr.read():
                raise RuntimeError("tcpdump lost packets")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(SECONDS)
            process.stderr.close()

    def frames(self) -> list[bytes]:
        """The captured frames so far."""
        return [record[16:] for record in records(self.path.read_bytes())[1]]

    def leave_out(self, number: int) -> None:
        """Take a frame out of the finished capture; they count from 1."""
        header, all_ = records(self.path.read_bytes())
        self.path.write_bytes(header + b"".join(all_[: number - 1] + all_[number:]))


def records(data: bytes) -> tuple[bytes, list[bytes]]:
    """A pcap file's header and records, in this machine's byte order; a last one that is not whole is left out."""
    at, found = 24, []
    while at + 16 <= len(data):
        size = 16 + int(struct.unpack_from("=I", data, at + 8)[0])
        if at + size > len(data):
            break
        found.append(data[at : at + size])
        at += size
    return data[:24], found


def state(of: socket.socket) -> int:
    """Its state in the kernel, a number of include/net/tcp_states.h (tcp(7), TCP_INFO)."""
    return of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def numbers(of: socket.socket) -> tuple[int, int]:
    """The number of the next byte it would send, and the one that it would acknowledge."""
    of.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    found = []
    for queue in (SEND_QUEUE, RECEIVE_QUEUE):
        of.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        found.append(of.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) % (1 << 32))
    of.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_NO_PROBE)
    return found[0], found[1]


def forget(of: socket.socket) -> None:
    """Close it as a machine does whose power fails: nothing is sent."""
    of.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
    of.close()


def acknowledge_at_once(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def delay_acknowledgements(of: socket.socket) -> None:
    of.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)


def abort(of: socket.socket) -> None:
    """Close it with a RST (socket(7), SO_LINGER)."""
    of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    of.close()


def send(of: socket.socket, size: int) -> None:
    """Send so many bytes as one segment."""
    of.sendall((b"abcdefghij" * size)[:size])


def acknowledged(of: socket.socket) -> None:
    """Wait until all that it sent is acknowledged (tcp(7), SIOCOUTQ)."""
    until("the ACK", lambda: not struct.unpack("i", fcntl.ioctl(of, termios.TIOCOUTQ, bytes(4)))[0])


def read(of: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size:
        got = len(of.recv(size))
        if not got:
            raise RuntimeError("the end, but data was to come")
        size -= got


# -- the scenes ------------------------------------------------------------------------------------------------------

Scene = Callable[[Stage], None]
SCENES: dict[str, Scene] = {}


def scene(name: str) -> Callable[[Scene], Scene]:
    """The capture that a scene makes."""

    def known(play: Scene) -> Scene:
        SCENES[name] = play
        return play

    return known


def say_something(initiator: socket.socket, responder: socket.socket) -> None:
    """A request and its answer, three segments."""
    delay_acknowledgements(responder)
    send(initiator, 20)
    read(responder, 20)
    send(responder, 30)
    read(initiator, 30)
    acknowledge_at_once(initiator)
    acknowledged(responder)


@scene("open-three-way")
def _(stage: Stage) -> None:
    with stage.captured(6):
        say_something(*stage.open())


def cross(network: Network) -> None:
    """What both hosts have sent crosses on the way, and so do their answers."""
    for side in ("i", "r", "i", "r"):
        network.let_go(side)
    for side in HOSTS:
        network.release(side)


@scene("open-simultaneous")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, responder = stage.fresh("i"), stage.fresh("r", RESPONDER_PORT)
        for side in HOSTS:
            stage.network.hold(side)
        stage.start_connecting(initiator)
        stage.start_connecting(responder, "r")
        cross(stage.network)


@scene("open-refused")
def _(stage: Stage) -> None:
    with stage.captured(2):
        stage.start_connecting(stage.fresh())  # nobody listens


@scene("open-unanswered")
def _(stage: Stage) -> None:
    stage.listen()
    with stage.captured(2), stage.losing("r", "input", "tcp flags & syn == syn", once=False):
        stage.start_connecting(stage.fresh())
        until("the second SYN", lambda: len(stage.frames()) == 2)


@scene("open-incomplete")
def _(stage: Stage) -> None:
    stage.listen()
    with stage.captured(3), stage.losing("i", "input", "tcp flags & syn == syn"):
        stage.start_connecting(stage.fresh())
        until("another SYN", lambda: len(stage.frames()) >= 3)


@scene("open-not-shown")
def _(stage: Stage) -> None:
    initiator, responder = stage.open()
    with stage.captured(3):
        say_something(initiator, responder)


@scene("history-turned")
def _(stage: Stage) -> None:
    initiator, responder = stage.open()
    delay_acknowledgements(responder)
    send(initiator, 20)
    read(responder, 20)
    with stage.captured(2):
        send(responder, 30)
        read(initiator, 30)
        acknowledge_at_once(initiator)
        acknowledged(responder)


def four_segments(first: socket.socket, second: socket.socket) -> None:
    """Close: the other end takes its time."""
    acknowledge_at_once(second)
    first.shutdown(socket.SHUT_WR)
    until("the ACK of the FIN", lambda: state(first) == FIN_WAIT_2)
    second.close()


@scene("close-four-segment")
def _(stage: Stage) -> None:
    with stage.captured(7):
        four_segments(*stage.open())


@scene("close-three-segment")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, responder = stage.open()
        delay_acknowledgements(responder)
        initiator.close()
        responder.close()


@scene("close-simultaneous")
def _(stage: Stage) -> None:
    with stage.captured(7):
        initiator, responder = stage.open()
        for side in HOSTS:
            stage.network.hold(side)
        initiator.close()
        responder.close()
        cross(stage.network)


@scene("close-half-closed")
def _(stage: Stage) -> None:
    with stage.captured(7):
        initiator, responder = stage.open()
        acknowledge_at_once(responder)
        initiator.shutdown(socket.SHUT_WR)
        until("the ACK of the FIN", lambda: state(initiator) == FIN_WAIT_2)
        acknowledge_at_once(initiator)
        send(responder, 30)
        acknowledged(responder)


@scene("close-reset")
def _(stage: Stage) -> None:
    with stage.captured(4):
        abort(stage.open()[0])


@scene("close-open")
def _(stage: Stage) -> None:
    with stage.captured(5):
        initiator, responder = stage.open()
        send(initiator, 20)
        read(responder, 20)
        acknowledged(initiator)


@scene("closer-responder")
def _(stage: Stage) -> None:
    with stage.captured(7):
        initiator, responder = stage.open()
        four_segments(responder, initiator)


@scene("conn_state-S3")
def _(stage: Stage) -> None:
    with stage.captured(5):
        initiator, responder = stage.open()
        acknowledge_at_once(initiator)
        responder.shutdown(socket.SHUT_WR)
        until("the ACK of the FIN", lambda: state(responder) == FIN_WAIT_2)


@scene("conn_state-RSTR")
def _(stage: Stage) -> None:
    with stage.captured(4):
        abort(stage.open()[1])


@scene("conn_state-RSTOS0")
def _(stage: Stage) -> None:
    stage.listen()
    with stage.captured(2, also=f"and src port {stage.port}"):
        stage.network.hold("r")
        with stage.fresh() as initiator:
            stage.start_connecting(initiator)
        stage.network.release("r")  # the SYN-ACK comes, and nobody is there any more


@scene("conn_state-RSTRH")
def _(stage: Stage) -> None:
    with stage.captured(2, also=f"and dst port {stage.port}"):
        abort(stage.open()[1])


@scene("conn_state-SH")
def _(stage: Stage) -> None:
    with stage.captured(4, also=f"and src port {stage.port}"):
        four_segments(*stage.open())


@scene("conn_state-SHR")
def _(stage: Stage) -> None:
    with stage.captured(3, also=f"and dst port {stage.port}"):
        four_segments(*stage.open())


@scene("retransmission")
def _(stage: Stage) -> None:
    with stage.captured(6), stage.losing("r", "input", "tcp flags & psh == psh"):
        initiator, responder = stage.open()
        send(initiator, 20)
        read(responder, 20)
        acknowledged(initiator)


def lose_the_first_of(stage: Stage, *sizes: int) -> None:
    """Send segments at once, of which the first, with 20 bytes, is lost."""
    with stage.losing("r", "input", "tcp flags & psh == psh"):
        initiator, responder = stage.open()
        for size in sizes:
            send(initiator, size)
        read(responder, sum(sizes))
        acknowledged(initiator)


@scene("fast_retransmission")
def _(stage: Stage) -> None:
    setting("i", "net.ipv4.tcp_sack", "0")  # with SACK the kernel does not wait for duplicates, see the next one
    try:
        with stage.captured(14):
            lose_the_first_of(stage, 20, 30, 31, 32, 33)
    finally:
        setting("i", "net.ipv4.tcp_sack", "1")


@scene("differs-rack")
def _(stage: Stage) -> None:
    with stage.captured(8):
        lose_the_first_of(stage, 20, 30)


@scene("differs-partly-again")
def _(stage: Stage) -> None:
    with stage.captured(7):
        initiator, responder = stage.open()
        send(initiator, 20)
        read(responder, 20)
        acknowledged(initiator)
        seq, ack = numbers(initiator)
        stage.forge(ACK, (seq - 20, ack), b"abcdefghij" * 3)


@scene("spurious_retransmission")
def _(stage: Stage) -> None:
    with stage.captured(7), stage.losing("i", "input", "tcp flags & (syn | ack) == ack"):
        initiator, responder = stage.open()
        send(initiator, 20)
        read(responder, 20)
        acknowledged(initiator)


@scene("out_of_order")
def _(stage: Stage) -> None:
    with stage.captured(7), stage.detour("ip length 72") as let_go:
        initiator, responder = stage.open_slowly(300)  # and so the other way does not take long
        for size in (20, 30):
            send(initiator, size)
        let_go()
        read(responder, 50)
        acknowledged(initiator)


@scene("lost_segment")
def _(stage: Stage) -> None:
    with stage.captured(7):
        initiator, responder = stage.open()
        delay_acknowledgements(responder)
        for size in (20, 30, 40):
            send(initiator, size)
        read(responder, 90)
        acknowledge_at_once(responder)
        acknowledged(initiator)
    stage.leave_out(5)


@scene("ack_lost_segment")
def _(stage: Stage) -> None:
    with stage.captured(5):
        say_something(*stage.open())
    stage.leave_out(4)


@scene("keep_alive")
def _(stage: Stage) -> None:
    with stage.captured(8):
        initiator, responder = stage.open()
        say_something(initiator, responder)
        initiator.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        initiator.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)


SMALL = 1  # a receive buffer: as small as can be, for a window of 1152 bytes (socket(7), SO_RCVBUF)


@scene("window_full")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, _responder = stage.open(receive_buffer=SMALL)
        send(initiator, 1152)


@scene("zero_window")
def _(stage: Stage) -> None:
    with stage.captured(10):
        initiator, responder = stage.open(receive_buffer=SMALL)
        send(initiator, 1152)
        acknowledged(initiator)
        stage.forge(ACK, numbers(initiator), b"k")  # Linux probes without a byte, see the next one
        until("the answer", lambda: len(stage.frames()) >= 9)
        read(responder, 1152)


@scene("differs-zero-window-probe")
def _(stage: Stage) -> None:
    with stage.captured(9):
        initiator, _responder = stage.open(receive_buffer=SMALL)
        send(initiator, 1200)


@scene("reused_ports")
def _(stage: Stage) -> None:
    with stage.captured(7):
        abort(stage.open()[0])
        stage.open()


@scene("duplicate_frame")
def _(stage: Stage) -> None:
    address = stage.network.addresses["r"]
    command("r", "ip", "link", "add", "br0", "address", stage.network.hardware["r"], "type", "bridge")
    try:
        command("r", "ip", "link", "set", "ens33", "master", "br0")
        command("r", "ip", "link", "set", "br0", "up")
        command("r", "ip", "addr", "del", f"{address}/24", "dev", "ens33")
        command("r", "ip", "addr", "add", f"{address}/24", "dev", "br0")
        hardware = ("lladdr", stage.network.hardware["i"], "nud", "permanent")
        command("r", "ip", "neigh", "replace", stage.network.addresses["i"], "dev", "br0", *hardware)
        with stage.captured(12, "r", interface="any"):
            say_something(*stage.open())
    finally:
        command("r", "ip", "link", "del", "br0")
        command("r", "ip", "addr", "replace", f"{address}/24", "dev", "ens33")
        stage.network.release("r")


@scene("fast_open")
def _(stage: Stage) -> None:
    listener = stage.listen(fast_open=True)
    there = stage.network.addresses["r"], RESPONDER_PORT
    before = stage.fresh(port=stage.port + 1000)  # it gets the cookie
    with contextlib.suppress(BlockingIOError):
        before.sendto(b"", socket.MSG_FASTOPEN, there)
    stage.accept(listener)
    with stage.captured(5):
        initiator = stage.fresh()
        initiator.sendto(b"abcdefghij" * 2, socket.MSG_FASTOPEN, there)
        responder = stage.accept(listener)
        read(responder, 20)
        acknowledge_at_once(initiator)
        send(responder, 30)
        acknowledged(responder)


@scene("d_sack")
def _(stage: Stage) -> None:
    with stage.captured(6), stage.losing("r", "output", "tcp flags & (syn | ack) == ack"):
        initiator, responder = stage.open()
        send(initiator, 20)
        read(responder, 20)
        acknowledged(initiator)


@scene("paws")
def _(stage: Stage) -> None:
    with stage.captured(9):
        initiator, responder = stage.open()
        for size in (20, 30):
            after(20)
            acknowledge_at_once(responder)
            send(initiator, size)
            read(responder, size)
            acknowledged(initiator)
        stage.send_again(stage.frames()[3])


@scene("unacceptable_reset")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, responder = stage.open()
        stage.forge(RST, (numbers(initiator)[0] - 100, 0))
        say_something(initiator, responder)


@scene("inexact_reset")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, responder = stage.open()
        stage.forge(RST, (numbers(initiator)[0] + 100, 0))
        say_something(initiator, responder)


@scene("challenge_ack")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, _responder = stage.open()
        forget(initiator)
        stage.start_connecting(stage.fresh())


@scene("syn_when_open")
def _(stage: Stage) -> None:
    with stage.captured(6):
        initiator, responder = stage.open()
        stage.forge(SYN, (numbers(initiator)[0] + 100, 0))
        say_something(initiator, responder)


# -- both programs ---------------------------------------------------------------------------------------------------


def play(names: list[str], addresses: dict[Side, str]) -> None:
    """On the server host: play the scenes; their captures are left in FOLDER."""
    network = Network(addresses)
    network.set_up()
    Path(FOLDER).mkdir()
    for name in names:
        stage = Stage(network, name, FIRST_PORT + list(SCENES).index(name))
        with stage.stack:
            try:
                SCENES[name](stage)
            except (OSError, RuntimeError) as error:
                sys.stdout.write(f"{name}: {error}\n")


def main(folder: Path, names: list[str]) -> None:
    """Record them, and put them into a folder."""
    from harness.hosts.embedded import embedded
    from harness.inventory import load_inventory

    if os.geteuid() != 0:
        raise SystemExit("needs root: it sends segments of its own making in network namespaces")
    if unknown := set(names) - set(SCENES):
        raise SystemExit(f"no such scene: {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    names = names or list(SCENES)
    with embedded(load_inventory(Path(__file__).resolve().parents[2] / "inventory.yaml")) as testbed:
        server = testbed.server
        server.shell(f"cat >{PROGRAM}", stdin=Path(__file__).read_text(encoding="utf-8"))
        argv = ("python3", "-I", "-S", PROGRAM, "--inside", server.entry.address, testbed.client.entry.address, *names)
        said = server.shell('PATH=$PATH:/usr/sbin:/sbin; exec "$@"', *argv).text
        failed = {line.partition(":")[0] for line in said.splitlines()}
        for name in names:
            if name not in failed:
                (folder / f"{name}.pcap").write_bytes(server.fetch(f"{FOLDER}/{name}.pcap"))
    if said:
        raise SystemExit(said.rstrip())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        play(sys.argv[4:], {"i": sys.argv[2], "r": sys.argv[3]})
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]), sys.argv[2:])
    else:
        raise SystemExit(__doc__)
