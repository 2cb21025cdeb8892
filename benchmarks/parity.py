"""Does a checkpoint alone give the evaluation's own probabilities, in a process that has no network?

    uv run benchmarks/parity.py --flowers ../shared/flowers --checkpoint models/model_88.37.pth

Evaluates the checkpoint on valid, then predicts the same files with the command line in another process whose every
attempt at a connection fails, and prints the largest difference of any probability of any picture.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from train.evaluate import evaluate

ROOT = Path(__file__).resolve().parent.parent
REFUSE = "import socket\ndef refuse(*a, **k): raise OSError('no network here')\nsocket.socket.connect = refuse\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flowers", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    options = parser.parse_args()
    evaluation = evaluate(options.checkpoint, options.flowers, split="valid")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(REFUSE)
        command = [sys.executable, str(ROOT / "cli.py"), "predict", "--json", "--top-k", str(len(evaluation.labels)),
                   "--checkpoint", str(options.checkpoint.resolve()), "-"]  # fmt: skip
        paths = "\n".join(str(Path(path).resolve()) for path in evaluation.paths)
        done = subprocess.run(
            command, cwd=folder, input=paths, env={**os.environ, "PYTHONPATH": folder}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
    column = {label: number for number, label in enumerate(evaluation.labels)}
    predicted = np.zeros_like(evaluation.probabilities)
    for row, line in enumerate(done.stdout.splitlines()):
        for guess in json.loads(line)["guesses"]:
            predicted[row, column[guess["label"]]] = guess["probability"]
    difference = np.abs(predicted - evaluation.probabilities)
    same = (predicted.argmax(1) == evaluation.probabilities.argmax(1)).sum()
    print(f"{len(predicted)} pictures, {predicted.shape[1]} classes, no network in the predicting process")
    print(f"largest difference of a probability: {difference.max():.1e}; same first answer: {same} of {len(predicted)}")


if __name__ == "__main__":
    main()
