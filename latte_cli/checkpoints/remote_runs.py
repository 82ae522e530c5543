"""Runs whose folder lies elsewhere: written in the mirror, then uploaded; fetched to be resumed."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from latte_cli.checkpoints.folder import (
    best_step,
    find_corruption,
    list_checkpoints,
    removable_steps,
    step_of,
)
from latte_cli.config.train_section import TrainConfig
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import RemoteError
from latte_cli.runtime.files import atomic_folder
from latte_cli.runtime.remote.access import (
    RemoteFile,
    download,
    list_files,
    read_range,
    remove,
    upload,
)
from latte_cli.runtime.remote.folders import alone, fetch_file
from latte_cli.runtime.remote.urls import url_of

_META = "meta.json"  # of a checkpoint, uploaded last
_CHECKPOINT = re.compile(r"((?:stage-[^/]+/)?)checkpoints/(step-\d+)/meta\.json")
_BY_STEP = re.compile(r"(?:stage-[^/]+/)?(?:checkpoints|ema)/.*")
_REQUESTS = ("stop", "save")  # files by which users stop a run


def fetch_run(run: Path, console: Console) -> None:
    """Fetch what a run elsewhere resumes from, if it went on there: its newest whole checkpoint.

    Args:
        run: its folder; one that is no mirror stays as it is.
        console: shows what is fetched.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """
    url = url_of(run)
    if url is None:
        return
    files = list_files(url)
    found = sorted((match[1], match[2]) for name in files if (match := _CHECKPOINT.fullmatch(name)))
    if not (found or run.is_dir()):
        return
    with alone(run):
        stage = found[-1][0] if found else ""
        steps = [step for where, step in found if where == stage]
        here = max((step_of(path) for path in list_checkpoints(run / stage)), default=-1)
        if here >= max((int(step.removeprefix("step-")) for step in steps), default=-1):
            if here > -1 and not steps and is_main():
                console.warning(
                    f"{url} has no checkpoints any more, but {run.as_uri()} has: they count; "
                    "delete that folder to begin anew"
                )
            return
        for name, file in files.items():
            if not _BY_STEP.fullmatch(name):
                fetch_file(run / name, file)
        for step in reversed(steps):
            if _fetch_checkpoint(run / stage / "checkpoints" / step, files, url, console):
                return


def fetch_checkpoint(path: Path, console: Console) -> None:
    """Fetch a checkpoint elsewhere, or the newest of a run elsewhere; no other folder.

    Raises:
        RemoteError: if the place cannot be reached, or refuses.
    """
    url = url_of(path)
    if url is None or (path / _META).is_file():
        return
    files = list_files(url)
    if _META in files and "config.yaml" in files:
        with alone(path.parent):
            _fetch_checkpoint(path, {f"{path.name}/{k}": v for k, v in files.items()}, "", console)
    else:
        fetch_run(path, console)


def _fetch_checkpoint(
    folder: Path, files: Mapping[str, RemoteFile], run_url: str, console: Console
) -> bool:
    """Download a checkpoint; whether it is whole, which is said if it is not."""
    url = url_of(folder)
    assert url is not None
    below = f"{url.removeprefix(run_url).strip('/')}/" if run_url else f"{folder.name}/"
    names = [name.removeprefix(below) for name in files if name.startswith(below)]
    total = sum(files[below + name].bytes for name in names)
    if is_main():
        console.info(f"fetching {url}, {total / 1e6:.1f} MB")
    with atomic_folder(folder) as part:
        for name in names:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            download(f"{url}/{name}", str(part / name))
    broken = find_corruption(folder)
    if broken is not None and is_main():
        console.warning(f"{broken}; trying the checkpoint before it")
    return broken is None


class RunUploader:
    """Uploads a run's files after each checkpoint; does nothing if the run lies here.

    Args:
        run: its folder.
        train: how many checkpoints are kept there, too.
        warn: called with a message when an upload fails: training goes on.
    """

    def __init__(self, run: Path, train: TrainConfig, warn: Callable[[str], None]) -> None:
        self._run, self._train, self._warn = run, train, warn
        self._url = url_of(run)
        self._uploaded: dict[str, tuple[int, int]] = {}  # size and time of what lies there
        self._own: set[str] = set()  # checkpoints that this process has uploaded

    def upload(self, *, remove_old: bool) -> None:
        """Upload what has changed; a failure is only reported, since the next time repeats it.

        Args:
            remove_old: also delete there the checkpoints that `train.keep` does not keep.
        """
        try:
            self.finish(remove_old=remove_old)
        except RemoteError as error:
            self._warn(f"{error}; what was saved here is uploaded with the next checkpoint")

    def finish(self, *, remove_old: bool = False) -> None:
        """Upload what has changed.

        Raises:
            RemoteError: if it cannot be uploaded; what was written here is kept.
        """
        if self._url is None:
            return
        try:
            there = list_files(self._url)
            checkpoints = [path for path in self._run.glob("checkpoints/step-*") if path.is_dir()]
            for folder in sorted(checkpoints):
                self._upload_checkpoint(folder, there)
            for path in self._other_files():
                self._upload_file(path)
            if remove_old:
                self._remove_old(there)
        except RemoteError as error:
            hint = f"{error.hint}; checkpoints are kept in {self._run.as_uri()} meanwhile"
            raise RemoteError(str(error), hint) from error

    def _other_files(self) -> list[Path]:
        """All files but unfinished ones, those of checkpoints, and requests to stop."""
        found = []
        for root, folders, names in os.walk(self._run):
            top = Path(root) == self._run
            folders[:] = [n for n in folders if n[0] != "." and not (top and n == "checkpoints")]
            found += [
                Path(root, name)
                for name in sorted(names)
                if name[0] != "." and not (top and name in _REQUESTS)
            ]
        return found

    def _upload_checkpoint(self, folder: Path, there: Mapping[str, RemoteFile]) -> None:
        """Upload a checkpoint unless it is there, its list of checksums last."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = [path.relative_to(self._run).as_posix() for path in files]
        names.sort(key=lambda name: name.endswith(f"{folder.name}/{_META}"))
        same = all(n in there and there[n].bytes == (self._run / n).stat().st_size for n in names)
        if same and folder.name not in self._own:
            local = (folder / _META).read_bytes()
            if read_range(f"{self._url}/{names[-1]}", 0, len(local)) == local:
                self._own.add(folder.name)
        if not (same and folder.name in self._own):
            if names[-1] in there:  # of an older attempt: no checkpoint until all is there
                remove(f"{self._url}/{names[-1]}")
            for name in names:
                upload(str(self._run / name), f"{self._url}/{name}")
            self._own.add(folder.name)

    def _upload_file(self, path: Path) -> None:
        stat, name = path.stat(), path.relative_to(self._run).as_posix()
        stamp = stat.st_size, stat.st_mtime_ns
        if self._uploaded.get(name) != stamp:
            upload(str(path), f"{self._url}/{name}")
            self._uploaded[name] = stamp

    def _remove_old(self, there: Mapping[str, RemoteFile]) -> None:
        """Delete there what is not kept, and what this run has gone back behind."""
        here = {path.name for path in list_checkpoints(self._run)}
        names = {match[2] for name in there if (match := _CHECKPOINT.fullmatch(name))} | here
        steps = {int(name.removeprefix("step-")): name for name in names}
        going = removable_steps(
            sorted(steps), self._train.keep, self._train.keep_every, best_step(self._run)
        )
        newest = max(here, default="")
        gone = {steps[step] for step in going} | {name for name in self._own if name > newest}
        for checkpoint in gone - here:
            files = [name for name in there if name.startswith(f"checkpoints/{checkpoint}/")]
            for name in sorted(files, key=lambda name: not name.endswith(_META)):
                remove(f"{self._url}/{name}")
            self._own.discard(checkpoint)
