"""
A lecture in 45 minutes
=======================

Zhang, Bengio, Hardt, Recht and Vinyals asked a simple question of deep networks: what
happens if the labels are random? This page is a lecture on the answer. Download it as a
notebook (at the end of the page), and run it cell by cell; it takes a minute on a laptop,
and needs no data but scikit-learn's digits. Each part says how many minutes to plan.
"""

# %%
# 1. A network learns digits (5 minutes)
# --------------------------------------
#
# A network of one hidden layer, 500 images of digits, 500 others to test on. It has far
# more weights than examples: 19,210 for 500.
#
# *Ask the room:* the training accuracy is 100 %. What does that tell about the network?

from tempfile import mkdtemp

import numpy as np
import pandas as pd

from shattering import (
    Randomization,
    ReluInterpolatorClassifier,
    RunSpec,
    Store,
    load_dataset,
    measure,
    run,
)
from shattering.report.figures import error_curves, loss_curves

store = Store(mkdtemp())
network = {
    "network": "mlp-1x256",
    "epochs": 200,
    "batch_size": 32,
    "learning_rate": 0.1,
    "stop_when_fitted": True,
}


def train(randomization=None, **more):
    params = {**network, **more}
    spec = RunSpec("digits", 500, 500, randomization or Randomization(), params=params)
    return run(spec, store)


natural = train()
print(f"weights: {natural.result['n_parameters']:,}")
print(f"training accuracy {natural.result['train_accuracy']:.1%}")
print(f"test accuracy     {natural.result['test_accuracy']:.1%}")

# %%
# 2. The same network fits noise (10 minutes)
# -------------------------------------------
#
# Now each label is drawn at random. There is nothing to learn: no network can be right on
# the test images more often than by chance. *Let the room vote* before you run the cell:
# how far does training get?

random_labels = train(Randomization(labels=1))
print(f"training accuracy {random_labels.result['train_accuracy']:.1%}")
print(f"test accuracy     {random_labels.result['test_accuracy']:.1%}")

# %%
# It fits them, every one. So the 100 % of part 1 told nothing about learning; only the test
# images did. The same holds for inputs without any sense (the paper's figure 1a):

runs = [natural, random_labels]
runs += [train(Randomization(pixels=kind)) for kind in ("shuffled", "random", "gaussian")]
loss_curves(runs).properties(description="Training loss over steps, original and noise")

# %%
# *Discuss:* which curve falls last, and why? Random labels on true images are harder than
# noise images: images of one class look alike, and are now labelled differently. Noise
# images are far apart from each other.

# %%
# 3. From a few wrong labels to all (5 minutes)
# ---------------------------------------------
#
# Corrupt a share of the labels. The network fits every one of these data sets, and the test
# error rises steadily to that of guessing (figure 1c). The same architecture, the same
# optimizer, the same training error of zero: so the gap cannot be a matter of these alone.

corrupted = [train(Randomization(labels=share)) for share in (0.25, 0.5, 0.75)]
along = [natural, *corrupted, random_labels]
pd.DataFrame(
    {
        "corrupted labels": [f"{r.spec.randomization.labels:.0%}" for r in along],
        "epochs to fit": [r.result["epochs_to_fit"] for r in along],
        "training error": [f"{1 - r.result['train_accuracy']:.1%}" for r in along],
        "test error": [f"{1 - r.result['test_accuracy']:.1%}" for r in along],
    }
)

# %%

error_curves(along).properties(description="Test error over the share of corrupted labels")

# %%
# 4. What this breaks (5 minutes)
# -------------------------------
#
# On the blackboard. The generalization gap of a class of functions is at most about twice
# its *Rademacher complexity*: how well the best function in it correlates with random
# signs. Part 2 has measured it: the network fits random labels, so the complexity is
# about 1, the largest there is, and the bound says nothing. A *VC dimension* of at least
# n says that every labelling of some n points is fitted; part 2 makes that plausible for
# n = 500, though one labelling does not prove it. *Uniform stability* does not look at the
# labels, so it cannot tell part 1 from part 2.
#
# Is it regularization, then? Add weight decay, and see how much it takes to prevent the
# fit:

