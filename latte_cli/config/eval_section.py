"""The section `eval` of the configuration."""

import difflib
from typing import Any, Literal

from pydantic import Field, field_validator

from latte_cli.config.section import Mismatch, Section, split_words

METRICS = {
    "fvd": "Fréchet distance of I3D's logits over clips (Unterthiner et al. 2018)",
    "kvd": "squared MMD of I3D's logits over clips, cubic kernel",
    "fid": "Fréchet distance of Inception's features over frames (Heusel et al. 2017)",
    "kid": "squared MMD of Inception's features over frames, cubic kernel",
    "is": "Inception Score of C3D's class probabilities; UCF101 only (Saito et al. 2017)",
    "psnr": "peak signal-to-noise ratio of paired videos, dB, by frame",
    "ssim": "structural similarity of paired videos, by frame",
    "lpips": "perceptual distance of paired videos, by frame (Zhang et al. 2018)",
    "direction": "share of clips of `shapes` that move as their label or caption says; no weights "
    "needed",
    "color": "share of clips of `shapes` in which what moves has the color that their caption "
    "names, by its mean hue; no weights needed",
    "shape": "share of clips of `shapes` with one figure of one kind and color; no weights needed",
    "fd-random": "Fréchet distance on fixed random convolutions; not comparable with FVD",
}
"""Every metric of `latte eval`, with its definition."""


class EvalConfig(Section):
    """The evaluation protocol and the metrics to compute.

    The clips' frames, size and split are those of the section `data`.
    """

    protocol: Literal["latte", "stylegan-v"] = Field(
        "latte", description="latte: as the published numbers were made; stylegan-v: no compression"
    )
    metrics: tuple[str, ...] = Field(("fvd",), description="names, separated by commas")
    interval: int | None = Field(
        None, ge=1, description="frame interval of real clips; null: as in training, or 1"
    )
    fid_frames: Literal["all", "clips"] = Field(
        "all", description="real frames for FID: of whole videos (fid50k_full), or of the clips"
    )
    clips: int = Field(2048, ge=2, description="real and fake clips; fewer if there are fewer")
    draws: int = Field(1, ge=1, description="random selections of clips; the value is their mean")
    resamples: int = Field(100, ge=0, description="bootstrap resamples for the interval; 0: none")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the random selections")

    @field_validator("metrics", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """`fvd,fid` as two names."""
        return split_words(value)

    @field_validator("metrics")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1)
                guess = f"did you mean `{near[0]}`? " if near else ""
                raise Mismatch(f"no metric named `{name}`", f"{guess}known: {', '.join(METRICS)}")
        if not value:
            raise Mismatch("eval.metrics is empty", f"known: {', '.join(METRICS)}")
        return tuple(dict.fromkeys(value))
