#!/bin/sh
# The gate as every CI service runs it, from the root of the repository. Written by `tunegate init`.
# Exit codes: 0 SHIP, 1 BLOCK, 2 a mistake, 10 UNDECIDED, 11 HOLD, 12 NOT COMPARABLE, 13 ERROR.
set -eu
rm -rf tunegate-run # a run folder that was committed, or of another run, is not this run

python3 -m venv .venv-tunegate
. .venv-tunegate/bin/activate
# Without a GPU, PyTorch for processors: 0.2 GB instead of several.
command -v nvidia-smi > /dev/null ||
    export PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-} https://download.pytorch.org/whl/cpu"
# Always the same versions, so that the stored answers of base can be compared with new ones.
pip install -c suites/constraints.txt "@REQUIREMENT@"

# If the fine-tune is elsewhere, download it, and write gate_tuned = ../adapter into suites/pytest.ini.
# Each pull request names its version here. The tool must be installed, and the job must set its key.
# aws s3 cp --recursive s3://BUCKET/support/v2 adapter
# oras pull ghcr.io/OWNER/support:v2 --output adapter
# mlflow artifacts download --artifact-uri models:/support/2 --dst-path adapter
# wandb artifact get OWNER/PROJECT/support:v2 --root adapter
# hf download OWNER/support --revision v2 --local-dir adapter

tunegate gate suites --run-dir tunegate-run "$@"
test -s tunegate-run/verdict.json # a metric that ends the process leaves no verdict
