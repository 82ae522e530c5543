"""`latte sample` with the tiny network of the `world` fixture, and its generator."""

import json

from conftest import succeed, tiny

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.config import load_config
from latte_cli.models import load_latte
from latte_cli.sampling.generation import Generator
from latte_cli.vae import LatentCodec


def sample(world, *words, **values):
    """The words of a command."""
    runs = f"--runs-root={world.root / 'runs'}"
    values = {"sample__sampler": "ddim", "sample__batch": 2, **values}
    return ("sample", "--preset=shapes", *tiny(**values), runs, *words)


def sampled(world, *words, **values):
    """The result of a command."""
    return json.loads(succeed("--json", *sample(world, *words, **values)).stdout)


def generator(world, *values):
    config = load_config("shapes", ["sample.steps=4", "sample.sampler=ddim", *values])
    checkpoint = list_checkpoints(world.run)[-1]
    return Generator(load_latte(checkpoint), LatentCodec.load("embedded"), config)
