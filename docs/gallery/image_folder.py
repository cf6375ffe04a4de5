"""
A folder of images
==================

The commonest form of image data: a folder per class. Here are 240 small pictures, cut
from two photographs; the test takes the folder's path.
"""

# %%
# Make the folder
# ---------------
#
# Use your own here: ``photos/CLASS/…``, or with a test split of your own,
# ``photos/train/CLASS/…`` and ``photos/test/CLASS/…``.

from pathlib import Path
from tempfile import mkdtemp

from PIL import Image
from sklearn.datasets import load_sample_images

folder = Path(mkdtemp()) / "photos"
for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
    (folder / name).mkdir(parents=True)
    for i in range(120):
        row, column = divmod(i, 12)
        patch = photo[row * 40 : row * 40 + 16, column * 40 : column * 40 + 16]
        Image.fromarray(patch).save(folder / name / f"{i:03}.png")
print(sorted(path.name for path in folder.iterdir()))

# %%
# Test a model on it
# ------------------
#
# A forest gets each picture as one row of 16 x 16 x 3 numbers. The same on the command
# line: ``shattering test random-forest --data photos``.

from sklearn.ensemble import RandomForestClassifier

from shattering import randomization_test

test = randomization_test(
    RandomForestClassifier(n_estimators=50, random_state=0),
    folder,
    randomizations=["permuted-labels", "shuffled-pixels", "gaussian-pixels"],
)
print(*test.head, sep="\n")

# %%
# What it learned is another question: neighbouring patches of one photograph look alike, so
# patches belong together, and the p-value is too small. With photographs of several places,
# pass the place of each as ``groups``.

test.plot().properties(
    description="Training and test accuracies on original and on randomized patches"
)
