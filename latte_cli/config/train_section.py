"""The section `train` of the configuration."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from latte_cli.config.section import Mismatch, Section, check_interval, split_words
from latte_cli.runtime.errors import ConfigError

TEACHER_ROUND = 64
"""Batches that are trained on again, in turn, before there are new ones; `teacher_reuse`."""


class RouteConfig(Section):
    """Tokens that wait while others pass through some blocks (TREAD, Krause et al. 2025).

    At the same random positions in all frames of a clip, tokens skip these blocks and are put back
    unchanged: steps are cheaper, and deep blocks learn from shallow ones.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    first: int = Field(2, alias="from", description="first block that tokens skip, from 0")
    last: int = Field(-4, alias="to", description="last block that tokens skip; -1: of the network")
    share: float = Field(0.5, ge=0, lt=1, description="part of the positions that wait")
    off_from: float = Field(
        0.9, ge=0, le=1, description="share of the run after which no token waits"
    )

    def blocks(self, depth: int) -> range:
        """The blocks that tokens skip, of a network with `depth` blocks.

        Raises:
            ConfigError: if there are no such blocks.
        """
        first, last = (n + depth if n < 0 else n for n in (self.first, self.last))
        if not 0 <= first <= last < depth:
            raise ConfigError(
                f"train.route goes from block {self.first} to {self.last}, but the network's "
                f"{depth} blocks are 0 to {depth - 1}, or -{depth} to -1, in this order",
                hint=f"-o train.route.from=0 -o train.route.to={depth - 1} are all of them",
            )
        return range(first, last + 1)


