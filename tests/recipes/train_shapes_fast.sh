#!/usr/bin/env bash
# Train latte_cli/assets/shapes-fast with the package's own commands: a network of 6 blocks, which
# is shipped to the work folder, then 2 more that begin as identity.
#
#     tests/recipes/train_shapes_fast.sh WORK_FOLDER
#
# Interrupted, the same command goes on. The two trainings of what ships were run on different days.
# Of 64 clips (seed 7, guidance 2) 66 % after the first and 73 % after the second hold one whole
# figure (`latte eval --metrics shape`).
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
latte prepare shapes --count 3072 --seed 1
latte encode-latents --preset shapes-fast
latte train --preset shapes-fast --run shallow -o model.depth=6
python "$checkout/tests/recipes/ship.py" runs/shallow/checkpoints/step-00007500 shallow
latte train --preset shapes-fast --run deep -o train.init=shallow -o train.steps=3000 \
    -o train.lr=7e-3 -o train.adamw_lr=2e-3 -o diffusion.timestep_mean=0.2
python "$checkout/tests/recipes/ship.py" runs/deep/checkpoints/step-00003000 \
    "$checkout/latte_cli/assets/shapes-fast"
