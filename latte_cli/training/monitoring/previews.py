"""Preview clips of a network while it trains."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.config import Config
from latte_cli.data.clips import ClipStore
from latte_cli.data.texts.batches import captions_of
from latte_cli.data.texts.store import NULL_TEXT
from latte_cli.models import LatteT2V
from latte_cli.runtime.distributed import is_main, is_sharded
from latte_cli.sampling.clip_folder import ClipEntry
from latte_cli.sampling.generation import Generator, tile
from latte_cli.sampling.pipelines.captions import read_captions
from latte_cli.sampling.sample_requests import ClipRequest
from latte_cli.sampling.text_requests import TextClipRequest
from latte_cli.sampling.text_to_video import configured_generator
from latte_cli.training.monitoring.validation import Tick
from latte_cli.training.state import TrainState
from latte_cli.vae import LatentCodec
from latte_cli.video_io import write_video

_CLIPS = 8

Clip = NDArray[np.uint8]


def preview_path(run: Path, step: int) -> Path:
    """The preview of a step, which may not exist."""
    return run / "previews" / f"step-{step:08d}.mp4"


def count_preview_steps(config: Config, store: ClipStore) -> int:
    """Denoising steps of all batches of a preview; clips of text are sampled one by one."""
    is_text = config.model.condition == "text"
    batches = len(preview_prompts(config, store)) if is_text else -(-_CLIPS // config.sample.batch)
    return _preview_steps(config) * batches


def _preview_steps(config: Config) -> int:
    """Those of the configuration; a flow map is sampled as its clips are, in fewer."""
    is_flow_map = config.sample.sampler == "flow-map"
    if is_flow_map and config.diffusion.map_levels is not None:
        return config.sample.steps
    most = config.sample.steps if is_flow_map else config.diffusion.num_timesteps
    return min(config.train.preview_steps, most)


def preview_prompts(config: Config, store: ClipStore) -> tuple[str, ...]:
    """What the clips of a text-to-video run's previews show: by default captions of the data."""
    if config.sample.prompts or store.texts is None:
        return config.sample.prompts[:_CLIPS]
    rows = islice(store.table.rows(), _CLIPS)
    return tuple(dict.fromkeys(captions_of(row)[0] for row in rows if captions_of(row)))


def write_preview(
    state: TrainState,
    codec: LatentCodec,
    config: Config,
    run: Path,
    store: ClipStore,
    tick: Tick = lambda: None,
) -> Path:
    """Sample clips with the EMA at fixed seeds and labels; write one video, return its path.

    Every process of a run calls it at the same step. The main one samples and writes; if the
    network is sharded all sample, since each holds a part of it.

    Args:
        state: of the run, at the step.
        codec: the autoencoder.
        config: of the run.
        run: its folder.
        store: the videos, with encoded captions for a network that takes text.
        tick: called after each of `count_preview_steps`, in every process that samples.
    """
    path = preview_path(run, state.step)
    if not is_main() and not is_sharded(next(state.ema.parameters())):
        return path
    sampler = "ddim" if config.sample.sampler == "ddpm" else config.sample.sampler
    sample = config.sample.model_copy(update={"sampler": sampler, "steps": _preview_steps(config)})
    config = config.model_copy(update={"sample": sample})
    if isinstance(state.ema, LatteT2V):
        clips = list(_text_clips(state.ema, codec, config, store, tick))
    else:
        clips = list(_clips(state, codec, config, tick))
    if is_main():
        write_video(path, tile(clips, columns=4), config.sample.fps)
    return path


def _clips(state: TrainState, codec: LatentCodec, config: Config, tick: Tick) -> Iterator[Clip]:
    """A clip of each label in turn."""
    assert not isinstance(state.ema, LatteT2V)
    generator, classes = Generator(state.ema, codec, config), config.model.num_classes
    requests = [
        ClipRequest(index, config.sample.seed, index % classes if classes else None)
        for index in range(_CLIPS)
    ]
    return generator.clips(requests, on_step=lambda clips: tick())


def _text_clips(
    model: LatteT2V, codec: LatentCodec, config: Config, store: ClipStore, tick: Tick
) -> Iterator[Clip]:
    """A clip of each of the prompts."""
    sample, prompts = config.sample, preview_prompts(config, store)
    assert store.texts is not None
    encoded = read_captions(store.texts, (*prompts, NULL_TEXT))
    generator = configured_generator(config, model, codec, encoded)
    for index, prompt in enumerate(prompts):
        request = TextClipRequest(
            ClipEntry(f"{index}", {}), prompt, NULL_TEXT, sample.seed, index, sample.guidance
        )
        yield generator.clip(request, config.data.frames, on_step=lambda clips: tick())
