"""Writing a network's weights in published formats."""

import json
from pathlib import Path
from typing import Any

import torch

from latte_cli.config import Config, config_from_tree
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.reading import DIFFUSERS_CONFIG, DIFFUSERS_WEIGHTS
from latte_cli.models.shapes import LatteShape, TextShape, shape_from_config
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import atomic_file, atomic_folder, write_tensors, write_text


def write_published(model: Latte, path: Path) -> None:
    """Write {"ema": weights} under the published names, as the authors' code reads it.

    Raises:
        ConfigError: if the published code does not have this design.
    """
    _check_published(model.shape)
    with atomic_file(path) as part, part.open("wb") as file:
        try:
            torch.save({"ema": model.state_dict()}, file)
        except RuntimeError as error:  # raised by the archive writer after a failed write
            if isinstance(cause := error.__context__, OSError):
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise


def write_safetensors(model: Latte, path: Path) -> None:
    """Write the weights alone.

    Raises:
        ConfigError: if the design cannot be inferred from the weights.
    """
    _check_published(model.shape)
    write_tensors(path, model.state_dict())


def write_diffusers(model: LatteT2V, folder: Path) -> None:
    """Write a folder that diffusers' `LatteTransformer3DModel.from_pretrained` reads."""
    with atomic_folder(folder) as part:
        values = json.dumps(diffusers_config(model.shape), indent=2)
        write_text(part / DIFFUSERS_CONFIG, values + "\n")
        write_tensors(part / DIFFUSERS_WEIGHTS, model.state_dict(), {"format": "pt"})


def diffusers_config(shape: TextShape) -> dict[str, Any]:
    """The config.json of diffusers' `LatteTransformer3DModel` for a network."""
    return {
        "_class_name": "LatteTransformer3DModel",
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "attention_head_dim": shape.width // shape.heads,
        "caption_channels": shape.text_width,
        "cross_attention_dim": shape.width,
        "dropout": 0.0,
        "in_channels": shape.in_channels,
        "norm_elementwise_affine": False,
        "norm_eps": shape.norm_eps,
        "norm_type": "ada_norm_single",
        "num_attention_heads": shape.heads,
        "num_embeds_ada_norm": 1000,
        "num_layers": shape.depth // 2,
        "out_channels": 2 * shape.in_channels,
        "patch_size": shape.patch,
        "sample_size": shape.latent_size,
        "video_length": shape.num_frames,
    }


def config_for_shape(shape: LatteShape | TextShape, base: Config) -> Config:
    """A copy of a configuration with a network of the given shape.

    Raises:
        ConfigError: if a configuration cannot express the shape.
    """
    tree = base.model_dump()
    tree["data"] |= {
        "size": shape.latent_size * base.vae.downsample,
        "frames": shape.num_frames,
        "num_images": 0,
    }
    tree["vae"]["latent_channels"] = shape.in_channels
    tree["model"] = {"size": None, "joint": shape.joint} | {
        name: getattr(shape, name) for name in ("width", "depth", "heads", "patch")
    }
    if isinstance(shape, TextShape):
        tree["model"] |= {"condition": "text", "text_width": shape.text_width}
    else:
        tree["model"] |= {
            "condition": "none" if shape.num_classes is None else "class",
            "num_classes": shape.num_classes,
            "variant": shape.variant,
            "injection": shape.injection,
            "temporal_position": shape.temporal_position,
            "learn_sigma": shape.learn_sigma,
            "frame_queries": shape.frame_queries,
        }
        if shape.flow_map:
            tree["diffusion"]["objective"] = "flow-map"
        if shape.tube is not None:
            tree["model"] |= {"patch_embedding": "compression", "tube": shape.tube}
    config = config_from_tree(tree)
    expressed = shape_from_config(config)
    if expressed != shape:
        values = ", ".join(
            f"{name} {value}"
            for name, value in vars(shape).items()
            if getattr(expressed, name, None) != value
        )
        raise ConfigError(
            f"a configuration cannot express this network's {values}",
            hint="keep it in diffusers' format: --to diffusers",
        )
    return config


_PUBLISHED = {
    "variant": 1,
    "tube": None,
    "injection": "s-adaln",
    "temporal_position": "absolute",
}


def _check_published(shape: LatteShape) -> None:
    other = {k: getattr(shape, k) for k, v in _PUBLISHED.items() if getattr(shape, k) != v}
    if other:
        values = ", ".join(f"{key} {value}" for key, value in other.items())
        raise ConfigError(
            f"the published design has no {values}, which weights alone do not define",
            hint="convert to a checkpoint folder with a config.yaml: --to latte",
        )
