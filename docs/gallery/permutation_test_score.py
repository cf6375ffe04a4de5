"""
Beside scikit-learn's permutation_test_score
============================================

With ``cv``, ``randomization_test`` does what scikit-learn's ``permutation_test_score``
does: it permutes all labels, cross-validates on them, and asks how often that scores as
well as the true labels did. It adds what the model does on its training set, and Ojala
and Garriga's second test, which permutes features instead of labels.
"""

# %%
# The same permutations, the same scores
# --------------------------------------
#
# Tumours: 569 patients, 30 measurements, two classes of different size. Both functions fold
# by ``StratifiedKFold``, each time by the labels that are trained on. Scikit-learn gets the
# seed of our folds, and our permutations in place of its own.

import altair as alt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, permutation_test_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from shattering import load_dataset, randomization_test, seeds
from shattering.report.charts import reference

X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression())
ours = randomization_test(
    model,
    (X, y),
    cv=5,
    randomizations=["permuted-labels", "within-class"],
    n_permutations=19,
)


class Given(np.random.RandomState):
    """Permutations that give the labels of each of ours, in turn."""

    def __init__(self):
        super().__init__()
        self.permutations = iter(ours.permutations("permuted-labels"))

    def permutation(self, n):
        given, order = next(self.permutations), np.empty(n, dtype=int)
        whole = load_dataset((X, y), hold_out=False).train
        labels = given.randomization.corrupt(whole, given.seed, "train").numpy()
        for k in (0, 1):
            order[labels == k] = np.flatnonzero(y == k)
        return order


folds = StratifiedKFold(
    5, shuffle=True, random_state=seeds.integer(0, "data/folds") % 2**32
)
score, null_scores, p_value = permutation_test_score(
    model, X, y, cv=folds, n_permutations=19, random_state=Given()
)
label_test = next(iter(ours.tests.values()))

pd.DataFrame(
    {
        "score": [score, ours.original.test_score],
        "least null score": [null_scores.min(), min(label_test.null_scores)],
        "mean of null scores": [null_scores.mean(), np.mean(label_test.null_scores)],
        "p": [p_value, ours.p_value],
    },
    index=["permutation_test_score", "randomization_test"],
)

# %%
# All of it agrees, to rounding. The p-value is as small as 19 permutations allow: 1/20.

assert np.allclose(null_scores, label_test.null_scores, rtol=0, atol=1e-12)
assert np.isclose(score, ours.original.test_score, rtol=0, atol=1e-12)
assert p_value == ours.p_value

nulls = pd.DataFrame(
    [
        *({"by": "permutation_test_score", "score": value} for value in null_scores),
        *({"by": "randomization_test", "score": value} for value in label_test.null_scores),
    ]
)
ticks = (
    alt.Chart(nulls)
    .mark_tick(opacity=0.6)
    .encode(x=alt.X("score:Q", title="accuracy"), y=alt.Y("by:N", title=None))
)
alt.layer(ticks, reference("original data", above=4, x=score)).properties(
    width=360,
    height=140,
    description="Null scores of both functions, and the score on the original data",
)

# %%
# What it adds
# ------------
#
# The training scores say how much of a random labelling the model takes in. The second test
# says whether it needs features *together*: each feature is permuted among the examples of
# its class, so single features tell of the class what they did. Here nothing shows that it
# does.

ours

# %%
# Where features matter together
# ------------------------------
#
# In this table neither feature says anything of the class; their signs together say all.
# Permuting within classes takes that away, and the tree falls to chance.

rng = np.random.default_rng(0)
points = rng.normal(size=(300, 2))
crossed = (points[:, 0] * points[:, 1] > 0).astype(int)

randomization_test(
    DecisionTreeClassifier(), (points, crossed), cv=3, randomizations=["within-class"]
)
