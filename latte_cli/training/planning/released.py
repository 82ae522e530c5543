"""The training settings released with the paper, and how a run differs from them."""

from dataclasses import dataclass

from latte_cli.config import Config, flatten, load_config, to_yaml

GPUS = 8
PAPER_STEPS = 150_000
"""Where the paper's curves end; the released settings allow a million."""

_DATA_SETS = ("faceforensics", "skytimelapse", "taichi-hd", "ucf101")
_IMAGES = 8
_SECTIONS = ("data.", "model.", "diffusion.", "train.")
_CLASSES = ("model.condition", "model.num_classes")
_NOT_COMPARED = {
    # where the data are, and how they come
    *("data.root", "data.names", "data.latents", "data.source", "data.split", "data.short"),
    "data.workers",
    # these follow from model.size, or are for text
    *("model.width", "model.depth", "model.heads", "model.text_width"),
    # how the machine computes a step, and what to do with a bad one
    *("train.accumulate", "train.precision", "train.checkpointing", "train.shard"),
    *("train.compile", "train.kernels", "train.seed", "train.spike_factor", "train.max_bad_steps"),
    # what is written and shown
    *("train.save_every", "train.keep", "train.keep_every", "train.ema_every", "train.log_every"),
    *("train.preview_every", "train.preview_steps", "train.eval_every", "train.validate_every"),
    *("train.validate_clips", "train.tracker"),
}
"""What does not decide how a network learns; all other keys of these sections are compared."""

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
    # The released code trains images in the spatial blocks alone; the paper's other way, with a
    # mask, is our default: FVD 589.86 against 705.72 (section 3.3.4).
    joint = [f"data.num_images={_IMAGES}", "model.joint=only-video"]
    words = [*(joint if images else ["data.num_images=0"]), "train.ema_warmup=none"]
    released = load_config(data_set if known else _DATA_SETS[0], words)
    ours, theirs = flatten(config.model_dump()), flatten(released.model_dump())
    left_out = _NOT_COMPARED if known else {*_NOT_COMPARED, *_OF_THE_DATA_SET}
    compared = [key for key in ours if key.startswith(_SECTIONS) and key not in left_out]
    suffix = "with joint images" if images else "without joint images"
    return Comparison(
        with_settings=f"{data_set if known else 'any data set'}, {suffix}",
        clips_per_gpu=released.train.batch_size // GPUS,
        differs={k: (ours[k], theirs.get(k)) for k in compared if ours[k] != theirs.get(k)},
    )
