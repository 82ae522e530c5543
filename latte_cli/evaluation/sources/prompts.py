"""The prompts that a text-to-video network is evaluated on: captions of held-out videos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.config import Config
from latte_cli.data.manifest import MANIFEST, read_dataset
from latte_cli.runtime.errors import DataError


@dataclass(frozen=True)
class Captions:
    """Where the prompts come from.

    Attributes:
        real: path of the real videos, which may be a prepared data set with captions.
        texts: folder of encoded captions, used where it holds all prompts; it may not exist.
    """

    real: str
    texts: Path | None = None

    def prompts(self, config: Config) -> tuple[str, ...]:
        """The captions of the test split, or else of the split that is evaluated.

        Where the real videos have no captions, it is `sample.prompts`.

        Raises:
            DataError: if there are neither.
        """
        folder = Path(self.real)
        if (folder / MANIFEST).is_file():
            dataset = read_dataset(folder)
            for split in dict.fromkeys(("test", config.data.split)):
                captions = [video.captions for video in dataset.of_split(split) if video.captions]
                if captions:
                    return mixed(captions)
        if config.sample.prompts:
            return config.sample.prompts
        raise DataError(
            f"{self.real}: no captions, from which a text-to-video network could generate clips",
            hint="--real takes a prepared data set with captions; or set -o sample.prompts=[…]",
        )


def mixed(captions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """One caption of every video, another one of every video, and so on; wordings take turns.

    Args:
        captions: of each video, at least one.
    """
    rounds = range(max(map(len, captions)))
    return tuple(
        own[(number + turn) % len(own)]
        for turn in rounds
        for number, own in enumerate(captions)
        if turn < len(own)
    )
