"""The sections of the configuration on noise: what is learnt of it, and drawing from it."""

from typing import Literal

from pydantic import Field, model_validator

from latte_cli.config.section import Section


class DiffusionConfig(Section):
    """What the network predicts of a noisy clip, and the noise schedule (DDPM, linear).

    Sources: eps and the schedule, Ho et al. 2020 (the paper's, with the learned covariance of
    Nichol & Dhariwal 2021); v, Salimans & Ho 2022, with the same; flow, Liu et al. 2022.
    """

    objective: Literal["eps", "v", "flow"] = Field(
        "eps", description="what is predicted: eps, the noise; v; flow, a straight path's velocity"
    )
    num_timesteps: int = Field(1000, ge=2, description="noise levels that the network is told of")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="variance of the first step; eps, v")
    beta_end: float = Field(0.02, gt=0, lt=1, description="variance of the last step; eps, v")


class SampleConfig(Section):
    """Drawing clips from a trained network.

    Sources: ddpm, Ho et al. 2020, with the learned covariance; ddim and eta, Song et al. 2021a;
    dpm++, the multistep solver of order 2 of Lu et al. 2022; unipc, Zhao et al. 2023, of order 2;
    euler, Liu et al. 2022 (for eps and v it is ddim's step); guidance, Ho & Salimans 2022, its
    interval Kynkäänniemi et al. 2024. The published samples: ddpm, 250 steps.
    """

    steps: int = Field(250, ge=1, description="denoising steps, each one call of the network")
    sampler: Literal["ddpm", "ddim", "dpm++", "unipc", "euler"] = Field(
        "ddpm", description="ddpm, ddim, dpm++, unipc or euler; flow: euler by default, no ddpm"
    )
    eta: float = Field(
        0.0, ge=0, le=1, description="noise that ddim adds at a step, as a share of ddpm's"
    )
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance scale; 1 is off")
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="timesteps guided, as shares of all: 0 the cleanest, 1 noise"
    )
    guided_channels: int | None = Field(
        None, ge=1, description="latent channels guided, from the first; null: all; DiT's code: 3"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1)
    batch: int = Field(
        8, ge=1, description="clips at a time; changes speed, and clips by rounding alone"
    )
    precision: Literal["auto", "bf16", "float32"] = Field(
        "float32", description="of the products; float32, bf16 or auto"
    )
    fps: float = Field(
        8.0, ge=0.1, le=1000, description="frames a second of the written videos, 0.1 to 1000"
    )

    @model_validator(mode="after")
    def _is_possible(self) -> "SampleConfig":
        low, high = self.guidance_interval
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"sample.guidance_interval is {low:g} to {high:g}, but must be two shares in "
                "ascending order from 0 to 1"
            )
        if self.eta and self.sampler != "ddim":
            raise ValueError(
                f"sample.eta is {self.eta:g}, but sample.sampler is {self.sampler}: eta is for ddim"
            )
        return self
