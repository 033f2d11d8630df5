#!/usr/bin/env bash
# The study: part 1 every form of the paper under swept learning rates, part 2 the theory as a prediction, part 3 what
# lengthens answers. Each part goes on where it stopped; hours on two cores. What is kept of it: results/study/.
#   bash results/study.sh [DIRECTORY] [PART...]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/study}
parts=${*:2}
python=${PYTHON:-.venv/bin/python}
rino="$python -m rino"
kept=results/study
mkdir -p "$work" "$kept"
small="--num-prompts 16 --num-generations 8 --eval-samples 4 --probe-every 0 --save-every 0"

methods() {
  $rino compare --methods grpo f-isft-pm f-isft-pm-adv f-isft-pos f-isft-pos-adv f-isft-neg f-isft-neg-adv grpo-kl \
    --seeds 0 1 2 3 4 5 6 7 --sweep-seeds 1000 1001 1002 --learning-rates 3e-5 1e-4 3e-4 1e-3 --sweep-steps 30 \
    --steps 60 --eval-every 30 --eval-prompts 512 --micro-batch-size 32 $small --out "$work/methods"
  $python results/keep.py "$work/methods" "$kept/methods"
}

prediction() {
  $python results/prediction.py default --prompts 32 --responses 256 --batches 12 --out "$kept/prediction.json"
}

length() {
  # Traces of up to four attempts, which training may lengthen.
  [ -f "$work/traces/config.json" ] || $rino pretrain "$work/traces" --max-attempts 4 --luck 0.3 --resign 0.25 --steps 1500
  for aggregation in sequence-mean-token-mean sequence-mean-token-sum-norm token-mean; do
    $rino compare --model "$work/traces" --methods grpo f-isft-pm f-isft-pos f-isft-neg --seeds 0 1 2 3 4 \
      --loss-aggregation $aggregation --learning-rate 1e-4 --steps 60 --eval-every 30 --eval-prompts 256 $small \
      --out "$work/length/$aggregation"
    $python results/keep.py "$work/length/$aggregation" "$kept/length/$aggregation"
  done
}

for part in ${parts:-length methods prediction}; do
  $part
done
