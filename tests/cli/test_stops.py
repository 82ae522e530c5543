"""Every long piece of work hears a stop: all commands, at each of their slow places."""

import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from commands.pipelines import write_pipeline
from conftest import World, tiny
from helpers.eval_data import flat, mp4_folder
from helpers.stops import Ended, Started, hang, wait

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="hangs in Linux's C library")

WITHIN_S = 2.0
BUSY_S = 6.0  # and more where other programs run beside
CODES = {signal.SIGTERM: 75, signal.SIGINT: 130}


@dataclass(frozen=True)
class Inputs:
    """What the commands read."""

    world: World
    archive: Path
    real: Path
    fake: Path
    pipeline: Path
    scratch: Path

    @property
    def checkpoint(self) -> Path:
        return self.world.run / "checkpoints" / "step-00000006"


@dataclass(frozen=True)
class Case:
    """A command, and the function in which it is stopped."""

    at: str
    words: Callable[[Inputs], list[object]]
    stay: Callable[..., None] = hang
    repeat: bool = True  # whether the same command takes seconds, not minutes


def _prepare(inputs: Inputs) -> list[object]:
    return ["prepare", "folder", f"--source={inputs.archive}", "--out=data", "--workers=1"]


def _shapes(inputs: Inputs) -> list[object]:
    return ["prepare", "shapes", "--count=8", "--size=32"]


def _encode(inputs: Inputs) -> list[object]:
    data = f"--data-root={inputs.world.root / 'data'}"
    return ["encode-latents", "--preset=shapes", "--size=32", data, "--workers=1", "--preview=1"]


def _verify(inputs: Inputs) -> list[object]:
    roots = inputs.world.roots[:2]
    return ["encode-latents", "--preset=shapes", "--size=32", *roots, "--verify"]


def _train(inputs: Inputs, *words: object, **values: object) -> list[object]:
    return ["train", "--preset=shapes", *tiny(**values), *inputs.world.roots[:2], *words]


def _train_and_preview(inputs: Inputs) -> list[object]:
    return _train(inputs, train__preview_every=3)


def _train_and_evaluate(inputs: Inputs) -> list[object]:
    few = {"eval__metrics": "fd-random", "eval__clips": 2, "eval__resamples": 0}
    return _train(inputs, train__eval_every=3, data__interval=1, sample__steps=1, **few)


def _init(inputs: Inputs) -> list[object]:
    return _train(inputs, f"--init={inputs.checkpoint}")


def _plan(inputs: Inputs) -> list[object]:
    return _train(inputs, "--plan", "--fresh")


def _network(inputs: Inputs) -> list[object]:
    return ["--preset=shapes", *tiny(), f"--checkpoint={inputs.checkpoint}"]


def _sample(inputs: Inputs) -> list[object]:
    return ["sample", *_network(inputs), "-n2", "--out=clips"]


def _t2v(inputs: Inputs) -> list[object]:
    small = ["--frames=4", "--steps=2", "--precision=float32", "--size=32"]
    return ["t2v", "two dogs run", f"--model={inputs.pipeline}", *small, "-o", "dogs.mp4"]


def _eval(inputs: Inputs) -> list[object]:
    return ["eval", f"--real={inputs.real}", f"--fake={inputs.fake}", *flat()]


def _sweep(inputs: Inputs) -> list[object]:
    few = ["--clips=2", "-o", "sample.steps=1", "-o", "eval.resamples=0", "-o", "data.interval=1"]
    swept = ["--preset=shapes", "--sweep=steps=1,2", "--metrics=fd-random"]
    return ["eval", f"--real={inputs.real}", *swept, *few]


def _curve(inputs: Inputs) -> list[object]:
    few = ["--clips=2", "-o", "sample.steps=1", "-o", "eval.resamples=0", "--metrics=fd-random"]
    runs = inputs.scratch / "runs"  # it writes there
    if not runs.exists():
        shutil.copytree(inputs.world.root / "runs", runs)
    real = f"--real={inputs.world.root / 'data' / 'shapes'}"
    return ["eval", "--curve=shapes", f"--runs-root={runs}", real, *few]


def _self_test(inputs: Inputs) -> list[object]:
    return ["eval", "--self-test"]


def _similarity(inputs: Inputs) -> list[object]:
    return ["similarity", *_network(inputs), inputs.world.root / "data" / "shapes", "-n2"]


def _calibrate(inputs: Inputs) -> list[object]:
    return ["calibrate", *_network(inputs), "-n1", "--speed=2x", "--out=caches"]


def _convert(inputs: Inputs) -> list[object]:
    return ["convert", inputs.checkpoint, "weights.safetensors", "--check"]


def _demo(inputs: Inputs) -> list[object]:
    return ["demo", "--out=demo", "--steps=2"]


