"""The base of all sections of the configuration, and values that do not go together."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: frozen; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False
    )


class Mismatch(ValueError):
    """Values that do not go together, with the overrides that would."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def class_overrides(num_classes: int | None) -> str:
    """The options that make a network class-conditional, or unconditional if None is given."""
    condition, count = ("none", "null") if num_classes is None else ("class", num_classes)
    return f"-o model.condition={condition} -o model.num_classes={count}"


def check_interval(key: str, interval: tuple[float, float]) -> None:
    """Raise ValueError unless a key's interval is within [0, 1] and ascending."""
    low, high = interval
    if not 0 <= low <= high <= 1:
        raise Mismatch(
            f"{key} is {low:g} to {high:g}, but must be two numbers in ascending order from 0 to 1",
            f"such as -o {key}=[0.1,0.8]",
        )


def split_words(value: Any) -> Any:
    """`a, b` as a list of two words; what is no text, as it is."""
    return [word.strip() for word in value.split(",")] if isinstance(value, str) else value
