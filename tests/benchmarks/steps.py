"""Training steps of newer recipes against a plain flow step, in turn in one run, medians.

    python tests/benchmarks/steps.py [muon guidance flow-map routing] [--preset shapes] [--clips 8]
    python tests/benchmarks/steps.py routing -o model.size=S -o data.frames=16 --clips 1

muon      the matrices of the blocks by Muon instead of AdamW
guidance  guidance trained in: two more predictions a step
flow-map  half of the clips with the derivative of the mean velocity; with guidance trained in, too
routing   half of the tokens skip the middle blocks

Whole steps: forward and backward pass, optimizer and EMA, on random latents, blocks not compiled.
"""

import argparse
import statistics
import time

import torch

from latte_cli.config import Config, load_config
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.devices import device_name, pick_device, resolve_precision, synchronize
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

FLOW = ("diffusion.objective=flow", "train.min_snr_gamma=null", "model.learn_sigma=false")
MAP = ("diffusion.objective=flow-map",)
GUIDED = ("train.guidance_target=0.5", "model.condition=class")
KINDS = {
    "muon": {"Muon": ("train.optimizer=muon",)},
    "guidance": {"guidance trained in": GUIDED},
    "flow-map": {"flow map": MAP, "flow map, guidance trained in": (*MAP, *GUIDED)},
    "routing": {"routing": ("train.route.share=0.5",)},
}


class Steps:
    """Steps of one configuration, each timed."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, pick_device()
        self.state = new_state(config, self.device)
        self.dtype = resolve_precision(config.train.precision, self.device)
        self.diffusion = Diffusion(**config.diffusion.model_dump())
        self.batch = synthetic_batch(config, config.train.batch_size).to(self.device)
        self.seconds: list[float] = []

    def take(self) -> None:
        synchronize(self.device)
        started = time.perf_counter()
        train_step(self.state, [self.batch], self.diffusion, self.config.train, self.dtype)
        synchronize(self.device)
        self.seconds.append(time.perf_counter() - started)

    def median(self) -> float:
        return statistics.median(self.seconds[1:])  # the first warms up


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], default=[])
    parser.add_argument("--preset", default="shapes")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("-o", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    batch = (f"train.batch_size={options.clips}", "train.compile=none")

    def configured(*words: str) -> Config:
        return load_config(options.preset, [*FLOW, *words, *batch, *options.overrides])

    plain = Steps(configured())
    others = {
        name: Steps(configured(*words))
        for kind in options.kinds or KINDS
        for name, words in KINDS[kind].items()
    }
    for _ in range(options.rounds + 1):
        for steps in (plain, *others.values()):
            steps.take()
    config = plain.config
    print(
        f"preset {options.preset}, {options.clips} clips of {config.data.frames} frames of "
        f"{config.tokens_per_frame} tokens, {str(plain.dtype).removeprefix('torch.')}, "
        f"{device_name(plain.device)}, {torch.get_num_threads()} threads"
    )
    for name, steps in {"flow": plain, **others}.items():
        share = steps.median() / plain.median()
        print(f"{name:30} {steps.median():7.3f} s a step, {share:.2f} of a flow step")


if __name__ == "__main__":
    main()
