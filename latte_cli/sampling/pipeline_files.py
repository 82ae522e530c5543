"""Where the parts of a text-to-video pipeline lie: a folder in diffusers' layout, or the hub."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of

_INDEX = "model_index.json"
_WEIGHTS = (".safetensors", ".bin")
_END = 1 << 20  # bytes
_PARTS = {
    "tokenizer": "the words that its text encoder knows",
    "text_encoder": "its text encoder (T5)",
    "transformer": "its network",
    "scheduler": "its noise schedule",
    "vae": "its autoencoder",
    "vae_temporal_decoder": "its autoencoder with a decoder of several frames at a time",
}

DECODERS = {"frame": "vae", "temporal": "vae_temporal_decoder"}
"""The parts that decode latents, by the words of `--vae-decoder`."""


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is that of a pipeline, in diffusers' layout."""
    return (folder / _INDEX).is_file()


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline's folder.

    Attributes:
        model: what the user called it: a folder, or a hub id.
    """

    model: str

    def __post_init__(self) -> None:
        if self.is_hub_id:
            return
        folder = Path(self.model)
        if not folder.is_dir():
            raise CheckpointError(
                f"{self.model}: no such folder",
                hint="--model is a folder in diffusers' layout, or a hub id as maxin-cn/Latte-1",
            )
        if not is_pipeline(folder):
            raise CheckpointError(
                f"{self.model}: not a text-to-video pipeline, it holds no {_INDEX}",
                hint=f"a pipeline has the folders {', '.join(list(_PARTS)[:5])}",
            )
        self._refuse_other_pipeline(folder / _INDEX)

    def part(self, name: str) -> Path:
        """The folder of a part; from the hub it is fetched now, unless it was before.

        Raises:
            CheckpointError: if there is none, or the hub cannot be reached.
        """
        root = Path(self._fetched(name)) if self.is_hub_id else Path(self.model)
        folder = root / name
        if not folder.is_dir() or not any(folder.iterdir()):
            raise CheckpointError(
                f"{self.model} holds no folder {name}, {_PARTS[name]}",
                hint="download or save the pipeline again",
            )
        return folder

    def checksum(self, name: str) -> str:
        """SHA-256 of a part's weights, in hex; of several files that of their checksums.

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
                file.seek(max(0, size - _END))
                digest.update(file.read())
        return digest.hexdigest()

    @property
    def is_hub_id(self) -> bool:
        """Whether its parts come from the hub, to a folder that is the hub's own."""
        looks_local = self.model.startswith((".", "/", "~")) or self.model.count("/") != 1
        return not looks_local and not Path(self.model).exists()

    def _weights(self, name: str) -> list[Path]:
        return sorted(path for path in self.part(name).iterdir() if path.suffix in _WEIGHTS)

    def _fetched(self, name: str) -> str:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )

        try:
            return snapshot_download(self.model, allow_patterns=[f"{name}/*"])
        except (LocalEntryNotFoundError, OSError, HfHubHTTPError, HFValidationError) as error:
            raise CheckpointError(
                f"{self.model}/{name}: not found on this machine, and the hub cannot be reached",
                hint=f"download huggingface.co/{self.model} elsewhere and give --model FOLDER",
            ) from error

    def _refuse_other_pipeline(self, index: Path) -> None:
        try:
            parts: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
            network = parts["transformer"][1]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CheckpointError(
                f"{index}: names no network", hint="is it a pipeline of Latte?"
            ) from error
        if network != "LatteTransformer3DModel":
            raise CheckpointError(
                f"{self.model}: its network is a {network}",
                hint="`latte t2v` runs LatteTransformer3DModel",
            )
