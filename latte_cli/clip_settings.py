"""In what the settings that a folder's clips were drawn with are others than those asked for."""

from collections.abc import Mapping
from typing import Any

_WEIGHTS = "weights_sha256"
_OF_WEIGHTS = (_WEIGHTS, "vae_sha256", "scheduler_sha256", "text_encoder_fingerprint")
_TYPES = {"bf16": "bfloat16"}


def other_settings(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is other than asked for, in words; nothing if clips may stand beside each other.

    A key that one of both lacks is as if it were None. `model` is but the name of what the
    checksums tell. A folder that has none was written before there were any: there the name is
    compared, and a precision of `auto`, which tells no type, is not.

    Args:
        there: settings of the folder.
        asked: settings of the clips to come.
    """
    precision = there.get("precision")
    there, left_out = dict(there), {"model"}
    if _WEIGHTS not in there:
        there["precision"] = _TYPES.get(str(precision), precision)
        left_out = {*_OF_WEIGHTS, *(["precision"] if precision == "auto" else [])}
    keys = [*asked, *(key for key in there if key not in asked)]
    return [
        f"{key} was {there.get(key)}"
        for key in keys
        if key not in left_out and there.get(key) != asked.get(key)
    ]
