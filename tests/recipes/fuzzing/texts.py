"""Damaged presets and tables of captions."""

import copy
import json
import shutil
from pathlib import Path

import yaml

from fuzzing.cases import Case, check_nothing_half_written, run
from fuzzing.damage import ODD_VALUES, damage_json_lines, damage_text, damage_value

_PRESETS = ("shapes", "ucf101", "folder", "faceforensics", "t2v")
_BOMB = "a: &a [1, 1]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TABLES = ("captions.csv", "captions.tsv", "captions.jsonl")
_CAPTIONS = (
    ("a.mp4", "a red square moves up", "0", "train"),
    ("b.mp4", 'a "big" circle, slowly', "1", "train"),
    ("ü/c.mp4", "ein Dreieck fällt", "0", "test"),
    ("d.mp4", "two\nlines", "1", "train"),
)


def make(base: Path) -> None:
    """Write whole presets, and tables of captions beside their videos."""
    import csv

    from latte_cli.config.preset_files import preset_folder
    from latte_cli.sources.shapes import render_clip
    from latte_cli.video_io import write_video

    (base / "presets").mkdir(exist_ok=True)
    for name in _PRESETS:
        path = preset_folder() / f"{name}.yaml"
        if path.is_file():
            shutil.copyfile(path, base / "presets" / path.name)
    folder = base / "tables"
    rows = [
        dict(zip(("video", "caption", "label", "split"), row, strict=True)) for row in _CAPTIONS
    ]
    for number, row in enumerate(rows):
        path = folder / row["video"]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, render_clip(number, num_frames=3, size=32), 8)
    for name, mark in (("captions.csv", ","), ("captions.tsv", "\t")):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=mark)
            table.writeheader()
            table.writerows(rows)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")


def damaged_preset(case: Case) -> str:
    """A preset, shown or trained with; if it is valid, the data set is missing."""
    chance = case.chance
    whole = chance.choice(sorted((case.base / "presets").iterdir()))
    text = whole.read_text(encoding="utf-8")
    path = case.folder / f"p{chance.choice(('.yaml', '.yml'))}"
    kind = chance.random()
    if kind < 0.5:
        tree = yaml.safe_load(text)
        what = damage_value(tree, chance)
        if chance.random() < 0.3:
            what += ", " + damage_value(tree, chance)
        content = yaml.safe_dump(copy.deepcopy(tree), allow_unicode=True).encode(errors="replace")
    elif kind < 0.52:
        what, content = "aliases of aliases", (_BOMB + text).encode()
    else:
        what, content = damage_text(text, chance)
    path.write_bytes(content)
    words = {
        "presets": ["presets", path],
        "train": ["train", "--preset", path],
        "sample": ["sample", "--preset", path, "--out", case.folder / "o"],
        "encode": ["encode-latents", "--preset", path],
    }
    command = chance.choice(list(words))
    more = []
    if chance.random() < 0.2:
        more = ["-o", _override(case)]
        what += f", {more[1][:40]}"
    case.what = f"{whole.stem}, {command}: {what}"
    ended = run(*words[command], *more)
    check_nothing_half_written(case.folder)
    return "refused" if ended.code else "another"


def _override(case: Case) -> str:
    from latte_cli.config.keys import known_keys

    value = case.chance.choice(ODD_VALUES)
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{case.chance.choice(known_keys())}={text}".encode(errors="replace").decode()


def damaged_table(case: Case) -> str:
    """A table of captions; an accepted video must be one of those beside it."""
    folder = case.copy("tables")
    name = case.chance.choice(TABLES)
    for other in TABLES:
        if other != name:
            (folder / other).unlink()
    text = (folder / name).read_text(encoding="utf-8")
    damage = damage_json_lines if name.endswith("jsonl") else damage_text
    what, content = damage(text, case.chance)
    if case.chance.random() < 0.2:
        what, content = (
            f"{what}, twice",
            damage_text(content.decode(errors="replace"), case.chance)[1],
        )
    (folder / name).write_bytes(content)
    case.what = f"{name}: {what}"
    source = folder if case.chance.random() < 0.3 else folder / name
    out = case.folder / "out"
    ended = run("prepare", "captions", "--source", source, "--out", out, "--workers", 1)
    check_nothing_half_written(out)
    return "refused" if ended.code else "another"
