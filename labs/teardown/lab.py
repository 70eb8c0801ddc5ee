"""The experiment of the teardown lab: every way in which a TCP connection ends, each produced for real."""

from harness.traffic.shapes import OPEN, Loss, Scene, Shape

_NO_ACK_ALONE = Loss("r", "ack-of-fin", 0, seen=False, surely=False)  # the ACK waits for the FIN, however late that is
_BOTH = "F1 CG TW"

SCENES = (
    Scene(
        "four-segment",
        "The initiator closes, the responder acknowledges at once and closes later.",
        Shape(
            "four-segment",
            OPEN + "r: quick; i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
        ),
    ),
    Scene(
        "three-segment",
        "The responder's FIN takes the ACK of the initiator's along.",
        Shape(
            "three-segment",
            OPEN + "r: slow; i: close; r: eof, close, = gone; i: = TIME-WAIT",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
            losses=(_NO_ACK_ALONE,),
        ),
    ),
    Scene(
        "half-close",
        "The initiator closes its half; the responder goes on sending, and closes later.",
        Shape(
            "half-close",
            OPEN
            + "i: shut, = FIN-WAIT-2; r: eof, send 3000; i: read 3000; r: close, = gone; i: eof, = TIME-WAIT, close",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
        ),
    ),
    Scene(
        "abort",
        "The initiator aborts: close with SO_LINGER 0 sends RST (RFC 9293 §3.10.5).",
        Shape("abort", OPEN + "i: abort; r: reset", "CL SS ES CL", "LI SR ES CL"),
    ),
    Scene(
        "unread-data",
        "The responder's process is killed with data unread: its kernel sends RST (RFC 2525 §2.17).",
        Shape("unread-data", OPEN + "i: send 100; r: arrived 100, own, kill; i: reset", "CL SS ES CL", "LI SR ES CL"),
    ),
    Scene(
        "closed-port",
        "Nobody listens: the SYN is answered by RST (RFC 9293 §3.10.7.1).",
        Shape("closed-port", "i: connect, refused", "CL SS CL", "CL"),
    ),
    Scene(
        "simultaneous",
        "Both ends close before either has heard of it.",
        Shape(
            "simultaneous",
            f"{OPEN}|i: close; r: close|r: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
            f"CL SS ES {_BOTH}",
            f"LI SR ES {_BOTH}",
            released_first="i",
        ),
    ),
    Scene(
        "fin-with-data",
        "The initiator's last data and its FIN share a segment.",
        Shape(
            "fin-with-data",
            OPEN + "r: quick; i: cork, send 100, close, = FIN-WAIT-2; r: read 100, eof, close, = gone; i: = TIME-WAIT",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
        ),
    ),
)
