"""This process among those that torchrun started; alone, where none did."""

import os


def rank() -> int:
    """This process's number, 0 to `world_size() - 1`."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that speaks and writes for all."""
    return rank() == 0
