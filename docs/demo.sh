#!/usr/bin/env bash
# The whole job on data that needs no download: `make demo` runs this in the environment that it has made.
# Leaves its files in demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf demo
mkdir demo
run() { printf '\n$ %s\n' "$*"; "$@"; }

echo "== Images: scikit-learn's handwritten digits =="
run edgecnn train cnn --write-dataset demo/digits
run python train/cnn.py demo/digits -o demo/cnn.keras --color gray --image-size 32 --no-horizontal-flip --epochs 6
run python export/to_onnx.py demo/cnn.keras --quantize int8 --calibration demo/digits --report demo/cnn.json
run edgecnn verify demo/cnn.onnx --against demo/cnn.keras --data demo/digits
run edgecnn-predict demo/digits/*/001?.png --model demo/cnn.onnx --top-k 2
run edgecnn-predict demo/digits --model demo/cnn.onnx --format jsonl --output demo/cnn.jsonl --batch-size 32

echo
echo "== A table: scikit-learn's breast cancer data =="
python - demo/cancer.csv <<'PYTHON'
import csv
import sys

from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
with open(sys.argv[1], "w", newline="") as f:
    writer = csv.writer(f)
    writer.writerow([*data.feature_names, "diagnosis"])
    writer.writerows([*row, data.target_names[t]] for row, t in zip(data.data.tolist(), data.target, strict=True))
PYTHON
run python train/mlp.py demo/cancer.csv --target diagnosis -o demo/mlp.keras
run python export/to_onnx.py demo/mlp.keras --quantize int8 --calibration demo/cancer.csv --report demo/mlp.json
run edgecnn-predict demo/cancer.csv --model demo/mlp.onnx --format csv --output demo/mlp.csv
run head -4 demo/mlp.csv

echo
echo "== The built-in model on this machine =="
run edgecnn selftest
run edgecnn bench demo/cnn.onnx

echo
python - <<'PYTHON'
import csv
import json

results = [json.loads(line) for line in open("demo/cnn.jsonl")]
right = sum(r["label"] == r["source"].split("/")[-2] for r in results)
print(f"images: {right} of {len(results)} digits read rightly by the int8 model")
truth = [row["diagnosis"] for row in csv.DictReader(open("demo/cancer.csv"))]
right = sum(r["label"] == t for r, t in zip(csv.DictReader(open("demo/mlp.csv")), truth, strict=True))
print(f"table: {right} of {len(truth)} diagnoses predicted rightly by the int8 model")
for name in ("cnn", "mlp"):
    report = json.load(open(f"demo/{name}.json"))
    print(f"{name}: parity {report['parity']}, quantization {report['quantization']['kind']}")
PYTHON
