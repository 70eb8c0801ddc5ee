"""The experiment of the lab on the last ACK: it is lost on its way to the end that closes last."""

from harness.traffic.shapes import OPEN, Loss, Scene, Shape

SCENES = (
    Scene(
        "answered",
        "The last ACK is lost: the FIN comes again, and TIME-WAIT answers it again.",
        Shape(
            "answered",
            OPEN + "i: close, = FIN-WAIT-2; r: eof, close, = gone; i: = TIME-WAIT",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
            losses=(Loss("i", "ack-of-fin", 1),),
        ),
    ),
    Scene(
        "nobody-answers",
        "The same, but TIME-WAIT is taken away by a forged RST (RFC 1337): the FIN that comes again meets nobody.",
        Shape(
            "nobody-answers",
            OPEN + "i: close, = FIN-WAIT-2; r: eof, shut, = LAST-ACK, forge-rst 0; i: = gone; r: reset",
            "CL SS ES F1 F2 TW CL",
            "LI SR ES CW LA CL",
            losses=(Loss("i", "ack-of-fin", 1),),
        ),
    ),
)
