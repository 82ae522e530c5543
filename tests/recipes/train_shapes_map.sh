#!/usr/bin/env bash
# Train latte_cli/assets/shapes-map, which samples in 4 steps, with the package's own commands. It
# begins from the network of shapes-fast that ships, and learns where that network's steps lead.
#
#     tests/recipes/train_shapes_map.sh WORK_FOLDER
#
# Interrupted, the same command goes on. The guide `inside` says what it reached.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
latte prepare shapes --count 12288 --seed 1
latte encode-latents --preset shapes-map
latte train --preset shapes-map
python "$checkout/tests/recipes/ship.py" runs/shapes-map/checkpoints/step-00003000 \
    "$checkout/latte_cli/assets/shapes-map"
latte sample --preset shapes-map --checkpoint embedded -n 64 --seed 7 --out sampled --overwrite
latte eval --preset shapes-map --fake sampled --metrics shape,direction
