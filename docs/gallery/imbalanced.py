"""
Unequal classes: better than what?
==================================

Of 1,000 examples 61 are sick. A model that never says "sick" is right 94 % of the time.
Every report therefore has the best constant answer beside the score.
"""

# %%
# Accuracy flatters
# -----------------

from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from shattering import randomization_test

X, y = make_classification(
    1000, 8, n_informative=2, weights=[0.95], flip_y=0.02, random_state=3
)
neighbours = KNeighborsClassifier(15)
noise = ["permuted-labels"]
print(*randomization_test(neighbours, X, y, randomizations=noise).head, sep="\n")

# %%
# A score that counts both classes alike
# --------------------------------------
#
# Balanced accuracy is 50 % for any constant answer. ``scoring`` takes every scorer of
# scikit-learn, and the permutations are judged by the same one.

balanced = {}
for name, model in {
    "15 neighbours": neighbours,
    "logistic": LogisticRegression(),
    "logistic, balanced": LogisticRegression(class_weight="balanced"),
}.items():
    balanced[name] = randomization_test(
        model, X, y, scoring="balanced_accuracy", randomizations=noise
    )
    print(name, *balanced[name].head, sep="\n")

# %%
# The chart
# ---------
#
# Training and test scores of each fit. The dashed line is the best constant answer.

balanced["logistic, balanced"].plot().properties(
    description="Balanced accuracies on original and on permuted labels"
)
