"""Models of the Hugging Face hub: what is fetched is said, and without a network at once so."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from latte_cli.runtime.errors import CheckpointError, LatteNote

LATTE_1 = "maxin-cn/Latte-1"
"""The hub id of the published text-to-video pipeline."""

AUTOENCODER_FILES = (
    "config.json and diffusion_pytorch_model.safetensors (or .bin, or .fp16.safetensors)"
)

_TIMEOUT_S = 3.0  # for the list of a model's files; the libraries would retry for half a minute
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")


@dataclass(frozen=True)
class HubFolder:
    """A folder of a model on the hub.

    Attributes:
        model: its id, as maxin-cn/Latte-1.
        folder: inside of it; empty: the files that are in no folder.
        hint: what to do without them.
    """

    model: str
    folder: str
    hint: str

    def fetch(self) -> Path:
        """The path of the folder in the hub's cache, to which missing files are downloaded.

        If the hub cannot be reached, or `HF_HUB_OFFLINE` is set, the files of the cache are used.

        Raises:
            CheckpointError: if there is no such model, or it is not here and cannot be fetched.
        """
        from huggingface_hub import snapshot_download

        listed = _list_files(self.model, self.hint)
        if listed is None:
            if (found := self.cached()) is None:
                raise CheckpointError(
                    f"{self._name}: not found on this machine, and the hub cannot be reached",
                    hint=self.hint,
                )
            return found
        wanted = self._wanted(listed)
        self._note_download(wanted)
        try:
            root = snapshot_download(self.model, allow_patterns=list(wanted))
        except (OSError, http_error()) as error:
            raise CheckpointError(
                f"{self._name}: the download failed ({error})",
                hint="run the same command again to continue it",
            ) from error
        return Path(root) / self.folder

    def check(self) -> None:
        """Raise CheckpointError if `fetch` would fail at once."""
        if self.cached() is None and _list_files(self.model, self.hint) is None:
            self.fetch()

    @property
    def _name(self) -> str:
        return f"{self.model}/{self.folder}".rstrip("/")

    def _wanted(self, listed: Mapping[str, int]) -> dict[str, int]:
        """The folder's files and their sizes; pickles only where there are no safetensors."""
        place = PurePosixPath(self.folder)
        found = {n: s for n, s in listed.items() if PurePosixPath(n).parent == place}
        if any(name.endswith(".safetensors") for name in found):
            pickles = {n for n in found if any(PurePosixPath(n).match(p) for p in _PICKLES)}
            found = {name: size for name, size in found.items() if name not in pickles}
        return found

    def cached(self) -> Path | None:
        """The folder in the cache; None if it is not there, or incomplete."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError

        inside = f"{self.folder}/*" if self.folder else "*"
        deeper = () if self.folder else ("*/*",)
        for left_out in (deeper, (*deeper, *_PICKLES)):
            try:
                root = snapshot_download(
                    self.model,
                    allow_patterns=inside,
                    ignore_patterns=list(left_out),
                    local_files_only=True,
                )
            except (OSError, HFValidationError):
                continue
            if any(path.is_file() for path in Path(root).glob(inside)):
                return Path(root) / self.folder
        return None

    def _note_download(self, wanted: Mapping[str, int]) -> None:
        """Say what is downloaded, unless all is in the cache."""
        from huggingface_hub import constants, try_to_load_from_cache

        missing = [n for n in wanted if not isinstance(try_to_load_from_cache(self.model, n), str)]
        if missing:
            size = sum(wanted[name] for name in missing) / 1e6
            text = (
                f"downloading {self._name} ({size:.3g} MB, {len(missing)} files) "
                f"from {constants.ENDPOINT} to {constants.HF_HUB_CACHE}"
            )
            warnings.warn(LatteNote(text), stacklevel=3)


def hub_pipeline(model: str, part: str, *, is_whole: bool = True) -> HubFolder:
    """A part of a text-to-video pipeline on the hub.

    Args:
        model: its hub id.
        part: folder of the part.
        is_whole: whether the whole pipeline is used, or else its text encoder alone.
    """
    option, built_in = ("--model ", "a small built-in pipeline, which knows moving shapes")
    if not is_whole:
        option, built_in = ("-o text.path=", "the small built-in encoder of captions of `shapes`")
    hint = (
        f"download huggingface.co/{model} elsewhere and give {option}FOLDER; {option}embedded is "
        f"{built_in}"
    )
    return HubFolder(model, part, hint)


def hub_autoencoder(path: str) -> HubFolder:
    """An autoencoder on the hub.

    Args:
        path: a hub id, or a hub id with a folder inside it, like `maxin-cn/Latte-1/vae`.
    """
    owner, name, *inside = path.split("/")
    hint = (
        f"put {AUTOENCODER_FILES} of huggingface.co/{path} into a folder for -o vae.path=FOLDER; "
        "vae.path=embedded is the small built-in one"
    )
    return HubFolder(f"{owner}/{name}", "/".join(inside), hint)


@cache
def _list_files(model: str, hint: str) -> dict[str, int] | None:
    """The files of a model on the hub, with their sizes in bytes; None if it is out of reach."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        info = HfApi().model_info(model, files_metadata=True, timeout=_TIMEOUT_S)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointError(
            f"{model}: the hub has no such model, or it is private", hint=hint
        ) from error
    except (OSError, http_error()):
        return None
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def http_error() -> type[Exception]:
    """What the hub's library raises without a network: of requests, httpx or httpx2."""
    from huggingface_hub import errors

    found: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # see above
    return found
