"""The commands that README and the guides show, in small, and walks over them in one folder.

Each command says what must have been made before it (`needs`), and what it makes. Whatever else ran
before, and however often: a command with all that it needs must end well, one without it must end
with a message and a hint that say what is missing. Nothing may end in a traceback.
"""

import json
import random
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.pipelines import write_pipeline
from PIL import Image

from latte_cli.config.locations import asset
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import write_video

_SMALL = {"data.size": 32, "data.frames": 4, "data.interval": 1, "data.num_images": 0}
_DATA = {**_SMALL, "vae.path": "embedded"}
_NETWORK = {
    **{"model.size": "null", "model.width": 32, "model.depth": 2, "model.heads": 2},
    **{"train.batch_size": 2, "train.steps": 2, "train.save_every": 1, "train.warmup_steps": 0},
    **{"train.log_every": 1, "train.preview_every": 0, "train.validate_every": 0},
}
_STEPS = {"sample.steps": 2}
_PROTOCOL = {"eval.protocol": "stylegan-v", "eval.resamples": 0, "sample.batch": 8}
_SHAPES = {**_STEPS, **_PROTOCOL, "eval.clips": 4, "eval.metrics": "fd-random"}
_MEASURE = {**_SMALL, **_SHAPES}
_TEXT = "--frames=2 --steps=2 --precision=float32"
_FLOW = {"diffusion.objective": "flow", "train.min_snr_gamma": "null"}
_MAP = {"diffusion.objective": "flow-map", "train.init": "runs/flow"}
_ROUTE = {"train.route.from": 0, "train.route.to": 1}
_CLASSES = ("Archery", "YoYo")


def _o(*settings: dict[str, object]) -> str:
    """Settings as `-o` options."""
    return " ".join(f"-o {key}={value}" for each in settings for key, value in each.items())


@dataclass(frozen=True)
class Command:
    """A command of README or of a guide.

    Attributes:
        shown: as it stands there.
        words: the same in small, without `latte`.
        needs: what must have been made before.
        makes: what there is afterwards; `once`: a second time is refused.
        spoils: what must be made again afterwards.
    """

    shown: str
    words: str
    needs: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()
    spoils: frozenset[str] = frozenset()


def _command(shown: str, words: str, needs: str = "", makes: str = "", spoils: str = "") -> Command:
    return Command(shown, words, *(frozenset(names.split()) for names in (needs, makes, spoils)))


def _preset(name: str, source: str, label: str) -> list[Command]:
    """Prepare, encode, train and sample."""
    prepared, encoded, trained = (f"{name}-{part}" for part in ("data", "latents", "run"))
    encode = f"encode-latents --preset {name}"
    return [
        _command(
            f"prepare {name} --source {source}",
            f"prepare {name} --source in/{name} --workers 1",
            "",
            prepared,
        ),
        _command(
            f"{encode}{' --preview 4' * (name == 'folder')}",
            f"{encode} --workers 1 {'--preview 2' * (name == 'folder')} {_o(_DATA)}",
            prepared,
            encoded,
        ),
        _command(
            f"train --preset {name}",
            f"train --preset {name} {_o(_DATA, _NETWORK)}",
            encoded,
            trained,
        ),
        _command(
            f"sample --preset {name} {label}",
            f"sample --preset {name} {label.replace('16', '2')} {_o(_STEPS)}",
            trained,
            f"{name}-samples",
        ),
    ]


