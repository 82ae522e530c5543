"""The section of the configuration on training."""

from typing import Literal

from pydantic import Field

from latte_cli.config.section import Section


class TrainConfig(Section):
    """The training run. A step is one move of the optimizer, whatever the number of devices."""

    steps: int = Field(1_000_000, ge=1, description="optimizer steps")
    batch_size: int = Field(40, ge=1, description="clips a step, over all devices")
    accumulate: int = Field(
        1, ge=1, description="portions of a device's clips, one after another, to save memory"
    )
    init: str | None = Field(None, description="weights to begin from: any that the project loads")
    lr: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0)
    snr_floor: float = Field(0.0, ge=0, description="least weight of an error of x_start")
    min_snr_gamma: float | None = Field(None, gt=0, description="largest weight of it; null: none")
    class_dropout: float = Field(0.1, ge=0, lt=1, description="share of labels dropped")
    clip_grad_norm: float = Field(0.1, gt=0, description="largest gradient norm")
    clip_from_step: int = Field(100_000, ge=0, description="step from which gradients are clipped")
    spike_factor: float = Field(
        10.0, gt=1, description="times its running median, a gradient norm that skips its step"
    )
    max_bad_steps: int = Field(
        10, ge=1, description="skipped in a row, they send the run back to a checkpoint, once"
    )
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    precision: Literal["auto", "bf16", "float32"] = Field("auto", description="of the products")
    checkpointing: Literal["none", "blocks"] = Field(
        "none", description="blocks: computed again for the backward pass, to save memory"
    )
    shard: Literal["none", "fsdp"] = Field(
        "none", description="fsdp: each device holds a part of weights, average and optimizer"
    )
    compile: Literal["auto", "none", "blocks"] = Field(
        "auto", description="blocks: each by torch.compile; auto: on a GPU that can"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1)
    save_every: int = Field(10_000, ge=1, description="steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept")
    keep_every: int | None = Field(
        None, ge=1, description="steps between checkpoints kept for good; null: none"
    )
    ema_every: int | None = Field(
        None, ge=1, description="steps between snapshots of the average alone; null: none"
    )
    log_every: int = Field(100, ge=1, description="steps between lines of metrics.jsonl")
    preview_every: int = Field(10_000, ge=1, description="steps between preview clips")
    eval_every: int | None = Field(
        None, ge=1, description="steps between evaluations of the average by eval.*; null: none"
    )
    validate_every: int = Field(1_000, ge=1, description="steps between held-out losses")
    validate_clips: int = Field(64, ge=0, description="clips of the test split for it; 0: never")
    tensorboard: bool = Field(False, description="curves for TensorBoard, too, in the run's folder")
