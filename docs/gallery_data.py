"""Real data that Python and scikit-learn carry, as users bring theirs: for the pages of the gallery, and for tests."""

from pydoc_data.topics import topics

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_sample_images
from torch import nn


def paragraphs() -> tuple[list[str], list[str]]:
    """Return paragraphs of three pages of Python's help, and which page each is from."""
    texts, labels = [], []
    for page in ("string-methods", "debugger", "compound"):
        for text in topics[page].split("\n\n"):
            if len(text) > 150:
                texts.append(text)
                labels.append(page)
    return texts, labels


def words(texts: list[str]) -> list[list[int]]:
    """Return texts as the numbers of their first 60 words.

    The 500 most frequent words are 1 to 500, and 501 is any other.
    """
    split = [text.lower().split()[:60] for text in texts]
    all_words = pd.Series([word for text in split for word in text])
    frequent = all_words.value_counts().index[:500]
    number = {word: i + 1 for i, word in enumerate(frequent)}
    return [[number.get(word, 501) for word in text] for text in split]


class Transformer(nn.Module):
    """One layer of attention over the words, whose mean is classified.

    Words that only fill a row up are masked.
    """

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(502, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(32, 3)

    def forward(self, tokens, mask):
        hidden = self.layer(self.embedding(tokens), src_key_padding_mask=~mask)
        return self.out((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def patients() -> pd.DataFrame:
    """Return the diabetes study with a column of categories, missing values, and a target.

    The column "severe" says whether the disease progressed much.
    """
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X.assign(sex=X["sex"].map({1: "woman", 2: "man"}).astype("category"))
    X.loc[::9, "bmi"] = np.nan
    return X.assign(severe=np.where(y > 140, "yes", "no"))


def scan_lines() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return series (n, 3, 64): pieces of scan lines of two photographs.

    Beside them which photograph each is from, and which of its 14 strips of 30 lines.
    """
    lines, photographs, strips = [], [], []
    for number, photograph in enumerate(load_sample_images().images):
        for row in range(0, 420, 5):
            for start in range(0, 640, 160):
                lines.append(photograph[row, start : start + 64].T)
                photographs.append(number)
                strips.append(14 * number + row // 30)
    return np.array(lines, dtype=np.float32) / 255, np.array(photographs), np.array(strips)
