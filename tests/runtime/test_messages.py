"""Errors read as a whole: each says what happened and what to do, in one voice."""

import re

from helpers.messages import FOR_CONFIG, KINDS, all_messages

MESSAGES = all_messages()
FILLED = re.compile(r"\{[^{}]*\}")


def shown(text):
    """A text without what is filled in."""
    return FILLED.sub("", text)


def test_all_errors_of_the_project_are_found():
    kinds = {each.kind for each in MESSAGES}
    assert len(MESSAGES) > 500
    assert kinds - FOR_CONFIG <= KINDS
    assert {"ConfigError", "DataError", "CheckpointError", "VideoError", "ExistsError"} <= kinds


def test_every_error_has_a_hint():
    assert not [f"{each.place}: {each.message}" for each in MESSAGES if not each.hint]
    # In the schema a Mismatch has one, and a ValueError has none of its own.
    assert not [each.place for each in MESSAGES if each.kind == "ValueError"]


def test_every_error_speaks_in_one_voice():
    """No question for an answer, no period at the end, no pleading; a hint is more than a word."""
    odd = [f"{each.place}: {problem}" for each in MESSAGES for problem in problems_of(each)]
    assert not odd


def problems_of(message):
    hint, text = message.hint or "", message.message
    if shown(hint).endswith("?"):
        yield "a question for a hint"
    if text.endswith((".", "!")) or hint.endswith((".", "!")):
        yield "a period at the end"
    if re.search(r"\b(please|sorry|oops|illegal)\b", f"{text} {hint}", re.IGNORECASE):
        yield "pleading"
    if shown(hint) == hint and len(hint.split()) < 3 and not hint.startswith("-"):
        yield f"a riddle: {hint}"
