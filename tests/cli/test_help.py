"""The help as a reference: examples that work, whole sentences, groups, types that can be read."""

import inspect
import re
import shlex

import pytest
from conftest import succeed
from typer.main import get_command

from latte_cli.cli import app
from latte_cli.config import preset_names
from latte_cli.sources import DATASETS

COMMANDS = get_command(app).commands
FRAGMENTS = re.compile(r"(Of|Its|Their|It|Or|And|Also|Default|E\.g|Only|Where|For)\b")
TERMS = {
    "eval": {"--protocol": "rules of measuring", "--interval": "every N-th frame"},
    "sample": {"--cache": "pyramid attention broadcast", "--long-method": "queue of frames"},
    "t2v": {"--cache": "pyramid attention broadcast", "--long-method": "queue of frames"},
}


def options_of(command):
    """The options that the help shows, without --help."""
    return [
        each for each in COMMANDS[command].params if each.param_type_name == "option" and each.help
    ]


def examples_of(command):
    """The words of the examples in a command's help, without `latte`."""
    lines = inspect.cleandoc(COMMANDS[command].help).splitlines()
    shown = [line.strip() for line in lines if line.startswith("  latte ")]
    return [shlex.split(re.split(r"\s+#|\s>", line)[0])[1:] for line in shown]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_two_examples_that_parse(command):
    _, second, *_ = inspect.cleandoc(COMMANDS[command].help).split("\n\n")
    assert second.startswith("Examples:\n")
    examples = examples_of(command)
    assert len(examples) == 2
    assert succeed(command, "--help").stdout.count(f"\n   latte {command}") == 2, "indented"
    for name, *words in examples:
        assert name == command
        context = COMMANDS[name].make_context(name, list(words))  # raises on wrong usage
        presets = [context.params.get(key) for key in ("preset", "base")]
        presets += [context.params["name"]] if command == "presets" else []
        assert all(preset is None or preset in preset_names() for preset in presets)
        assert context.params.get("dataset", "folder") in DATASETS


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_the_text_is_folded(command):
    _, _, rest = inspect.cleandoc(COMMANDS[command].help).partition("\n\n")
    assert max(map(len, rest.splitlines())) <= 78


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_is_a_sentence_that_stands_alone(command):
    for option in COMMANDS[command].params:
        text = option.help
        assert text.endswith("."), option.name
        assert text[0].isupper(), option.name
        assert not FRAGMENTS.match(text), option.name
        first = text.removeprefix("Required. ").partition(". ")[0]
        assert len(first.split()) >= 4, f"{option.name}: {text}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_group_and_a_type_that_can_be_read(command):
    for option in options_of(command):
        assert option.rich_help_panel, option.name
        assert option.is_flag or option.metavar, option.name
        if option.metavar:
            assert len(option.metavar) <= 21, option.name
        limits = option._get_number_range_help_str() or ""
        assert len(limits) <= 12, option.name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_is_overridden_by_o_in_every_command(command):
    names = {name: option for option in options_of(command) for name in option.opts}
    assert "-o" not in names or command == "t2v" or names["-o"].metavar == "KEY=VALUE"
    if {"-o", "--out"} <= names.keys() and command != "t2v":
        assert names["-o"] is not names["--out"]


@pytest.mark.parametrize("command", TERMS)
def test_terms_are_explained_where_they_appear(command):
    helps = {name: option.help for option in options_of(command) for name in option.opts}
    for option, meaning in TERMS[command].items():
        assert meaning in helps[option]


def test_what_a_command_needs_is_marked():
    for command, option in (("train", "--preset"), ("prepare", "--source"), ("sample", "--preset")):
        helps = {name: each.help for each in options_of(command) for name in each.opts}
        assert helps[option].startswith("Required")
    assert "[required]" in succeed("prepare", "--help").stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_and_arguments_show_no_types_of_the_parser(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert not re.search(r"<(bool|list|str|int|Path)", succeed(command, "--help").stdout)
