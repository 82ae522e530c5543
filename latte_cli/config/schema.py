"""The schema of the configuration: one frozen tree whose defaults are the paper's."""

from typing import Any

import yaml
from pydantic import Field, model_validator

from latte_cli.config.eval_section import EvalConfig
from latte_cli.config.network_checks import check_frame_queries, check_tube
from latte_cli.config.section import Mismatch, Section
from latte_cli.config.sections import (
    DataConfig,
    DiffusionConfig,
    ModelConfig,
    SampleConfig,
    TextConfig,
    VaeConfig,
)
from latte_cli.config.train_section import TrainConfig

FLOW_MAP_SAMPLING = {"sampler": "flow-map", "steps": 4, "guidance": 1.0}
"""Values of `sample` for a flow map, in place of those that a preset has for its own objective."""


class Config(Section):
    """The resolved configuration of one command."""

    name: str = Field(
        "latte",
        pattern=r"^[\w.-]+$",
        description="names the folders of data and runs; default: the name of the preset's file",
    )
    description: str = Field("", description="what the preset is for, in a sentence")
    data: DataConfig = DataConfig()
    vae: VaeConfig = VaeConfig()
    text: TextConfig = TextConfig()
    model: ModelConfig = ModelConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    train: TrainConfig = TrainConfig()
    sample: SampleConfig = SampleConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="before")
    @classmethod
    def _set_dependent_defaults(cls, tree: Any) -> Any:
        """Defaults that depend on other sections.

        With objective flow, the sampler is euler, and without a learned covariance otherwise ddim:
        ddpm needs one. A flow map takes four long steps. With tubes or text there are no joint
        images, which neither supports. A number of classes makes the network class-conditional.
        """
        if not isinstance(tree, dict):
            return tree
        objective = _value_of(tree, "diffusion", "objective")
        if objective == "flow":
            tree = _with_default(tree, "sample", "sampler", "euler")
        elif objective == "flow-map":
            levels = _value_of(tree, "diffusion", "map_levels")
            steps = {"steps": len(levels)} if isinstance(levels, list | tuple) else {}
            for key, value in {**FLOW_MAP_SAMPLING, **steps}.items():
                tree = _with_default(tree, "sample", key, value)
        elif _value_of(tree, "model", "learn_sigma") is False:
            tree = _with_default(tree, "sample", "sampler", "ddim")
        if _value_of(tree, "model", "num_classes") is not None:
            tree = _with_default(tree, "model", "condition", "class")
        tubes = _value_of(tree, "model", "patch_embedding") == "compression"
        if tubes or _value_of(tree, "model", "condition") == "text":
            tree = _with_default(tree, "data", "num_images", 0)
        return tree

    @model_validator(mode="after")
    def _check_consistency(self) -> "Config":
        step = self.vae.downsample * self.model.patch
        if self.data.size % step:
            raise Mismatch(
                f"data.size {self.data.size} must be a multiple of {step} "
                f"(vae.downsample {self.vae.downsample} x model.patch {self.model.patch})",
                f"-o data.size={max(step, self.data.size // step * step)}, or another multiple",
            )
        if self.model.patch_embedding == "compression" and self.data.num_images:
            raise Mismatch(
                f"data.num_images is {self.data.num_images}, but an image cannot be part of a "
                "tube of frames: set data.num_images=0, or model.patch_embedding=uniform",
                "-o data.num_images=0, or -o model.patch_embedding=uniform",
            )
        if self.sample.steps > self.diffusion.num_timesteps:
            raise Mismatch(
                f"sample.steps {self.sample.steps} is more than the "
                f"{self.diffusion.num_timesteps} of diffusion.num_timesteps",
                f"-o sample.steps={self.diffusion.num_timesteps}, or fewer",
            )
        if self.diffusion.beta_start > self.diffusion.beta_end:
            raise Mismatch(
                "diffusion.beta_start is larger than diffusion.beta_end",
                "exchange the two values: noise grows from step to step",
            )
        channels = self.sample.guided_channels
        if channels is not None and channels > self.vae.latent_channels:
            raise Mismatch(
                f"sample.guided_channels is {channels}, more than the "
                f"{self.vae.latent_channels} of vae.latent_channels",
                f"-o sample.guided_channels={self.vae.latent_channels}, fewer, or null for all",
            )
        self._check_clip_divides()
        self._check_flow()
        self._check_route()
        self._check_skip_guidance()
        self._check_sequence_parallel()
        if self.train.position_warmup and self.model.condition != "text":
            raise Mismatch(
                "train.position_warmup is for text-to-video networks, but model.condition is "
                f"{self.model.condition}",
                "-o train.position_warmup=0",
            )
        self._check_guidance_target()
        if self.train.teacher is not None:
            self._check_teacher()
        if not self.model.learn_sigma and self.sample.sampler == "ddpm":
            raise Mismatch(
                "sample.sampler is ddpm, which needs a learned covariance, but model.learn_sigma "
                "is false: sample.sampler must be ddim, dpm++, unipc or euler",
                "-o sample.sampler=ddim, or another of these",
            )
        return self

    def _check_guidance_target(self) -> None:
        """Check that there are labels to guide by, or captions and a teacher that knows labels."""
        is_own = self.train.guidance_target_from != "teacher"
        condition = self.model.condition
        if self.train.guidance_target is None or condition == "class":
            return
        if is_own or condition == "none":
            raise Mismatch(
                f"train.guidance_target is for networks with classes, but model.condition is "
                f"{condition}",
                "-o train.guidance_target=null, or train a network with classes",
            )

    def _check_skip_guidance(self) -> None:
        """Check that guidance by skipped blocks has blocks to skip, and a network that can."""
        sample = self.sample
        if sample.skip_guidance and not sample.skip_blocks:
            raise Mismatch(
                f"sample.skip_guidance is {sample.skip_guidance:g}, but sample.skip_blocks names "
                "no block that the weaker pass leaves out",
                "-o sample.skip_blocks=4,5, or -o sample.skip_guidance=0",
            )
        if sample.skip_guidance and (
            self.model.condition == "text" or sample.guidance_routing is not None
        ):
            raise Mismatch(
                "sample.skip_guidance goes together neither with text nor with "
                "sample.guidance_routing",
                "-o sample.skip_guidance=0",
            )

    def _check_teacher(self) -> None:
        """Check what learning a trained network's velocity does not go together with."""
        if self.diffusion.objective not in ("flow", "flow-map"):
            raise Mismatch(
                "train.teacher is for networks that learn a velocity, but diffusion.objective is "
                f"{self.diffusion.objective}",
                "-o train.teacher=null, or -o diffusion.objective=flow",
            )
        if self.train.teacher_guidance != 1 and self.model.condition == "none":
            raise Mismatch(
                f"train.teacher_guidance is {self.train.teacher_guidance:g}, but with "
                "model.condition none a teacher has no label to be guided by",
                "-o train.teacher_guidance=1",
            )
        if self.model.condition == "text" and self.data.num_images:
            raise Mismatch(
                "train.teacher answers for labels of videos, but data.num_images adds "
                f"{self.data.num_images} images with captions of their own",
                "-o data.num_images=0, or -o train.teacher=null",
            )

    def _check_clip_divides(self) -> None:
        """Check that clips and frames are of sizes that the network can take apart."""
        model = self.model
        if model.patch_embedding == "compression":
            check_tube(model.tube, self.data.frames)
        if model.condition != "text":
            queries, tokens = model.frame_queries, self.tokens_per_frame
            check_frame_queries(queries, model.variant, model.injection, tokens)

    def _check_route(self) -> None:
        """Check what routed tokens do not go together with."""
        if self.train.route is None:
            if self.sample.guidance_routing is not None:
                raise Mismatch(
                    "sample.guidance_routing is for networks trained with train.route, which is "
                    "null: -o train.route.from=… and to=… say which blocks it skips",
                    "-o sample.guidance_routing=null, or train with -o train.route.share=0.5",
                )
            return
        if self.model.patch_embedding == "compression":
            raise Mismatch(
                "train.route is set, which is for tokens of one frame, but "
                "model.patch_embedding is compression: its tokens are tubes",
                "-o train.route=null, or -o model.patch_embedding=uniform",
            )
        if self.model.condition == "text":
            raise Mismatch(
                "train.route is set, which is for networks without text, but model.condition is "
                "text",
                "-o train.route=null",
            )
        if self.model.variant in (5, 6):
            raise Mismatch(
                f"train.route is set, but model.variant {self.model.variant} attends to whole "
                "frames, of which no token can wait",
                "-o train.route=null, or another model.variant",
            )
        if self.tokens_per_frame < 2:
            raise Mismatch(
                "train.route is set, but a frame is a single token, of which no part can wait: "
                f"data.size is {self.data.size}, a token {self.vae.downsample * self.model.patch}",
                "-o train.route=null, or a larger data.size",
            )

    def _check_sequence_parallel(self) -> None:
        """Check that clips can be shared among processes: frames in turn with positions."""
        key, count = "train.sequence_parallel", self.train.sequence_parallel
        if self.sample.sequence_parallel > 1:
            key, count = "sample.sequence_parallel", self.sample.sequence_parallel
        if count == 1:
            return
        alone = f"-o {key}=1"
        if count > self.data.frames:
            raise Mismatch(
                f"{key} is {count}, but a clip has {self.data.frames} frames to share",
                f"-o {key}={self.data.frames} at most",
            )
        wrong = {
            f"model.variant {self.model.variant}": self.model.variant not in (1, 2),
            "model.patch_embedding compression": self.model.patch_embedding == "compression",
            "diffusion.objective flow-map": self.diffusion.objective == "flow-map",
            "train.route": self.train.route is not None,
        }
        for what, is_set in wrong.items():
            if is_set:
                raise Mismatch(f"{key} is {count}, which {what} does not go together with", alone)

    def _check_flow(self) -> None:
        """Check what the objectives flow and flow-map, and no others, go together with."""
        objective, sampler = self.diffusion.objective, self.sample.sampler
        is_flow = objective in ("flow", "flow-map")
        if is_flow and sampler == "ddpm":
            raise Mismatch(
                "sample.sampler is ddpm, which needs the covariance that a network does not learn "
                f"when diffusion.objective is {objective}: sample.sampler must be euler, dpm++ or "
                "unipc",
                "-o sample.sampler=euler, or another of these",
            )
        if is_flow and self.sample.eta:
            raise Mismatch(
                f"sample.eta is {self.sample.eta:g}, but with diffusion.objective {objective} no "
                "sampler adds noise: sample.eta must be 0",
                "leave the noise out: -o sample.eta=0",
            )
        if sampler == "flow-map" and objective != "flow-map":
            raise Mismatch(
                f"sample.sampler is flow-map, but diffusion.objective is {objective}: train with "
                "-o diffusion.objective=flow-map -o train.init=RUN first, or take another sampler",
                "-o sample.sampler=ddim, or euler for flow",
            )
        if self.diffusion.output and not is_flow:
            raise Mismatch(
                f"diffusion.output is {self.diffusion.output}, which is for networks converted to "
                f"flow or flow-map, but diffusion.objective is {objective}",
                "-o diffusion.output=null, or -o diffusion.objective=flow",
            )
        timesteps = self.diffusion.timestep_sampling
        if timesteps != "uniform" and not is_flow:
            raise Mismatch(
                f"diffusion.timestep_sampling is {timesteps}, which is for diffusion.objective "
                f"flow, not {objective}",
                "-o diffusion.timestep_sampling=uniform, or -o diffusion.objective=flow",
            )
        if objective == "flow-map":
            self._check_flow_map()

    def _check_flow_map(self) -> None:
        """Check what flow maps, and the derivative by time, do not go together with."""
        not_with: dict[str, tuple[str, str]] = {
            "model.injection": (self.model.injection, "tokens"),
            "model.condition": (self.model.condition, "text"),
            "train.shard": (self.train.shard, "fsdp"),
        }
        if self.diffusion.map_levels is None:
            not_with["train.checkpointing"] = (self.train.checkpointing, "blocks")
            if self.train.batch_size == 1:
                raise Mismatch(
                    "train.batch_size is 1, but half of a flow map's clips learn long steps, and "
                    "the others short ones",
                    "-o train.batch_size=2, or more",
                )
        else:  # without a derivative
            self._check_map_levels(len(self.diffusion.map_levels))
        if self.train.route is not None:
            raise Mismatch(
                "train.route is set, which diffusion.objective flow-map lacks",
                "leave routing out: -o train.route=null",
            )
        for key, (value, wrong) in not_with.items():
            if value == wrong:
                raise Mismatch(
                    f"{key} is {value}, which diffusion.objective flow-map lacks",
                    f"choose another value of {key} than {wrong}",
                )

    def _check_map_levels(self, steps: int) -> None:
        """Check what a flow map of a few fixed steps lacks, and that it is sampled in these."""
        if self.train.guidance_target is not None:
            raise Mismatch(
                "train.guidance_target is set, which diffusion.map_levels lacks",
                "-o train.guidance_target=null: -o train.teacher_guidance=2 guides the teacher",
            )
        if self.sample.guidance != 1 and not self.train.condition_dropout:
            raise Mismatch(
                f"sample.guidance is {self.sample.guidance:g}, but with train.condition_dropout 0 "
                "the network has learned nothing without labels",
                "-o sample.guidance=1",
            )
        if self.sample.sampler != "flow-map" or self.sample.steps != steps:
            raise Mismatch(
                f"sample.sampler is {self.sample.sampler} with {self.sample.steps} steps, but a "
                f"network with diffusion.map_levels knows only its own {steps} steps",
                f"-o sample.sampler=flow-map -o sample.steps={steps}",
            )

    @property
    def latent_size(self) -> int:
        """Side of a frame's latents."""
        return self.data.size // self.vae.downsample

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of a frame."""
        return (self.latent_size // self.model.patch) ** 2

    def to_yaml(self) -> str:
        """The whole tree as YAML, in the schema's order."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def _value_of(tree: dict[str, Any], section: str, key: str) -> Any:
    values = tree.get(section)
    return values.get(key) if isinstance(values, dict) else None


def _with_default(tree: dict[str, Any], section: str, key: str, default: Any) -> dict[str, Any]:
    """The tree with this value unless it has one; a section that is no mapping fails later."""
    values = tree.get(section, {})
    return {**tree, section: {key: default, **values}} if isinstance(values, dict) else tree
