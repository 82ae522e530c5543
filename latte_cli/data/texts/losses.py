"""What the text encoder did not take of texts: ends that are too long, and unknown words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from latte_cli.data.texts.shards import StoredText
from latte_cli.data.texts.store import NULL_TEXT, key_of
from latte_cli.runtime.console import Console

_SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True)
class Losses:
    """What the encoder did not take of some texts.

    Attributes:
        cut: texts with more tokens than the encoder takes, and how many of each are left out.
        unknown: texts with tokens that the tokenizer does not know, and how many of each.
        empty: texts of which cleaning, or the tokenizer, leaves nothing.
    """

    cut: Mapping[str, int]
    unknown: Mapping[str, int]
    empty: tuple[str, ...]

    def report(self, tokens: int, console: Console) -> None:
        """Warn of all of them; none is fatal.

        Args:
            tokens: that the encoder takes of a text.
            console: for the warnings.
        """
        if self.cut:
            console.warning(
                f"{len(self.cut)} texts are longer than {tokens} tokens: "
                f"{sum(self.cut.values())} tokens are cut off, {_first(self.cut)}"
            )
        if self.unknown:
            console.warning(
                f"{len(self.unknown)} texts hold what the text encoder does not know: "
                f"{sum(self.unknown.values())} tokens, {_first(self.unknown)}"
            )
        if self.empty:
            console.warning(
                f"{len(self.empty)} texts have no words that the text encoder takes, the first: "
                f"`{self.empty[0]:.{_SHOWN}}`; their clips are trained on as without a caption"
            )


def losses_of(texts: Iterable[str], stored: Mapping[int, StoredText]) -> Losses:
    """What the encoder did not take of some texts.

    Args:
        texts: the texts; the null text does not count.
        stored: what shards record of those that are not complete, by key.
    """
    found = [
        (text, stored[key])
        for text in texts
        if text != NULL_TEXT and (key := key_of(text)) in stored
    ]
    return Losses(
        {text: each.cut for text, each in found if each.cut},
        {text: each.unknown for text, each in found if each.unknown},
        tuple(text for text, each in found if each.length <= 1),
    )


def _first(counts: Mapping[str, int]) -> str:
    text, count = next(iter(counts.items()))
    return f"{count} of them in the first: `{text:.{_SHOWN}}`"
