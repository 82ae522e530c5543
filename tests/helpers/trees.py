"""Trees of empty files, as the native layouts have them."""

import warnings

from latte_cli.runtime.errors import LatteWarning


def touch(root, *names):
    """Make empty files, and the folders that they lie in."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def quietly(find, *words, **options):
    """What a layout finds, and what it warns of meanwhile, in order."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = find(*words, **options)
    assert all(issubclass(each.category, LatteWarning) for each in told)
    return found, [str(each.message) for each in told]
