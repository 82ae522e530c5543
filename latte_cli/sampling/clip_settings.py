"""In what the settings that a folder's clips were drawn with are others than those asked for."""

from collections.abc import Mapping
from typing import Any

_A_NAME = "model"  # of what the checksums tell


def other_settings(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What is other than asked for, in words; nothing if clips may stand beside each other.

    A key that one of both lacks is as if it were None.

    Args:
        there: settings of the folder.
        asked: settings of the clips to come.
    """
    keys = dict.fromkeys((*asked, *there))  # each once, in their order
    return [
        f"{key} was {there.get(key)}"
        for key in keys
        if key != _A_NAME and there.get(key) != asked.get(key)
    ]