_MONITORING = "latte_cli.training.monitoring"
CASES = {
    "prepare: unpacking": Case("latte_cli.sources.archives.unpacking:_write", _prepare),
    "prepare: checking": Case("latte_cli.data.journal:Journal.add", _prepare),
    "prepare: writing": Case("latte_cli.commands.prepare:write_dataset", _prepare),
    "prepare: generating": Case("latte_cli.sources.shapes:render_clip", _shapes),
    "encode: loading": Case("latte_cli.commands.encode_latents:load_codec", _encode),
    "encode: encoding": Case("latte_cli.vae.codec:LatentCodec.encode", _encode),
    "encode: preview": Case("latte_cli.vae.codec:LatentCodec.decode", _encode),
    "encode: verifying": Case("latte_cli.data.latents.inspecting:_problem_of_source", _verify),
    "train: loading": Case("latte_cli.training.starting.setup:initialize_from", _init),
    "train: measuring": Case("latte_cli.commands.train_plan:measure_training", _plan),
    "sample: loading": Case("latte_cli.runtime.weight_files.reading:load_file", _sample, wait),
    "sample: network": Case("latte_cli.models.latte:Latte.forward", _sample),
    "sample: decoding": Case("latte_cli.vae.codec:LatentCodec.decode", _sample),
    "sample: writing": Case("latte_cli.sampling.clip_folder:write_clip", _sample),
    "t2v: text": Case("latte_cli.text.encoder:TextEncoder._encode", _t2v),
    "t2v: network": Case("latte_cli.models.latte_t2v:LatteT2V.forward", _t2v),
    "t2v: writing": Case("latte_cli.commands.t2v:write_clip", _t2v),
    "eval: reading": Case("latte_cli.evaluation.sources.files:_clips", _eval),
    "eval: looking": Case("latte_cli.evaluation.sources.scanning:_decode", _eval),
    "eval: features": Case("latte_cli.evaluation.features.extracting:_Batch.finish", _eval),
    "eval: bootstrap": Case("latte_cli.evaluation.evaluating:measure", _eval),
    "eval: sweep": Case("latte_cli.models.latte:Latte.forward", _sweep),
    "eval: curve": Case("latte_cli.models.latte:Latte.forward", _curve),
    "eval: self-test": Case("latte_cli.evaluation.self_test:frechet_distance", _self_test),
    "similarity: network": Case("latte_cli.models.latte:Latte.forward", _similarity),
    "similarity: plotting": Case("latte_cli.commands.similarity:_write", _similarity),
    "calibrate: network": Case("latte_cli.models.latte:Latte.forward", _calibrate),
    "convert: loading": Case("latte_cli.commands.convert:_load", _convert),
    "convert: writing": Case("latte_cli.commands.convert:write_network", _convert),
    "convert: checking": Case("latte_cli.commands.convert:largest_difference", _convert),
    "demo: generating": Case("latte_cli.sources.shapes:render_clip", _demo, repeat=False),
    "sample: steps": Case("latte_cli.models.latte:Latte.forward", _sample, wait),
    "eval: batches": Case("latte_cli.evaluation.sources.files:_clips", _eval, wait),
    "train: preview": Case(f"{_MONITORING}.checks:write_preview", _train_and_preview, wait),
    "train: evaluation": Case(
        "latte_cli.evaluation.sources.files:_clips", _train_and_evaluate, wait
    ),
    "train: steps": Case("latte_cli.models.latte:Latte.forward", _train, wait),
}


@pytest.fixture(scope="module")
def inputs(world, clip_folders, tmp_path_factory) -> Inputs:
    root = tmp_path_factory.mktemp("inputs")
    videos = mp4_folder(root / "videos", 4)
    with zipfile.ZipFile(root / "videos.zip", "w") as archive:
        for path in videos.glob("*.mp4"):
            archive.write(path, f"class/{path.name}")
    return Inputs(
        world, root / "videos.zip", *clip_folders, write_pipeline(root / "pipeline"), root
    )


def _table() -> Iterator[object]:
    """All cases with both signals; one of each command, in turn with each, is quick enough."""
    commands: list[str] = []
    for name in CASES:
        command = name.partition(":")[0]
        chosen = list(CODES)[len(commands) % 2] if command not in commands else None
        commands += [command] if chosen is not None else []
        for number in CODES:
            marks = () if number == chosen else pytest.mark.slow
            yield pytest.param(name, number, marks=marks, id=f"{name}, {number.name}")


@pytest.mark.parametrize(("name", "number"), list(_table()))
def test_a_stop_is_heard_and_leaves_nothing_half_written(inputs, tmp_path, name, number):
    """And the same command goes on."""
    case, folder, inputs = CASES[name], tmp_path / "here", replace(inputs, scratch=tmp_path)
    ended: Ended = Started(folder, case.words(inputs), case.at, case.stay).stop(number)
    print(f"{name:24} {number.name:8} {ended.code} {ended.seconds:.2f} s")
    assert ended.code == CODES[number], ended.said
    assert ended.seconds < WITHIN_S + BUSY_S, ended.said
    assert ended.said.count("same command") == 1, ended.said
    assert "Traceback" not in ended.said
    assert not list(folder.rglob(".part-*"))
    if case.repeat:
        again = Started(folder, case.words(inputs)).end()
        assert again.code == 0, again.said
        assert not list(folder.rglob(".part-*"))
