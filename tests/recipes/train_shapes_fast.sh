#!/usr/bin/env bash
# Train latte_cli/assets/shapes-fast with the package's own commands: a network of 6 blocks, then 2
# more that begin as identity. Of 64 clips (seed 7, guidance 2) 66 % and then 73 % hold one whole figure.
#
#     tests/recipes/train_shapes_fast.sh WORK_FOLDER
#
# Interrupted, the same command goes on.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
latte prepare shapes --count 3072 --seed 1
latte encode-latents --preset shapes-fast
latte train --preset shapes-fast --run shallow -o model.depth=6
latte train --preset shapes-fast --run deep -o train.init=runs/shallow -o train.steps=3000 \
    -o train.lr=7e-3 -o train.adamw_lr=2e-3 -o diffusion.timestep_mean=0.2
python "$checkout/tests/recipes/ship.py" runs/deep/checkpoints/step-00003000 "$checkout/latte_cli/assets/shapes-fast"
