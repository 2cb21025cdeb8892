"""Classifiers by scikit-learn on given features: its defaults, neighbours, and the best that its grid search finds.

    uv run --with scikit-learn python sklearn_heads.py FEATURES.npz ANSWERS.npz

FEATURES.npz holds x float32[n, dim], y int64[n] and asked float32[m, dim]; ANSWERS.npz gets int64[m] for each.
"""

import json
import sys
import time
import warnings

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC


def main() -> None:
    warnings.filterwarnings("ignore")
    given = np.load(sys.argv[1])
    x, y, asked = given["x"], given["y"], given["asked"]
    started = time.perf_counter()
    answers = {
        "scikit-learn: logistic regression": plain().fit(x, y).predict(asked),
        "scikit-learn: 5 neighbours": neighbours().fit(x, y).predict(asked),
        "scikit-learn: best of its grid": searched(x, y).predict(asked),
    }
    np.savez(sys.argv[2], **answers)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def plain() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def neighbours() -> KNeighborsClassifier:
    return KNeighborsClassifier(5, metric="cosine", weights="distance")


def searched(x: np.ndarray, y: np.ndarray) -> GridSearchCV:
    pipeline = Pipeline([("scale", StandardScaler()), ("head", RidgeClassifier())])
    grid = [
        {"head": [LogisticRegression(C=c, max_iter=200) for c in (0.003, 0.1)]},
        {"head": [RidgeClassifier(alpha) for alpha in (30.0, 300.0, 3000.0)]},
        {"head": [LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share) for share in ("auto", 0.9)]},
        {"head": [SVC(C=0.01, kernel="linear"), SVC(C=10.0)]},
        {"scale": [Normalizer()], "head": [RidgeClassifier(0.1), SVC(C=10.0)]},
    ]
    return GridSearchCV(pipeline, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0)).fit(x, y)


if __name__ == "__main__":
    main()