README = [
    _command(
        "sample --preset shapes -n 4 --label 270deg --out up/",
        f"sample --preset shapes -n 2 --label 270deg --out up/ {_o(_STEPS)} --overwrite",
        "",
        "up",
    ),
    *_preset("folder", "~/clips", "-n 16"),
    *_preset("ucf101", "UCF101.rar", "--label Archery"),
    _command(
        "train --preset ucf101 --plan",
        f"train --preset ucf101 --plan {_o(_DATA, _NETWORK)}",
    ),
    _command(
        "train --preset folder --plan",
        f"train --preset folder --plan {_o(_DATA, _NETWORK)}",
    ),
    _command(
        "train --preset ucf101 -o train.eval_every=50000",
        f"train --preset ucf101 -o train.eval_every=2 {_o(_DATA, _NETWORK, _MEASURE)}",
        "ucf101-latents ucf101-data",
        "ucf101-run",
    ),
    _command(
        't2v "a raccoon playing guitar" -o out.mp4',
        f't2v "two dogs run" -o out.mp4 --model FOLDER {_TEXT}',
        "",
        "out",
    ),
    _command(
        "t2v --prompts prompts.csv -o clips/",
        f"t2v --prompts prompts.csv -o clips/ --model FOLDER {_TEXT}",
        "",
        "clips",
    ),
    _command(
        "calibrate --model FOLDER --speed 2x",
        'calibrate "two dogs run" --model FOLDER --speed 1.1x -n 1 --frames=2 --steps=4',
        "",
        "schedule",
    ),
    _command(
        't2v "a raccoon playing guitar" --model FOLDER --speed 2x',
        't2v "two dogs run" --model FOLDER --speed 1.1x --frames=2 --steps=4 -o fast.mp4',
        "schedule",
    ),
    _command(
        "t2v --vbench vbench_full_info.json -o videos/",
        f"t2v --vbench vbench_full_info.json -o videos/ --model FOLDER {_TEXT}",
        "",
        "videos",
    ),
    _command(
        "eval --vbench videos/ --vbench-prompts vbench_full_info.json",
        "eval --vbench videos/ --vbench-prompts vbench_full_info.json",
        "videos",
    ),
    _command("eval --vbench-results scores.json", "eval --vbench-results scores.json"),
    _command(
        "eval --preset ucf101 --fake samples/ucf101/step-400000 --metrics fvd,fid,is",
        f"eval --preset ucf101 --fake in/folder {_o(_MEASURE)} --out fake-a.json",
        "ucf101-data",
        "fake-a",
    ),
    _command(
        "eval --preset ucf101",
        f"eval --preset ucf101 {_o(_MEASURE)}",
        "ucf101-data ucf101-run",
    ),
    _command(
        "eval fake-a.json fake-b.json",
        "eval fake-a.json fake-b.json",
        "fake-a fake-b",
    ),
    _command(
        "eval --preset ucf101 --show-protocol",
        "eval --preset ucf101 --show-protocol",
    ),
    _command(
        "eval --curve ucf101",
        f"eval --curve ucf101 {_o(_MEASURE)}",
        "ucf101-run ucf101-data",
    ),
    _command(
        "prepare shapes",
        "prepare shapes --count 16 --workers 1",
        "",
        "shapes-data",
        "shapes-latents",
    ),
    _command(
        "eval --preset shapes --clips 64 --draws 3",
        f"eval --preset shapes --draws 2 {_o(_SHAPES)}",
        "shapes-data",
    ),
    _command(
        "eval --preset shapes --clips 64 --sweep steps=5,10 --sweep guidance=1,2",
        f"eval --preset shapes --sweep steps=2,3 --sweep guidance=1,2 {_o(_SHAPES)} --overwrite",
        "shapes-data",
    ),
    _command(
        "train --preset shapes --run flow -o diffusion.objective=flow -o train.min_snr_gamma=null",
        f"train --preset shapes --run flow {_o(_NETWORK, _FLOW)}",
        "shapes-latents",
        "flow-run",
    ),
    _command(
        "train --preset shapes --run map -o diffusion.objective=flow-map -o train.init=runs/flow",
        f"train --preset shapes --run map {_o(_NETWORK, _MAP)}",
        "shapes-latents flow-run",
        "map-run",
    ),
    _command(
        "sample --preset shapes --run map -n 16",
        "sample --preset shapes --run map -n 2",
        "map-run",
    ),
    _command(
        "sample --preset shapes -n 1 --long 24 --out long/",
        f"sample --preset shapes -n 1 --long 12 --out long/ {_o(_STEPS)} --overwrite",
    ),
    _command(
        "sample --preset shapes -n 1 --image first.png --out from-picture/",
        "sample --preset shapes -n 1 --image first.png --out from-picture/ "
        f"{_o(_STEPS)} --overwrite",
    ),
    _command(
        "sample --preset shapes -n 8 --out clips.npz",
        f"sample --preset shapes -n 2 --out clips.npz {_o(_STEPS)} --overwrite",
    ),
    _command(
        "sample --preset P --speed 2x",
        "sample --preset shapes --checkpoint embedded -n 1 --speed 2x --out fast/",
    ),
    _command(
        "train --preset shapes --run power -o train.ema=power",
        f"train --preset shapes --run power -o train.ema=power {_o(_NETWORK)}",
        "shapes-latents",
        "power-run",
    ),
    _command(
        "convert runs/power made --ema 0.075",
        "convert runs/power made --ema 0.075 --overwrite",
        "power-run",
    ),
    _command(
        "train --preset shapes --run routed -o train.route.share=0.5",
        f"train --preset shapes --run routed -o train.route.share=0.5 {_o(_NETWORK, _ROUTE)}",
        "shapes-latents",
        "routed-run",
    ),
    _command(
        "sample --checkpoint runs/routed --guidance 2 -o sample.guidance_routing=0.5",
        "sample --checkpoint runs/routed --guidance 2 -o sample.guidance_routing=0.5 "
        f"-n 1 {_o(_STEPS)}",
        "routed-run",
    ),
    _command(
        "convert runs/shapes made.pt --check",
        "convert runs/shapes made.pt --check --overwrite",
        "shapes-run",
    ),
    _command(
        "convert runs/shapes shared --push OWNER/NAME --license mit",
        "convert runs/shapes shared --push us/shapes --license mit --overwrite",
        "shapes-run",
    ),
    _command(
        "train --preset shapes --run longer --init runs/shapes -o data.frames=12",
        f"train --preset shapes --run longer --init runs/shapes -o data.frames=6 {_o(_NETWORK)}",
        "shapes-latents shapes-run",
    ),
    _command(
        "sample --preset ucf101 --checkpoint ucf101.pt",
        "sample --preset shapes-fast --checkpoint made.safetensors -n 1 --out of-file "
        f"{_o(_STEPS)} --overwrite",
        "made",
    ),
    _command("guide --out guides/", "guide --out guides/"),
    _command(
        "report flow map --out both.html",
        "report flow map --out both.html --overwrite",
        "flow-run map-run",
    ),
    _command(
        "report samples/shapes-fast/shipped samples/shapes-fast/shipped-2 --out both.html",
        "report in/folder in/other --out both.html --overwrite",
    ),
    _command(
        "similarity --preset P clips/",
        "similarity --preset shapes in/folder -n 1",
    ),
    *(
        _command(words, words)
        for words in ("presets", "presets folder", "presets folder --diff shapes")
    ),
    _command("presets --models", "presets --models"),
    _command(
        "init cats --data data/folder",
        f"init cats --data data/folder --overwrite {_o(_DATA, _NETWORK)}",
        "folder-data",
    ),
    _command("presets --schema > latte.schema.json", "presets --schema"),
    _command(
        "train --preset folder -o train.batch_size=32 -o train.lr=1e-3",
        f"train --preset folder --run tried -o train.lr=1e-3 {_o(_DATA, _NETWORK)}",
        "folder-latents",
        "tried-run",
    ),
    _command(
        "calibrate --preset P --speed 2x",
        "calibrate --preset shapes --speed 2x -n 1 --out schedules --steps 4 --frames 4",
    ),
    _command(
        "convert SRC DST", f"convert {asset('shapes-fast')} made.safetensors", "", "once made"
    ),
]
"""Those that need no other machine and take no minutes."""

