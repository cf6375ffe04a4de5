"""
Texts: a pipeline, and a transformer
====================================

Paragraphs of three pages of Python's own help. Which page is a paragraph from? First
a pipeline of scikit-learn's that is given the texts as they are, then a small network
on the numbers of their words.
"""

# %%
# The texts
# ---------
#
# A list of texts of any length, and a list of labels. Both kinds of rows that follow are
# made by these two functions.
#
# .. literalinclude:: ../gallery_data.py
#    :pyobject: paragraphs
#
# .. literalinclude:: ../gallery_data.py
#    :pyobject: words

from gallery_data import Transformer, paragraphs, words
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from shattering import randomization_test

texts, pages = paragraphs()
print(len(texts), "paragraphs, the first begins with", repr(texts[0][:40]))

# %%
# TF-IDF and logistic regression
# ------------------------------
#
# Texts are handed to the pipeline as they are, so the vectorizer is fitted on training
# texts alone, in every fit. Nothing but labels can be randomized here: what a shuffled
# text would be, only you know. With that many words the linear model fits every
# labelling, and learns from the true one.

bag = randomization_test(
    make_pipeline(TfidfVectorizer(), LogisticRegression(C=100)), texts, pages
)
assert bag.original.test_score > 0.8
bag

# %%
# A transformer on tokens
# -----------------------
#
# Ragged lists of word numbers are tokens: the network gets them as int64, filled up to
# one length, and beside them the mask of what is a word. Now the words of a text can be
# permuted, too. A network that takes the mean over positions loses nothing by that.
#
# .. literalinclude:: ../gallery_data.py
#    :pyobject: Transformer

attention = randomization_test(
    Transformer,
    words(texts),
    pages,
    kind="tokens",
    randomizations=["random-labels", "random-pixels"],
    n_permutations=1,
    hyperparameters={
        "epochs": 12,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 0.003,
    },
)
assert attention.original.test_score > 0.7
attention

# %%
# There is a p-value without any refit on permuted labels: the zero-refit test in the first
# lines has it from 9,999 permutations of the test labels.

# %%
# The attention network, as a chart
# ---------------------------------
#
# Training and test accuracies on original, on random labels and on tokens that are
# permuted anew in each text.

attention.plot().properties(
    description="Accuracies of a small transformer on original and on randomized texts"
)
