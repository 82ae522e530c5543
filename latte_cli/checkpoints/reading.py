"""Reading a checkpoint into a running state, which may be sharded: each process reads its parts.

torch.distributed.checkpoint plans which process reads what. Its own file format is not used: it
holds a pickle, or one file for each process, while ours are whole safetensors files that people can
use and that fit any number of devices.
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
    """Read a checkpoint's files into tensors; every process of a run calls it at the same time.

    Args:
        tensors: those to fill, by file (a path inside the checkpoint) and name. They may be
            sharded; their full sizes are those in the file.
        folder: the checkpoint.

    Raises:
        CheckpointError: if a file is damaged, or a tensor is missing or of another size.
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
    """Safetensors files of whole tensors, which are called FILE:NAME here."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder, self._files = folder, files

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """The tensors in the files, from their headers."""
        return Metadata(self._contents)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> "Future[None]":
        """Read what this process needs, from each file in turn."""
        by_file: dict[str, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            by_file[item.storage_index.fqn.partition(":")[0]].append(item)
        for file, items in by_file.items():
            with safe_open(self._folder / file, "pt") as opened:
                for item in items:
                    spans = zip(item.storage_offsets, item.lengths, strict=True)
                    slices = tuple(slice(first, first + length) for first, length in spans)
                    name = item.storage_index.fqn.partition(":")[2]
                    value = opened.get_slice(name)[slices] if slices else opened.get_tensor(name)
                    target = planner.resolve_tensor(item)
                    target.copy_(value)
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @cached_property
    def _contents(self) -> dict[str, STORAGE_TYPES]:
        found: dict[str, STORAGE_TYPES] = {}
        for file in self._files:
            with safe_open(self._folder / file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118  # it is no mapping
                    size = Size(opened.get_slice(name).get_shape())
                    chunk = ChunkStorageMetadata(Size([0] * len(size)), size)
                    found[f"{file}:{name}"] = TensorStorageMetadata(
                        TensorProperties(), size, [chunk]
                    )
        return found

    def set_up_storage_reader(self, *_: Any, **__: Any) -> None:
        """Do nothing: there is nothing to prepare."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Return the plan unchanged."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans unchanged."""
        return plans

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Do nothing: the files are fixed."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """No checkpoint is opened by such a name: the files are given to `__init__`."""
        return False
