"""A trained network that is called: labels in, frames out."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latte_cli.notebook.commands import Labels, label_words

# torch is imported where it is needed: it takes seconds.
if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.sampling.generation import Generator


@dataclass(frozen=True)
class Pipeline:
    """A trained network with all that turns noise into frames.

    Attributes:
        checkpoint: where its weights were read.
        class_names: names of its labels; empty if they have none, or the network takes none.
        config: the settings of its training and sampling.
        generator: network, autoencoder and precision.
    """

    checkpoint: Path
    class_names: tuple[str, ...]
    config: "Config" = field(repr=False)
    generator: "Generator" = field(repr=False)

    def __call__(
        self,
        labels: Labels = None,
        *,
        n: int | None = None,
        seed: int | None = None,
        steps: int | None = None,
        sampler: str | None = None,
        guidance: float | None = None,
        frames: int | None = None,
    ) -> NDArray[np.uint8]:
        """Sample clips; the same call gives the same clips, which `latte sample` makes as well.

        Args:
            labels: numbers or names of classes, used in turn; None: all classes in turn.
            n: number of clips; None: one for each label that is given, or one.
            seed: of the noise; None: as configured.
            steps: denoising steps.
            sampler: `ddpm`, `ddim`, `dpm++`, `unipc` or `euler`.
            guidance: scale of classifier-free guidance; 1 is off.
            frames: of a clip; None: as the network was trained.

        Returns:
            (n, f, h, w, 3) uint8 RGB.

        Raises:
            ConfigError: on an unknown label, or a value that sampling cannot use.
        """
        from latte_cli.config import overlay
        from latte_cli.config.locations import Locations
        from latte_cli.runtime.console import Console
        from latte_cli.sampling.sample_requests import SampleOptions, clip_requests

        values = {"seed": seed, "steps": steps, "sampler": sampler, "guidance": guidance}
        flags = {f"sample.{key}": value for key, value in values.items()}
        config = overlay(self.config.model_dump(), flags=flags)
        words = label_words(labels)
        options = SampleOptions(
            self.checkpoint, count=n or len(words) or 1, labels=words, frames=frames
        )
        known = self.generator.model.shape.num_classes
        requests = clip_requests(config, Locations(), options, known, self.class_names)
        generator = replace(self.generator, config=config)
        with Console().progress("sampling", len(requests) * config.sample.steps, "steps") as bar:
            clips = generator.clips(requests, frames or config.data.frames, bar.advance)
            return np.stack(list(clips))


def load(
    checkpoint: str | Path | None = None,
    *,
    preset: str | None = None,
    run: str | None = None,
    overrides: Iterable[str] = (),
    runs_root: str | Path | None = None,
) -> Pipeline:
    """Load a trained network, chosen as by `latte sample`.

    Args:
        checkpoint: a checkpoint, a run (its newest checkpoint is taken) or a file of weights, such
            as a published `.pt`, which needs a preset.
        preset: name of a preset, or its YAML file; without a checkpoint, its run is used, or the
            network that ships with it, as with `shapes`.
        run: name of a run whose newest checkpoint is taken.
        overrides: settings that differ, as `section.key=value`.
        runs_root: folder of all runs, or a URL; None: `LATTE_RUNS`, or `runs`.

    Returns:
        A pipeline to call with labels.

    Raises:
        ConfigError: on an unknown preset, key or value, or a text-to-video network.
        CheckpointError: if there is no checkpoint, or it is damaged or of another shape.
    """
    from latte_cli.checkpoints.choice import choose_checkpoint
    from latte_cli.runtime.console import Console
    from latte_cli.runtime.remote.urls import local_path
    from latte_cli.sampling.generation import load_generator

    root = local_path(str(runs_root or os.environ.get("LATTE_RUNS") or "runs"))
    given = None if checkpoint is None else str(checkpoint)
    config, path = choose_checkpoint(Console(), preset, given, overrides, {}, root, run)
    generator, class_names = load_generator(path, config)
    return Pipeline(path, class_names, config, generator)