for decay in (0, 5e-4, 5e-3):
    fitted = train(Randomization(labels=1), weight_decay=decay)
    print(
        f"weight decay {decay:<6}: training accuracy {fitted.result['train_accuracy']:.1%}"
    )

# %%
# 5. Theorem 1, by hand (10 minutes)
# ----------------------------------
#
# How many weights does it take to fit *any* labels of n points in d dimensions? Two
# layers and 2n + d. Project the points on a line, put one hinge before each, and solve a
# triangular system:
#
# ``c(x) = Σⱼ wⱼ max(⟨a, x⟩ − bⱼ, 0)``

rng = np.random.default_rng(0)
n, d = 8, 3
X, y = rng.standard_normal((n, d)), rng.choice([-1.0, 1.0], n)

a = rng.standard_normal(d)  # d weights: a direction in which all projections differ
order = np.argsort(X @ a)
z = (X @ a)[order]
b = np.concatenate([[z[0] - 1], (z[:-1] + z[1:]) / 2])  # n biases: b1 < z1 < b2 < z2 < ...
A = np.maximum(z[:, None] - b, 0)  # lower triangular, with a positive diagonal
w = np.linalg.solve(A, y[order])  # n weights

print(np.round(A, 2))
print("fitted:", np.allclose(np.maximum((X @ a)[:, None] - b, 0) @ w, y))
print("weights:", a.size + b.size + w.size, "= 2n + d")

# %%
# *Why is A invertible?* Point i is to the right of the hinges 1 to i, and to the left of
# all others. The same, in float64, for 500 digits with random labels:

digits = load_dataset("digits", n_train=500).train
pixels = digits.inputs.flatten(1).numpy()
built = ReluInterpolatorClassifier().fit(pixels, rng.integers(0, 10, 500))
print(f"{built.n_parameters_} weights for {len(pixels)} images of {pixels.shape[1]} pixels")

# %%
# 6. Which solution does descent find? (5 minutes)
# ------------------------------------------------
#
# A linear model with more weights than examples has infinitely many solutions without any
# error. Gradient descent from zero never leaves the span of the examples, so it ends at
# the one of least norm, w = Xᵀ(XXᵀ)⁻¹y, without being told to. That is *implicit*
# regularization.

X, y = rng.standard_normal((20, 100)), rng.standard_normal(20)
w = np.zeros(100)
for _ in range(5000):
    w -= 0.005 * X.T @ (X @ w - y)
least = X.T @ np.linalg.solve(X @ X.T, y)
print(f"error {np.abs(X @ w - y).max():.0e}, distance {np.linalg.norm(w - least):.0e}")

# %%
# 7. A measure, interrogated (5 minutes)
# --------------------------------------
#
# Whatever explains generalization must differ between part 1 and part 2. Here are some of
# the candidates, all written so that larger means "generalizes worse". Both networks were
# stopped at the same training loss, for else they would differ by that alone.

candidates = ["n_parameters", "parameter_norm", "log_path_norm", "inverse_margin"]
candidates += ["spectral_over_margin", "sam_sharpness"]
stop = {"stop_when_fitted": False, "stop_at_loss": 0.05, "evaluate_train": True}
both = {
    "original labels": train(**stop),
    "random labels": train(Randomization(labels=1), **stop),
}
table = pd.DataFrame(
    {name: measure(trained, measures=candidates)["value"] for name, trained in both.items()}
)
table["tells"] = np.where(table["random labels"] > table["original labels"], "yes", "no")
table

# %%
# The number of parameters cannot tell: it is the same. Norms can, here. Sharpness says
# the opposite of what it should. *Discuss:* is a "yes" enough? Norms also grow with the
# number of steps, and random labels take more steps. :doc:`/interrogate` compares at
# equal steps, too, over many networks, and says what is left.
#
# Exercises
# ---------
#
# 1. Give each *class* a random label (0 becomes 7, everywhere). Is that random? What does
#    the test accuracy say, with the labels of the test set renamed alike?
# 2. Find the smallest hidden layer that still fits 500 random labels
#    (``shattering capacity shatter-point`` does it for you).
# 3. Take a model of your own, and run ``randomization_test`` on it. Which row of its report
#    would you show a colleague who says "99 % on the training set"?
