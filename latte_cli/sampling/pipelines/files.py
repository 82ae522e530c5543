"""The parts of a text-to-video pipeline: a folder in diffusers' layout, or the hub."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.config.locations import EMBEDDED, pipeline_path
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.hub import hub_pipeline

INDEX = "model_index.json"
SAMPLING = "sampling.json"
"""Denoising steps and guidance scale of a pipeline, which diffusers' layout has no place for."""

_WEIGHTS = (".safetensors", ".bin")
_VOCABULARIES = ("spiece.model", "tokenizer.json")  # the second may be made of the first
_FINGERPRINT_BYTES = 1 << 20
_PARTS = {
    "tokenizer": "the vocabulary of its text encoder",
    "text_encoder": "its text encoder (T5)",
    "transformer": "its network",
    "scheduler": "its noise schedule",
    "vae": "its autoencoder",
    "vae_temporal_decoder": "its autoencoder with a decoder of several frames at a time",
}

DECODERS = {"frame": "vae", "temporal": "vae_temporal_decoder"}
"""The parts that decode latents, by the values of `--vae-decoder`."""


@dataclass(frozen=True)
class SamplingDefaults:
    """How clips of a pipeline are sampled unless the user says otherwise.

    Attributes:
        steps: denoising steps.
        guidance: scale of classifier-free guidance.
    """

    steps: int
    guidance: float


PUBLISHED_SAMPLING = SamplingDefaults(steps=50, guidance=7.5)
"""Of Latte-1, and of pipelines that do not say."""


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a pipeline in diffusers' layout."""
    return (folder / INDEX).is_file()


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline's folder.

    Attributes:
        model: a folder, a hub id, or `embedded` for the pipeline inside the package.
        is_whole: whether it must be a whole pipeline; else single parts are enough.

    Raises:
        CheckpointError: if it is a folder without a pipeline of Latte.
    """

    model: str
    is_whole: bool = True

    def __post_init__(self) -> None:
        if self.is_hub_id:
            return
        folder = self.root
        if not folder.is_dir():
            raise self._missing()
        if not self.is_whole:
            return
        if not is_pipeline(folder):
            raise CheckpointError(
                f"{self.model}: not a text-to-video pipeline, it has no {INDEX}",
                hint=f"a pipeline has the folders {', '.join(list(_PARTS)[:5])}",
            )
        index = folder / INDEX
        try:
            network = json.loads(index.read_text(encoding="utf-8"))["transformer"][1]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(
                f"{index}: names no network",
                hint="give the folder of a Latte pipeline, which names its transformer",
            ) from error
        if network is None:
            raise CheckpointError(
                f"{self.model}: the pipeline was saved without its network",
                hint="save it again with its transformer",
            )
        if network != "LatteTransformer3DModel":
            raise CheckpointError(
                f"{self.model}: its network is a {network}",
                hint="`latte t2v` runs LatteTransformer3DModel",
            )

    def _missing(self) -> CheckpointError:
        if self.model == EMBEDDED:
            return CheckpointError(
                "this installation lacks the embedded text-to-video pipeline",
                hint=f"install the package again; its folder is {self.root}",
            )
        return CheckpointError(
            f"{self.model}: no such folder",
            hint="--model is a folder in diffusers' layout, a hub id as maxin-cn/Latte-1, or "
            f"{EMBEDDED} for a small pipeline that is there already"
            if self.is_whole
            else "text.path is a folder with tokenizer/ and text_encoder/, a hub id, or "
            f"{EMBEDDED}",
        )

    @property
    def root(self) -> Path:
        """Its folder, which may not exist; of no meaning for a hub id."""
        return pipeline_path(self.model)

    @property
    def is_hub_id(self) -> bool:
        """Whether its parts are downloaded from the hub."""
        looks_local = self.model.startswith((".", "/", "~")) or self.model.count("/") != 1
        return not looks_local and not Path(self.model).exists()

    def part(self, name: str) -> Path:
        """The folder of a part, downloaded from the hub if necessary.

        Raises:
            CheckpointError: if there is none, or the hub cannot be reached.
        """
        root = self.root
        if self.is_hub_id:
            root = hub_pipeline(self.model, name, is_whole=self.is_whole).fetch().parent
        folder = root / name
        if not folder.is_dir() or not any(folder.iterdir()):
            raise CheckpointError(
                f"{self.model} has no folder {name}, {_PARTS[name]}",
                hint=self._without(root, name),
            )
        return folder

    def checksum(self, name: str) -> str:
        """SHA-256 of a part's weights, in hex; for several files that of their checksums.

        Raises:
            CheckpointError: as `part`.
        """
        sums = [sha256_of(path) for path in self._weights(name)]
        return sums[0] if len(sums) == 1 else hashlib.sha256(" ".join(sums).encode()).hexdigest()

    def fingerprint(self, name: str) -> str:
        """SHA-256, in hex, of the sizes and the last MiB of a part's files of weights.

        For a text encoder, whose many gigabytes would take as long to read as to load.

        Raises:
            CheckpointError: as `part`.
        """
        digest = hashlib.sha256()
        for path in self._weights(name):
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as file:
                file.seek(max(0, size - _FINGERPRINT_BYTES))
                digest.update(file.read())
        return digest.hexdigest()

    def text_fingerprint(self) -> str:
        """SHA-256, in hex, of all that a text's embedding depends on: weights and vocabulary.

        Raises:
            CheckpointError: as `part`.
        """
        digest = hashlib.sha256(self.fingerprint("text_encoder").encode())
        folder = self.part("tokenizer")
        for name in _VOCABULARIES:
            if (folder / name).is_file():
                digest.update(sha256_of(folder / name).encode())
                break
        return digest.hexdigest()

    def sampling(self) -> SamplingDefaults:
        """How its clips are sampled by default; of the hub's pipelines, as Latte-1's are.

        Raises:
            CheckpointError: if its file is damaged.
        """
        path = self.root / SAMPLING
        if self.is_hub_id or not path.is_file():
            return PUBLISHED_SAMPLING
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found = SamplingDefaults(int(values["steps"]), float(values["guidance"]))
            if found.steps < 1 or not 0 <= found.guidance < math.inf:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"{path}: does not say how clips are sampled",
                hint='it is like {"steps": 50, "guidance": 7.5}; without the file these are taken',
            ) from error
        return found

    def scheduler_config(self) -> dict[str, Any]:
        """The configuration of its scheduler, as diffusers wrote it.

        Raises:
            CheckpointError: if there is none.
        """
        folder = self.part("scheduler")
        path = folder / "scheduler_config.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{folder}: has no scheduler",
                hint="put the scheduler_config.json of the pipeline there",
            ) from error

    def _weights(self, name: str) -> list[Path]:
        return sorted(path for path in self.part(name).iterdir() if path.suffix in _WEIGHTS)

    def _without(self, root: Path, name: str) -> str:
        """What to do without a part: some pipelines have one of the two autoencoders only."""
        for decoder, part in DECODERS.items():
            if (
                name in DECODERS.values()
                and part != name
                and (self.is_hub_id or (root / part).is_dir())
            ):
                return f"--vae-decoder {decoder} uses its other autoencoder"
        return "download or save the pipeline again, with all of its parts"
