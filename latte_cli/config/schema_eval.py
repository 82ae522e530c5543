"""The section of the configuration on evaluation."""

from typing import Any, Literal

from pydantic import Field, field_validator

from latte_cli.config.section import Section

METRICS = {
    "fvd": "Fréchet distance of I3D's logits over clips (Unterthiner et al. 2018)",
    "kvd": "squared MMD of I3D's logits over clips, cubic kernel",
    "fid": "Fréchet distance of Inception's features over frames (Heusel et al. 2017)",
    "kid": "squared MMD of Inception's features over frames, cubic kernel",
    "is": "Inception Score of C3D's class probabilities; UCF101 only (Saito et al. 2017)",
    "psnr": "peak signal-to-noise ratio of paired videos, dB, by frame",
    "ssim": "structural similarity of paired videos, by frame",
    "lpips": "perceptual distance of paired videos, by frame (Zhang et al. 2018)",
    "direction": "share of clips of `shapes` that move as their label says; no weights needed",
    "fd-random": "Fréchet distance on a small fixed random 3D network; not comparable with FVD",
}
"""What can be measured, in words."""


class EvalConfig(Section):
    """Measuring clips: the protocol and what is measured under it.

    The clips' frames, size and split are those of the section `data`.
    """

    protocol: Literal["latte", "stylegan-v"] = Field(
        "latte", description="latte: as the published numbers were made; stylegan-v: no compression"
    )
    metrics: tuple[str, ...] = Field(("fvd",), description="by name, comma-separated")
    interval: int | None = Field(
        None, ge=1, description="source frames between a real clip's; null: as in training, or 1"
    )
    fid_frames: Literal["all", "clips"] = Field(
        "all", description="real frames of FID: of whole videos (fid50k_full), or of the clips"
    )
    clips: int = Field(2048, ge=2, description="clips of each side; fewer where there are fewer")
    draws: int = Field(1, ge=1, description="random draws of clips, whose mean is the value")
    resamples: int = Field(100, ge=0, description="of the bootstrap interval; 0: none")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="of the draws")

    @field_validator("metrics", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """`fvd,fid` as two names."""
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value

    @field_validator("metrics")
    @classmethod
    def _names_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in METRICS:
                raise ValueError(f"no metric named `{name}`; known: {', '.join(METRICS)}")
        if not value:
            raise ValueError(f"eval.metrics is empty; known: {', '.join(METRICS)}")
        return tuple(dict.fromkeys(value))
