"""Networks: building them from a configuration and loading their weights."""

from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.loading import build_model, load_latte, load_latte_t2v
from latte_cli.models.shapes import LatteShape, TextShape, shape_from_config

__all__ = [
    "Latte",
    "LatteShape",
    "LatteT2V",
    "TextShape",
    "build_model",
    "load_latte",
    "load_latte_t2v",
    "shape_from_config",
]
