"""The experiment of the lab on TIME-WAIT: who stays in it, how long, and what may be done with its port meanwhile."""

from harness.traffic.shapes import OPEN, Scene, Shape

_INITIATOR_FIRST = "i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT"
_FIRST, _LAST = "CL SS ES F1 F2 TW", "LI SR ES CW LA CL"
_BOTH = "F1 CG TW"

SCENES = (
    Scene(
        "initiator-closes",
        "The initiator closes first: it stays in TIME-WAIT, and the responder is done.",
        Shape("initiator-closes", OPEN + _INITIATOR_FIRST, _FIRST, _LAST),
    ),
    Scene(
        "responder-closes",
        "The responder closes first: now it is the one that stays.",
        Shape(
            "responder-closes",
            OPEN + "r: close, = FIN-WAIT-2; i: eof, close, = gone; r: = TIME-WAIT",
            "CL SS ES CW LA CL",
            "LI SR ES F1 F2 TW",
        ),
    ),
    Scene(
        "simultaneous",
        "Both close before either has heard of it: both stay.",
        Shape(
            "simultaneous",
            f"{OPEN}|i: close; r: close|r: = CLOSING|i: = TIME-WAIT; r: = TIME-WAIT",
            f"CL SS ES {_BOTH}",
            f"LI SR ES {_BOTH}",
            released_first="i",
        ),
    ),
    Scene(
        "occupied",
        "TIME-WAIT holds the port; a socket with SO_REUSEADDR may have it all the same, and connect from it anew.",
        Shape(
            "occupied",
            f"{OPEN}{_INITIATOR_FIRST}, occupied, connect, = ESTABLISHED; r: accept; {_INITIATOR_FIRST}",
            f"{_FIRST} / {_FIRST}",
            f"{_LAST} / {_LAST}",
        ),
    ),
    Scene(
        "full-wait",
        "TIME-WAIT watched to its end, which no packet tells.",
        Shape("full-wait", f"{OPEN}{_INITIATOR_FIRST}, = gone", f"{_FIRST} CL", _LAST),
        slow=True,
    ),
)
