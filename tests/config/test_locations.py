"""Where weights that ship lie."""

import pytest

from latte_cli.config.locations import asset, weights_path
from latte_cli.runtime.errors import CheckpointError


@pytest.mark.parametrize("name", ["shapes-fast", "shapes-map", "t2v-shapes"])
def test_networks_and_pipelines_that_ship_are_named_by_embedded(name):
    assert weights_path(f"embedded/{name}") == asset(name)
    assert asset(name).is_dir()


@pytest.mark.parametrize("name", ["autoencoder", "nothing"])
def test_what_is_no_network_is_refused_with_the_names_of_those_that_are(name):
    with pytest.raises(CheckpointError) as refused:
        weights_path(f"embedded/{name}")
    assert (
        refused.value.hint == "embedded/shapes-fast or embedded/shapes-map or embedded/t2v-shapes"
    )
