"""The schema of the configuration: one frozen tree whose defaults are the paper's."""

from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from latte_cli.config.schema_diffusion import DiffusionConfig, SampleConfig
from latte_cli.config.schema_eval import EvalConfig
from latte_cli.config.schema_train import TrainConfig
from latte_cli.config.section import Section

Size = Literal["S", "B", "L", "XL"]


class DataConfig(Section):
    """Which videos, and how clips are cut from them."""

    root: str | None = Field(None, description="prepared data set; default: DATA_ROOT/<name>")
    latents: str | None = Field(None, description="encoded latents; default: by data and VAE")
    source: Literal["latents", "pixels"] = Field(
        "latents", description="what is learnt from; pixels: decoded and encoded at every step"
    )
    size: int = Field(256, ge=8, description="side of the square frames, pixels")
    crop: Literal["crop-resize", "resize-crop"] = Field(
        "crop-resize", description="cut the centred square and resize it, or the other way round"
    )
    frames: int = Field(16, ge=1, description="frames in a clip")
    interval: int = Field(3, ge=1, description="source frames from one clip frame to the next")
    short: Literal["skip", "slow"] = Field(
        "skip", description="videos shorter than a clip: left out, or at a smaller interval"
    )
    flip: bool = Field(True, description="also learn from horizontally mirrored videos")
    split: Literal["train", "test", "all"] = Field("train", description="videos to learn from")
    workers: int = Field(2, ge=1, description="threads that cut clips while training")
    num_images: int = Field(8, ge=0, description="images of joint training behind a clip")

    @property
    def window(self) -> int:
        """Source frames that one clip spans."""
        return (self.frames - 1) * self.interval + 1


class VaeConfig(Section):
    """The autoencoder between pixels and latents."""

    path: str = Field("stabilityai/sd-vae-ft-ema", description="hub id, local folder or `embedded`")
    latent_channels: int = Field(4, ge=1, description="channels of the latents")
    downsample: int = Field(8, ge=1, description="pixels of a frame per latent, along a side")


class ModelConfig(Section):
    """The network. `size` names a row of the paper's Table 1; or give width, depth and heads."""

    size: Size | None = Field("XL", description="S, B, L or XL; null to give width, depth, heads")
    width: int | None = Field(None, ge=4)
    depth: int | None = Field(None, ge=1, description="blocks")
    heads: int | None = Field(None, ge=1)
    patch: int = Field(2, ge=1, description="side of a token's patch, in latents")
    variant: Literal[1, 2, 3, 4] = Field(1, description="order of spatial and temporal attention")
    patch_embedding: Literal["uniform", "compression"] = Field(
        "uniform", description="a token is a patch of one frame, or of a tube of frames"
    )
    tube: int = Field(2, ge=2, description="frames in a tube, for compression")
    injection: Literal["s-adaln", "tokens"] = Field(
        "s-adaln", description="timestep and label modulate layer norms, or are tokens"
    )
    temporal_position: Literal["absolute", "rope"] = Field(
        "absolute", description="added to tokens, or turning queries and keys"
    )
    joint: Literal["temporal-mask", "only-video"] = Field(
        "temporal-mask", description="images of joint training in temporal blocks: alone, or not"
    )
    condition: Literal["none", "class", "text"] = Field(
        "none", description="what the network is told"
    )
    num_classes: int | None = Field(None, ge=1, description="labels that a class model knows")
    text_width: int = Field(4096, ge=1, description="of a text model's embeddings; T5-XXL: 4096")

    @model_validator(mode="after")
    def _is_whole(self) -> "ModelConfig":
        explicit = (self.width, self.depth, self.heads)
        if self.size is None and None in explicit:
            raise ValueError("model.size is null, so width, depth and heads must all be given")
        if self.size is not None and any(value is not None for value in explicit):
            raise ValueError("give model.size or width, depth and heads, not both (size: null)")
        if self.condition == "class" and self.num_classes is None:
            raise ValueError("model.condition is class, so model.num_classes must be given")
        if self.condition != "class" and self.num_classes is not None:
            raise ValueError("model.num_classes is given, so model.condition must be class")
        if self.condition == "text":
            self._is_plain()
        return self

    def _is_plain(self) -> None:
        """A text model has the design of Latte-1 alone."""
        for key in ("variant", "patch_embedding", "injection", "temporal_position"):
            default = type(self).model_fields[key].default
            if getattr(self, key) != default:
                raise ValueError(
                    f"model.{key} is {getattr(self, key)}, but model.condition text needs {default}"
                )