ELSEWHERE = {
    "prepare ucf101 --source UCF-101/ --engine ray": "test_on_ray.py",
    "encode-latents --preset ucf101 --engine ray": "test_on_ray.py",
    "sample --preset ucf101 -n 2048 --engine ray": "test_on_ray.py",
    "prepare captions --source table.csv": "test_train_text.py",
    "prepare captions --source table.parquet --caption-column short": "test_caption_columns.py",
    "encode-latents --preset t2v-256": "test_train_text.py",
    "encode-latents --preset t2v-256 --info": "test_encode_texts.py",
    "encode-latents --preset t2v-256 --verify": "test_encode_texts.py",
    "train --preset t2v-256 --init PixArt-XL-2-256x256/transformer": "test_train_text.py",
    't2v "a boat on a lake" --model runs/t2v-256': "test_train_text.py",
    't2v "a red circle moving up and left" -o out.mp4 --model embedded': "test_t2v_embedded.py",
    "encode-latents --preset t2v-shapes": "test_t2v_embedded.py",
    "train --preset t2v-shapes": "test_text_evaluates.py",
    "eval --preset t2v-shapes --metrics direction,color": "test_text_evaluates.py",
    "convert runs/shapes shared --push OWNER/NAME --license mit --yes": "test_convert_push.py",
    "sample --preset shapes --guidance 7": "test_sampling_again.py",
    "train --preset long-128": "test_sequence_parallel.py",
    "sample --preset long-128 --sequence-parallel 4": "test_sequence_parallel.py",
    "prepare folder --source s3://BUCKET/videos": "test_prepare_remote.py",
    "eval --self-test": "test_self_test.py",
    "eval --self-test --preset shapes --real data/shapes": "test_self_test.py",
}
"""Commands that no walk takes, since they take long, or are refused: their tests."""

