#!/usr/bin/env bash
# Train the embedded network, latte_cli/assets/shapes, with the package's own commands.
#
#     tests/recipes/train_shapes.sh WORK_FOLDER
#
# Interrupted, the same command goes on. The guide `inside` quotes what it reached.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
latte prepare shapes --count 1024
latte encode-latents --preset shapes
latte train --preset shapes
python "$checkout/tests/recipes/ship.py" "$(ls -d runs/shapes/checkpoints/step-* | tail -n 1)" "$checkout/latte_cli/assets/shapes"
