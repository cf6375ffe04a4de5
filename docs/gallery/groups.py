"""
Rows that go together: similar molecules, and patients with several rows
========================================================================

If several rows are of one patient, of one scaffold of molecules, or of one document,
single labels are not exchangeable, and a permutation test that trades them finds
something where there is nothing. ``groups=`` says what belongs together.
"""

# %%
# A regression, grouped
# ---------------------
#
# Models of molecules are tested on scaffolds that they have not seen. Here decades of age
# in the diabetes study stand for scaffolds: ``GroupKFold`` keeps each in one fold, and
# since targets vary inside a decade, they are permuted inside it. For numbers the score
# is R², and the result has the report of y-scrambling that chemists know.

from textwrap import fill

import numpy as np
from gallery_data import scan_lines
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shattering import randomization_test

X, y = load_diabetes(return_X_y=True, scaled=False)
decade = X[:, 0] // 10
regression = randomization_test(
    make_pipeline(StandardScaler(), Ridge()),
    X,
    y,
    groups=decade,
    cv=GroupKFold(3),
    randomizations=["permuted-labels"],
)
assert regression.label_test.exchange == "within"
print(*regression.head, sep="\n")
for sentence in regression.scrambling.sentences():
    print(fill(sentence, 90))

# %%
# Patients with several rows
# --------------------------
#
# Strips of two photographs stand for patients: each has 24 rows, the mean colours of
# pieces of its scan lines, and all have one label, which photograph it is.
#
# .. literalinclude:: ../gallery_data.py
#    :pyobject: scan_lines
#
# Every strip has one label, so whole strips trade theirs, and stay together in folds.

lines, photographs, strips = scan_lines()
colours = lines.mean(2)
by_strip = randomization_test(
    make_pipeline(StandardScaler(), LogisticRegression()),
    colours,
    photographs,
    groups=strips,
    cv=GroupKFold(4),
    randomizations=["permuted-labels"],
)
assert by_strip.label_test.exchange == "whole"
by_strip

# %%
# What goes wrong otherwise
# -------------------------
#
# Labels drawn for whole strips, so that there is nothing to learn. Rows that trade labels
# one by one make a nearest neighbour look as if it learned: the rows of a strip are alike,
# and so are the original labels, but not the permuted ones. With ``groups=strips``, the
# score is what it should be. In simulations nearly every such data set is found
# "significant", see :doc:`/calibration`.

nothing = np.random.default_rng(0).permutation(28)[strips] % 2
for groups in (None, strips):
    test = randomization_test(
        KNeighborsClassifier(1),
        colours,
        nothing,
        groups=groups,
        cv=4,
        randomizations=["permuted-labels"],
    )
    print("groups said:", groups is not None, *test.head, sep="\n  ")

# %%
# The last test, as a chart
# -------------------------
#
# Whole strips trade labels, and the score lies among those of permuted labels.

test.plot().properties(
    description="Scores of a nearest neighbour on labels that are independent of the strips"
)
