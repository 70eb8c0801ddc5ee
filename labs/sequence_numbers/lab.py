"""The experiment of the lab on sequence numbers: data both ways, a loss in either, and numbers that wrap."""

from harness.traffic.shapes import OPEN, Loss, Scene, Shape

_CLOSE = "i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT"
_STATES = "CL SS ES F1 F2 TW", "LI SR ES CW LA CL"


def _numbered_from(isn: int) -> str:
    """A connection whose initiator begins with that number."""
    return f"r: listen; i: isn {isn}, = ESTABLISHED; r: accept, = ESTABLISHED; "


SCENES = (
    Scene(
        "both-ways",
        "Both ends send, by turns, one byte and more: seq counts bytes, and ack is seq + length.",
        Shape(
            "both-ways",
            f"{OPEN}i: send 1; r: read 1, send 33; i: read 33, send 151; r: read 151, send 1; i: read 1, send 700; "
            f"r: read 700, send 2000; i: read 2000; {_CLOSE}",
            *_STATES,
        ),
    ),
    Scene(
        "lost",
        "The first segment of three is lost, both ways: it comes last, and seq says that it belongs first.",
        # A small segment would wait until what was sent before is acknowledged (RFC 9293 §3.7.4).
        Shape(
            "lost",
            f"{OPEN}i: send 1448, send 1448, send 500; r: read 3396, send 1448, send 1448, send 600; "
            f"i: read 3496; {_CLOSE}",
            *_STATES,
            losses=(Loss("i", "data", 1), Loss("r", "data", 1)),
        ),
    ),
    Scene(
        "wrap",
        "The ISN is 50 short of 2³²: within the data the numbers go on from 0.",
        Shape(
            "wrap",
            f"{_numbered_from(2**32 - 50)}i: send 30; r: read 30, send 20; i: read 20, send 100; r: read 100, send 40; "
            f"i: read 40, send 60; r: read 60; {_CLOSE}",
            *_STATES,
        ),
    ),
    Scene(
        "zero",
        "The ISN is the highest number there is: the SYN takes it, and the first byte is number 0.",
        Shape(
            "zero",
            f"{_numbered_from(2**32 - 1)}i: send 40; r: read 40, send 25; i: read 25; {_CLOSE}",
            *_STATES,
        ),
    ),
)
