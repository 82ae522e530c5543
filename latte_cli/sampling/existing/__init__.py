"""What exists where a command is to write: the result of the same request, or of another."""

from latte_cli.sampling.existing.rule import differences, is_there, require_replaceable

__all__ = ["differences", "is_there", "require_replaceable"]
