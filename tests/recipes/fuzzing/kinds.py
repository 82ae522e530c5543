"""The kinds of cases: how often each is tried, what makes its whole inputs, and what tries it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzzing import archives, folders, pipelines, tensors, texts, videos
from fuzzing.cases import Case


@dataclass(frozen=True)
class Kind:
    """A kind of damaged input.

    Attributes:
        weight: how often it is tried, relative to the others.
        makers: write its whole inputs into a folder, once.
        attempt: tries one case.
    """

    weight: int
    makers: tuple[Callable[[Path], None], ...]
    attempt: Callable[[Case], str]


KINDS = {
    "video": Kind(46, (videos.make,), videos.damaged_video),
    "archive": Kind(12, (archives.make,), archives.damaged_archive),
    "preset": Kind(12, (texts.make,), texts.damaged_preset),
    "table": Kind(6, (texts.make,), texts.damaged_table),
    "weights": Kind(8, (tensors.make,), tensors.damaged_weights),
    "clips": Kind(3, (folders.make, tensors.make), tensors.damaged_clips),
    "results": Kind(2, (folders.make, tensors.make, tensors.make_result), tensors.damaged_result),
    "manifest": Kind(4, (folders.make,), folders.damaged_manifest),
    "latents": Kind(3, (folders.make,), folders.damaged_latents),
    "checkpoint": Kind(4, (folders.make,), folders.damaged_checkpoint),
    "pipeline": Kind(2, (pipelines.make,), pipelines.damaged_pipeline),
    "prompts": Kind(1, (pipelines.make,), pipelines.damaged_prompts),
    "samples": Kind(2, (folders.make,), folders.damaged_samples),
}
