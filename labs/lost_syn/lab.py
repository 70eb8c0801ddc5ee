"""The experiment of the lab on lost SYNs: the first one, or the first two, never arrive."""

from harness.traffic.shapes import OPEN, Loss, Scene, Shape

_CLOSE = "i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT"
_STATES = "CL SS ES F1 F2 TW", "LI SR ES CW LA CL"

SCENES = (
    Scene(
        "once",
        "The first SYN is lost: it is sent again after about a second.",
        Shape("once", OPEN + _CLOSE, *_STATES, losses=(Loss("i", "syn", 1),)),
    ),
    Scene(
        "twice",
        "The first two SYNs are lost: the third one is answered.",
        Shape("twice", OPEN + _CLOSE, *_STATES, losses=(Loss("i", "syn", 2),)),
    ),
)
