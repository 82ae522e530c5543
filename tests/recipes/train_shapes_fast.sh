#!/usr/bin/env bash
# Train latte_cli/assets/shapes-fast with the package's own commands: a network of 6 blocks, which
# is shipped to the work folder, then 2 more that begin as identity, then all on more videos, and
# once more at a lower rate.
#
#     tests/recipes/train_shapes_fast.sh WORK_FOLDER
#
# Interrupted, the same command goes on. The four trainings of what ships were run on different
# days, the third by two processes. The guide `inside` says what they reached.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
ship() {
    python "$checkout/tests/recipes/ship.py" "runs/$1/checkpoints/step-$2" "$3"
}
if [ ! -d deep ]; then
    latte prepare shapes --count 3072 --seed 1
    latte encode-latents --preset shapes-fast
    latte train --preset shapes-fast --run shallow -o model.depth=6
    ship shallow 00007500 shallow
    latte train --preset shapes-fast --run deep -o train.init=shallow -o train.steps=3000 \
        -o train.lr=7e-3 -o train.adamw_lr=2e-3 -o diffusion.timestep_mean=0.2
    ship deep 00003000 deep
fi
latte prepare shapes --count 12288 --seed 1
latte encode-latents --preset shapes-fast
latte train --preset shapes-fast --run more -o train.init=deep -o train.steps=5500 \
    -o train.lr=7e-3 -o train.adamw_lr=2e-3 -o diffusion.timestep_mean=0.2
ship more 00005500 more
latte train --preset shapes-fast --run last -o train.init=more -o train.steps=2000 \
    -o train.lr=4e-3 -o train.adamw_lr=1.2e-3 -o diffusion.timestep_mean=0.2 -o train.seed=1
ship last 00002000 "$checkout/latte_cli/assets/shapes-fast"
cd "$checkout"
latte calibrate --preset shapes-fast --checkpoint latte_cli/assets/shapes-fast
