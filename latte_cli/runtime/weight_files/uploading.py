"""Folders uploaded to the hub as models: in one commit, without files that are there already."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from latte_cli.runtime.console import Console, format_bytes
from latte_cli.runtime.errors import ConfigError, HubError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.hub_errors import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
"""The branch that a repository of the hub begins with."""

_SHOWN = 5  # names of files in a message


@dataclass(frozen=True)
class HubPlace:
    """Where a folder is uploaded to.

    Attributes:
        model: id of the repository, as OWNER/NAME.
        private: whether only its owner is to see it.
        revision: branch, which is made if it does not exist.

    Raises:
        ConfigError: if the hub has no such ids.
    """

    model: str
    private: bool = False
    revision: str = MAIN

    def __post_init__(self) -> None:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # lazy

        hint = "--push OWNER/NAME, where OWNER is you or one of your organizations on the hub"
        if self.model.count("/") != 1:
            raise ConfigError(f"--push {self.model}: a model of the hub is OWNER/NAME", hint=hint)
        try:
            validate_repo_id(self.model)
        except HFValidationError as error:
            raise ConfigError(f"--push {self.model}: the hub has no such names", hint) from error

    @property
    def url(self) -> str:
        """Of the page of the model."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{self.model}"

    def url_of(self, name: str) -> str:
        """The address of a file of the model."""
        return f"{self.url}/resolve/{quote(self.revision, safe='')}/{name}"

    def check_token(self) -> None:
        """Raise HubError if nothing can be uploaded from this machine as it is."""
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise HubError(
                "HF_HUB_OFFLINE is set, so nothing is uploaded",
                hint="unset it; without --yes, the command only shows what it would upload",
            )
        if get_token() is None:
            raise HubError(
                "no token of the hub on this machine, without which nothing can be uploaded",
                hint="make one with write access on your page of settings, then `hf auth login`, "
                "or set HF_TOKEN",
            )


@dataclass(frozen=True)
class Uploaded:
    """What was sent; no file and no commit if all were there already."""

    sent: Sequence[str]
    commit: str | None


def files_to_upload(folder: Path) -> dict[str, int]:
    """The files of a folder and their sizes in bytes; hidden ones are left out."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path.stat().st_size
        for name, path in found.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def upload(folder: Path, place: HubPlace, *, overwrite: bool, console: Console) -> Uploaded:
    """Upload a folder in one commit: the model on the hub has all files of it, or none.

    What an upload that was interrupted has sent is not sent again.

    Args:
        folder: of the model.
        place: on the hub; the repository and the branch are made if they do not exist.
        overwrite: whether files of the same names but other content are replaced.
        console: shows what is sent.

    Raises:
        ConfigError: if the repository is to be private and is public.
        HubError: if the hub cannot be reached, refuses, or has other files of these names.
    """
    from huggingface_hub import HfApi

    place.check_token()
    api, files = HfApi(), files_to_upload(folder)
    with hub_errors(place.model, f"the hub cannot be reached at {api.endpoint}"):
        _make_repository(api, place)
        info = api.model_info(place.model, revision=place.revision, files_metadata=True)
    if place.private and not info.private:
        raise ConfigError(
            f"{place.model} exists already, and is public, but --private is given",
            hint="make it private on its page of settings, or leave --private out",
        )
    there = {each.rfilename: each for each in info.siblings or ()}
    other = [n for n in files if n in there and not _is_same(folder / n, files[n], there[n])]
    if other and not overwrite:
        raise HubError(
            f"{place.model} exists, with other content in {_named(other)}",
            hint="--overwrite replaces these files, the hub keeps their history; or name another",
        )
    sending = [name for name in files if name not in there or name in other]
    if not sending:
        return Uploaded((), None)
    size = format_bytes(sum(files[name] for name in sending))
    console.info(f"uploading {len(sending)} files ({size}) to {place.url}")
    with hub_errors(place.model, "the upload broke off"), _shown(console):
        commit = _commit(api, folder, place, sending, info.sha)
    return Uploaded(sending, commit)


def _make_repository(api: "HfApi", place: HubPlace) -> None:
    api.create_repo(place.model, private=place.private or None, exist_ok=True)
    if place.revision != MAIN and not place.revision.startswith("refs/"):
        api.create_branch(place.model, branch=place.revision, exist_ok=True)


def _commit(
    api: "HfApi", folder: Path, place: HubPlace, names: Sequence[str], parent: str | None
) -> str:
    """Send files; the address of the commit. It fails if the branch has changed since `parent`."""
    from huggingface_hub import CommitOperationAdd

    from latte_cli import __version__

    adding = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names
    ]
    message = f"Upload {folder.resolve().name} by latte {__version__}"
    info = api.create_commit(
        place.model,
        adding,
        commit_message=message,
        revision=place.revision,
        parent_commit=parent,
    )
    return str(info.commit_url)


def _is_same(path: Path, size: int, remote: Any) -> bool:
    """Whether a file is the one that the hub has, by size and checksum."""
    if remote.size != size:
        return False
    lfs: Mapping[str, Any] | None = remote.lfs
    if lfs is not None:
        return bool(lfs["sha256"] == sha256_of(path))
    content = path.read_bytes()
    return bool(remote.blob_id == hashlib.sha1(b"blob %d\0" % size + content).hexdigest())


@contextmanager
def _shown(console: Console) -> Iterator[None]:
    """The library's progress bars on a terminal only, and its warnings as this project's."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hides = not (console.on_terminal or are_progress_bars_disabled())
    if hides:
        disable_progress_bars()
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        if hides:
            enable_progress_bars()
    for text in dict.fromkeys(str(each.message) for each in caught):
        console.warning(" ".join(text.split()))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