OTHERS = [
    *(
        _command("", f"prepare shapes {options} --workers 1", "", "shapes-data", "shapes-latents")
        for options in ("--count 24", "--count 8 --seed 1")
    ),
    _command(
        "",
        "encode-latents --preset shapes --workers 1",
        "shapes-data",
        "shapes-latents",
    ),
    _command(
        "",
        f"train --preset shapes {_o(_NETWORK)}",
        "shapes-latents",
        "shapes-run",
    ),
    _command(
        "",
        f"eval --preset ucf101 --fake in/other {_o(_MEASURE)} --out fake-b.json",
        "ucf101-data",
        "fake-b",
    ),
    _command("", f"sample --preset shapes -n 2 {_o(_STEPS)}"),
    _command("", "report shapes", "shapes-run"),
    _command("", "report data/shapes", "shapes-data"),
    _command(
        "",
        f"eval --preset shapes {_o(_SHAPES)} --metrics direction,fd-random --clips 8",
        "shapes-data",
    ),
]
"""What people try besides: the same with other options."""


def shown_in(readme: str) -> set[str]:
    """All commands of a page's blocks, without `latte`, what starts it, and comments."""
    started = r"^\$ (?:torchrun .* -m latte_cli -- |(?:\S*/)?latte )(.+)$"
    lines = re.findall(started, readme, re.MULTILINE)
    commands = [part for line in lines for part in re.sub(r"\s+#.*", "", line).split(" && ")]
    return {command.removeprefix("latte ") for command in commands}


def write_inputs(folder: Path) -> None:
    """What the commands read: videos, prompts, a text-to-video pipeline, results and scores."""
    for number in range(4):
        clip = render_clip(number, size=32, num_frames=16)
        write_video(folder / f"in/folder/{number}.mp4", clip, 8)
        write_video(folder / f"in/other/{number}.mp4", clip[::-1], 8)
        name = _CLASSES[number % 2]
        write_video(folder / f"in/ucf101/{name}/v_{name}_g0{number + 1}_c01.mp4", clip, 8)
    (folder / "prompts.csv").write_text("prompt,seed\ntwo dogs run,1\nthe sea at night,2\n")
    rows = [{"prompt_en": "two dogs run", "dimension": ["color"]}]
    (folder / "vbench_full_info.json").write_text(json.dumps(rows))
    Image.fromarray(render_clip(9, size=64, num_frames=1)[0]).save(folder / "first.png")
    (folder / "scores.json").write_text('{"color": 0.8}')
    write_pipeline(folder / "FOLDER")


@dataclass(frozen=True)
class Taken:
    """A step of a walk: the command, and whether all that it needs had been made."""

    command: Command
    ready: bool


def walk(commands: Sequence[Command], seed: int, rounds: int = 2) -> Iterator[Taken]:
    """Every command some times, in a random order."""
    order = list(commands) * rounds
    random.Random(seed).shuffle(order)
    facts: set[str] = set()
    for command in order:
        ready = command.needs <= facts and not ("once" in command.makes and command.makes <= facts)
        yield Taken(command, ready)
        if ready:
            facts = (facts | command.makes) - command.spoils


def take(step: Taken, run: Callable[..., tuple[int, str]]) -> str:
    """Run a step; what is wrong with how it ended, or nothing.

    Args:
        step: of a walk.
        run: runs the words of a command line; gives its exit code and all that it said.
    """
    code, said = run(*shlex.split(step.command.words))
    if "Traceback" in said:
        return f"a traceback\n{said}"
    if step.ready and code:
        return f"exit code {code} though all that it needs was made\n{said}"
    if not step.ready and code not in (0, 1):
        return f"exit code {code}\n{said}"
    if code == 1 and not ("error: " in said and "hint: " in said):
        return f"no message or no hint\n{said}"
    return ""
