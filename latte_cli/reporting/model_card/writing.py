"""A card in the folder of its model, where it can be read and edited before it is uploaded."""

import hashlib
import re
from pathlib import Path

from latte_cli.reporting.model_card.text import PREVIEW
from latte_cli.runtime.files import write_if_changed

CARD = "README.md"
"""The name by which the hub knows the card of a model."""

_SEAL = re.compile(r"\n<!-- made by latte, ([0-9a-f]{16}); an edited card is kept -->\n\Z")


def edited_card(folder: Path) -> str | None:
    """The card of a folder, if it was written or edited by hand; None if there is none such."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    seal = _SEAL.search(text)
    return None if seal and seal[1] == _checksum(text[: seal.start()]) else text


def write_card(folder: Path, text: str, edited: str | None, preview: Path | None) -> str:
    """Write a card and its clip; the card as it is then.

    Args:
        folder: of the model.
        text: of the card.
        edited: what was written by hand, and is kept instead.
        preview: the clip, which is copied; None for none.
    """
    seal = f"\n<!-- made by latte, {_checksum(text)}; an edited card is kept -->\n"
    card = text + seal if edited is None else edited
    write_if_changed(folder / CARD, card.encode("utf-8"))
    if preview is not None:
        write_if_changed(folder / PREVIEW, preview.read_bytes())
    return card


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
