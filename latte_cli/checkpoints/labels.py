"""Labels as users write them, and as networks number them."""

import difflib
import unicodedata
from collections.abc import Sequence

from latte_cli.runtime.errors import ConfigError


def label_number(text: str, num_classes: int | None, classes: Sequence[str]) -> int:
    """A label's number from its number or its name.

    Args:
        text: the user's input.
        num_classes: of the network; None: it is unconditional.
        classes: names of the labels, if they have names.

    Raises:
        ConfigError: if the network has no such label, or none at all.
    """
    if num_classes is None:
        raise ConfigError(
            "this network is unconditional, it takes no --label", hint="leave --label out"
        )
    spelled = [unicodedata.normalize("NFC", name) for name in classes]
    if (name := unicodedata.normalize("NFC", text)) in spelled:  # with accents composed or apart
        return spelled.index(name)
    if text.isdecimal() and int(text) < num_classes:
        return int(text)
    near = difflib.get_close_matches(text, classes, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    named = f" ({', '.join(classes[:4])}, …)" if classes else ""
    raise ConfigError(f"no label `{text}`", hint=f"{guess}labels are 0 to {num_classes - 1}{named}")
