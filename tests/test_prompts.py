"""Prompts from files: what a line may say, and how a line is told that cannot be."""

import pytest

from latte_cli.errors import ConfigError
from latte_cli.prompts import Prompt, read_prompts


def table(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "prompt,seed,negative,guidance\nsea,3,blur,2.5\n\nsea,,,\n"),
        (
            "a.jsonl",
            '{"prompt": "sea", "seed": 3, "negative": "blur", "guidance": 2.5}\n{"prompt": "sea"}',
        ),
    ],
)
def test_tables_say_what_the_command_line_leaves_open(tmp_path, name, text):
    found = read_prompts(table(tmp_path, name, text))
    assert found == [Prompt("sea", 3, "blur", 2.5), Prompt("sea")]


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_seeds_are_all_that_an_npz_can_hold(tmp_path, seed):
    (prompt,) = read_prompts(table(tmp_path, "a.csv", f"prompt,seed\nsea,{seed}\n"))
    assert prompt.seed == seed


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "prompt,seed\nsea,1\nsea,-1\n", "line 3 has the seed -1"),
        ("a.jsonl", '{"prompt": "sea", "seed": -5}\n', "line 1 has the seed -5"),
        ("a.jsonl", f'{{"prompt": "sea", "seed": {2**63}}}\n', f"line 1 has the seed {2**63}"),
        ("a.jsonl", '{"prompt": "sea", "seed": 1.5}\n', "line 1 has the seed 1.5"),
        ("a.jsonl", '\n{"prompt": "sea", "seed": 1e400}\n', "line 2 has the seed inf"),
        ("a.jsonl", '{"prompt": "sea", "seed": NaN}\n', "line 1 has the seed nan"),
        ("a.csv", "prompt,guidance\nsea,nan\n", "line 2 has the guidance nan"),
        ("a.csv", "prompt,guidance\nsea,-0.5\n", "line 2 has the guidance -0.5"),
        ("a.csv", "prompt,guidance\nsea,1e400\n", "line 2 has the guidance inf"),
        ("a.jsonl", '{"prompt": "sea", "guidance": NaN}\n', "line 1 has the guidance nan"),
        ("a.jsonl", f'{{"prompt": "sea", "guidance": 1{"0" * 400}}}\n', "line 1 has a value"),
        ("a.csv", "prompt,seed\nsea,many\n", "line 2 has a value that is no number"),
    ],
)
def test_numbers_that_cannot_be_are_told_by_line(tmp_path, name, text, told):
    with pytest.raises(ConfigError, match=r"^.*: line \d ") as caught:
        read_prompts(table(tmp_path, name, text))
    assert told in str(caught.value)
    assert caught.value.hint
