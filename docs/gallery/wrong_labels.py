"""
Finding wrong labels by how late they are fitted
================================================

A tenth of 500 digits get a wrong label. A network is trained until it has memorized them,
and what became of each example on the way is kept. See :doc:`/memorization` for what is
recorded, and for a measurement on CIFAR-10.
"""

# %%
# Train, and keep what becomes of each example
# --------------------------------------------

from tempfile import mkdtemp

import altair as alt
import pandas as pd

from shattering import Randomization, RunSpec, Store, load_dataset, run
from shattering.measures.memorization import (
    label_error_ranking,
    memorization_start,
    peak,
    precision_at_k,
    precision_curve,
)
from shattering.report.figures import memorization_curves

spec = RunSpec(
    "digits",
    n_train=500,
    randomization=Randomization(labels=0.1, label_mode="flip"),
    params={"epochs": 40, "batch_size": 32, "learning_rate": 0.05, "track_examples": True},
)
trained = run(spec, Store(mkdtemp()))
print("fitted:", trained.result["interpolated"])

# %%
# First the pattern, then the exceptions
# --------------------------------------
#
# At first the network predicts the true class of wrongly labelled images; patterns
# come before exceptions. Later it memorizes the labels, one by one. The line is in the
# epoch from which on more labels are memorized than true classes predicted.

start, best = memorization_start(trained.history), peak(trained.history)
print(
    f"memorization starts in epoch {start.epoch};",
    f"most true classes are predicted in epoch {best.epoch}",
)
memorization_curves([trained]).properties(
    description="Fractions of clean and of wrong labels fitted, over epochs"
)

# %%
# Rank the examples
# -----------------
#
# By the mean loss over all epochs: what resisted long comes first. The true labels are
# known here, so the ranking can be judged. With your own data they are not, and you would
# look at the first images.

ranking = label_error_ranking(trained.examples)
for k in (25, 50):
    print(f"wrong among the first {k}: {precision_at_k(ranking, k):.0%}")
ranking[
    ["id", "label", "true_label", "changed", "epochs_to_fit", "mean_loss", "final_loss"]
].head()

# %%
alt.Chart(precision_curve(ranking).head(100)).mark_line().encode(
    x=alt.X("k:Q", title="first k of the ranking"),
    y=alt.Y("precision:Q", title="wrong labels among them", axis=alt.Axis(format="%")),
).properties(
    width=400, height=220, description="Precision over the first 100 of the ranking"
)

# %%
# The ten that resisted longest
# -----------------------------
#
# With the label that they were given. Ids are rows of the source, so they can be looked up
# there.

train = load_dataset("digits", n_train=500).train
row_of = {int(i): row for row, i in enumerate(train.ids)}
titles = [
    f"{i}: labelled {label}"
    for i, label in zip(ranking["id"][:10], ranking["label"][:10], strict=True)
]
pixels = [
    {"image": titles[place], "x": x, "y": y, "ink": int(train.inputs[row_of[i], 0, y, x])}
    for place, i in enumerate(ranking["id"][:10])
    for y in range(8)
    for x in range(8)
]
(
    alt.Chart(pd.DataFrame(pixels))
    .mark_rect()
    .encode(
        x=alt.X("x:O", axis=None),
        y=alt.Y("y:O", axis=None),
        color=alt.Color("ink:Q", scale=alt.Scale(scheme="greys"), legend=None),
        facet=alt.Facet("image:N", columns=5, title=None, sort=titles),
    )
    .properties(
        width=80,
        height=80,
        description="Ten digits whose given label is not what they show",
    )
)