class Config(Section):
    """The resolved configuration of one command."""

    name: str = Field("latte", pattern=r"^[\w.-]+$", description="names data and run folders")
    description: str = ""
    data: DataConfig = DataConfig()
    vae: VaeConfig = VaeConfig()
    model: ModelConfig = ModelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    train: TrainConfig = TrainConfig()
    sample: SampleConfig = SampleConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="before")
    @classmethod
    def _flow_has_a_sampler_of_its_own(cls, tree: Any) -> Any:
        """The paper's sampler draws with a learned covariance, and a straight path has none."""
        sections = tree if isinstance(tree, dict) else {}
        diffusion, sample = sections.get("diffusion"), sections.get("sample", {})
        if not isinstance(diffusion, dict) or not isinstance(sample, dict):
            return tree
        if diffusion.get("objective") != "flow":
            return tree
        return {**tree, "sample": {"sampler": "euler", **sample}}

    @model_validator(mode="before")
    @classmethod
    def _images_where_they_fit(cls, tree: Any) -> Any:
        """By default no joint images with tubes, which they cannot be part of, nor with text."""
        sections = tree if isinstance(tree, dict) else {}
        model, data = sections.get("model"), sections.get("data", {})
        if not isinstance(model, dict) or not isinstance(data, dict):
            return tree
        if model.get("patch_embedding") != "compression" and model.get("condition") != "text":
            return tree
        return {**tree, "data": {"num_images": 0, **data}}

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        step = self.vae.downsample * self.model.patch
        if self.data.size % step:
            raise ValueError(
                f"data.size {self.data.size} must be a multiple of {step} "
                f"(vae.downsample {self.vae.downsample} x model.patch {self.model.patch})"
            )
        if self.model.patch_embedding == "compression" and self.data.num_images:
            raise ValueError(
                f"data.num_images is {self.data.num_images}, but an image cannot be part of a "
                "tube of frames: set data.num_images=0, or model.patch_embedding=uniform"
            )
        if self.sample.steps > self.diffusion.num_timesteps:
            raise ValueError(
                f"sample.steps {self.sample.steps} is more than the "
                f"{self.diffusion.num_timesteps} of diffusion.num_timesteps"
            )
        if self.diffusion.beta_start > self.diffusion.beta_end:
            raise ValueError("diffusion.beta_start is larger than diffusion.beta_end")
        channels = self.sample.guided_channels
        if channels is not None and channels > self.vae.latent_channels:
            raise ValueError(
                f"sample.guided_channels is {channels}, more than the "
                f"{self.vae.latent_channels} of vae.latent_channels"
            )
        if self.diffusion.objective == "flow":
            self._is_of_flow()
        return self

    def _is_of_flow(self) -> None:
        """A straight path has no covariance to draw with, and no noise is added on it."""
        if self.sample.sampler == "ddpm":
            raise ValueError(
                "sample.sampler is ddpm, which needs the covariance that a network does not learn "
                "when diffusion.objective is flow: sample.sampler must be euler, dpm++ or unipc"
            )
        if self.sample.eta:
            raise ValueError(
                f"sample.eta is {self.sample.eta:g}, but with diffusion.objective flow no sampler "
                "adds noise: sample.eta must be 0"
            )

    @property
    def latent_size(self) -> int:
        """Side of a frame's latents."""
        return self.data.size // self.vae.downsample

    def to_yaml(self) -> str:
        """The whole tree as YAML, in the schema's order."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)
