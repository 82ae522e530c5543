"""The user's own words: what of a command the next one, or the same one, is to have again."""

from latte_cli.cli.boundary import global_options


def typed(*options: str) -> list[str]:
    """Those of these options that the user typed, with their values, as they were typed.

    Args:
        options: that take a value; all spellings of each, such as `--preset` and `-p`.
    """
    words, kept = list(global_options.words), list[str]()
    for number, word in enumerate(words):
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name not in options:
            continue
        kept += [word] if word != name else words[number : number + 2]
    return kept


def typed_again(*flags: str, **changed: object) -> list[str]:
    """The user's whole command, without some flags, and with other values of some options.

    Args:
        flags: to leave out.
        changed: options by name without `--`, underscores for hyphens; None: left out, too.
    """
    options = {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    words, kept = iter(global_options.words), list[str]()
    for word in words:
        name, equals, _ = word.partition("=")
        if name in options:
            if not equals:
                next(words, None)
        elif word not in flags:
            kept.append(word)
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    return [*kept, *(word for pair in given for word in pair)]


def typed_overrides(*sections: str) -> list[str]:
    """The `-o KEY=VALUE` that the user typed, of some sections; of all if none are named."""
    words = iter(typed("-o"))
    pairs = [word.removeprefix("-o") or next(words) for word in words]
    chosen = [p for p in pairs if not sections or p.partition(".")[0].strip() in sections]
    return [word for pair in chosen for word in ("-o", pair)]
