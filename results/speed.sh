#!/usr/bin/env bash
# Every timing of docs/performance.md. On a CPU: sampling, GRPO steps, starts and memory at SmolLM2-135M's shape, against
# transformers, TRL and google-tunix; leave the machine alone meanwhile. On a GPU: decoding and updates at the published
# sizes of Qwen2.5 against the card's own rates; the peers installed on CPUs have no part in it.
#   bash results/speed.sh                 results: results/speed*.json, and the page's tables
# The peers' environments are made by `rino conformance trl --install` and `rino conformance tunix --install`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
if $python -c 'import jax; raise SystemExit(jax.default_backend() != "gpu")'; then
  for size in 0.5b 1.5b; do
    $python -m rino bench --scale "qwen2.5-$size" --works equal step --repeats 3 --json "results/speed-gpu-qwen2.5-$size.json"
  done
else
  $python -m rino bench --scale smollm2-135m --works equal ragged step start --repeats 2 --json results/speed.json
  $python results/products.py
  $python results/depth.py
fi
$python results/speed.py --write
