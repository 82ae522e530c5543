"""Networks: building them from a configuration and loading their weights."""

from latte_cli.models.latte import Latte, LatteShape
from latte_cli.models.weights import build_model, load_latte, shape_from_config

__all__ = ["Latte", "LatteShape", "build_model", "load_latte", "shape_from_config"]
