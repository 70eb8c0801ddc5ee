"""The experiment of the lab on old duplicates: the responder closes first, and in TIME-WAIT gets segments of before.

Linux lets the RST that comes of its answer take TIME-WAIT away (RFC 1337), others do not: no scene depends on it.
"""

from harness.traffic.shapes import OPEN, Scene, Shape

_OPEN_AND_KEEP = "r: listen; i: keep, connect, = ESTABLISHED; r: accept, = ESTABLISHED; "
_USE = "i: send 20; r: read 20, send 30; i: read 30; "
_CLOSE = "r: close, = FIN-WAIT-2; i: eof, close, = gone; r: = TIME-WAIT; "
_STATES = "CL SS ES CW LA CL", "LI SR ES F1 F2 TW"

SCENES = (
    Scene(
        "old-data",
        "Data of a closed connection comes once more: TIME-WAIT answers, and takes nothing.",
        Shape("old-data", _OPEN_AND_KEEP + _USE + _CLOSE + "i: again data, kept rst", *_STATES),
    ),
    Scene(
        "old-syn",
        "The SYN of a closed connection comes once more: TIME-WAIT answers, and opens nothing.",
        Shape("old-syn", _OPEN_AND_KEEP + _USE + _CLOSE + "i: again syn, kept rst", *_STATES),
    ),
    Scene(
        "new-syn",
        "A newer SYN of the same ports comes: it is accepted at once, TIME-WAIT or not.",
        Shape(
            "new-syn",
            OPEN
            + _USE
            + _CLOSE
            + "i: connect, = ESTABLISHED; r: accept, = ESTABLISHED; "
            + _USE
            + "r: close, = FIN-WAIT-2; i: eof, close, = gone; r: = TIME-WAIT",
            "CL SS ES CW LA CL / CL SS ES CW LA CL",
            "LI SR ES F1 F2 TW / SR ES F1 F2 TW",
        ),
    ),
)
