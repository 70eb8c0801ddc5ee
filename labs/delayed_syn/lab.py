"""The experiment of the lab on delayed SYNs: two are overtaken by a whole connection, and arrive when it is over."""

from harness.traffic.shapes import OPEN, Loss, Scene, Shape

_GIVEN_UP = "r: listen; i: keep, detour, connect, = SYN-SENT, close, = gone || "

SCENES = (
    Scene(
        "wanted",
        "While two SYNs are on their way the initiator, which has given them up, opens another connection.",
        Shape(
            "wanted",
            f"|{OPEN}i: send 100; r: read 100, send 3000; i: read 3000, close, = FIN-WAIT-2; r: eof, close, = gone; "
            "i: = TIME-WAIT",
            "CL SS ES F1 F2 TW",
            "LI SR ES CW LA CL",
        ),
    ),
    Scene(
        "delayed",
        "The old SYN arrives when that is over: it is answered, and the answer refused.",
        Shape("delayed", _GIVEN_UP + "i: arrive, kept rst; r: = gone", "CL SS CL", "LI SR LI"),
    ),
    Scene(
        "half-open",
        "The same, but the first RST is lost: the responder stays in SYN-RECEIVED until its answer comes again.",
        Shape(
            "half-open",
            _GIVEN_UP + "i: arrive; r: = SYN-RECEIVED; i: kept rst; r: = gone",
            "CL SS CL",
            "LI SR LI",
            losses=(Loss("i", "rst", 1, seen=False),),
        ),
    ),
)
