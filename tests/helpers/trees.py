"""Trees of empty files in native layouts."""

import warnings

from latte_cli.runtime.errors import LatteWarning

SIZE_ENDINGS = ("is it complete?", "labels count the classes found")


def touch(root, *names):
    """Create empty files and their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def with_warnings(find, *words, **options):
    """The result of a function, and the texts of its warnings in order.

    Without those that a data set is not complete: trees in tests are small.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = find(*words, **options)
    assert all(issubclass(each.category, LatteWarning) for each in warned)
    texts = [str(each.message) for each in warned]
    return found, [text for text in texts if not text.endswith(SIZE_ENDINGS)]
