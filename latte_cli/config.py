"""The configuration: one frozen tree of the paper's defaults under presets and overrides."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latte_cli.errors import ConfigError

EMBEDDED = "embedded"
"""The path that stands for what ships inside the package: no network needed."""

Size = Literal["S", "B", "L", "XL"]


class Section(BaseModel):
    """A part of the tree: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class DataConfig(Section):
    """Which videos, and how clips are cut from them."""

    root: str | None = Field(None, description="prepared data set; default: DATA_ROOT/<name>")
    latents: str | None = Field(None, description="encoded latents; default: by data and VAE")
    size: int = Field(256, ge=8, description="side of the square frames, pixels")
    frames: int = Field(16, ge=1, description="frames in a clip")
    interval: int = Field(3, ge=1, description="source frames from one clip frame to the next")
    flip: bool = Field(True, description="also learn from horizontally mirrored videos")
    split: Literal["train", "test", "all"] = Field("train", description="videos to learn from")
    num_images: Literal[0] = Field(0, description="joint training images (0: video only)")

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
    depth: int | None = Field(None, ge=2)
    heads: int | None = Field(None, ge=1)
    patch: int = Field(2, ge=1, description="side of a token's patch, in latents")
    variant: Literal[1] = Field(1, description="order of spatial and temporal attention")
    condition: Literal["none", "class"] = Field("none", description="what the network is told")
    num_classes: int | None = Field(None, ge=1, description="labels that a class model knows")

    @model_validator(mode="after")
    def _is_whole(self) -> "ModelConfig":
        explicit = (self.width, self.depth, self.heads)
        if self.size is None and None in explicit:
            raise ValueError("model.size is null, so width, depth and heads must all be given")
        if self.size is not None and any(value is not None for value in explicit):
            raise ValueError("give model.size or width, depth and heads, not both (size: null)")
        if self.condition == "class" and self.num_classes is None:
            raise ValueError("model.condition is class, so model.num_classes must be given")
        if self.condition == "none" and self.num_classes is not None:
            raise ValueError("model.num_classes is given, so model.condition must be class")
        return self


class DiffusionConfig(Section):
    """The noise schedule (DDPM, linear)."""

    num_timesteps: int = Field(1000, ge=2)
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)


class TrainConfig(Section):
    """The training run."""

    steps: int = Field(1_000_000, ge=1, description="optimizer steps")
    batch_size: int = Field(40, ge=1, description="clips a step, over all devices")
    lr: float = Field(1e-4, gt=0, description="learning rate of AdamW")
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    weight_decay: float = Field(0.0, ge=0)
    snr_floor: float = Field(0.0, ge=0, description="least weight of an error of x_start")
    snr_ceiling: float | None = Field(None, gt=0, description="largest weight of it; null: none")
    class_dropout: float = Field(0.1, ge=0, lt=1, description="share of labels dropped")
    clip_grad_norm: float = Field(0.1, gt=0, description="largest gradient norm")
    clip_from_step: int = Field(100_000, ge=0, description="step from which gradients are clipped")
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    precision: Literal["auto", "bf16", "float32"] = Field("auto", description="of the products")
    seed: int = Field(0, ge=0)
    save_every: int = Field(10_000, ge=1, description="steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept")
    log_every: int = Field(100, ge=1, description="steps between lines of metrics.jsonl")
    preview_every: int = Field(10_000, ge=1, description="steps between preview clips")


class SampleConfig(Section):
    """Drawing clips from a trained network."""

    steps: int = Field(250, ge=1, description="denoising steps")
    sampler: Literal["ddpm", "ddim"] = Field("ddpm")
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance scale; 1 is off")
    seed: int = Field(0, ge=0)
    batch: int = Field(8, ge=1, description="clips at a time; changes speed, not clips")
    precision: Literal["auto", "bf16", "float32"] = Field(
        "float32", description="of the products; float32, bf16 or auto"
    )
    fps: float = Field(8.0, gt=0, description="frames a second of the written videos")


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

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        step = self.vae.downsample * self.model.patch
        if self.data.size % step:
            raise ValueError(
                f"data.size {self.data.size} must be a multiple of {step} "
                f"(vae.downsample {self.vae.downsample} x model.patch {self.model.patch})"
            )
        if self.sample.steps > self.diffusion.num_timesteps:
            raise ValueError(
                f"sample.steps {self.sample.steps} is more than the "
                f"{self.diffusion.num_timesteps} of diffusion.num_timesteps"
            )
        if self.diffusion.beta_start > self.diffusion.beta_end:
            raise ValueError("diffusion.beta_start is larger than diffusion.beta_end")
        return self

    @property
    def latent_size(self) -> int:
        """Side of a frame's latents."""
        return self.data.size // self.vae.downsample

    def to_yaml(self) -> str:
        """The whole tree as YAML, in the schema's order."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class Locations:
    """Where data sets, latents and runs lie: `--data-root`, `--runs-root` and the environment."""

    data_root: Path = Path("data")
    latents_root: Path = Path("latents")
    runs_root: Path = Path("runs")

    def data(self, config: Config) -> Path:
        """The prepared data set's folder."""
        return Path(config.data.root) if config.data.root else self.data_root / config.name

    def latents(self, config: Config) -> Path:
        """The folder of latents for this data set, size and autoencoder."""
        if config.data.latents:
            return Path(config.data.latents)
        vae = Path(config.vae.path).name or "vae"
        return self.latents_root / f"{self.data(config).name}-{config.data.size}-{vae}"

    def run(self, config: Config, name: str | None = None) -> Path:
        """A run's folder; the preset's name unless another is given."""
        return self.runs_root / (name or config.name)


