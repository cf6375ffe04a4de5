"""
Leaks: when noise looks learned
===============================

Three ways in which something of the test set, or of the answer, reaches the training. In
the first two the labels are random, so that the right answer is "no evidence". See
:doc:`/pitfalls`.
"""

# %%
# Features chosen on all rows
# ---------------------------
#
# 100 examples, 2,000 features, and labels that have nothing to do with them. Someone picks
# the 20 features that go best with the labels, on *all* rows, and cross-validates on these.

import numpy as np
import pandas as pd
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from shattering import randomization_test

rng = np.random.default_rng(0)
X, y = rng.standard_normal((100, 2000)), rng.integers(0, 2, 100)
chosen = SelectKBest(k=20).fit_transform(X, y)
scores = cross_val_score(LogisticRegression(), chosen, y, cv=5)
print(f"cross-validated accuracy: {scores.mean():.0%}")

# %%
# That looks like a discovery. The choice is a part of the model, so it belongs inside of
# it; then it is made again in each fold, and for each permutation of the labels:

model = make_pipeline(SelectKBest(k=20), LogisticRegression())
honest = randomization_test(model, X, y, cv=5, randomizations=["permuted-labels"])
print(*honest.head, sep="\n")

# %%
# Copies on both sides of the split
# ---------------------------------
#
# Each of 150 examples stands in the data twice. A random split puts many copies into the
# test set. A forest that knows its training set by heart then "predicts" labels that are
# random.

from sklearn.ensemble import RandomForestClassifier

X, y = rng.standard_normal((150, 10)), rng.integers(0, 2, 150)
X, y = np.repeat(X, 2, axis=0), np.repeat(y, 2)
forest = RandomForestClassifier(n_estimators=50, random_state=0)
copies = randomization_test(forest, X, y, randomizations=["permuted-labels"])
print(*copies.head, sep="\n")

# %%
# The remedy is to say which rows belong together. Then both copies are on one side, and
# their labels are permuted together:

grouped = randomization_test(
    forest, X, y, groups=np.repeat(np.arange(150), 2), randomizations=["permuted-labels"]
)
print(*grouped.head, sep="\n")

# %%
# A feature that contains the answer
# ----------------------------------
#
# A column that was filled in after the outcome: the number of the ward to which only the
# sick were sent. No permutation test can object, for test labels do depend on it. What
# helps is to ask how well *one* feature does alone.

from sklearn.datasets import load_breast_cancer

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = X.iloc[:, :5].assign(ward=np.where(y == 0, rng.integers(1, 9, len(y)), 0))
alone = {
    name: cross_val_score(LogisticRegression(), X[[name]], y, cv=5).mean() for name in X
}
pd.Series(alone, name="accuracy of one feature").round(3).to_frame()

# %%
# 100 % from one column is too good to be true. A permutation test says that a model learns,
# and never *what* it learns, which is why every report has the line "Not shown".

# %%
# The copies, as a chart
# ----------------------
#
# What the second test of this page reported, with copies on both sides of the split.

copies.plot().properties(
    description="Accuracies of a forest on random labels, with copies in the test split"
)
