"""Mistakes in a command are reported before torch is imported, which takes seconds."""

import json
import os
import subprocess
import sys

import pytest
from conftest import fail

MANY = """
import contextlib, io, json, sys
from latte_cli.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv, code, said = ["latte", *words], None, io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            main()
    except SystemExit as end:
        code = end.code
    heavy = [name for name in ("torch", "diffusers", "transformers") if name in sys.modules]
    print(json.dumps([code, said.getvalue(), heavy]), flush=True)
    if heavy:
        break
"""
SHAPES = "--preset=shapes"
MISTAKES = [
    # of every command that takes one: a preset that is missing, or wrong keys and values
    *(
        [command, *words, "--preset=nosuch"]
        for command, *words in (
            ["encode-latents"],
            ["train"],
            ["train", "--plan"],
            ["sample"],
            ["eval"],
            ["eval", "--show-protocol"],
            ["similarity", "clip.mp4"],
            ["convert", "weights.pt", "there"],
            ["calibrate"],
        )
    ),
    *(
        [command, *words, SHAPES, "-o", override]
        for override in ("train.lrr=1", "train.lr=fast", "sample.sampler=no", "lr", "name=a/b")
        for command, *words in (["train"], ["sample"], ["eval"], ["calibrate"], ["encode-latents"])
        if override != "lr" or command not in ("sample",)
    ),
    ["presets", "nosuch"],
    ["presets", "shapes", "-o", "train.lrr=1"],
    ["prepare", "nosuch"],
    ["prepare", "folder"],
    ["prepare", "folder", "--source=nosuch"],
    ["prepare", "ucf101", "--source=nosuch.rar"],
    ["prepare", "captions", "--source=nosuch.csv"],
    ["prepare", "folder", "--source=.", "--split=half"],
    ["prepare", "shapes", "--size=33"],
    ["prepare", "shapes", "--source=data"],
    ["prepare", "shapes", "--labels"],
    ["prepare", "folder", "--source=data", "--count=9"],
    ["prepare", "ucf101", "--source=data", "--seed=0"],
    ["prepare", "ucf101", "--source=data", "--labels"],
    ["encode-latents"],
    ["encode-latents", SHAPES, "--info", "--verify"],
    ["encode-latents", "--data=nosuch"],
    ["encode-latents", SHAPES],
    ["encode-latents", SHAPES, "--info"],
    ["encode-latents", SHAPES, "--verify"],
    ["encode-latents", SHAPES, "--crop=middle"],
    ["encode-latents", SHAPES, "--size=33"],
    ["encode-latents", "--data=data", "--vae=./nosuch"],
    ["train"],
    ["train", SHAPES],
    ["train", SHAPES, "-o", "data.source=pixels"],
    ["train", SHAPES, "--latents-root=latents", "--resume=nosuch"],
    ["train", SHAPES, "--latents-root=latents", "--init=nosuch.pt"],
    ["train", SHAPES, "--latents-root=latents", "--weights=nosuch"],
    ["train", SHAPES, "--latents-root=latents", "--weights=data"],
    ["sample"],
    ["sample", SHAPES, "--checkpoint=nosuch"],
    ["sample", "--checkpoint=nosuch.pt"],
    ["sample", "--checkpoint=embedded"],
    ["sample", SHAPES, "--run=nosuch"],
    ["sample", "--preset=ucf101"],
    ["sample", SHAPES, "--format=avi"],
    ["sample", SHAPES, "-o", "out.mp4", "--format=avi"],
    ["sample", SHAPES, "-o", "out.mp4", "--format=gif"],
    ["sample", SHAPES, "-o", "out.avi"],
    ["sample", SHAPES, "--run=a", "--checkpoint=data"],
    ["sample", SHAPES, "--sampler=magic"],
    ["sample", SHAPES, "--precision=fp4"],
    ["sample", SHAPES, "--labels=some"],
    ["sample", SHAPES, "--label=nosuch"],
    ["sample", SHAPES, "--label=99"],
    ["sample", SHAPES, "--image=nosuch.png"],
    ["sample", SHAPES, "--cache=nosuch"],
    ["sample", SHAPES, "--cache=adaptive:x"],
    ["sample", SHAPES, "--speed=fast"],
    ["sample", SHAPES, "--speed=2x", "--cache=pab"],
    ["sample", SHAPES, "--long=64", "--long-method=magic"],
    ["sample", SHAPES, "--long=64", "--long-method=fifo", "--overlap=4"],
    ["sample", SHAPES, "--overlap=4"],
    ["sample", SHAPES, "--steps=2000"],
    # clips of other requests lie where these are to go
    ["sample", SHAPES, "--out=taken"],
    ["sample", SHAPES, "--out=taken", "--steps=10", "--seed=1"],
    ["sample", SHAPES, "--out=taken", "--format=npz"],
    ["sample", SHAPES, "-n1", "-o", "clip.mp4"],
    ["t2v", "a", "--model=pipeline", "--out=taken"],
    ["t2v", "a", "--model=pipeline", "--out=clip.mp4"],
    ["sample", SHAPES, "-o", "vae.path=./nosuch"],
    ["sample", SHAPES, "--labels=data"],
    ["sample", SHAPES, "-n5", "-o", "out.mp4"],
    ["sample", SHAPES, "-o", "out.png"],
    ["sample", SHAPES, "--long=64", "--long-method=fifo", "--cache=pab"],
    ["t2v", "a", "b", "-o", "clip.mp4", "--model=data"],
    ["t2v", "a", "--negative=b", "--guidance=1", "--model=data"],
    ["t2v", "a", "--long=64", "--long-method=fifo", "--speed=2x", "--model=data"],
    ["t2v", "a", "--model=nobody/nothing"],
    ["calibrate", "--model=nobody/nothing"],
    ["sample", SHAPES, "-o", "vae.path=nobody/nothing"],
    ["encode-latents", "--data=data", "--vae=nobody/nothing"],
    ["encode-latents", SHAPES, "--info", "--batch=4"],
    ["encode-latents", SHAPES, "--info", "--workers=4"],
    ["prepare", "shapes", "--keep-pixels"],
    ["eval", "--real=data", "--fake=data", "--metrics=fvd", "-o", "data.frames=16"],
    ["eval", SHAPES, "--real=data", "--fake=data", "--metrics=fvd"],
    ["eval", SHAPES, "--real=data", "--sweep=steps=1,2", "--metrics=fid"],
    [
        "train",
        SHAPES,
        "--latents-root=latents",
        "-o",
        "train.eval_every=1",
        "-o",
        "eval.metrics=is",
    ],
    ["train", SHAPES, "--latents-root=latents", "--download"],
    *(
        ["eval", *mode, *option]
        for mode in (
            ["weights.pt", "clip.mp4"],
            ["--vbench=data"],
            ["--vbench-results=clip.mp4"],
            ["--show-protocol"],
            ["--self-test"],
            ["--curve=run"],
        )
        for option in (["--run=a"], ["--checkpoint=data"])
    ),
    ["eval", "--self-test", "--download"],
    ["eval", "--show-protocol", "--out=result.json"],
    ["eval", "weights.pt", "clip.mp4", "--clips=4"],
    ["eval", "weights.pt", "clip.mp4", "-o", "eval.clips=4"],
    ["eval", "--vbench=data", "--trust-torchscript"],
    ["t2v", "--vbench=clip.mp4", "--model=data"],
    ["t2v", "a", "--text-encoder-bits=3", "--model=data"],
    ["t2v"],
    ["t2v", "a", "--prompts=nosuch.txt"],
    ["t2v", "--prompts=nosuch.txt"],
    ["t2v", "--vbench=nosuch.json"],
    ["t2v", "a", "--model=./nosuch"],
    ["t2v", "a", "--model=nosuch"],
    ["t2v", "a", "--format=avi"],
    ["t2v", "a", "--sampler=magic"],
    ["t2v", "a", "--precision=fp4"],
    ["t2v", "a", "--size=big"],
    ["t2v", "a", "-o", "out.gif", "--format=mp4"],
    ["t2v", "a", "--guidance=inf"],
    ["t2v", "a", "--vae-decoder=none"],
    ["t2v", "a", "--text-encoder=tpu"],
    ["t2v", "a", "--image=nosuch.png"],
    ["t2v", "a", "--cache=nosuch"],
    ["t2v", "a", "--overlap=4"],
    ["t2v", "a", "--long=64", "--long-method=fifo", "--overlap=4"],
    ["eval"],
    ["eval", "nosuch.json"],
    ["eval", "--real=nosuch", "--fake=data"],
    ["eval", "--real=data", "--fake=nosuch"],
    ["eval", SHAPES],
    ["eval", SHAPES, "--checkpoint=nosuch"],
    ["eval", SHAPES, "--metrics=nosuch"],
    ["eval", SHAPES, "--protocol=nosuch"],
    ["eval", SHAPES, "--split=half"],
    ["eval", "--real=data", "--fake=data", "--weights=nosuch"],
    ["eval", "--vbench=nosuch"],
    ["eval", "--vbench-results=nosuch.json"],
    ["eval", "--curve=nosuch"],
    ["eval", SHAPES, "--sweep=steps"],
    ["eval", SHAPES, "--sweep=nosuch=1,2"],
    ["eval", SHAPES, "--sweep=cache=nosuch"],
    ["eval", "--self-test", "--show-protocol"],
    ["similarity", "nosuch.mp4", SHAPES],
    ["similarity", "data", SHAPES, "--checkpoint=nosuch"],
    ["similarity", "data", SHAPES, "--label=nosuch"],
    ["convert", "nosuch.pt", "there"],
    ["convert", "weights.pt", "there", "--to=onnx"],
    ["convert", "weights.pt", "data"],
    ["calibrate"],
    ["calibrate", SHAPES, "--speed=fast"],
    ["calibrate", SHAPES, "--sampler=magic"],
    ["calibrate", SHAPES, "--checkpoint=nosuch"],
    ["calibrate", "--model=./nosuch"],
    ["calibrate", "a prompt", "--prompts=nosuch.txt"],
    ["calibrate", "--model=./nosuch", SHAPES],
    # files and folders that exist, but are others than they should be
    ["t2v", "a", "--model=data"],
    ["t2v", "a", "--model=weights.pt"],
    ["calibrate", "--model=data"],
    *(
        [command, *words, option]
        for command, *words in (["sample", SHAPES], ["t2v", "a", "--model=pipeline"])
        for option in (
            "--image=weights.pt",
            "--image=data",
            "--cache=weights.pt",
            "--cache=data",
            "--cache=other.json",
        )
    ),
    ["eval", "weights.pt", "clip.mp4"],
    ["eval", "other.json", "other.json"],
    ["eval", "data", "other.json"],
    ["eval", "--vbench=data"],
    ["eval", "--vbench=data", "--vbench-prompts=other.json"],
    ["eval", "--vbench-results=other.json"],
    ["eval", "--vbench-results=weights.pt"],
    ["t2v", "--vbench=other.json", "--model=pipeline"],
    # values that do not go together, are out of range, or have no effect
    ["t2v", "photo.png", "--model=pipeline"],
    ["t2v", "a dog", "--negative=photo.png", "--model=pipeline"],
    ["sample", SHAPES, "--label=1", "--labels=all"],
    ["sample", "--checkpoint=weights.pt", "--label=1", "--labels=all"],
    ["convert", "weights.pt", "there.ckpt"],
    ["convert", "weights.pt", "there.onnx"],
    ["convert", "weights.pt", "there.pt", "--to=latte"],
    ["convert", "weights.pt", "there", "--to=pt"],
    ["convert", "weights.pt", "there.safetensors", "--to=pt"],
    ["convert", "weights.pt", "there", "--push=shapes"],
    ["convert", "weights.pt", "there", "--push=us/a--b"],
    ["convert", "weights.pt", "there.pt", "--push=us/shapes"],
    ["convert", "weights.pt", "there", "--push=us/shapes", "--license=My own"],
    ["convert", "weights.pt", "there", "--push=us/shapes", "--yes"],
    ["convert", "weights.pt", "there", "--yes"],
    ["similarity", "clip.mp4", SHAPES, "--timestep=5000"],
    ["similarity", "clip.mp4", SHAPES, "--timestep=-1"],
    ["train", SHAPES, "--latents-root=latents", "-o", "train.accumulate=3"],
    *(
        [command, *words, SHAPES, "--run=a/b"]
        for command, *words in (
            ["train", "--latents-root=latents"],
            ["train", "--plan"],
            ["sample"],
            ["eval"],
            ["similarity", "clip.mp4"],
            ["calibrate"],
        )
    ),
    # output below a file
    ["prepare", "shapes", "--out=weights.pt/x"],
    ["prepare", "shapes", "--data-root=weights.pt"],
    ["encode-latents", "--data=data", "--vae=embedded", "--out=weights.pt/x"],
    ["train", SHAPES, "--latents-root=latents", "--runs-root=weights.pt"],
    ["sample", SHAPES, "--out=weights.pt/x"],
    ["sample", SHAPES, "--out=weights.pt/x/y"],
    ["sample", SHAPES, "-o", "weights.pt/x.mp4"],
    ["t2v", "a", "--model=pipeline", "-o", "weights.pt/x.mp4"],
    ["t2v", "a", "--model=pipeline", "-o", "weights.pt/x"],
    ["eval", "--real=data", "--fake=data", "--metrics=psnr", "--out=weights.pt/x.json"],
    ["similarity", "clip.mp4", SHAPES, "--out=weights.pt/x"],
    ["convert", "weights.pt", "weights.pt/x"],
    ["calibrate", SHAPES, "--out=weights.pt/x"],
    ["demo", "--out=weights.pt/x"],
    ["demo", "--out=weights.pt"],
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Exit code, stderr and heavy modules after each mistake, all in one process."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("data", "latents/shapes-64-embedded"):
        (folder / name).mkdir(parents=True)
    (folder / "data" / "manifest.jsonl").touch()
    (folder / "latents" / "shapes-64-embedded" / "meta.json").write_text("{}")
    (folder / "clip.mp4").write_bytes(b"of another program")
    _write_taken(folder / "taken")
    _write_pipeline(folder / "pipeline")
    (folder / "weights.pt").touch()
    (folder / "other.json").write_text('{"a": 1}')
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LATTE_")}
    environment |= {"LATTE_LATENTS": "nowhere", "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", MANY, json.dumps(MISTAKES)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
    assert lines, ended.stderr
    return lines


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("train", SHAPES, "-o", "data.source=pixels"), "shapes --out data/shapes"),
        (("encode-latents", SHAPES), "shapes --out data/shapes"),
        (("encode-latents", "--preset=ucf101"), "ucf101 --source VIDEOS --out data/ucf101"),
        (("encode-latents", "--data=mine"), "folder --source VIDEOS --out mine"),
    ],
)
def test_the_hint_on_a_missing_data_set_is_the_command_that_prepares_it(
    tmp_path, monkeypatch, command, hint
):
    monkeypatch.chdir(tmp_path)
    assert f"hint: this makes one: latte prepare {hint}" in fail(*command)


def _write_taken(folder):
    """A folder of clips of another request."""
    folder.mkdir()
    for name in ("00000-seed0-label0", "00000-seed0"):
        (folder / f"{name}.mp4").write_bytes(b"a clip")
    (folder / "settings.json").write_text(json.dumps({"format": "mp4", "steps": 10}))


def _write_pipeline(folder):
    """As much of a text-to-video pipeline as is looked at before its weights are."""
    folder.mkdir()
    index = {"transformer": ["diffusers", "LatteTransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    for part in ("scheduler", "transformer", "text_encoder", "vae"):
        (folder / part).mkdir()
        (folder / part / "config.json").touch()


def test_no_mistake_imports_torch(outcomes):
    for words, (_, said, heavy) in zip(MISTAKES, outcomes, strict=False):
        assert not heavy, (words, said)
    assert len(outcomes) == len(MISTAKES)


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(w) for w in MISTAKES])
def test_each_mistake_is_an_error_with_a_hint(outcomes, number):
    code, said, _ = outcomes[number]
    assert code == 1, said
    assert "error: " in said
    assert "hint: " in said
    assert "Traceback" not in said
