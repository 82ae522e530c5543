"""Prompts from files: values of a line, and errors that name the line."""

import pytest

from latte_cli.cli.options import parse_prompts
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError
from latte_cli.text.caption_cleaning import removed_words
from latte_cli.text.prompts import Prompt, check_cleaning, read_prompts


def table(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "prompt,seed,negative,guidance\nsea,3,blur,2.5\n\nsea,,,\n"),
        ("a.csv", "prompt,seed,negative,guidance\nsea,3.0,blur,2.5\nsea,,,\n"),
        (
            "a.jsonl",
            '{"prompt": "sea", "seed": 3, "negative": "blur", "guidance": 2.5}\n{"prompt": "sea"}',
        ),
    ],
)
def test_tables_set_seed_negative_and_guidance(tmp_path, name, text):
    found = read_prompts(table(tmp_path, name, text))
    assert found == [Prompt("sea", 3, "blur", 2.5), Prompt("sea")]


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_seeds_are_all_that_int64_can_store(tmp_path, seed):
    (prompt,) = read_prompts(table(tmp_path, "a.csv", f"prompt,seed\nsea,{seed}\n"))
    assert prompt.seed == seed


@pytest.mark.parametrize(
    ("name", "text", "message"),
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
        ("a.csv", "prompt,seed\nsea,1.5\n", "line 2 has the seed 1.5"),
        ("a.csv", "prompt,seed\nsea,many\n", "line 2 has a value that is not a number"),
    ],
)
def test_errors_on_invalid_numbers_name_the_line(tmp_path, name, text, message):
    with pytest.raises(ConfigError, match=r"^.*: line \d ") as caught:
        read_prompts(table(tmp_path, name, text))
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'prompt,negative\n"a red car\ndrives by","low\nquality"\nsea,\n'),
        (
            "a.jsonl",
            '{"prompt": "a red car\\ndrives  by", "negative": "low\\tquality"}\n'
            '{"prompt": "sea"}\n',
        ),
    ],
)
def test_white_space_in_a_prompt_is_collapsed(tmp_path, name, text, end):
    """As caption cleaning does, so that lists record the prompt that was used."""
    found = read_prompts(table(tmp_path, name, text.replace("\n", end)))
    assert found == [Prompt("a red car drives by", negative="low quality"), Prompt("sea")]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a red car{}drives by\nsea\n"),
        ("a.csv", "prompt\na red car{}drives by\nsea\n"),
        ("a.jsonl", '{{"prompt": "a red car{}drives by"}}\n{{"prompt": "sea"}}\n'),
    ],
)
def test_unicode_line_separators_do_not_end_a_prompt(tmp_path, name, text, mark):
    """JSON allows U+2028, U+2029 and U+0085 in strings as they are (RFC 8259, section 7)."""
    if name == "a.jsonl" and mark < " ":
        mark = f"\\u{ord(mark):04x}"  # which it does not allow raw
    found = read_prompts(table(tmp_path, name, text.format(mark)))
    assert found == [Prompt("a red car drives by"), Prompt("sea")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'prompt\nsea\n"{"x" * 131_073}"\n', "line 3 does not parse (field larger than"),
        (f"{'x' * 131_073}\nsea\n", "line 1 does not parse (field larger than"),
        ('prompt\nsea\n"a red car\na blue one\n', "line 3 does not parse (unexpected end"),
        ('prompt,seed\n"a red\ncar",1\n"a\nblue one",-1\n', "line 4 has the seed -1"),
    ],
)
def test_errors_in_a_csv_name_the_line(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        read_prompts(table(tmp_path, "a.csv", text))
    assert message in str(caught.value)
    assert caught.value.hint


def test_json_nested_too_deep_raises(tmp_path):
    with pytest.raises(ConfigError, match="line 1 is not JSON"):
        read_prompts(table(tmp_path, "a.jsonl", "[" * 200_000))


def test_prompts_of_the_command_line_equal_those_of_a_file(tmp_path):
    path = table(tmp_path, "a.csv", 'prompt\n"a red car\n drives by"\n')
    assert parse_prompts(["a red car\n drives by"], None, None) == parse_prompts(None, path, None)


@pytest.mark.parametrize("sign", ["\\ud83d", "\\u0000"])
def test_invalid_characters_raise(tmp_path, sign):
    """Half a surrogate pair of JSON, and a zero byte."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"prompt": "a cat {sign}"}}\n')
    with pytest.raises(ConfigError, match="invalid character"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("caption", "removed"),
    [
        ("A Raccoon, playing the guitar!", []),
        ("\u201cquoted\u201d &amp; it\u2019s a <person> \u2013 dashed", []),
        ("a%20cat+on+a+mat", []),
        ("a blue_car and a_b_c_d_e", []),
        ("a 3d render of r2d2", ["r2d2"]),
        ("123456 birds over 1234567 trees", ["123456", "1234567"]),
        ("photo.png of a cat", ["photo.png"]),
        ("一只浣熊在弹吉他", ["一只浣熊在弹吉他"]),
        ("a cat 猫 and a dog 犬", ["猫", "犬"]),
        ("see www.site.com/x by @someone", ["www.site.com/x", "someone"]),
        ("a 1920x1080 sky, free shipping", ["1920x1080", "free shipping"]),
        ("猫のダンス", ["猫"]),
    ],
)
def test_what_cleaning_takes_is_found(caption, removed):
    assert removed_words(caption) == removed


@pytest.mark.parametrize(
    "caption", ["一只浣熊在弹吉他", "#1234567", "photo.png", "r2d2", "@me", "一只浣熊。", "123456!"]
)
def test_a_prompt_of_which_cleaning_leaves_nothing_raises(caption):
    with pytest.raises(ConfigError, match="cleaning leaves nothing of the prompt") as refusal:
        check_cleaning(["a cat", caption], Console(), "--no-clean passes it on as it is; or ")
    assert caption in str(refusal.value)
    assert refusal.value.hint == "--no-clean passes it on as it is; or write it in English words"


def test_what_cleaning_takes_is_reported(capsys):
    captions = [
        "a cat",
        "",
        "!!",
        "a 3d render of r2d2",
        *(f"{n} birds" for n in range(10**6, 10**6 + 9)),
    ]
    check_cleaning([*captions, *captions], Console(), "--no-clean helps; or ")
    said = " ".join(capsys.readouterr().err.split())
    assert "note: cleaning took `r2d2` out of the prompt `a 3d render of r2d2`" in said
    assert said.count("note: cleaning took `") == 5
    assert "note: cleaning took words out of 5 more prompts" in said
    assert "--no-clean passes prompts on as they are" in said
    check_cleaning(["a cat", ""], Console(), "")
    assert capsys.readouterr().err == ""
