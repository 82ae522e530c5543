"""Damaged files of our own: data sets, latents, checkpoints, runs, and folders of clips."""

import json
import os
import shutil
from pathlib import Path

from fuzzing.cases import Case, Ended, Find, check_nothing_half_written, run
from fuzzing.damage import damage_bytes, damage_json_lines, damage_text

_TINY = {
    **{"data.size": 32, "data.frames": 4, "model.width": 32, "model.depth": 2, "model.heads": 2},
    **{"train.batch_size": 4, "train.log_every": 1, "train.preview_every": "null"},
    **{
        "train.warmup_steps": 0,
        "train.save_every": 1,
        "train.lr_schedule": "constant",
        "sample.steps": 2,
    },
}
_OPTIONS = [word for key, value in _TINY.items() for word in ("-o", f"{key}={value}")]
_ENCODE = ("encode-latents", "--preset", "shapes", "--size", 32, "--workers", 1)


def _roots(world: Path) -> list[str]:
    return [f"--{name}-root={world / name}" for name in ("data", "latents", "runs")]


def make(base: Path) -> None:
    """Prepare, encode, train two steps and sample."""
    world = base / "world"
    if (world / "done").exists():
        return
    shutil.rmtree(world, ignore_errors=True)
    data, latents, _ = _roots(world)
    for words in (
        ("prepare", "shapes", "--count", 8, "--size", 32, "--workers", 1, data),
        (*_ENCODE, data, latents),
        ("train", "--preset", "shapes", *_OPTIONS, "--steps", 2, *_roots(world)),
    ):
        _succeed(run(*words))
    _succeed(_sample(world, world / "samples"))
    (world / "done").touch()


def _succeed(ended: Ended) -> None:
    if ended.code:
        raise Find(f"cannot make whole inputs: {ended.text}")


def _sample(world: Path, out: Path) -> Ended:
    """Sample a clip from the run; by a relative path, since clips hold the name of their run."""
    before = Path.cwd()
    os.chdir(world)
    try:
        checkpoint = Path("runs", "shapes", "checkpoints", "step-00000002")
        return run("sample", "--checkpoint", checkpoint, "-n", 1, "--steps", 2, "--out", out)
    finally:
        os.chdir(before)


def _damage(case: Case, path: Path) -> None:
    """Damage a file in place, by its kind."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        what, changed = damage_json_lines(content.decode(), case.chance)
    elif path.suffix == ".yaml":
        what, changed = damage_text(content.decode(), case.chance)
    else:
        what, changed = damage_bytes(content, case.chance)
    path.write_bytes(changed)
    case.what = f"{path.name}: {what}"


def damaged_manifest(case: Case) -> str:
    """A data set's own files; then it is prepared again, measured, encoded or trained on."""
    world = case.copy("world")
    data = world / "data" / "shapes"
    names = ("manifest.jsonl", "checked.jsonl", "meta.json", "manifest.jsonl", "rejected.jsonl")
    path = data / case.chance.choice(names)
    if path.name == "rejected.jsonl":
        path.write_text('{"path": "videos/x.mp4", "reason": "the file is empty"}\n')
    _damage(case, path)
    command = case.chance.choice(("prepare", "eval", "encode", "verify", "info", "train"))
    case.what += f", {command}"
    if command == "prepare":
        source = ("--source", data / "videos")
        before = (case.base / "world" / "data" / "shapes" / "manifest.jsonl").read_text()
        ended = run("prepare", "folder", *source, "--out", data, "--workers", 1)
        if ended.code == 0 and _without_labels(path.with_name("manifest.jsonl")) != (
            _without_labels_of(before)
        ):
            raise Find(f"prepared again after damage of {path.name}, the manifest differs")
        outcome = "mended"
    elif command == "eval":
        small = ("-o", "data.size=32", "-o", "data.frames=4", "-o", "eval.metrics=fd-random")
        words = ("--real", data, "--fake", data / "videos", *small, "--clips", 4)
        out = ("--out", case.folder / "e.json", "--features-root", case.folder / "features")
        ended, outcome = run("eval", "--preset", "shapes", *words, *out), "another"
    elif command == "train":
        words = (*_OPTIONS, "--steps", 3, *_roots(world))
        ended, outcome = run("train", "--preset", "shapes", *words), "another"
    else:
        flags = {"encode": (), "verify": ("--verify",), "info": ("--info",)}[command]
        ended = run(*_ENCODE, *_roots(world)[:2], *flags)
        outcome = "another"
    check_nothing_half_written(world)
    return "refused" if ended.code else outcome


