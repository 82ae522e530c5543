"""Damaged pipelines from text to video, and files of prompts."""

from pathlib import Path

from fuzzing.cases import Case, Find, check_nothing_half_written, run
from fuzzing.damage import damage_bytes, damage_json_lines, damage_text

_PROMPTS = {
    "p.csv": "prompt,seed,negative,guidance\na red car,1,blue,4\ntwo dogs run,2,,\n",
    "p.jsonl": '{"prompt": "a red car", "seed": 1}\n{"prompt": "two dogs run", "guidance": 2.5}\n',
    "p.txt": "a red car\ntwo dogs run\n",
}
_SMALL = ("--steps", 1, "--frames", 1, "--size", 32)


def make(base: Path) -> None:
    """Write a tiny pipeline in diffusers' layout."""
    from commands.pipelines import write_pipeline

    if not (base / "pipeline").exists():
        write_pipeline(base / "pipeline")


def damaged_pipeline(case: Case) -> str:
    """One file of a pipeline, damaged; then a picture is generated."""
    model = case.copy("pipeline")
    paths = [path for path in model.rglob("*") if path.is_file() and "temporal" not in str(path)]
    path = case.chance.choice(sorted(paths))
    if path.suffix == ".json":
        what, content = damage_json_lines(path.read_text(), case.chance)
    else:
        what, content = damage_bytes(path.read_bytes(), case.chance)
    path.write_bytes(content)
    case.what = f"{path.relative_to(model)}: {what}"
    picture = _picture(case, model)
    if picture is None:
        return "refused"
    whole = case.base / "pipeline.png"
    if not whole.exists():
        made = _picture(case, case.base / "pipeline")
        if made is None:
            raise Find("the whole pipeline is refused")
        whole.write_bytes(made)
    if picture == whole.read_bytes():
        return "harmless"
    return "unseen" if path.suffix == ".safetensors" else "another"


def _picture(case: Case, model: Path) -> bytes | None:
    """What a pipeline generates; None if it is refused."""
    out = case.folder / f"{model.name}-{len(list(case.folder.iterdir()))}.png"
    ended = run("t2v", "a red car", "--model", model, "-o", out, *_SMALL)
    check_nothing_half_written(case.folder)
    if ended.code and out.exists():
        raise Find("refused, and yet written")
    return None if ended.code else out.read_bytes()


def damaged_prompts(case: Case) -> str:
    """A file of prompts; the pipeline is whole."""
    name = case.chance.choice(list(_PROMPTS))
    damage = damage_json_lines if name.endswith("jsonl") else damage_text
    what, content = damage(_PROMPTS[name], case.chance)
    case.what = f"{name}: {what}"
    path = case.folder / name
    path.write_bytes(content)
    words = ("--prompts", path, "--model", case.base / "pipeline", "-o", case.folder / "o", *_SMALL)
    ended = run("t2v", *words, "--format", "png")
    check_nothing_half_written(case.folder)
    return "refused" if ended.code else "another"
