"""A checkpoint's tensors into a running state, which may be sharded: each process reads its parts.

torch.distributed.checkpoint works out who needs what. Its own files would not do: they hold a
pickle, or are one for each process, while a checkpoint's are whole, for people and any number of
devices.
"""

import os
import warnings
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Size, Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import (
    STORAGE_TYPES,
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from latte_cli.runtime.errors import CheckpointError


def read_into(tensors: Mapping[str, Mapping[str, Tensor]], folder: Path) -> None:
    """Fill tensors from a checkpoint's files; every process of a run calls it at the same time.

    Args:
        tensors: for each file, as a path inside the checkpoint, those to fill by name; sharded or
            not, of the whole sizes that they have in the file.
        folder: the checkpoint.

    Raises:
        CheckpointError: if a file is damaged, or one of the tensors missing or of another size.
    """
    wanted = {f"{file}:{name}": value for file in tensors for name, value in tensors[file].items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # alone
            load(wanted, storage_reader=_WholeFiles(folder, list(tensors)))
    except CheckpointException as error:
        reason = str(next(iter(error.failures.values()))[0]).splitlines()[0]
        raise CheckpointError(
            f"{folder} does not fit the run: {reason}",
            hint="use the preset and -o values that the checkpoint was trained with",
        ) from error


class _WholeFiles(StorageReader):
    """Safetensors files, each holding whole tensors, which are called FILE:NAME here."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder, self._files = folder, files

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """What the files hold, by their headers."""
        return Metadata(self._held)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> "Future[None]":
        """Read what this process needs, from each file in turn."""
        by_file: dict[str, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            by_file[item.storage_index.fqn.partition(":")[0]].append(item)
        for file, items in by_file.items():
            with safe_open(self._folder / file, "pt") as held:
                for item in items:
                    spans = zip(item.storage_offsets, item.lengths, strict=True)
                    slices = tuple(slice(first, first + length) for first, length in spans)
                    name = item.storage_index.fqn.partition(":")[2]
                    value = held.get_slice(name)[slices] if slices else held.get_tensor(name)
                    target = planner.resolve_tensor(item)
                    target.copy_(value)
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @cached_property
    def _held(self) -> dict[str, STORAGE_TYPES]:
        found: dict[str, STORAGE_TYPES] = {}
        for file in self._files:
            with safe_open(self._folder / file, "pt") as held:
                for name in held.keys():  # noqa: SIM118  # it is no mapping
                    size = Size(held.get_slice(name).get_shape())
                    chunk = ChunkStorageMetadata(Size([0] * len(size)), size)
                    found[f"{file}:{name}"] = TensorStorageMetadata(
                        TensorProperties(), size, [chunk]
                    )
        return found

    def set_up_storage_reader(self, *_: Any, **__: Any) -> None:
        """Nothing is to be prepared."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As the planner made it."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As the planner made them."""
        return plans

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """The files are those that it was made for."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Files are given to `__init__`, never by such a name."""
        return False
