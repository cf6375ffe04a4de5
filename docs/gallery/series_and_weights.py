"""
Networks: series, and fine-tuning
=================================

A network with one-dimensional convolutions on time series, and one that starts every fit
from weights that it brings.
"""

# %%
# A convolution on series
# -----------------------
#
# Arrays (n, channels, length) are sequences: the network gets them as they are, and what
# is pixels for images is time steps. Here 64 steps of three colours along scan lines of
# two photographs; strips of lines are held out whole, since neighbours are alike. A
# function of the shape and the number of classes makes the network.

import numpy as np
import torch
from gallery_data import scan_lines
from sklearn.datasets import load_digits
from torch import nn

from shattering import randomization_test

lines, photographs, strips = scan_lines()


def convolution(shape, k):
    return nn.Sequential(
        nn.Conv1d(shape[0], 16, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(16, k),
    )


series = randomization_test(
    convolution,
    lines,
    photographs,
    kind="sequence",
    groups=strips,
    randomizations=["random-labels", "shuffled-pixels"],
    n_permutations=1,
    hyperparameters={"epochs": 4, "batch_size": 32, "learning_rate": 0.05},
)
assert series.original.test_score > 0.7
series

# %%
# Given weights
# -------------
#
# A network that has been trained on 600 digits, tested on 200 others. With
# ``start="given"`` every fit is fine-tuned from its weights; otherwise its layers draw new
# ones. Two epochs are enough for the one and not for the other, and the result says which
# it was.

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(net.parameters(), 0.01)
for _ in range(60):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(
        net(torch.from_numpy(X[:600])), torch.from_numpy(y[:600])
    )
    loss.backward()
    optimizer.step()

for start in ("given", "reinitialized"):
    tuned = randomization_test(
        net,
        X[600:800],
        y[600:800],
        start=start,
        randomizations=["random-labels"],
        n_permutations=1,
        hyperparameters={"epochs": 2, "learning_rate": 0.001, "standardize": "none"},
    )
    print(start, *tuned.head, *tuned.summary, sep="\n  ")

# %%
# The series, as a chart
# ----------------------
#
# Training and test accuracies of the series at the top of this page.

series.plot().properties(
    description="Training and test accuracies on original and on randomized series"
)
