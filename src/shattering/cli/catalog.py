"""The networks and models that `list` shows, as literals, as importing them takes seconds.

tests/cli/test_catalog.py holds these against the networks and models themselves.
"""

NETWORKS: dict[str, tuple[int, str]] = {  # parameters at the papers' sizes, and the first line of its docstring
    "inception": (1_649_402, "Small Inception: 1,649,402 parameters on 28x28x3 images of 10 classes."),
    "inception-no-bn": (
        1_649_402,
        "Small Inception with every batch normalization removed and a bias in each convolution instead: 1,649,402 parameters.",
    ),
    "inception-v3": (
        23_834_568,
        "Inception V3 (ImageNet): 23,834,568 parameters on 3 channels and 1,000 classes, 27,161,264 with its auxiliary classifier.",
    ),
    "alexnet": (
        1_387_786,
        "Small AlexNet: two modules of conv 5x5, max-pool 3x3/2, local response normalization; then 384-192-classes.",
    ),
    "mlp-3x512": (1_735_178, "Three hidden layers of 512 units: 1,735,178 parameters on 28x28x3 images of 10 classes."),
    "mlp-1x512": (1_209_866, "One hidden layer of 512 units: 1,209,866 parameters on 28x28x3 images of 10 classes."),
    "small-cnn": (
        431_466,
        "Two conv 3x3 of 32 channels, max-pool 3x3/2, conv 3x3 of 64, max-pool 3x3/2; then 128-classes. Not in the papers.",
    ),
}
MODELS: dict[str, tuple[str, str]] = {  # class, and what it is
    "network": (
        "shattering.learners.network.NetworkClassifier",
        "A network trained by SGD with momentum and an exponentially decaying learning rate.",
    ),
    "network-regressor": (
        "shattering.learners.regressor.NetworkRegressor",
        "A network with one output, trained on the squared error as `NetworkClassifier` trains one on the cross-entropy.",
    ),
    "kernel": (
        "shattering.learners.kernel.KernelInterpolatorClassifier",
        "Minimum-norm kernel interpolation of one-hot class targets (0 and 1); the largest value wins.",
    ),
    "random-conv": (
        "shattering.learners.random_conv.RandomConvClassifier",
        "Minimum-norm linear classifier on random convolutional features of images, one-hot targets (0 and 1).",
    ),
    "random-conv-kernel": (
        "shattering.learners.random_conv_kernel.RandomConvKernelClassifier",
        "Minimum-norm interpolation with a Gaussian kernel on standardized random convolutional features, one-hot targets (0 and 1).",
    ),
    "relu": (
        "shattering.learners.relu.ReluInterpolatorClassifier",
        "The ReLU network with 2n + d weights, or a deeper one, that takes any labels on n distinct points.",
    ),
    "deep-relu": (
        "shattering.learners.relu.ReluInterpolatorClassifier",
        "The same with depth 8 by default, which is narrower: width O(n / depth).",
    ),
    "random-forest": ("sklearn.ensemble.RandomForestClassifier", "A random forest, scikit-learn's."),
    "logistic-regression": ("sklearn.linear_model.LogisticRegression", "Logistic regression, scikit-learn's."),
    "nearest-neighbors": ("sklearn.neighbors.KNeighborsClassifier", "The vote of the k nearest neighbors, scikit-learn's."),
    "perceptron": ("sklearn.linear_model.Perceptron", "The perceptron, scikit-learn's."),
}
