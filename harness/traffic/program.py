"""One end of many TCP connections at once. Runs on a host as a plain script, with nothing but the standard library.

Protocol, one JSON object a line. On standard input

    {"token": T, "local": PORT, "remote": PORT, "steps": [[VERB, ARGUMENT], ...]}

asks for steps at the end PORT of one connection, answered on standard output by {"token": T} when the last of them is
done, or with "error" as soon as one fails. Connections do not wait for each other. {"token": T, "report": true} is
answered with all that was seen in /proc/net/tcp: [local port, remote port, [[time, state or null], ...]], where a
listening socket's remote port is 0, the state is RFC 9293's (with "small " before it if it is that of the small socket
that a socket leaves behind in FIN-WAIT-2 or TIME-WAIT), and the time is CLOCK_MONOTONIC's. The program ends when its
input does, and with it all its sockets and the processes it started.

Verbs: listen, small (buffers), defer (TCP_DEFER_ACCEPT), unlisten, accept, connect, fast-open BYTES, isn NUMBER
(connect with it), send BYTES, fill (send until nothing more is taken), read BYTES, drain (read to the end), eof (the
end, and no data before it), arrived BYTES (and left unread), acked (all that was sent), cork, quick (ACK at once), slow
(delay ACKs), shut (SHUT_WR), close, abort (close with SO_LINGER 0), reset and refused (wait for it), forge-rst and
forge-syn OFFSET (send one that this end knows nothing of, so far behind what it has sent), own (hand the socket to a
process of its own), kill (that process, by SIGKILL), aged MILLISECONDS (in the state that it is in), occupied (bind
another socket without SO_REUSEADDR, which the kernel refuses as long as this end has the port), keep (a copy of each
segment that this end sends from now on), kept KIND (wait until there is one of a "syn", "data" or "rst"), again KIND
(send the first that was kept once more, as it was), detour (what this end sends goes by a way on which it waits),
arrive (and now comes to its end), and "=" STATE: wait until the kernel shows this end in that state ("gone": shows it
no more).
"""

import errno
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

