"""Sections of the configuration; each field has its default, its limits and its description."""

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from latte_cli.config.network_checks import check_blocks, check_text_blocks, check_width
from latte_cli.config.section import Mismatch, Section, check_interval, class_overrides, split_words

Size = Literal["S", "B", "L", "XL"]


class DataConfig(Section):
    """The videos, and how clips are cut from them."""

    root: str | None = Field(None, description="prepared data set; default: DATA_ROOT/<name>")
    names: tuple[str, ...] = Field(
        (),
        description="names of prepared data sets in DATA_ROOT, of which the first that is there is "
        "taken; default: the preset's name, then those of its bases",
    )
    latents: str | None = Field(
        None, description="folder of latents; default: named after the data set, size and VAE"
    )
    texts: str | None = Field(
        None, description="folder of encoded captions; default: named after data set and encoder"
    )
    source: Literal["latents", "pixels"] = Field(
        "latents", description="train on stored latents, or on pixels encoded at every step"
    )
    size: int = Field(256, ge=8, description="side of the square frames, pixels")
    crop: Literal["crop-resize", "resize-crop"] = Field(
        "crop-resize", description="center crop before resizing, or after"
    )
    frames: int = Field(16, ge=1, description="frames per clip")
    interval: int = Field(3, ge=1, description="source frames from one clip frame to the next")
    short: Literal["skip", "slow"] = Field(
        "skip", description="videos shorter than a clip: skip them, or use a smaller interval"
    )
    flip: bool = Field(True, description="also train on horizontally mirrored videos")
    split: Literal["train", "test", "all"] = Field("train", description="videos to train on")
    workers: int = Field(2, ge=1, description="threads that load clips during training")
    num_images: int = Field(8, ge=0, description="images appended to each clip for joint training")

    @field_validator("names", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """`cats,folder` as two names."""
        return split_words(value)

    @property
    def window(self) -> int:
        """Source frames that one clip spans."""
        return (self.frames - 1) * self.interval + 1


class VaeConfig(Section):
    """The autoencoder between pixels and latents."""

    path: str = Field("stabilityai/sd-vae-ft-ema", description="hub id, local folder or `embedded`")
    latent_channels: int = Field(4, ge=1, description="channels of the latents")
    downsample: int = Field(8, ge=1, description="pixels per latent along each side of a frame")


class TextConfig(Section):
    """The encoder of captions, for condition text."""

    path: str = Field(
        "maxin-cn/Latte-1",
        description="whose folders tokenizer and text_encoder are used: hub id of a pipeline, or "
        "folder",
    )
    clean: bool = Field(True, description="clean captions as those of Latte-1 were")
    precision: Literal["float32", "bf16", "int8"] = Field(
        "bf16", description="of the encoder's weights; int8 needs a GPU and bitsandbytes"
    )


_OF_CLASS_NETWORKS = (
    "variant",
    "patch_embedding",
    "injection",
    "temporal_position",
    "learn_sigma",
    "frame_queries",
)


class ModelConfig(Section):
    """The network: `size` selects a row of the paper's Table 1; or set width, depth and heads."""

    size: Size | None = Field("XL", description="S, B, L or XL; null: set width, depth and heads")
    width: int | None = Field(None, ge=4, description="channels of each token")
    depth: int | None = Field(None, ge=1, description="number of blocks")
    heads: int | None = Field(None, ge=1, description="attention heads")
    patch: int = Field(2, ge=1, description="side of a patch, in latents")
    variant: Literal[1, 2, 3, 4, 5, 6] = Field(
        1, description="order of spatial and temporal attention; 5 and 6: FrameDiT-G and -H"
    )
    frame_queries: int | None = Field(
        None,
        ge=1,
        description="vectors that a frame's tokens become, variants 5 and 6; null: at most 64",
    )
    patch_embedding: Literal["uniform", "compression"] = Field(
        "uniform", description="a token is a patch of one frame, or of a tube of frames"
    )
    tube: int = Field(2, ge=2, description="frames per tube, for patch_embedding compression")
    injection: Literal["s-adaln", "tokens"] = Field(
        "s-adaln", description="timestep and label modulate layer norms, or are tokens"
    )
    temporal_position: Literal["absolute", "rope"] = Field(
        "absolute", description="absolute: added to tokens; rope: rotates queries and keys"
    )
    learn_sigma: bool = Field(
        True, description="also predict the covariance; of no use for flow, and ddpm needs it"
    )
    joint: Literal["temporal-mask", "only-video"] = Field(
        "temporal-mask",
        description="temporal attention in joint training: images masked, or video frames only",
    )
    condition: Literal["none", "class", "text"] = Field(
        "none", description="default: class if num_classes is given or the videos have labels"
    )
    num_classes: int | None = Field(
        None, ge=1, description="classes, for condition class; default: those of the videos"
    )
    text_width: int = Field(4096, ge=1, description="width of the text embeddings; T5-XXL: 4096")

    @model_validator(mode="after")
    def _check_consistency(self) -> "ModelConfig":
        explicit = (self.width, self.depth, self.heads)
        if self.size is None and None in explicit:
            raise Mismatch(
                "model.size is null, so width, depth and heads must all be given",
                "-o model.size=S, or -o model.width=… -o model.depth=… -o model.heads=…",
            )
        if self.size is not None and any(value is not None for value in explicit):
            raise Mismatch(
                "give model.size or width, depth and heads, not both (size: null)",
                "-o model.size=null takes width, depth and heads; null for these takes the size",
            )
        self._check_sizes()
        if self.condition != "class" and self.num_classes is not None:
            to_class = f"{class_overrides(self.num_classes)}, or without classes "
            raise Mismatch(
                f"model.num_classes is {self.num_classes}, but model.condition is {self.condition}",
                hint="-o model.num_classes=null"
                if self.condition == "text"
                else f"{to_class}{class_overrides(None)}",
            )
        if self.condition == "text":  # only the design of Latte-1 takes text
            for key in _OF_CLASS_NETWORKS:
                value, default = getattr(self, key), type(self).model_fields[key].default
                if value != default:
                    raise Mismatch(
                        f"model.{key} is {value}, but model.condition text needs {default}",
                        f"-o model.{key}={default}, or another model.condition",
                    )
        return self

    def _check_sizes(self) -> None:
        """Check explicit sizes; those of the paper's Table 1 fit all designs."""
        if self.width is None or self.depth is None or self.heads is None:
            return
        check_width(self.width, self.heads)
        if self.condition == "text":
            check_text_blocks(self.depth)
        else:
            position = self.temporal_position
            check_blocks(self.width, self.depth, self.heads, self.variant, position)


class DiffusionConfig(Section):
    """The prediction target and the noise schedule (DDPM, linear).

    Sources: eps and the schedule, Ho et al. 2020 (the paper's, with the learned covariance of
    Nichol & Dhariwal 2021); v, Salimans & Ho 2022, with the same; flow, Liu et al. 2022;
    logit-normal timesteps, Esser et al. 2024 (SD3), equation 19; flow-map, Geng et al. 2025 and Lee
    et al. 2025 ("Decoupled MeanFlow"), which weights its losses and samples the times of long steps
    itself; with map_levels, the steps of piecewise rectified flow, Yan et al. 2024 (arXiv
    2405.07510), on the paths of a teacher.
    """

    objective: Literal["eps", "v", "flow", "flow-map"] = Field(
        "eps",
        description="prediction target: eps (noise), v, flow (velocity, rectified flow), or "
        "flow-map (mean velocity of long steps)",
    )
    output: Literal["eps", "v"] | None = Field(
        None,
        description="what a network converted to flow or flow-map predicts; null: as the objective",
    )
    num_timesteps: int = Field(1000, ge=2, description="training timesteps")
    beta_start: float = Field(1e-4, gt=0, lt=1, description="variance of the first step; eps, v")
    beta_end: float = Field(0.02, gt=0, lt=1, description="variance of the last step; eps, v")
    timestep_sampling: Literal["uniform", "logit-normal"] = Field(
        "uniform", description="distribution of training timesteps; logit-normal: flow, flow-map"
    )
    timestep_mean: float = Field(
        0.0, description="mean of the logit, for logit-normal; larger: more noise"
    )
    timestep_std: float = Field(
        1.0, gt=0, description="standard deviation of the logit, for logit-normal"
    )
    map_levels: tuple[float, ...] | None = Field(
        None,
        description="noise levels from 1 down between which a flow map steps, the last step to 0, "
        "as [1,0.75,0.5,0.25], for train.teacher; null: steps of any length",
    )

    @model_validator(mode="after")
    def _check_map_levels(self) -> "DiffusionConfig":
        if self.map_levels is None:
            return self
        least = 1 / self.num_timesteps
        lengths = [high - low for high, low in pairwise((*self.map_levels, 0.0))]
        if not lengths or self.map_levels[0] != 1 or min(lengths) < least:
            raise Mismatch(
                f"diffusion.map_levels is {[*self.map_levels]}, but must descend from 1, by "
                f"{least:g} at least, to no less than that",
                "such as -o diffusion.map_levels=[1,0.75,0.5,0.25]",
            )
        if self.objective != "flow-map":
            raise Mismatch(
                "diffusion.map_levels is set, which is for diffusion.objective flow-map, not "
                f"{self.objective}",
                "-o diffusion.map_levels=null, or -o diffusion.objective=flow-map",
            )
        return self


class SampleConfig(Section):
    """Sampling clips from a trained network.

    Sources: ddpm, Ho et al. 2020, with the learned covariance; ddim and eta, Song et al. 2021a;
    dpm++, the multistep solver of order 2 of Lu et al. 2022; unipc, Zhao et al. 2023, of order 2;
    euler, Liu et al. 2022 (for eps and v it is ddim's step); guidance, Ho & Salimans 2022, its
    interval Kynkäänniemi et al. 2024, by routing Krause et al. 2026 ("Sparse Guidance"), by skipped
    blocks Hyung et al. 2024 ("Spatiotemporal Skip Guidance"). The published samples: ddpm, 250
    steps.
    """

    steps: int = Field(250, ge=1, description="denoising steps, each one call of the network")
    sampler: Literal["ddpm", "ddim", "dpm++", "unipc", "euler", "flow-map"] = Field(
        "ddpm",
        description="ddpm, ddim, dpm++, unipc or euler; flow: euler by default, no ddpm; flow-map: "
        "few long steps of a network with that objective",
    )
    eta: float = Field(
        0.0, ge=0, le=1, description="noise added by ddim: 0 none, 1 as much as ddpm"
    )
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance scale; 1: off")
    guidance_routing: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="guide by a second pass in which this part of the tokens skips the blocks of "
        "train.route; null: by one without the label",
    )
    skip_guidance: float = Field(
        0.0,
        ge=0,
        description="how far to lead away from a pass without sample.skip_blocks, for sharper "
        "clips; 0: off",
    )
    skip_blocks: tuple[int, ...] = Field(
        (), description="blocks that the weaker pass of skip_guidance leaves out, as 4,5"
    )
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="range of timesteps with guidance: 0 is clean, 1 is noise"
    )
    guided_channels: int | None = Field(
        None, ge=1, description="guide only the first N latent channels; null: all; DiT's code: 3"
    )
    seed: int = Field(
        0, ge=0, le=2**63 - 1, description="with the number of a clip, seed of its noise"
    )
    batch: int = Field(
        8, ge=1, description="clips per batch; changes speed, and clips only by rounding"
    )
    sequence_parallel: int = Field(
        1, ge=1, description="processes that share each clip, for clips that outgrow a device"
    )
    precision: Literal["auto", "bf16", "float32"] = Field(
        "float32", description="matmul precision: float32, bf16 or auto"
    )
    prompts: tuple[str, ...] = Field(
        (), description="what the preview clips of a text-to-video run show"
    )
    fps: float = Field(
        8.0, ge=0.1, le=1000, description="frames per second of the written videos, 0.1 to 1000"
    )

    @field_validator("skip_blocks", mode="before")
    @classmethod
    def _split_blocks(cls, value: Any) -> Any:
        """`4,5` as two numbers, and one alone."""
        return (value,) if type(value) is int else split_words(value)

    @model_validator(mode="after")
    def _check_consistency(self) -> "SampleConfig":
        check_interval("sample.guidance_interval", self.guidance_interval)
        if self.eta and self.sampler != "ddim":
            raise Mismatch(
                f"sample.eta is {self.eta:g}, but sample.sampler is {self.sampler}: it is for ddim",
                "-o sample.eta=0, or -o sample.sampler=ddim",
            )
        return self