@dataclass(frozen=True)
class Source:
    """A dotted key, its value, and where that value comes from."""

    key: str
    value: object
    origin: Literal["default", "preset", "override"]


def preset_folder() -> Path:
    """Where presets lie: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "presets"
    return packaged if packaged.is_dir() else here.parent / "presets"


def asset(name: str) -> Path:
    """A folder of weights that ships inside the package; it need not exist."""
    return Path(__file__).resolve().parent / "assets" / name


def preset_names() -> list[str]:
    """All presets, sorted; those in sub-folders as `folder/name`."""
    root = preset_folder()
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml"))


def load_config(
    preset: str | None = None,
    overrides: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Resolve a preset and `key=value` overrides into a configuration.

    Args:
        preset: a preset's name or the path of a YAML file; None for the schema's defaults.
        overrides: `section.key=value`, values read as YAML.
        flags: values by dotted key, laid over all; None stands for a flag that was not given.

    Returns:
        The validated tree.

    Raises:
        ConfigError: on an unknown preset or key (naming the nearest), or a value that does not fit.
    """
    return overlay(_read_preset(preset) if preset else {}, overrides, flags)


def overlay(
    tree: dict[str, Any], overrides: Iterable[str] = (), flags: Mapping[str, Any] | None = None
) -> Config:
    """Lay overrides and flags over a nested mapping, and validate it; see `load_config`."""
    for override in overrides:
        _put(tree, *_parse(override))
    for key, value in (flags or {}).items():
        if value is not None:
            _put(tree, key, str(value) if isinstance(value, Path) else value)
    return config_from_tree(tree)


def config_from_tree(tree: Mapping[str, Any], origin: str = "") -> Config:
    """Validate a nested mapping, telling the first thing that is wrong in words."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise _in_words(error, origin) from error


def config_sources(preset: str | None, overrides: Iterable[str] = ()) -> list[Source]:
    """Every value of the resolved tree with where it comes from, in the schema's order."""
    from_preset = flatten(_read_preset(preset)) if preset else {}
    overridden = dict(_parse(override) for override in overrides)

    def origin(key: str) -> Literal["default", "preset", "override"]:
        return "override" if key in overridden else "preset" if key in from_preset else "default"

    resolved = flatten(load_config(preset, overrides).model_dump())
    return [Source(key, value, origin(key)) for key, value in resolved.items()]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _read_preset(preset: str) -> dict[str, Any]:
    path = Path(preset)
    if path.suffix not in (".yaml", ".yml"):
        path = preset_folder() / f"{preset}.yaml"
    if not path.is_file():
        known = preset_names()
        near = difflib.get_close_matches(preset, known, n=1)
        guess = f"did you mean `{near[0]}`? " if near else ""
        raise ConfigError(f"no preset named `{preset}`", hint=f"{guess}presets: {', '.join(known)}")
    return read_tree(path)


def read_tree(path: Path) -> dict[str, Any]:
    """A YAML file as a nested mapping."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise ConfigError(
            f"{path}{line}: this is not YAML", hint="check its indentation"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected `section:` lines", hint="see `latte presets shapes`")
    return tree


def _parse(override: str) -> tuple[str, Any]:
    """`section.key=value` as a key and the value that YAML reads."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"`{override}` is not key=value", hint="write for example train.lr=2e-4")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`{override}`: the value is not YAML", hint="quote it") from error


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key in a nested mapping."""
    if key not in _known_keys():
        raise _unknown_key(key)
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[last] = value


def _known_keys() -> list[str]:
    return list(flatten(Config().model_dump()))


def _unknown_key(key: str) -> ConfigError:
    known = _known_keys()
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    section = key.split(".")[0] + "."
    siblings = [name for name in known if name.startswith(section)] or sorted(Config.model_fields)
    guess = f"did you mean `{near[0]}`? " if near else ""
    return ConfigError(f"unknown key `{key}`", hint=f"{guess}known: {', '.join(siblings)}")


def _in_words(error: ValidationError, origin: str) -> ConfigError:
    """The first problem pydantic found, as a message with the key, the value and a way on."""
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"] if part in _path_parts())
    where = f"{origin}: " if origin else ""
    if problem["type"] == "extra_forbidden":
        unknown = _unknown_key(".".join(str(part) for part in problem["loc"]))
        return ConfigError(where + str(unknown), hint=unknown.hint)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return ConfigError(where + message, hint="`latte presets NAME` shows every value")
    message = message[0].lower() + message[1:]
    hint = (
        f"this key: {_describe(key)}"
        if _describe(key)
        else "`latte presets NAME` shows every value"
    )
    return ConfigError(f"{where}`{key}` is {problem['input']!r}: {message}", hint=hint)


def _path_parts() -> set[str]:
    return {part for key in _known_keys() for part in key.split(".")} | set(Config.model_fields)


def _describe(key: str) -> str:
    """The schema's one line about a key, or nothing."""
    fields: Mapping[str, Any] = Config.model_fields
    text = ""
    for part in key.split("."):
        field = fields.get(part)
        if field is None:
            return ""
        text = field.description or ""
        annotation = field.annotation
        if isinstance(annotation, UnionType):
            annotation = get_args(annotation)[0]
        fields = getattr(annotation, "model_fields", {})
    return text
