"""Networks of `latte train` as pipelines: with the other parts that they were trained with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.choice import newest_of_run
from latte_cli.checkpoints.folder import FOR_SAMPLING, find_corruption, read_checkpoint_config
from latte_cli.config import Config
from latte_cli.config.locations import EMBEDDED, asset, pipeline_path
from latte_cli.config.sections import DiffusionConfig
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.hub import hub_autoencoder
from latte_cli.sampling.pipelines.files import (
    PUBLISHED_SAMPLING,
    PipelineFiles,
    SamplingDefaults,
    is_pipeline,
)
from latte_cli.sampling.pipelines.scheduler import OBJECTIVES

_PUBLISHED_FRAMES = 16


@dataclass(frozen=True)
class CheckpointFiles:
    """The parts of a pipeline around a checkpoint; as `PipelineFiles`.

    Attributes:
        model: folder of the checkpoint.

    Raises:
        CheckpointError: if it is broken, or of a network that takes no text.
    """

    model: str
    is_hub_id = False

    def __post_init__(self) -> None:
        folder = Path(self.model)
        if broken := find_corruption(folder, FOR_SAMPLING):
            raise CheckpointError(broken, hint="give another checkpoint")
        if self.config.model.condition != "text":
            raise CheckpointError(
                f"{folder}: a network that takes no text",
                hint=f"`latte sample --checkpoint {folder}` samples from it",
            )

    @property
    def config(self) -> Config:
        """That the network was trained with."""
        return read_checkpoint_config(Path(self.model))

    def part(self, name: str) -> Path:
        """The folder of a part; see `PipelineFiles.part`.

        The checkpoint itself holds the network, and in its configuration the noise schedule.
        """
        if name in ("transformer", "scheduler"):
            return Path(self.model)
        config = self.config
        if name != "vae":
            return PipelineFiles(config.text.path, is_whole=False).part(name)
        if config.vae.path == EMBEDDED:
            return asset("autoencoder")
        folder = Path(config.vae.path)
        return folder if folder.is_dir() else hub_autoencoder(config.vae.path).fetch()

    def checksum(self, name: str) -> str:
        """SHA-256 of a part's weights, in hex; see `PipelineFiles.checksum`."""
        if name == "transformer":
            return sha256_of(Path(self.model) / FOR_SAMPLING[0])
        folder = self.part(name)
        return PipelineFiles(str(folder.parent), is_whole=False).checksum(folder.name)

    def fingerprint(self, name: str) -> str:
        """Of a part; see `PipelineFiles.fingerprint`."""
        return PipelineFiles(self.config.text.path, is_whole=False).fingerprint(name)

    def scheduler_config(self) -> dict[str, Any]:
        """The configuration of diffusers' scheduler for its noise schedule."""
        return scheduler_config(self.config.diffusion)


def pipeline_files(model: str) -> PipelineFiles | CheckpointFiles:
    """The parts of a pipeline: of a folder or the hub, or around a checkpoint of this project.

    Raises:
        CheckpointError: if a folder holds neither, or is broken.
    """
    is_checkpoint = model != EMBEDDED and _is_checkpoint(Path(model))
    return CheckpointFiles(model) if is_checkpoint else PipelineFiles(model)


@dataclass(frozen=True)
class ChosenPipeline:
    """A pipeline to sample from, and how.

    Attributes:
        model: as for `pipeline_files`.
        frames: of a clip.
        steps: denoising steps.
        guidance: scale of classifier-free guidance.
    """

    model: str
    frames: int
    steps: int
    guidance: float


def choose_pipeline(
    model: str,
    console: Console,
    *,
    frames: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
) -> ChosenPipeline:
    """The pipeline to sample from; what is not given is as its network was trained.

    Args:
        model: a folder, of a run, of which the newest whole checkpoint is taken, or of a pipeline;
            a hub id; or `embedded`.
        console: shows which checkpoint is taken.
        frames: of a clip.
        steps: denoising steps.
        guidance: scale of classifier-free guidance.

    Raises:
        CheckpointError: if a run holds no whole checkpoint, or a folder says nothing usable.
    """
    if model != EMBEDDED and (path := Path(model)).is_dir():
        model = str(newest_of_run(path, console))
    trained, default = _trained_frames(model), _sampling_of(model)
    return ChosenPipeline(
        model,
        frames or trained or _PUBLISHED_FRAMES,
        steps or default.steps,
        default.guidance if guidance is None else guidance,
    )


def _sampling_of(model: str) -> SamplingDefaults:
    """How clips of a pipeline are sampled by default; whether it is one is checked later."""
    if _is_checkpoint(Path(model)):
        sample = read_checkpoint_config(Path(model)).sample
        return SamplingDefaults(sample.steps, sample.guidance)
    if model == EMBEDDED or is_pipeline(Path(model)):
        return PipelineFiles(model).sampling()
    return PUBLISHED_SAMPLING


def _trained_frames(model: str) -> int | None:
    """Frames of the clips that a network was trained on; None if it is not at hand."""
    if _is_checkpoint(Path(model)):
        return read_checkpoint_config(Path(model)).data.frames
    try:
        values = json.loads(
            (pipeline_path(model) / "transformer" / "config.json").read_text(encoding="utf-8")
        )
        return int(values["video_length"])
    except (OSError, ValueError, KeyError, TypeError):  # reported when it is loaded
        return None


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint of this project."""
    return all((folder / name).is_file() for name in FOR_SAMPLING[:2])


def scheduler_config(diffusion: DiffusionConfig) -> dict[str, Any]:
    """The configuration of diffusers' scheduler for a network's noise schedule.

    Raises:
        ConfigError: if diffusers' pipeline does not sample networks of this objective.
    """
    if diffusion.objective == "flow":
        return {
            "_class_name": "DPMSolverMultistepScheduler",
            "num_train_timesteps": diffusion.num_timesteps,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 1.0,
            "solver_order": 2,
            "final_sigmas_type": "zero",
        }
    names = {ours: theirs for theirs, ours in OBJECTIVES.items()}
    if diffusion.objective not in names:
        raise ConfigError(
            f"diffusers' LattePipeline samples networks that predict noise, v or a velocity, not "
            f"a {diffusion.objective}",
            hint="--to latte keeps it a checkpoint of this project",
        )
    return {
        "_class_name": "DDIMScheduler",
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "beta_schedule": "linear",
        "clip_sample": False,
        "num_train_timesteps": diffusion.num_timesteps,
        "prediction_type": names[diffusion.objective],
        "set_alpha_to_one": True,
        "steps_offset": 0,
    }
