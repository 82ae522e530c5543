"""The options of `latte eval` that say by which rules, and what instead of one evaluation."""

from pathlib import Path
from typing import Annotated

from latte_cli.cli.options import option
from latte_cli.cli.setup import completion

_PROTOCOL = "Protocol"
_INSTEAD = "Instead of one evaluation"

Metrics = Annotated[
    str | None,
    option(
        _PROTOCOL,
        "Compute these: fvd, kvd, fid, kid, is, psnr, ssim, lpips, direction, color, "
        "shape, fd-random. Several are separated by commas.",
        metavar="NAMES",
        autocompletion=completion.metrics,
    ),
]
ProtocolName = Annotated[
    str | None,
    option(
        _PROTOCOL,
        "Follow these rules of measuring (stride of frames, compression, crop): latte, by "
        "which the paper's numbers were computed, or stylegan-v. Numbers of different "
        "protocols do not compare.",
        metavar="NAME",
    ),
]
Interval = Annotated[
    int | None,
    option(
        _PROTOCOL,
        "Take every N-th frame of a real video for a clip; by default as in training.",
        min=1,
        metavar="N",
    ),
]
Draws = Annotated[
    int | None,
    option(
        _PROTOCOL,
        "Select clips at random N times, and report the mean and the spread.",
        min=1,
        metavar="N",
    ),
]
Seed = Annotated[
    int | None,
    option(_PROTOCOL, "Select other clips by another random seed.", min=0, metavar="N"),
]
ShowProtocol = Annotated[
    bool,
    option(_INSTEAD, "Show every setting of the protocol, and its hash.", "--show-protocol"),
]
Sweep = Annotated[
    list[str] | None,
    option(
        _INSTEAD,
        "Measure each of several settings, such as steps=10,50 or cache=off,pab. May be given "
        "once per setting.",
        metavar="KEY=V,V",
    ),
]
Curve = Annotated[
    list[str] | None,
    option(
        _INSTEAD,
        "Measure the checkpoints of a finished run, and plot the numbers by step.",
        metavar="RUN",
        autocompletion=completion.runs,
    ),
]
SelfTest = Annotated[
    bool,
    option(_INSTEAD, "Check that this machine computes the right numbers.", "--self-test"),
]
ListWeights = Annotated[
    bool,
    option(
        _INSTEAD,
        "List the files of weights that the metrics need, where they come from, and which are "
        "on this machine.",
        "--list-weights",
    ),
]
Vbench = Annotated[
    Path | None,
    option(_INSTEAD, "Check a folder of videos for the benchmark VBench.", metavar="DIR"),
]
VbenchPrompts = Annotated[
    Path | None,
    option(
        _INSTEAD,
        "Read VBench's prompts from this file, if they are not in the folder.",
        metavar="FILE",
    ),
]
VbenchResults = Annotated[
    list[Path] | None,
    option(_INSTEAD, "Show VBench's scores beside the paper's.", metavar="FILE"),
]
