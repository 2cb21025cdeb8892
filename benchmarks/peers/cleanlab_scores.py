"""Label errors by cleanlab and by what is common: for each picture a score that is high where its label is doubtful.

    uv run --with cleanlab --with scikit-learn python cleanlab_scores.py FEATURES.npz SCORES.npz

FEATURES.npz holds x float32[n, dim], y int64[n] and fold int64[n]. Out-of-fold probabilities are those of logistic
regression by scikit-learn on standardised features.
"""

import json
import sys
import time

import numpy as np
from cleanlab.rank import get_label_quality_scores
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler


def main() -> None:
    given = np.load(sys.argv[1])
    x, y, fold = given["x"], given["y"], given["fold"]
    started = time.perf_counter()
    chances = np.zeros((len(y), int(y.max()) + 1))
    for number in range(int(fold.max()) + 1):
        learnt, held = fold != number, fold == number
        scale = StandardScaler().fit(x[learnt])
        head = LogisticRegression(C=0.01, max_iter=300).fit(scale.transform(x[learnt]), y[learnt])
        chances[np.ix_(held, head.classes_)] = head.predict_proba(scale.transform(x[held]))
    seconds = time.perf_counter() - started
    at = np.arange(len(y))
    others = chances.copy()
    others[at, y] = -1
    logs = np.log(np.maximum(chances, 1e-12))
    rest = np.log(np.maximum(others.max(axis=1), 1e-12))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=11, metric="cosine").fit(unit).kneighbors(unit, return_distance=False)[:, 1:]
    np.savez(
        sys.argv[2],
        margin=rest - logs[at, y],
        self_confidence=1 - get_label_quality_scores(y, chances, method="self_confidence"),
        cleanlab=1 - get_label_quality_scores(y, chances, method="normalized_margin"),
        adjusted=1 - get_label_quality_scores(y, chances, method="normalized_margin", adjust_pred_probs=True),
        neighbours=(y[near] != y[:, None]).mean(axis=1),
    )
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
