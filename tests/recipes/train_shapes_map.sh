#!/usr/bin/env bash
# Train latte_cli/assets/shapes-map, which samples in 4 steps, with the package's own commands. It
# begins from the network of shapes-fast that ships, and learns where that network's steps lead.
#
#     tests/recipes/train_shapes_map.sh WORK_FOLDER
#
# Interrupted, the same command goes on. The two trainings of what ships were run on different days,
# by two processes; the first learned steps that began at noised clips, as an earlier version did,
# and the second began with 1534 steps of a schedule for 4300. The guide `inside` says what they
# reached.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
cd "$1"
ship() {
    python "$checkout/tests/recipes/ship.py" "runs/$1/checkpoints/step-$2" "$3"
}
latte prepare shapes --count 12288 --seed 1
latte encode-latents --preset shapes-map
latte train --preset shapes-map --run first -o train.steps=3000
ship first 00003000 first
latte train --preset shapes-map --run second -o train.init=first -o train.steps=3584 \
    -o train.lr=5e-3 -o train.adamw_lr=1.7e-3 -o train.seed=1
ship second 00003584 "$checkout/latte_cli/assets/shapes-map"
latte sample --preset shapes-map --checkpoint embedded -n 64 --seed 7 --out sampled --overwrite
latte eval --preset shapes-map --fake sampled --metrics shape,direction
