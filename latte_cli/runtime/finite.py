"""Numbers that are not finite: found where they arise, before they become black pixels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from latte_cli.runtime.errors import NumericalError

if TYPE_CHECKING:
    from torch import Tensor

_HINT = "compute in float32, lower the guidance, or use another checkpoint"


def all_finite(values: "Tensor") -> bool:
    """Whether no number is NaN or infinite. Reads the tensor once and copies nothing."""
    import torch

    if not values.numel() or not values.is_floating_point():
        return True
    # `values.isfinite().all()` takes ten times as long on a CPU, and memory of the same size.
    return bool(torch.stack(torch.aminmax(values.detach())).isfinite().all())


def not_finite(tensors: Mapping[str, "Tensor"]) -> list[str]:
    """The names of tensors that are not finite."""
    return [name for name, value in tensors.items() if not all_finite(value)]


def check_clips_finite(clips: "Tensor", what: str, names: Sequence[str]) -> None:
    """Raise if the latents or frames of clips are not finite.

    Args:
        clips: a clip in each row.
        what: they are, and after which step, for the message.
        names: of the clips; numbers in the batch if there are none.

    Raises:
        NumericalError: that names the clips.
    """
    if all_finite(clips):
        return
    rows = [row for row, clip in enumerate(clips) if not all_finite(clip)]
    named = [names[row] if row < len(names) else f"clip {row} of its batch" for row in rows]
    raise NumericalError(f"{', '.join(named)}: {what} are not finite", hint=_HINT)
