"""Classifiers by scikit-learn on given features: its defaults, neighbours, and the best that its grid search finds.

    uv run --with scikit-learn python sklearn_heads.py FEATURES.npz ANSWERS.npz

FEATURES.npz holds x float32[n, views, dim], y int64[n] and asked float32[m, dim]; ANSWERS.npz gets int64[m] for each.
"""

import json
import sys
import time
import warnings

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
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
        "scikit-learn: logistic regression": plain().fit(x[:, 0], y).predict(asked),
        "scikit-learn: 5 neighbours": neighbours().fit(x[:, 0], y).predict(asked),
        "scikit-learn: best of its grid": searched(x[:, :1], y).predict(asked),
        "scikit-learn: the same on all views": searched(x, y).predict(asked),
    }
    np.savez(sys.argv[2], **answers)
    print(json.dumps({"seconds": time.perf_counter() - started}))


def plain() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))


def neighbours() -> KNeighborsClassifier:
    return KNeighborsClassifier(5, metric="cosine", weights="distance")


def searched(x: np.ndarray, y: np.ndarray) -> GridSearchCV:
    """Fitted on all views; those of a picture are held out together."""
    views = x.shape[1]
    rows, labels, group = x.reshape(-1, x.shape[2]), np.repeat(y, views), np.repeat(np.arange(len(y)), views)
    pipeline = Pipeline([("scale", StandardScaler()), ("head", RidgeClassifier())])
    scales = [StandardScaler(), Normalizer()]
    grid = [
        {"scale": scales[:1], "head": [LogisticRegression(C=c, max_iter=200) for c in (0.003, 0.1)]},
        {"scale": scales, "head": [RidgeClassifier(alpha) for alpha in (0.3, 30.0, 1000.0)]},
        {"scale": scales, "head": [LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")]},
        {"scale": scales, "head": [SVC(C=c, kernel=kernel) for c, kernel in ((0.01, "linear"), (10.0, "rbf"))]},
    ]
    folds = min(3, int(np.bincount(y)[np.unique(y)].min()))
    # Groups of one class each: the k-th picture of every class goes to the same fold
    place = np.zeros(len(y), dtype=np.int64)
    for own, held in enumerate(part for _, part in StratifiedKFold(folds, shuffle=True, random_state=0).split(y, y)):
        place[held] = own
    cut = GroupKFold(folds).split(rows, labels, place[group])
    return GridSearchCV(pipeline, grid, cv=list(cut)).fit(rows, labels)


if __name__ == "__main__":
    main()
