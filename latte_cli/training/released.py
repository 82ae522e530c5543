"""The training settings released with the paper, and how a run differs from them."""

from dataclasses import dataclass

from latte_cli.config import Config, flatten, load_config, to_yaml

GPUS = 8
PAPER_STEPS = 150_000
"""Where the paper's curves end; the released settings allow a million."""

_DATA_SETS = ("faceforensics", "skytimelapse", "taichi-hd", "ucf101")
_IMAGES = 8
_DATA = ("size", "frames", "interval", "flip", "num_images")
_MODEL = ("size", "patch", "variant", "patch_embedding", "injection", "temporal_position")
_CLASSES = ("model.condition", "model.num_classes")
_TRAIN = (
    *("steps", "batch_size", "init", "lr", "lr_schedule", "warmup_steps", "weight_decay"),
    *("snr_floor", "min_snr_gamma", "class_dropout", "clip_grad_norm", "clip_from_step"),
    "ema_decay",
)
_KEYS = (
    *(f"data.{key}" for key in _DATA),
    *(f"model.{key}" for key in _MODEL),
    *_CLASSES,
    "diffusion.objective",
    *(f"train.{key}" for key in _TRAIN),
)
"""What decides how a network learns."""

_OF_THE_DATA_SET = (*_CLASSES, "train.clip_from_step")
"""What the released settings of the four data sets do not have in common."""


@dataclass(frozen=True)
class Comparison:
    """A run beside the released settings.

    Attributes:
        with_settings: which they are, as words.
        clips_per_gpu: of their eight GPUs.
        differs: (value of this run, released value) by key, in the schema's order.
    """

    with_settings: str
    clips_per_gpu: int
    differs: dict[str, tuple[object, object]]

    @property
    def clips_per_step(self) -> int:
        """Clips of a released step, over all GPUs."""
        return GPUS * self.clips_per_gpu

    def differences(self) -> str:
        """What differs, as words: `train.lr 0.001 (0.0001), …`, values as YAML writes them."""
        pairs = (
            f"{key} {to_yaml(ours)} ({to_yaml(theirs)})"
            for key, (ours, theirs) in self.differs.items()
        )
        return ", ".join(pairs) or "nothing that decides how the network learns"


def compare_with_released(config: Config, data_set: str) -> Comparison:
    """Compare a run with the released settings, with or without joint images as the run.

    Args:
        config: of the run.
        data_set: what the run trains on; for another than the paper's four, what the released
            settings of these have in common is compared.
    """
    images = config.data.num_images
    known = data_set in _DATA_SETS
    words = [f"data.num_images={_IMAGES if images else 0}"]
    released = load_config(data_set if known else _DATA_SETS[0], words)
    ours, theirs = flatten(config.model_dump()), flatten(released.model_dump())
    compared = [key for key in _KEYS if known or key not in _OF_THE_DATA_SET]
    suffix = "with joint images" if images else "without joint images"
    return Comparison(
        with_settings=f"{data_set if known else 'any data set'}, {suffix}",
        clips_per_gpu=released.train.batch_size // GPUS,
        differs={k: (ours[k], theirs[k]) for k in compared if ours[k] != theirs[k]},
    )