class LoraConfig(Section):
    """Low-rank adapters (LoRA, Hu et al. 2022), trained in place of the network's own weights."""

    rank: int = Field(16, ge=1, description="of each change of weights")
    alpha: float | None = Field(
        None, gt=0, description="changes are scaled by alpha over rank; null: the rank, so by 1"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="of what adapters are given, in training")
    targets: tuple[str, ...] = Field(
        ("*attn*",), description="patterns over names of the linear layers that get an adapter"
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _split_targets(cls, value: Any) -> Any:
        """`*to_q,*to_v` as two patterns."""
        return split_words(value)

    @property
    def scale_alpha(self) -> float:
        """Alpha, which is the rank by default."""
        return self.rank if self.alpha is None else self.alpha

    @property
    def scale(self) -> float:
        """What changes of weights are multiplied by."""
        return self.scale_alpha / self.rank


def count_passing(tokens: int, share: float) -> int:
    """How many of a frame's tokens do not wait, at least one, if a share of them does."""
    return tokens - min(tokens - 1, round(share * tokens))


class TrainConfig(Section):
    """The training run. A step is one optimizer update, whatever the number of devices."""

    steps: int = Field(1_000_000, ge=1, description="optimizer steps")
    batch_size: int = Field(32, ge=1, description="clips per step, over all devices")
    accumulate: int = Field(
        1, ge=1, description="micro-batches per step on each device, to save memory"
    )
    init: str | None = Field(
        None,
        description="weights to initialize from, any supported format, or `embedded/shapes-fast` "
        "that ship",
    )
    position_warmup: int = Field(
        0,
        ge=0,
        description="steps over which positions of frames grow to full size, for a text-to-video "
        "network that begins as an image model",
    )
    trainable: tuple[str, ...] = Field(
        (),
        description="what is trained: patterns over names of parameters, as blocks.1.*, or "
        "`temporal` for the blocks over time; empty: everything",
    )
    lora: LoraConfig | None = Field(
        None, description="low-rank adapters, which alone are trained; null: none"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for the matrices of blocks, with adamw for the rest"
    )
    lr: float = Field(1e-4, gt=0, description="learning rate")
    adamw_lr: float | None = Field(
        None, gt=0, description="learning rate of adamw beside muon; null: the same"
    )
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="after warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    snr_floor: float = Field(0.0, ge=0, description="lower limit of the loss weight on x_start")
    min_snr_gamma: float | None = Field(
        None, gt=0, description="upper limit of the loss weight on x_start; null: none"
    )
    route: RouteConfig | None = Field(
        None, description="part of the tokens skips some blocks in training; null: none does"
    )
    condition_dropout: float = Field(
        0.1, ge=0, lt=1, description="probability of dropping a label or caption"
    )
    guidance_target: float | None = Field(
        None, gt=0, description="guidance to train in, so that sampling needs none; null: off"
    )
    guidance_target_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="range of timesteps with guidance_target: 0 is clean, 1 is noise"
    )
    guidance_target_from: Literal["ema", "model", "teacher"] = Field(
        "ema",
        description="whose predictions with and without labels guidance_target compares: this "
        "network's average, itself, or train.teacher",
    )
    teacher: str | None = Field(
        None,
        description="a trained network whose velocity is learned in place of the clip's own, as a "
        "path or `embedded/NAME`, for flow and flow-map; null: none",
    )
    teacher_guidance: float = Field(
        1.0, gt=0, description="guidance scale of the teacher's answers"
    )
    teacher_steps: int = Field(
        3,
        ge=1,
        description="steps that the teacher takes from one of diffusion.map_levels to the next; "
        "with levels only labels of the data are used, and the teacher leads from noise",
    )
    teacher_reuse: int = Field(
        1,
        ge=1,
        description="times that each batch is trained on with one answer of the teacher, of which "
        "64 are kept in memory; more make steps cheaper. With diffusion.map_levels an answer is a "
        "whole path, of which each time the next step is learned",
    )
    clip_grad_norm: float = Field(0.1, gt=0, description="largest gradient norm")
    clip_from_step: int = Field(100_000, ge=0, description="first step with gradient clipping")
    spike_factor: float = Field(
        10.0, gt=1, description="skip a step if its gradient norm exceeds the median times this"
    )
    max_bad_steps: int = Field(
        10, ge=1, description="skipped steps in a row after which the run rolls back, once"
    )
    ema: Literal["fixed", "power"] = Field(
        "fixed",
        description="average of weights: fixed decay, or power: two averages that grow with the "
        "run, of which `latte convert --ema` makes any other",
    )
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="decay of the average; ema fixed")
    ema_warmup: Literal["adaptive", "none"] = Field(
        "adaptive",
        description="adaptive: decay at most (1 + step) / (10 + step); none: as published",
    )
    precision: Literal["auto", "bf16", "float32"] = Field(
        "auto", description="matmul precision: float32, bf16 or auto"
    )
    checkpointing: Literal["none", "blocks"] = Field(
        "none", description="blocks: recompute blocks in the backward pass, to save memory"
    )
    shard: Literal["none", "fsdp"] = Field(
        "none", description="fsdp: shard weights, average and optimizer state across devices"
    )
    sequence_parallel: int = Field(
        1, ge=1, description="processes that share each clip, for clips that outgrow a device"
    )
    compile: Literal["auto", "none", "blocks"] = Field(
        "auto",
        description="blocks: torch.compile each block; auto: on a GPU that supports it, and on a "
        "CPU in runs that are long enough for it",
    )
    kernels: Literal["auto", "off"] = Field(
        "auto", description="auto: Triton's kernels on a GPU where they work; off: PyTorch's only"
    )
    seed: int = Field(
        0, ge=0, le=2**63 - 1, description="seed of initial weights, noise and the order of clips"
    )
    save_every: int = Field(10_000, ge=1, description="steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints to keep")
    keep_every: int | None = Field(
        None, ge=0, description="steps between checkpoints that are never deleted; null: none"
    )
    ema_every: int | None = Field(
        None,
        ge=0,
        description="steps between snapshots of the EMA weights only; null: none, or with ema "
        "power a 16th of the run",
    )
    log_every: int = Field(100, ge=1, description="steps between lines of metrics.jsonl")
    preview_every: int | None = Field(
        10_000, ge=0, description="steps between preview clips; null or 0: none"
    )
    preview_steps: int = Field(10, ge=1, description="denoising steps of preview clips")
    eval_every: int | None = Field(
        None, ge=0, description="steps between evaluations of the EMA weights; null: none"
    )
    validate_every: int | None = Field(
        1_000, ge=0, description="steps between validation losses; null or 0: none"
    )
    validate_clips: int = Field(64, ge=0, description="validation clips of the test split; 0: off")
    tracker: Literal["none", "tensorboard", "wandb", "trackio"] = Field(
        "none", description="also log metrics to one of these, on this machine"
    )

    @field_validator(
        "keep_every", "ema_every", "preview_every", "eval_every", "validate_every", mode="before"
    )
    @classmethod
    def _turn_off(cls, value: Any) -> Any:
        """0 means never, as null does, so that no field is 0."""
        return None if type(value) is int and value == 0 else value

    @field_validator("tracker", mode="before")
    @classmethod
    def _read_switch(cls, value: Any) -> Any:
        """What the old key `train.tensorboard` says: true or false."""
        return ("tensorboard" if value else "none") if isinstance(value, bool) else value

    @field_validator("kernels", mode="before")
    @classmethod
    def _read_off(cls, value: Any) -> Any:
        """YAML reads off as false."""
        return "off" if value is False else value

    @property
    def snapshot_every(self) -> int | None:
        """Steps between snapshots of the averaged weights; None for none."""
        if self.ema_every is None and self.ema == "power":
            return -(-self.steps // 16)
        return self.ema_every

    @property
    def snapshot_count(self) -> int:
        """Snapshots of the whole run; with power-function averages the last step has one."""
        span = self.snapshot_every
        if span is None:
            return 0
        return -(-self.steps // span) if self.ema == "power" else self.steps // span

    @field_validator("trainable", mode="before")
    @classmethod
    def _split_patterns(cls, value: Any) -> Any:
        """`temporal,proj_out.*` as two patterns."""
        return split_words(value)

    @model_validator(mode="after")
    def _check_consistency(self) -> "TrainConfig":
        if self.ema == "power" and self.ema_warmup == "none":
            raise Mismatch(
                "train.ema_warmup is none, which is for train.ema fixed, not power",
                "-o train.ema=fixed, or -o train.ema_warmup=adaptive",
            )
        if self.lora is not None:
            self._check_lora()
        self._check_teacher()
        check_interval("train.guidance_target_interval", self.guidance_target_interval)
        if self.guidance_target is not None and not self.condition_dropout:
            raise Mismatch(
                "train.guidance_target compares predictions with and without a label, and with "
                "train.condition_dropout 0 the network never learns those without",
                "-o train.condition_dropout=0.1, or -o train.guidance_target=null",
            )
        return self

    def _check_teacher(self) -> None:
        """Check that a teacher and guidance that is trained in go together."""
        if self.teacher is None and self.teacher_reuse > 1:
            raise Mismatch(
                f"train.teacher_reuse is {self.teacher_reuse}, but train.teacher is not set",
                "-o train.teacher=RUN, or -o train.teacher_reuse=1",
            )
        is_from_teacher = self.guidance_target_from == "teacher"
        if self.teacher_guidance != 1 and (self.teacher is None or is_from_teacher):
            adds = "train.guidance_target says what is added"
            raise Mismatch(
                f"train.teacher_guidance is {self.teacher_guidance:g}, but "
                f"{adds if is_from_teacher else 'train.teacher is not set'}",
                "-o train.teacher_guidance=1",
            )
        if self.teacher is not None and self.guidance_target is not None and not is_from_teacher:
            raise Mismatch(
                "train.teacher and train.guidance_target both say what is learned",
                "-o train.guidance_target=null: -o train.teacher_guidance=2 guides the teacher; or "
                "-o train.guidance_target_from=teacher",
            )
        if is_from_teacher and (self.teacher is None or self.guidance_target is None):
            missing = "train.teacher" if self.teacher is None else "train.guidance_target"
            raise Mismatch(
                f"train.guidance_target_from is teacher, but {missing} is not set",
                f"set {missing}, or -o train.guidance_target_from=ema",
            )

    def _check_lora(self) -> None:
        """Check what adapters do not go together with."""
        if self.trainable:
            raise Mismatch(
                "train.trainable is set, but train.lora trains adapters alone",
                "-o train.trainable=[], or -o train.lora=null",
            )
        if self.optimizer == "muon":
            raise Mismatch(
                "train.optimizer is muon, but train.lora needs adamw", "-o train.optimizer=adamw"
            )
        if self.init is None:
            raise Mismatch(
                "train.lora changes a trained network, but train.init names none",
                "-o train.init=WEIGHTS",
            )

    def drawn_batch(self, number: int) -> int:
        """Which batch of the data a step takes.

        Rounds of some batches are each trained on `teacher_reuse` times, one round after another.

        Args:
            number: of the step, from 0, those that were rolled back included.
        """
        taken, place = divmod(number, TEACHER_ROUND * self.teacher_reuse)
        return taken * TEACHER_ROUND + place % TEACHER_ROUND

    def next_unseen_batch(self, number: int) -> int:
        """The first step from one on that takes a batch which no step before that one took."""
        round_steps = TEACHER_ROUND * self.teacher_reuse
        return number if self.teacher_reuse == 1 else -(-number // round_steps) * round_steps

    def drawn_before(self, number: int) -> int:
        """How often the batch of a step was drawn before; `number` as `drawn_batch` has it."""
        return number // TEACHER_ROUND % self.teacher_reuse

    def micro_batch_size(self, processes: int) -> int:
        """Clips of a micro-batch.

        Args:
            processes: that share a batch.

        Raises:
            ConfigError: if they cannot share clips by `sequence_parallel`, or the batch does not
                divide among them and their micro-batches.
        """
        if processes % self.sequence_parallel:
            raise ConfigError(
                f"train.sequence_parallel is {self.sequence_parallel}, of which {processes} "
                f"{'process is' if processes == 1 else 'processes are'} no multiple",
                hint=f"torchrun --nproc_per_node {self.sequence_parallel} -m latte_cli train …, or "
                "-o train.sequence_parallel=1",
            )
        processes //= self.sequence_parallel
        parts = processes * self.accumulate
        if self.batch_size % parts:
            nearest = max(1, round(self.batch_size / parts)) * parts
            raise ConfigError(
                f"train.batch_size {self.batch_size} does not divide among {processes} processes "
                f"with train.accumulate {self.accumulate} each",
                hint=f"-o train.batch_size={nearest} does; it is the batch of all processes "
                "together",
            )
        return self.batch_size // parts
