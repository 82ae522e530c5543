"""Damaged files of weights, and of clips: what is read must be what was written, or is refused.

Archives of torch.save and npz have a checksum of each member. A safetensors file, a pickle of the
old format and an npy file have none: damage of their numbers is unseen unless these are not finite.
"""

import json
from pathlib import Path

from fuzzing.cases import Case, Find, check_nothing_half_written, run
from fuzzing.damage import damage_bytes, damage_json_lines

_HEADS = ("--heads", "2")
_TEXT = "sharded"
WEIGHTS = ("ema.pt", "old.pt", "plain.safetensors", "half.bin", _TEXT)
CLIPS = ("clips.npz", "packed.npz", "clips.npy")
_SMALL = ("data.size=32", "data.frames=4", "eval.metrics=fd-random")


def make(base: Path) -> None:
    """Write a tiny network in several formats, and clips in several."""
    import numpy as np
    import torch
    from diffusers import LatteTransformer3DModel
    from safetensors.torch import save_file

    from latte_cli.config import load_config
    from latte_cli.models import build_model
    from latte_cli.sources.shapes import render_clip

    folder = base / "weights"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    design = ["model.width=32", "model.depth=2", "model.heads=2", "data.size=32", "data.frames=4"]
    state = build_model(load_config("shapes", design)).state_dict()
    state = {name: value.clone().contiguous() for name, value in state.items()}
    torch.save({"ema": state, "model": state, "args": {"lr": 1e-4}}, folder / "ema.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({name: value.half() for name, value in state.items()}, folder / "half.bin")
    save_file(state, folder / "plain.safetensors")
    text = LatteTransformer3DModel(
        **{"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8},
        **{"num_layers": 2, "sample_size": 8, "patch_size": 2, "caption_channels": 24},
        **{"cross_attention_dim": 16, "attention_bias": True, "norm_type": "ada_norm_single"},
        **{"norm_elementwise_affine": False, "activation_fn": "gelu-approximate"},
        video_length=4,
    )
    text.save_pretrained(folder / _TEXT, max_shard_size="30KB")
    clips = np.stack([render_clip(n, num_frames=6, size=32) for n in range(4)])
    np.savez(folder / "clips.npz", clips=clips, labels=np.arange(4))
    np.savez_compressed(folder / "packed.npz", clips=clips, labels=np.arange(4))
    np.save(folder / "clips.npy", clips)


def damaged_weights(case: Case) -> str:
    """One file of weights, damaged and converted."""
    name = case.chance.choice(WEIGHTS)
    path = case.copy(f"weights/{name}")
    damaged = path
    if path.is_dir():
        damaged = case.chance.choice(sorted(path.iterdir()))
    if damaged.suffix == ".json":
        what, content = damage_json_lines(damaged.read_text(), case.chance)
    else:
        what, content = damage_bytes(damaged.read_bytes(), case.chance)
    damaged.write_bytes(content)
    case.what = f"{name}, {damaged.name}: {what}" if path.is_dir() else f"{name}: {what}"
    out = case.folder / "out.safetensors"
    ended = run("convert", path, out, *(() if path.is_dir() else _HEADS))
    check_nothing_half_written(case.folder)
    if ended.code:
        if out.exists():
            raise Find("refused, and yet written")
        return "refused"
    if _same_tensors(out, _whole(case, name)):
        return "harmless"
    if name in ("ema.pt", "half.bin"):
        raise Find(f"silent: other numbers than the checksums in {name} say")
    return "another" if damaged.suffix == ".json" else "unseen"


def _whole(case: Case, name: str) -> Path:
    """What the whole file converts to; made once."""
    out = case.base / "weights" / f"whole-{name}.safetensors"
    if not out.exists():
        source = case.base / "weights" / name
        ended = run("convert", source, out, *(() if source.is_dir() else _HEADS))
        if ended.code:
            raise Find(f"the whole file is refused: {ended.text}")
    return out


def _same_tensors(path: Path, other: Path) -> bool:
    from safetensors.torch import load_file

    one, two = load_file(path), load_file(other)
    # Bytes, so that damage of a sign of zero counts, too.
    return one.keys() == two.keys() and all(
        one[key].numpy().tobytes() == two[key].numpy().tobytes() for key in one
    )


def damaged_clips(case: Case) -> str:
    """One array of clips, damaged and measured; its distance is that of the whole array."""
    name = case.chance.choice(CLIPS)
    path = case.copy(f"weights/{name}")
    what, content = damage_bytes(path.read_bytes(), case.chance)
    path.write_bytes(content)
    case.what = f"{name}: {what}"
    value = _distance(case, path)
    if value is None:
        return "refused"
    whole = case.base / "weights" / f"whole-{name}.json"
    if not whole.exists():
        whole.write_text(json.dumps(_distance(case, case.base / "weights" / name)))
    if value == json.loads(whole.read_text()):
        return "harmless"
    if name.endswith(".npz"):
        raise Find(f"silent: other clips than the checksums in {name} say")
    return "unseen"


def _distance(case: Case, fake: Path) -> object:
    """What `latte eval` measures against the world's videos; None if it refuses."""
    out = case.folder / f"{fake.name}.json"
    roots = ("--features-root", case.folder / "features")
    ended = run(*_measure(case.base, fake), "--out", out, *roots)
    check_nothing_half_written(case.folder)
    if ended.code:
        return None
    return json.loads(out.read_text())["metrics"]


def make_result(base: Path) -> None:
    """Write a file of results."""
    out = base / "result.json"
    if out.exists():
        return
    ended = run(*_measure(base, base / "weights" / "clips.npz"), "--out", out)
    if ended.code:
        raise Find(f"cannot make whole inputs: {ended.text}")


def damaged_result(case: Case) -> str:
    """A file of results, compared with the whole one, or measured into again."""
    path = case.copy("result.json")
    what, content = damage_json_lines(path.read_text(), case.chance)
    path.write_bytes(content)
    command = case.chance.choice(("compare", "compare", "measure"))
    case.what = f"result.json: {what}, {command}"
    if command == "compare":
        ended = run("eval", case.base / "result.json", path)
    else:
        ended = run(*_measure(case.base, case.base / "weights" / "clips.npz"), "--out", path)
    check_nothing_half_written(case.folder)
    return "refused" if ended.code else "another"


def _measure(base: Path, fake: Path) -> tuple[object, ...]:
    """The command that compares clips with the world's videos."""
    options = [word for value in _SMALL for word in ("-o", value)]
    words = ("--real", base / "world" / "data" / "shapes", "--fake", fake, "--clips", 4)
    return ("eval", "--preset", "shapes", *words, *options)