# include/net/tcp_states.h
STATES = {
    "01": "ESTABLISHED",
    "02": "SYN-SENT",
    "03": "SYN-RECEIVED",
    "04": "FIN-WAIT-1",
    "05": "FIN-WAIT-2",
    "06": "TIME-WAIT",
    "07": "CLOSED",
    "08": "CLOSE-WAIT",
    "09": "LAST-ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}
# include/uapi/linux/tcp.h
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
REPAIR_ON, REPAIR_OFF, REPAIR_OFF_NO_PROBE, SEND_QUEUE = 1, 0, -1, 2
SYN, RST, PSH = 2, 4, 8
ETH_P_ALL, PACKET_OUTGOING = 3, 4  # packet(7)
LINE = 16  # bytes of a line of what is sent
TICK = 0.002  # seconds between two looks, while something is waited for
FILL = 1 << 13  # buffer sizes of a connection that is to be filled

Table = dict[tuple[int, int], str]
T = TypeVar("T")


class Unexpected(Exception):  # noqa: N818 - what the connection did, no error of the program's
    """A connection did something else than its script says."""


def _there(found: T | None, otherwise: str) -> T:
    """What is not to be missing or false.

    Raises:
        Unexpected: it is.
    """
    if not found:
        raise Unexpected(otherwise)
    return found


def text(port: int, begin: int, size: int) -> bytes:
    """What the end of that port sends from a position of its stream on."""
    first = begin // LINE
    lines = (f"{port:05d} {line * LINE:09d}\n" for line in range(first, (begin + size) // LINE + 1))
    return "".join(lines).encode()[begin - first * LINE :][:size]


class Flow:
    """What went through a socket in one direction."""

    def __init__(self) -> None:
        self.bytes = 0
        self.digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """More of it."""
        self.bytes += len(data)
        self.digest.update(data)

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {"bytes": self.bytes, "sha256": self.digest.hexdigest()}


class Life:
    """What went through one socket."""

    def __init__(self) -> None:
        self.sent, self.received = Flow(), Flow()


def checksummed(addresses: bytes, segment: bytes) -> bytes:
    """A TCP segment with its checksum."""
    # RFC 1071: a sum of 16-bit words whose carries go round is the number modulo 0xFFFF.
    blank = segment[:16] + bytes(2) + segment[18:]
    pseudo = addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    whole = pseudo + blank + bytes(len(segment) % 2)
    checksum = 0xFFFF - int.from_bytes(whole, "big") % 0xFFFF
    return blank[:16] + struct.pack("!H", checksum) + blank[18:]


class Kernel:
    """What /proc/net/tcp shows: every socket, also the small ones of SYN-RECEIVED and TIME-WAIT."""

    def __init__(self) -> None:
        self.table: Table = {}
        self.before: Table = {}
        self.looks = 0
        self.seen: dict[tuple[int, int], list[tuple[float, str | None]]] = {}

    def look(self) -> None:
        """Read it once."""
        table: Table = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            ports = int(fields[1].partition(":")[2], 16), int(fields[2].partition(":")[2], 16)
            small = fields[5].startswith("03:")  # the timer of a small one, get_timewait4_sock in net/ipv4/tcp_ipv4.c
            table[ports] = ("small " if small else "") + STATES[fields[3]]
        now = time.monotonic()
        for ports in table.keys() | self.table.keys():
            state = table.get(ports)
            if state != self.table.get(ports):
                self.seen.setdefault(ports, []).append((now, state))
        self.before, self.table = self.table, table
        self.looks += 1

    def shows(self, ports: tuple[int, int], state: str) -> bool:
        """Whether the last look showed it. That it is gone takes two: the table changes while it is read."""
        if state == "gone":
            return ports not in self.table and ports not in self.before
        return self.table.get(ports) in (state, f"small {state}")


class End:
    """One end of one connection."""

    def __init__(self, kernel: Kernel, here: tuple[str, int], there: tuple[str, int]) -> None:
        self.kernel = kernel
        self.here = here
        self.there = there
        self.socket = socket.socket()
        self.listener: socket.socket | None = None
        self.process = 0
        self.lives: list[Life] = []
        self.tap: socket.socket | None = None
        self.kept: dict[str, bytes] = {}
        self.undo: list[list[str]] = []
        self.way = "", ""

    def run(self, steps: list[list[Any]]) -> Iterator[None]:
        """Do the steps; yields while it waits."""
        for verb, argument in steps:
            if verb == "=":
                looks = self.kernel.looks
                while self.kernel.looks < looks + 2 or not self.kernel.shows((self.here[1], self.there[1]), argument):
                    yield
            else:
                yield from getattr(self, "do_" + verb.replace("-", "_"))(argument)

    def _fresh(self, local: tuple[str, int]) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(local)
        return made

    def do_listen(self, _: None) -> Iterator[None]:
        self.listener = self._fresh(self.here)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        self.listener.listen()
        yield from ()

    def do_small(self, _: None) -> Iterator[None]:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            (self.listener or self.socket).setsockopt(socket.SOL_SOCKET, option, FILL)
        yield from ()

    def do_defer(self, _: None) -> Iterator[None]:
        listener = _there(self.listener, "it does not listen")
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        yield from ()

    def do_aged(self, milliseconds: int) -> Iterator[None]:
        ports = self.here[1], self.there[1]
        while time.monotonic() < self.kernel.seen[ports][-1][0] + milliseconds / 1000:
            yield

    def do_unlisten(self, _: None) -> Iterator[None]:
        listener = _there(self.listener, "it does not listen")
        listener.close()
        yield from ()

    def do_accept(self, _: None) -> Iterator[None]:
        listener = _there(self.listener, "it does not listen")
        while True:
            try:
                self.socket, there = listener.accept()
            except BlockingIOError:
                yield
            else:
                break
        _there(there == self.there, f"somebody else connected: {there}")
        self.lives.append(Life())
        self.socket.setblocking(False)

    def do_isn(self, number: int) -> Iterator[None]:
        self.socket = self._fresh(self.here)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", number))
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF)
        self._connect()
        yield from ()

    def do_forge_rst(self, offset: int) -> Iterator[None]:
        self._forge(RST, offset)
        yield from ()

    def do_forge_syn(self, offset: int) -> Iterator[None]:
        self._forge(SYN, offset)
        yield from ()

    def _forge(self, flags: int, offset: int) -> None:
        """Send a segment of which this socket knows nothing, so far behind the last byte that it has sent."""
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_ON)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
        sequence = self.socket.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ) + offset
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_NO_PROBE)
        ports = self.here[1], self.there[1]
        header = struct.pack("!HHIIHHHH", *ports, sequence % (1 << 32), 0, 5 << 12 | flags, 1024, 0, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(checksummed(self._addresses, header), (self.there[0], 0))

    @property
    def _addresses(self) -> bytes:
        return socket.inet_aton(self.here[0]) + socket.inet_aton(self.there[0])

    def do_keep(self, _: None) -> Iterator[None]:
        # Only a tap of all protocols sees what leaves (packet(7)).
        self.tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.tap.setblocking(False)
        yield from ()

    def _drain_tap(self) -> None:
        tap = _there(self.tap, "nothing is kept")
        ports = struct.pack("!HH", self.here[1], self.there[1])
        while True:
            try:
                packet, sender = tap.recvfrom(1 << 16)
            except BlockingIOError:
                return
            header = (packet[0] & 15) * 4
            segment = packet[header : int.from_bytes(packet[2:4], "big")]  # without Ethernet's padding
            if sender[2] != PACKET_OUTGOING or packet[12:20] != self._addresses or segment[:4] != ports:
                continue
            if segment[13] & SYN:
                self.kept.setdefault("syn", segment)
            elif segment[13] & RST:
                self.kept.setdefault("rst", segment)
            elif len(segment) > (segment[12] >> 4) * 4:
                self.kept.setdefault("data", segment)

    def do_kept(self, kind: str) -> Iterator[None]:
        while kind not in self.kept:
            self._drain_tap()
            yield

    def do_again(self, kind: str) -> Iterator[None]:
        self._drain_tap()
        segment = _there(self.kept.get(kind), f"no {kind} was kept")
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(checksummed(self._addresses, segment), (self.there[0], 0))
        yield from ()

    @staticmethod
    def _ip(*words: str) -> str:
        """Run ip(8)."""
        path = {"PATH": os.defpath + ":/usr/sbin:/sbin"}
        done = subprocess.run(["ip", *words], env=path, capture_output=True, text=True, check=False, timeout=10)
        if done.returncode:
            raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def do_detour(self, _: None) -> Iterator[None]:
        port, there = str(self.here[1]), self.there[0]
        device = self._ip("-o", "route", "get", there).split(" dev ")[1].split()[0]
        # A neighbour that nobody is: packets to it wait in the neighbour table until it has a hardware address.
        neighbour = f"169.254.{self.here[1] >> 8}.{self.here[1] & 255}"
        rule = ["ipproto", "6", "sport", port, "table", port]  # TCP; a small system has no /etc/protocols to name it
        self._ip("route", "add", there, "via", neighbour, "dev", device, "onlink", "table", port)
        self.undo.append(["route", "flush", "table", port])
        self._ip("rule", "add", *rule)
        self.undo.append(["rule", "del", *rule])
        self.way = device, neighbour
        yield from ()

    def do_arrive(self, _: None) -> Iterator[None]:
        device, neighbour = self.way
        hardware = self._ip("neigh", "show", self.there[0], "dev", device).split("lladdr ")[1].split()[0]
        self._ip("neigh", "replace", neighbour, "dev", device, "lladdr", hardware, "nud", "permanent")
        self._ip("neigh", "del", neighbour, "dev", device)
        self.put_back()
        yield from ()

    def put_back(self) -> None:
        """Take back what was changed on the host."""
        while self.undo:
            self._ip(*self.undo.pop())

    def do_occupied(self, _: None) -> Iterator[None]:
        with socket.socket() as another:
            try:
                another.bind(self.here)
            except OSError as error:
                _there(error.errno == errno.EADDRINUSE, str(error))
            else:
                raise Unexpected("the port is free: another socket may have it")
        yield from ()

    def do_connect(self, _: None) -> Iterator[None]:
        self.socket = self._fresh(self.here)
        self._connect()
        yield from ()

    def _connect(self) -> None:
        self.lives.append(Life())
        code = self.socket.connect_ex(self.there)
        if code != errno.EINPROGRESS:
            raise OSError(code, os.strerror(code))

    def do_fast_open(self, size: int) -> Iterator[None]:
        self.socket = self._fresh(self.here)
        self.lives.append(Life())
        data = text(self.here[1], 0, size)
        sent = self.socket.sendto(data, socket.MSG_FASTOPEN, self.there)
        _there(sent == size, f"{sent} bytes were taken")
        self.lives[-1].sent.add(data)
        yield from ()

    def _send(self, most: int) -> int:
        """Send some of what comes next; how much was taken."""
        flow = self.lives[-1].sent
        data = text(self.here[1], flow.bytes, min(most, 1 << 16))
        taken = self.socket.send(data)
        flow.add(data[:taken])
        return taken

    def _receive(self, most: int) -> bytes:
        """Some of what has come; empty at the end."""
        data = self.socket.recv(most)
        self.lives[-1].received.add(data)
        return data

    def do_send(self, size: int) -> Iterator[None]:
        left = size
        while left:
            try:
                left -= self._send(left)
            except BlockingIOError:
                yield

    def do_fill(self, _: None) -> Iterator[None]:
        quiet = 0
        while quiet < 20:  # what has been taken may be on its way still
            try:
                self._send(FILL)
                quiet = 0
            except BlockingIOError:
                quiet += 1
                yield

    def _queued(self, request: int) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self.socket, request, bytes(4)))[0])

    def do_acked(self, _: None) -> Iterator[None]:
        while self._queued(termios.TIOCOUTQ):
            yield

    def do_arrived(self, size: int) -> Iterator[None]:
        while self._queued(termios.FIONREAD) < size:
            yield

    def do_read(self, size: int) -> Iterator[None]:
        left = size
        while left:
            try:
                data = self._receive(left)
            except BlockingIOError:
                yield
                continue
            _there(data, f"the end, but {left} bytes were to come")
            left -= len(data)

    def do_drain(self, _: None) -> Iterator[None]:
        while True:
            try:
                if not self._receive(1 << 16):
                    return
            except BlockingIOError:
                yield

    def do_eof(self, _: None) -> Iterator[None]:
        while True:
            try:
                data = self._receive(1)
            except BlockingIOError:
                yield
            else:
                break
        _there(not data, "more data instead of the end")

    def do_cork(self, _: None) -> Iterator[None]:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        yield from ()

    def do_quick(self, _: None) -> Iterator[None]:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        yield from ()

    def do_slow(self, _: None) -> Iterator[None]:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        yield from ()

    def do_shut(self, _: None) -> Iterator[None]:
        self.socket.shutdown(socket.SHUT_WR)
        yield from ()

    def do_close(self, _: None) -> Iterator[None]:
        self.socket.close()
        yield from ()

    def do_abort(self, _: None) -> Iterator[None]:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        yield from ()

    def _fails_with(self, *codes: int) -> Iterator[None]:
        while not (code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
            yield
        _there(code in codes, os.strerror(code))

    def do_reset(self, _: None) -> Iterator[None]:
        # A reset after the peer's FIN is told as EPIPE (tcp_reset in net/ipv4/tcp_input.c).
        yield from self._fails_with(errno.ECONNRESET, errno.EPIPE)

    def do_refused(self, _: None) -> Iterator[None]:
        yield from self._fails_with(errno.ECONNREFUSED)

    def do_own(self, _: None) -> Iterator[None]:
        kept = self.socket.fileno()
        here, there = os.pipe()
        self.process = os.fork()
        if not self.process:
            try:
                # Of all that is open only this one socket stays: no other may outlive its close.
                os.dup2(there, 0)
                os.closerange(1, kept)
                os.closerange(kept + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
                os.write(0, b"!")
                os.close(0)
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        os.close(there)
        _there(os.read(here, 1) == b"!", "the process did not start")
        os.close(here)
        self.socket.close()
        yield from ()

    def do_kill(self, _: None) -> Iterator[None]:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        self.process = 0
        yield from ()


class Program:
    """Takes orders and carries them out, all at once."""

    def __init__(self, here: str, there: str) -> None:
        self.addresses = here, there
        self.kernel = Kernel()
        self.ends: dict[tuple[int, int], End] = {}
        self.running: dict[int, Iterator[None]] = {}

    def order(self, message: dict[str, Any]) -> None:
        """Take one order."""
        if message.get("report"):
            self.kernel.look()
            seen = [[*ports, changes] for ports, changes in self.kernel.seen.items()]
            self.answer(message["token"], report=seen)
            return
        if message.get("lives"):
            lives = [
                [*ports, [{"sent": life.sent.told(), "received": life.received.told()} for life in end.lives]]
                for ports, end in self.ends.items()
            ]
            self.answer(message["token"], lives=lives)
            return
        ports = message["local"], message["remote"]
        if ports not in self.ends:
            here, there = self.addresses
            self.ends[ports] = End(self.kernel, (here, ports[0]), (there, ports[1]))
        self.running[message["token"]] = self.ends[ports].run(message["steps"])

    def answer(self, token: int, **more: Any) -> None:
        """Say that an order is done."""
        sys.stdout.write(json.dumps({"token": token, **more}) + "\n")
        sys.stdout.flush()

    def go_on(self) -> None:
        """Carry every order as far as it goes without waiting."""
        self.kernel.look()
        for token, running in list(self.running.items()):
            try:
                next(running)
            except StopIteration:
                del self.running[token]
                self.answer(token)
            except (OSError, Unexpected) as error:
                del self.running[token]
                self.answer(token, error=str(error) or type(error).__name__)

    def serve(self) -> None:
        """Until the input ends."""
        pending = b""
        while True:
            if select.select([0], [], [], TICK if self.running else None)[0]:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self.order(json.loads(line))
            self.go_on()

    def end(self) -> None:
        """End the processes that were started, and take back what was changed on the host."""
        for end in self.ends.values():
            end.put_back()
            if end.process:
                os.kill(end.process, signal.SIGKILL)
                os.waitpid(end.process, 0)


def main() -> None:
    """The arguments are this host's address and the other's."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    program = Program(*sys.argv[1:])
    try:
        program.serve()
    finally:
        program.end()


if __name__ == "__main__":
    main()
