"""VBench's prompts, and the folder of videos that it reads (Huang et al. 2024).

VBench runs in an environment of its own, on a folder of videos with exact names; it silently skips
prompts whose videos it does not find.
"""

import difflib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latte_cli.runtime.errors import DataError

SUITE_OF_DIMENSION = {
    "subject_consistency": "subject_consistency",
    "background_consistency": "scene",
    "temporal_flickering": "temporal_flickering",
    "motion_smoothness": "subject_consistency",
    "dynamic_degree": "subject_consistency",
    "aesthetic_quality": "overall_consistency",
    "imaging_quality": "overall_consistency",
    "object_class": "object_class",
    "multiple_objects": "multiple_objects",
    "human_action": "human_action",
    "color": "color",
    "spatial_relationship": "spatial_relationship",
    "scene": "scene",
    "appearance_style": "appearance_style",
    "temporal_style": "temporal_style",
    "overall_consistency": "overall_consistency",
}
"""The suite of prompts on which each of the sixteen dimensions is measured."""

VIDEOS_PER_PROMPT = 5
_FLICKERING = "temporal_flickering"
_FLICKERING_VIDEOS = 25  # VBench's static filter keeps five of them

_NAME = re.compile(r"(?s)(.*)-(\d+)")
_SUFFIXES = (".mp4", ".gif")
_SUGGESTIONS = 20  # each compares a name with every prompt


PROMPT_LIST = "vbench_full_info.json"
"""File name of VBench's list of prompts beside the videos generated from it."""

_LIST_HINT = "it is vbench/VBench_full_info.json in VBench's repository"


@dataclass(frozen=True)
class SuiteCheck:
    """The videos of one suite in a folder.

    Attributes:
        suite: its name.
        folder: of its videos.
        prompts: number of prompts in the suite.
        complete: number of prompts with all of their videos.
        missing: names of the missing videos.
        wrong: reasons by name of files that VBench would not find.
    """

    suite: str
    folder: Path
    prompts: int
    complete: int
    missing: tuple[str, ...]
    wrong: Mapping[str, str]

    @property
    def present(self) -> bool:
        """Whether the folder has any video of the suite."""
        return bool(
            self.complete or len(self.missing) < self.prompts * videos_per_prompt(self.suite)
        )


def video_name(prompt: str, index: int, suffix: str = ".mp4") -> str:
    """The file name that VBench expects: the exact prompt, and the video's number from 0."""
    return f"{prompt}-{index}{suffix}"


def read_suites(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The prompts of each suite, in the order of the list.

    Args:
        path: of a JSON list of objects with `prompt_en` and `dimension`, a list of names.

    Raises:
        DataError: if it cannot be read, or names a dimension that is not known.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(row["prompt_en"]), list(row["dimension"])) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not VBench's list of prompts", hint=_LIST_HINT) from error
    found: dict[str, dict[str, None]] = {}
    for prompt, dimensions in pairs:
        if unknown := [name for name in dimensions if name not in SUITE_OF_DIMENSION]:
            raise DataError(
                f"{path}: `{unknown[0]}` is not a dimension of VBench",
                hint=f"known: {', '.join(SUITE_OF_DIMENSION)}",
            )
        if not prompt or "/" in prompt or "\0" in prompt:
            raise DataError(f"{path}: `{prompt}` cannot be the name of a file", hint=_LIST_HINT)
        for suite in dict.fromkeys(SUITE_OF_DIMENSION[name] for name in dimensions):
            found.setdefault(suite, {})[prompt] = None
    if not found:
        raise DataError(f"{path}: holds no prompt", hint=_LIST_HINT)
    return {suite: tuple(prompts) for suite, prompts in found.items()}


