"""
Beside scikit-learn's permutation_test_score
============================================

With ``folds``, ``randomization_test`` does what scikit-learn's ``permutation_test_score``
does: it permutes all labels, cross-validates on them, and asks how often that scores as
well as the true labels did. It adds what the learner does on its training set, and Ojala
and Garriga's second test, which permutes features instead of labels.
"""

# %%
# The same folds, the same score
# ------------------------------
#
# Tumours: 569 patients, 30 measurements, two classes of different size. Scikit-learn gets
# our folds, so that both functions have the same.

import altair as alt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import permutation_test_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from shattering import load_dataset, randomization_test

X, y = load_breast_cancer(return_X_y=True)
folds = [load_dataset((X, y), hold_out=False).fold(k, 5) for k in range(5)]
cv = [(fold.train.ids.numpy(), fold.test.ids.numpy()) for fold in folds]
model = make_pipeline(StandardScaler(), LogisticRegression())

score, null_scores, p_value = permutation_test_score(
    model, X, y, cv=cv, n_permutations=19, random_state=0
)
ours = randomization_test(
    model, (X, y), folds=5, randomizations=["permuted-labels", "within-class"], n_draws=19
)
label_test = next(iter(ours.tests.values()))

pd.DataFrame(
    {
        "score": [score, ours.natural.test_score],
        "mean of null scores": [null_scores.mean(), np.mean(label_test.null_scores)],
        "p": [p_value, ours.p_value],
    },
    index=["permutation_test_score", "randomization_test"],
)

# %%
# The scores agree, and so do the p-values, which are as small as 19 permutations allow:
# 1/20. The permutations themselves differ, so the null scores agree only in distribution.

nulls = pd.DataFrame(
    [
        *({"by": "permutation_test_score", "score": value} for value in null_scores),
        *({"by": "randomization_test", "score": value} for value in label_test.null_scores),
    ]
)
ticks = (
    alt.Chart(nulls)
    .mark_tick(thickness=2, opacity=0.6, color="#1769aa")
    .encode(x=alt.X("score:Q", title="accuracy"), y=alt.Y("by:N", title=None))
)
rule = (
    alt.Chart(pd.DataFrame({"score": [score]}))
    .mark_rule(color="#c62828", strokeWidth=2)
    .encode(x="score:Q")
)
alt.layer(ticks, rule).properties(
    width=360,
    height=140,
    description="Null scores of both functions, and the score on true labels",
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
    DecisionTreeClassifier(), (points, crossed), folds=3, randomizations=["within-class"]
)
