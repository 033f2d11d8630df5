#!/usr/bin/env bash
# The study: what was fixed before it is in docs/findings.md. Each part goes on where it stopped; hours on two cores.
# What is kept of it: results/study/. Parts: methods, long, low, half (rules under swept learning rates: 60 steps, 200
# steps, a low and a middling base rate), length (what lengthens answers), off_policy, rewards, optimisers, prediction.
#   bash results/study.sh [DIRECTORY] [PART...]
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/study}
parts=${*:2}
python=${PYTHON:-.venv/bin/python}
rino="$python -m rino"
kept=results/study
mkdir -p "$work" "$kept"
rules="grpo f-isft-pm f-isft-pm-adv f-isft-pos f-isft-pos-adv dr-grpo rloo maxrl"
small="--num-prompts 16 --num-generations 8 --eval-samples 4 --probe-every 0 --save-every 0"

methods() {
  $rino compare --methods grpo f-isft-pm f-isft-pm-adv f-isft-pos f-isft-pos-adv f-isft-neg f-isft-neg-adv grpo-kl \
    --seeds 0 1 2 3 4 5 6 7 --sweep-seeds 1000 1001 1002 --learning-rates 3e-5 1e-4 3e-4 1e-3 --sweep-steps 30 \
    --steps 60 --eval-every 30 --eval-prompts 512 --micro-batch-size 32 $small --out "$work/methods"
  $python results/keep.py "$work/methods" "$kept/methods"
}

long() {
  $rino compare --methods $rules --seeds 10 11 12 13 14 15 16 17 --sweep-seeds 1000 1001 1002 \
    --learning-rates 3e-5 1e-4 3e-4 1e-3 --sweep-steps 30 --steps 200 --eval-every 100 --eval-prompts 512 \
    --micro-batch-size 32 $small --out "$work/long"
  $python results/keep.py "$work/long" "$kept/long"
}

# One model, two base rates: at temperature 1 it is right every second time, at 2.5 one time in twenty.
base_rate() {
  [ -f "$work/half/config.json" ] || $rino pretrain "$work/half" --max-attempts 1 --luck 1.0 --resign 1 --steps 2500
  $rino compare --model "$work/half" --temperature "$2" --methods $rules --seeds 10 11 12 13 14 15 16 17 \
    --sweep-seeds 1000 1001 1002 --learning-rates 3e-5 1e-4 3e-4 1e-3 3e-3 1e-2 --sweep-steps 30 --steps 100 --eval-every 50 \
    --eval-prompts 512 --micro-batch-size 32 $small --out "$work/$1"
  $python results/keep.py "$work/$1" "$kept/$1"
}
low() { base_rate low 2.5; }
half() { base_rate half-rate 1; }

# One learning rate and 60 batches for all of part 4; arms differ in one thing.
arm() {
  local name=$1 methods=$2
  shift 2
  $rino compare --methods $methods --seeds 10 11 12 13 14 --learning-rate "${rate:-1e-4}" --steps 60 --eval-every 0 \
    --eval-prompts 512 --micro-batch-size 32 $small "$@" --out "$work/arms/$name"
  $python results/keep.py "$work/arms/$name" "$kept/arms/$name"
}
off_policy() {
  arm on-policy "grpo dr-grpo f-isft-pos grpo-kl"
  for steps in 4 16 0; do arm "refresh-$steps" "grpo f-isft-pos" --refresh-every $steps; done
  for steps in 4 16; do arm "inner-$steps" "grpo f-isft-pos" --num-iterations $steps; done
}
rewards() {
  arm anti-kl grpo-kl --anti-kl
  arm three-level "grpo f-isft-pos" --scheme three-level
}
optimisers() {
  local rate
  # The rate of SGD is the least of its grid that moves GRPO as far in 60 steps as Adam's does.
  for rate in 0.03 0.1 0.3; do arm "sgd-$rate" "grpo dr-grpo" --optimiser sgd --max-grad-norm 0; done
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

for part in ${parts:-low half length methods prediction off_policy rewards optimisers long}; do
  $part
done
