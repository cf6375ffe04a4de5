"""
Tables: categories, missing values, few of one class
====================================================

A DataFrame with a column of categories and missing values, through a
``ColumnTransformer`` and through LightGBM; and a table in which one class is rare,
with a scorer of your own. Estimators get your columns and your labels as they are.
"""

# %%
# A DataFrame, its target by name
# -------------------------------
#
# 442 patients of the diabetes study: age, sex, body mass index (every ninth is missing)
# and blood values. Did the disease progress much within a year?
#
# .. literalinclude:: ../gallery_data.py
#    :pyobject: patients

import numpy as np
from gallery_data import patients
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shattering import randomization_test

frame = patients()
frame.head(3)

# %%
# Through a ColumnTransformer
# ---------------------------
#
# The transformer finds its columns by name. Of a table, features can be permuted within
# each class: every column keeps its values and its type. Gaussian features are left out,
# for categories have no mean.

columns = make_column_transformer(
    (OneHotEncoder(), ["sex"]),
    remainder=make_pipeline(SimpleImputer(), StandardScaler()),
)
linear = randomization_test(
    make_pipeline(columns, LogisticRegression()),
    frame,
    target="severe",
    randomizations=["permuted-labels", "within-class"],
)
assert linear.p_value == 0.05
linear

# %%
# LightGBM
# --------
#
# LightGBM takes the frame itself: categories and missing values need no transformer. It
# takes in far more of permuted labels than the linear model does, and is no better on the
# patients that it was not trained on.

boosted = randomization_test(
    LGBMClassifier(n_estimators=10, num_leaves=15, verbose=-1, num_threads=1),
    frame,
    target="severe",
    randomizations=["permuted-labels"],
)
assert boosted.original.test_score > 0.6
boosted

# %%
# Few of one class, and a scorer of your own
# ------------------------------------------
#
# 357 benign tumours and 40 malignant ones, with thirty measurements of each. A constant
# answer has 90 % accuracy, so the score has to be another: F2 of the rare class, by
# scikit-learn's ``make_scorer``. A scorer sees your labels, so ``pos_label`` means what it
# says, and so does ``class_weight``.

X, y = load_breast_cancer(return_X_y=True)
rows = np.r_[np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:40]]
diagnosis = np.array(["malignant", "benign"])[y[rows]]
rare = randomization_test(
    make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced")),
    X[rows],
    diagnosis,
    scoring=make_scorer(fbeta_score, beta=2, pos_label="malignant"),
    randomizations=["permuted-labels"],
)
assert rare.original.test_score > 0.7
rare

# %%
# The rare class, as a chart
# --------------------------
#
# F2 of the rare class on the original labels and on permuted ones.

rare.plot().properties(
    description="F2 scores of the rare class on original and on permuted labels"
)
