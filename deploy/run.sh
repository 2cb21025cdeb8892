#!/bin/bash
# Clean, split and train on a bucket, and bring the checkpoint back to it. Read from the environment:
#   DATASET   the pictures, such as s3://your-bucket/flowers
#   RESULTS   where checkpoints go, such as s3://your-bucket/models
#   ENGINE    local, ray, or ray:ADDRESS (local)
#   TRAIN     further words for `train`, such as --recipe best (none)
#   PLACE     the folder to work in (the current one): what was learnt of the bucket lies there, and is gone on from
set -euo pipefail
: "${DATASET:?names no dataset: set it to s3://your-bucket/flowers}"
: "${RESULTS:?names no place for checkpoints: set it to s3://your-bucket/models}"
ENGINE=${ENGINE:-local}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${PLACE:-.}"

florilegium clean "$DATASET" --engine "$ENGINE" --yes
florilegium split "$DATASET" --engine "$ENGINE"
# Left unquoted on purpose: several words
florilegium train "$DATASET" --engine "$ENGINE" ${TRAIN:-}
python "$here/bring_back.py" models "$RESULTS"
