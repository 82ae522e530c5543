"""Options that `latte sample` and `latte t2v` share."""

from pathlib import Path
from typing import Annotated

from latte_cli.cli.options import LONG, SPEED, option

Long = Annotated[
    int | None,
    option(
        LONG,
        "Make videos of this many frames, more than the network was trained on.",
        metavar="N",
    ),
]
LongMethod = Annotated[
    str,
    option(
        LONG,
        "How --long is done: `window` lets overlapping windows of frames continue each other, "
        "`fifo` moves a queue of frames with rising noise, and takes out a clean frame at a time.",
        metavar="NAME",
    ),
]
Overlap = Annotated[
    int | None,
    option(LONG, "Let windows share this many frames; by default half of them.", metavar="N"),
]
FirstFrame = Annotated[
    Path | None, option(LONG, "Begin the clips with this picture.", "--image", metavar="FILE")
]
Cache = Annotated[
    str,
    option(
        SPEED,
        "Reuse what neighboring denoising steps have in common: `pab` (pyramid attention "
        "broadcast) reuses attention, `adaptive` skips blocks that hardly change, and a file is a "
        "schedule of `latte calibrate`. Clips change a little.",
        metavar="off|pab|adaptive|FILE",
    ),
]
Speed = Annotated[
    str | None,
    option(SPEED, "Use the schedule of `latte calibrate` for this speed.", metavar="2x"),
]
