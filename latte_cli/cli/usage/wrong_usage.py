"""Wrong usage in words: what the parser did not understand, and what may be meant."""

import re
from typing import Any

from latte_cli.cli.boundary import global_options
from latte_cli.cli.usage.habits import suggest_command, suggest_instead_of, suggest_option

_EXTRA = re.compile(r"Got unexpected extra argument\(?s?\)? \((.*)\)")
_NO_COMMAND = re.compile(r"No such command '([^']*)'")


def describe_wrong_usage(error: Any) -> tuple[str, str]:
    """A message and a hint for an error of the parser.

    Args:
        error: that Typer raised; it knows the command, and perhaps the option.
    """
    context = getattr(error, "ctx", None)
    first = global_options.words[0] if global_options.words else ""
    in_command = context is None or context.parent is not None  # one without is of an option
    command = context.info_name if in_command and context else first * in_command
    program = f"latte {command}".strip()
    message = error.format_message().rstrip(".")
    message, meant = _message_and_guess(error, context, command, message)
    guess = f"did you mean `{meant}`? " if meant else ""
    shown = "shows all options" if in_command else "lists the commands"
    return message, f"{guess}`{program} --help` {shown}"


def _message_and_guess(error: Any, context: Any, command: str, message: str) -> tuple[str, str]:
    options = _options_of(context)
    if type(error).__name__ == "NoSuchOption":
        option, value = _as_typed(error.option_name)
        meant = suggest_option(option, value, command, options)
        return f"`{f'latte {command}'.strip()}` has no option {option}", meant
    if found := _EXTRA.match(message):
        words = found[1].split(" ")
        meant = suggest_instead_of(words, command, options)
        return f"`latte {command}` takes no further word, but there is `{found[1]}`", meant
    if found := _NO_COMMAND.match(message):
        known = context.command.list_commands(context)
        return f"there is no command `{found[1]}`", suggest_command(found[1], known)
    return message[:1].lower() + message[1:], ""


def _options_of(context: Any) -> set[str]:
    """All options of the command that was parsed."""
    if context is None:
        return set()
    return {name for parameter in context.command.params for name in parameter.opts}


def _as_typed(option: str) -> tuple[str, str]:
    """An option as the user typed it, and the value after it; empty if there is none.

    The parser takes `-lr` for the options -l and -r, and reports the first.
    """
    words = list(global_options.words)
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        is_it = name == option or (not option.startswith("--") and name.startswith(option))
        if not is_it or not word.startswith("-"):
            continue
        following = words[number + 1] if number + 1 < len(words) else ""
        is_value = not following.startswith("-") or following[1:2].isdigit()
        return name, value if equals else following * is_value
    return option, ""