def _without_labels(path: Path) -> list[dict]:
    return _without_labels_of(path.read_text())


def _without_labels_of(text: str) -> list[dict]:
    """The manifest's lines without what depends on the layout."""
    rows = [json.loads(line) for line in text.splitlines()]
    layout = ("label", "caption", "split")
    return [{key: row[key] for key in row if key not in layout} for row in rows]


def damaged_latents(case: Case) -> str:
    """A shard, the index or the metadata; `--verify` must notice every change of numbers."""
    world = case.copy("world")
    folder = next((world / "latents").iterdir())
    path = case.chance.choice(sorted(p for p in folder.iterdir() if p.is_file()))
    whole = path.read_bytes()
    _damage(case, path)
    command = case.chance.choice(("verify", "verify", "info", "train", "encode"))
    case.what += f", {command}"
    if command == "train":
        shutil.rmtree(world / "runs")
        ended = run("train", "--preset", "shapes", *_OPTIONS, "--steps", 2, *_roots(world))
    else:
        flags = {"verify": ("--verify",), "info": ("--info",), "encode": ()}[command]
        ended = run(*_ENCODE, *_roots(world)[:2], *flags)
    check_nothing_half_written(world)
    if ended.code:
        return "refused"
    if path.exists() and path.read_bytes() == whole:
        return "mended" if command == "encode" else "harmless"
    if path.suffix != ".safetensors" or not path.exists():
        return "unseen"
    # Only --verify reads all numbers. It must see the damage whatever the other commands say.
    if command == "verify" or run(*_ENCODE, *_roots(world)[:2], "--verify").code == 0:
        raise Find("silent: --verify accepts a shard whose bytes have changed")
    return "unverified"


def damaged_checkpoint(case: Case) -> str:
    """A file of a checkpoint or run; then it is sampled from, or resumed."""
    world = case.copy("world")
    run_folder = world / "runs" / "shapes"
    checkpoint = run_folder / "checkpoints" / "step-00000002"
    files = [p for p in checkpoint.rglob("*") if p.is_file()]
    files += [run_folder / "metrics.jsonl", run_folder / "config.yaml"]
    path = case.chance.choice(sorted(files))
    _damage(case, path)
    command = case.chance.choice(("sample", "resume"))
    case.what += f", {command}"
    if command == "sample":
        ended = _sample(world, case.folder / "s")
        check_nothing_half_written(case.folder)
        if ended.code:
            return "refused"
        clip, whole = _clip(case.folder / "s"), _clip(case.base / "world" / "samples")
        if clip != whole and path.name in ("ema.safetensors", "config.yaml"):
            raise Find(f"silent: sampled from a checkpoint whose {path.name} has changed")
        return "harmless" if clip == whole else "another"
    ended = run("train", "--preset", "shapes", *_OPTIONS, "--steps", 3, *_roots(world))
    check_nothing_half_written(world)
    if ended.code:
        return "refused"
    ema = (checkpoint.with_name("step-00000003") / "ema.safetensors").read_bytes()
    if ema == _resumed(case):
        return "mended" if "warning" in ended.text else "harmless"
    if path.name != "meta.json":  # which has the checksums
        raise Find(f"resumed otherwise after damage of {path.name}")
    return "another"


def _clip(folder: Path) -> bytes:
    return next(folder.glob("*.mp4")).read_bytes()


def _resumed(case: Case) -> bytes:
    """The weights after a third step from the whole checkpoint; made once."""
    kept = case.base / "resumed.safetensors"
    if not kept.exists():
        world = case.folder / "whole"
        shutil.copytree(case.base / "world", world)
        run("train", "--preset", "shapes", *_OPTIONS, "--steps", 3, *_roots(world))
        folder = world / "runs" / "shapes" / "checkpoints" / "step-00000003"
        shutil.copyfile(folder / "ema.safetensors", kept)
    return kept.read_bytes()


def damaged_samples(case: Case) -> str:
    """A folder of clips; the same command refuses it, or makes whole what was damaged."""
    world = case.copy("world")
    out = world / "samples"
    path = case.chance.choice(sorted(p for p in out.iterdir() if p.is_file()))
    _damage(case, path)
    ended = _sample(world, out)
    check_nothing_half_written(out)
    if ended.code:
        return "refused"
    if _clip(out) != _clip(case.base / "world" / "samples"):
        if path.name == "samples.jsonl":
            return "another"
        raise Find(f"silent: after damage of {path.name} the clip is another")
    return "mended"
