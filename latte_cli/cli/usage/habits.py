"""Where habits of other programs lead: options, words and commands that have another name here."""

import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path

_COMMANDS = {
    "encode": "encode-latents",
    "encode_latents": "encode-latents",
    "latents": "encode-latents",
    "preprocess": "prepare",
    "download": "prepare",
    "finetune": "train",
    "fit": "train",
    "plan": "train --plan",
    "resume": "train",
    "generate": "sample",
    "infer": "sample",
    "inference": "sample",
    "text2video": "t2v",
    "txt2vid": "t2v",
    "evaluate": "eval",
    "test": "eval",
    "fvd": "eval --metrics fvd",
    "compare": "eval",
    "config": "presets",
    "configs": "presets",
    "preset": "presets",
    "export": "convert",
    "help": "--help",
    "version": "--version",
}
"""Commands under other names."""

_OPTIONS = {
    "cfg": "--guidance",
    "cfg-scale": "--guidance",
    "guidance-scale": "--guidance",
    "num-inference-steps": "--steps",
    "num-sampling-steps": "--steps",
    "num-steps": "--steps",
    "max-steps": "--steps",
    "epochs": "--steps",
    "max-train-steps": "--steps",
    "total-steps": "--steps",
    "iterations": "--steps",
    "num-samples": "-n",
    "num-videos": "-n",
    "count": "-n",
    "ckpt": "--checkpoint",
    "ckpt-path": "--checkpoint",
    "checkpoint-path": "--checkpoint",
    "weights": "--checkpoint",
    "model-path": "--model",
    "model-id": "--model",
    "pretrained-model-name-or-path": "--model",
    "negative-prompt": "--negative",
    "config": "--preset",
    "resume-from-checkpoint": "--resume",
    "resume-from": "--resume",
    "init-from": "--init",
    "finetune": "--init",
    "pretrained": "--init",
    "output": "--out",
    "output-dir": "--out",
    "outdir": "--out",
    "output-path": "--out",
    "save-dir": "--out",
    "name": "--run",
    "run-name": "--run",
    "exp-name": "--run",
    "experiment": "--run",
    "results-dir": "--runs-root",
    "data-path": "--data",
    "data-dir": "--data",
    "dataset": "--data",
    "input": "--source",
    "src": "--source",
    "input-dir": "--source",
    "num-workers": "--workers",
    "batch-size": "--batch",
    "class": "--label",
    "class-label": "--label",
    "prompt-file": "--prompts",
    "generated": "--fake",
    "reference": "--real",
    "force": "--overwrite",
    "image-size": "--size",
    "resolution": "--size",
    "num-frames": "--frames",
    "scheduler": "--sampler",
    "dtype": "--precision",
}
"""Options under other names; the first that the command has is meant."""

_SECTIONS = {"sample": "sample", "calibrate": "sample", "similarity": "sample", "eval": "eval"}
_PRESET_FILES = (".yaml", ".yml")


def suggest_command(name: str, known: Collection[str]) -> str:
    """What a command that does not exist may stand for; empty if nothing is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    meant = _COMMANDS.get(name.lower(), near[0] if near else "")
    return f"latte {meant}" if meant else ""


def suggest_option(option: str, value: str, command: str, options: Collection[str]) -> str:
    """What an option that a command lacks may stand for; empty if nothing is like it.

    Args:
        option: as it was typed, such as `--lr`.
        value: that was typed after it; empty if there was none.
        command: that lacks it.
        options: that the command has.
    """
    name = option.lstrip("-").replace("_", "-").lower()
    for meant in (f"--{name}", _OPTIONS.get(name, "")):
        if meant in options:
            return f"{meant} {value}".rstrip()
    if "-o" in options and (key := find_key(name, command)):
        return f"-o {key}={value or 'VALUE'}"
    near = difflib.get_close_matches(f"--{name}", [o for o in options if o.startswith("--")], n=1)
    return f"{near[0]} {value}".rstrip() if near else ""


def find_key(name: str, command: str) -> str:
    """The dotted key of a preset that a name may stand for; empty if there is none.

    Args:
        name: of an option without hyphens in front, such as `lr` or `train.lr`.
        command: whose section comes first where several have such a key.
    """
    from latte_cli.config import known_keys
    from latte_cli.config.other_names import likely_keys

    keys = likely_keys(name, known_keys())
    section = f"{_SECTIONS.get(command, 'train')}."
    return next((key for key in keys if key.startswith(section)), keys[0] if keys else "")


def suggest_instead_of(words: Sequence[str], command: str, options: Collection[str]) -> str:
    """What words may stand for that a command takes no more of; empty if nothing is like them."""
    from latte_cli.config import preset_names

    word = words[0]
    if "-o" in options and (found := re.match(r"([\w.-]+)=(.*)", word)):
        return f"-o {find_key(found[1], command) or found[1]}={found[2]}"
    if "--preset" in options and (word in preset_names() or word.endswith(_PRESET_FILES)):
        return f"--preset {word}"
    if "--checkpoint" in options and Path(word).exists():
        return f"--checkpoint {word}"
    if "--preset" in options and (near := difflib.get_close_matches(word, preset_names(), n=1)):
        return f"--preset {near[0]}"
    return ""