def check_folder(folder: Path, wanted: Mapping[str, Sequence[str]]) -> list[SuiteCheck]:
    """Look for the videos of every suite, in `folder/SUITE/` or all in `folder`.

    Args:
        folder: of the videos.
        wanted: the prompts of each suite.

    Raises:
        DataError: if there is no such folder, or it holds no videos.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="give the folder of VBench's videos")
    if any((folder / suite).is_dir() for suite in wanted):
        return [
            _check_suite(folder / suite, suite, prompts, _files(folder / suite))
            for suite, prompts in wanted.items()
        ]
    files = _files(folder)
    if not files:
        raise DataError(
            f"{folder}: no videos", hint=f"their names are like `{video_name('A PROMPT', 0)}`"
        )
    checks = [_check_suite(folder, suite, texts, files) for suite, texts in wanted.items()]
    # The videos of one suite are wrong names to all others; a wrong name is wrong to all.
    shared = frozenset.intersection(*(frozenset(check.wrong) for check in checks))
    prompts = [prompt for prompts in wanted.values() for prompt in prompts]
    wrong = _wrong(shared, prompts, VIDEOS_PER_PROMPT, ".mp4")
    return [replace(check, wrong={} if n else wrong) for n, check in enumerate(checks)]


def require_complete(checks: Sequence[SuiteCheck]) -> None:
    """Check that VBench would find every video.

    Raises:
        DataError: if videos are missing from a suite that is present, or have wrong names.
    """
    missing = sum(len(check.missing) for check in checks if check.present)
    wrong = sum(len(check.wrong) for check in checks)
    if missing or wrong or not any(check.complete for check in checks):
        raise DataError(
            f"{missing} videos are missing and {wrong} have wrong names: VBench would silently "
            "skip them",
            hint="names are PROMPT-NUMBER.mp4 with the exact prompt and numbers 0 to 4 "
            "(temporal_flickering: 0 to 24)",
        )


def vbench_commands(checks: Sequence[SuiteCheck]) -> list[str]:
    """The commands that measure the suites that are present, for VBench's own environment."""
    present = {check.suite: check for check in checks if check.present}
    lines = ["pip install vbench==0.1.5  # in its own environment: it needs numpy < 2"]
    for dimension, suite in SUITE_OF_DIMENSION.items():
        if suite not in present:
            continue
        folder = shlex.quote(str(present[suite].folder))
        if dimension == _FLICKERING:
            lines.append(
                f"python static_filter.py --videos_path {folder}  # of VBench's repository"
            )
            folder = "filter_results/filtered_videos"
        lines.append(f"vbench evaluate --videos_path {folder} --dimension {dimension}")
    return lines


def _check_suite(
    folder: Path, suite: str, prompts: Sequence[str], files: frozenset[str]
) -> SuiteCheck:
    count = videos_per_prompt(suite)
    suffixes = {Path(name).suffix for name in files}
    # VBench uses the suffix of the first listed file for all of them.
    suffix = ".gif" if suffixes == {".gif"} else ".mp4"
    wanted = {prompt: [video_name(prompt, i, suffix) for i in range(count)] for prompt in prompts}
    missing = [name for names in wanted.values() for name in names if name not in files]
    complete = sum(all(name in files for name in names) for names in wanted.values())
    expected = {name for names in wanted.values() for name in names}
    wrong = _wrong(files - expected, prompts, count, suffix)
    return SuiteCheck(suite, folder, len(prompts), complete, tuple(missing), wrong)


def videos_per_prompt(suite: str) -> int:
    """How many videos VBench reads of each prompt of a suite."""
    return _FLICKERING_VIDEOS if suite == _FLICKERING else VIDEOS_PER_PROMPT


def _files(folder: Path) -> frozenset[str]:
    """All files except hidden ones: other files break VBench as well."""
    if not folder.is_dir():
        return frozenset()
    found = [path for path in folder.iterdir() if path.is_file()]
    return frozenset(path.name for path in found if not path.name.startswith("."))


def _wrong(names: Iterable[str], prompts: Sequence[str], count: int, suffix: str) -> dict[str, str]:
    """Why each of these names is wrong; with a suggestion for the first of them."""
    return {
        name: _reason(name, prompts, count, suffix, suggest=number < _SUGGESTIONS)
        for number, name in enumerate(sorted(names))
    }


def _reason(name: str, prompts: Sequence[str], count: int, suffix: str, *, suggest: bool) -> str:
    if not name.endswith(_SUFFIXES):
        return "not a video; the folder must hold nothing else"
    if not name.endswith(suffix):
        return f"ends in {Path(name).suffix}, others in {suffix}; all must be of one type"
    found = _NAME.fullmatch(name.removesuffix(suffix))
    if found is None:
        return "no number at the end"
    if found[1] in prompts:
        return f"number {found[2]}, numbers go from 0 to {count - 1}"
    same = [prompt for prompt in prompts if prompt.lower() == found[1].lower()]
    near = same
    if suggest and not same:
        near = difflib.get_close_matches(found[1], prompts, n=1, cutoff=0.8)
    return f"no such prompt; did you mean `{near[0]}`?" if near else "no such prompt here"
