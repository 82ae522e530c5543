"""Keys of the configuration by their last part, and by the names that other programs give them."""

from collections.abc import Iterable

_NAMES = {
    "learning_rate": "train.lr",
    "max_train_steps": "train.steps",
    "max_steps": "train.steps",
    "global_batch_size": "train.batch_size",
    "local_batch_size": "train.batch_size",
    "train_batch_size": "train.batch_size",
    "gradient_accumulation_steps": "train.accumulate",
    "grad_accum": "train.accumulate",
    "gradient_checkpointing": "train.checkpointing",
    "mixed_precision": "train.precision",
    "max_grad_norm": "train.clip_grad_norm",
    "clip_max_norm": "train.clip_grad_norm",
    "lr_warmup_steps": "train.warmup_steps",
    "ckpt_every": "train.save_every",
    "checkpointing_steps": "train.save_every",
    "save_steps": "train.save_every",
    "logging_steps": "train.log_every",
    "image_size": "data.size",
    "resolution": "data.size",
    "num_frames": "data.frames",
    "sample_n_frames": "data.frames",
    "frame_interval": "data.interval",
    "num_workers": "data.workers",
    "cfg_scale": "sample.guidance",
    "guidance_scale": "sample.guidance",
    "num_sampling_steps": "sample.steps",
    "num_inference_steps": "sample.steps",
}


def likely_keys(name: str, keys: Iterable[str]) -> list[str]:
    """The dotted keys that a name may stand for.

    Args:
        name: the last part of a key, a whole key, or another program's name; hyphens count as
            underscores.
        keys: all that there are.
    """
    name = name.strip().replace("-", "_").lower()
    found = [key for key in keys if key == name or key.endswith(f".{name}")]
    return found or ([_NAMES[name]] if name in _NAMES else [])
