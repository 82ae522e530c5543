#!/usr/bin/env bash
# Make the embedded text-to-video pipeline, latte_cli/assets/t2v-shapes, with the package's own
# commands, and print how many clips do what their sentences say.
#
#     tests/recipes/train_t2v_shapes.sh WORK_FOLDER [OPTIONS OF latte train]
#
# Interrupted, the same command goes on. The first six stages of what ships saw only the first 3072
# of these videos. The guide `inside` quotes what it reached.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/../.." && pwd)
recipes=$checkout/tests/recipes
mkdir -p "$1"
cd "$1"
shift
text=(-o text.path=text-encoder)
[ -d text-encoder ] || python "$recipes/make_text_encoder.py" --out text-encoder
latte prepare shapes --count 12288 --seed 1
latte encode-latents --preset t2v-shapes "${text[@]}"
latte train --preset t2v-shapes "${text[@]}" "$@"
latte convert runs/t2v-shapes pipeline --to pipeline --check --overwrite
python "$recipes/ship_pipeline.py" pipeline "$checkout/latte_cli/assets/t2v-shapes"
python "$recipes/measure_t2v_shapes.py" --out measured --overwrite | tee measured.json
