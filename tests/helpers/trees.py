"""Trees of empty files in native layouts."""

import warnings

from latte_cli.runtime.errors import LatteWarning


def touch(root, *names):
    """Create empty files and their folders."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def with_warnings(find, *words, **options):
    """The result of a function, and the texts of its warnings in order."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = find(*words, **options)
    assert all(issubclass(each.category, LatteWarning) for each in warned)
    return found, [str(each.message) for each in warned]
