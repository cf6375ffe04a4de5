"""`NetworkClassifier`: a scikit-learn classifier that trains a torch module by SGD (ICLR 2017, appendix A)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from shattering.data.split import Split
from shattering.data.targets import plain_labels
from shattering.errors import InputError, shown
from shattering.learners.classes import class_codes
from shattering.learners.devices import Device
from shattering.learners.network_inputs import check_examples
from shattering.learners.own import FitRecord
from shattering.learners.preprocessing import Standardize
from shattering.learners.train import asynchronous, evaluation
from shattering.learners.train.autocast import Precision
from shattering.learners.train.batches import Examples
from shattering.learners.train.epoch import Strategy
from shattering.learners.train.optimizers import OptimizerName
from shattering.learners.train.outputs import Outputs
from shattering.learners.train.tracker import Tracker
from shattering.learners.trained import TrainedNetwork
from shattering.parameters import Count, Natural, NotNegative, Share


class NetworkClassifier(ClassifierMixin, TrainedNetwork):
    """A network trained by SGD with momentum and an exponentially decaying learning rate.

    Args:
        network: a name in `shattering.networks.NETWORKS`, "mlp-LxU" (L hidden layers of U units), "small-cnn-W" (W channels), or a
            factory (image_shape, n_classes) → torch module. What the module's forward returns is looked at before any training:
            logits (b, n_classes), or for two classes one logit, (b, 1) or (b,); as a tensor, as the `.logits` or the key "logits" of
            something, or as the first of a tuple. Lazy layers get their sizes from the data.
        epochs: the budget.
        batch_size: examples per update.
        learning_rate: rate of the first update; None: for SGD the papers' (0.1 for the small Inceptions, 0.045 for Inception V3, 0.01
            otherwise), for other optimizers 0.001.
        optimizer: "sgd" (with momentum); "adamw" (Loshchilov and Hutter 2019), of which `momentum` is β₁, β₂ is 0.999, and
            `weight_decay` is decoupled; or a function (parameters, learning rate) → torch optimizer, such as `torch.optim.RMSprop`, which
            then has its own momentum and weight decay. In all of them the rate decays by `decay`, for every group of parameters alike.
        loss: what is minimized in place of the cross-entropy: a function, or a module such as `nn.MultiMarginLoss()`, of logits
            (b, classes) and labels (b,) 0…k-1 that gives the mean loss, or the loss (b,) of each example, which `accumulate` and several
            processes need. It gets a single logit for two classes as the network gives it, with labels 0. and 1. of its shape, as
            `nn.BCEWithLogitsLoss()` expects. The history records the cross-entropy all the same.
        momentum: in 0…1.
        decay: factor on the learning rate after every `decay_steps` updates.
        decay_steps: an integer; None: an epoch; "auto": an epoch, but at least 391 updates, the papers' epoch (50,000
            images in batches of 128). With fewer images the rate would else die before the network has fitted.
        weight_decay: coefficient c of c/2 times the squared norm of all parameters; with "adamw" the share c of the parameters, times the
            learning rate, by which each update shrinks them.
        dropout: rate at which the inputs of every linear layer, but for a network's first layer, are set to zero.
        augment: None, a name in `shattering.data.augment.AUGMENTATIONS`, a list of them, or a mapping from names to
            strengths. Every epoch sees new versions of the training images; their labels stay. Evaluation is on the
            images as they are.
        label_smoothing: probability in the targets that is spread evenly over all classes, in training alone.
        auxiliary: weight of the auxiliary classifier's loss in training; 0: there is none. "inception-v3" can have one
            (0.4 in its reference); a factory's module that has one gives (logits, auxiliary logits) in training mode.
        weights: a file to start from, safetensors or a torch state dict such as torchvision's `inception_v3_google`; what it
            must hold is said at `shattering.learners.weights.start_from`. Its content, not its path, identifies a run.
        stop_when_fitted: stop once every training example is classified as labelled (in evaluation mode).
        stop_at_loss: stop after the first epoch whose mean training loss, in evaluation mode and in nats, is at most this; None: no such
            stop. The training set is then evaluated after every epoch, as with `evaluate_train`.
        evaluate_train: evaluate the whole training set after every epoch, beside the online loss and accuracy.
        track_examples: record the predictions and losses of each training example; the training is the same with and without.
        crop: side of the central crop in pixels; None: no crop; "auto": 28 for 32x32 images, as the papers crop
            CIFAR-10, else none.
        standardize: "image" (per image, the papers' for CIFAR-10), "feature" (moments of the training set), "range" (pixels
            to −1…1, the papers' for ImageNet, and what published Inception V3 weights expect), "none", or "auto": "feature"
            for tables (in float64, before they become float32), "range" for "inception-v3", "image" for other images, "none" for
            sequences, of which "image" standardizes each by itself. Tokens are given as they are, int64.
        padding: the token that fills up shorter documents where these have several lengths; None: 0. A network whose forward has a
            parameter `mask` or `attention_mask` gets a mask (b, length) there, True where a token is not the padding; with documents of
            one length all of it is True, unless the padding is said.
        precision: "float32", "bfloat16" (autocast), or "auto": the quicker of the two on this machine, by a measurement at the start of
            the training on a CPU, and bfloat16 on a GPU that has it. Which it was is `precision_`, and stands in the result of a run.
        accumulate: parts in which each batch (each process's part of it) is passed through the network before its one update: less
            memory, and the same update, except that batch normalization takes its moments over a part.
        sync_batch_norm: where several processes train together, take the moments of batch normalization over the whole batch, as one
            process would. False is quicker; the result then depends on the number of processes.
        asynchronous: workers that compute gradients on Ray, from parameters that are some updates old, as in the papers' training of
            Inception V3 (50 workers; ICLR 2017, appendix A); 0: none, synchronous SGD. They compute on CPUs. The purpose is to see what
            it does to the training, not speed.
        staleness: how many updates later a gradient is applied to the parameters (where as many have been made); None: asynchronous − 1,
            as where each worker in turn goes on from the parameters that its last gradient gave. The result depends on it alone, not
            on the number of workers.
        compile: use torch.compile.
        device: "auto" (CUDA, else MPS, else CPU), or a torch device.
        workers: processes that read, decode and randomize images on disk; None: one per core, at most 16. The result does not depend on it.
        checkpoint_every: least seconds between checkpoints, if `fit` is given a file for them. They are also written within epochs, and a
            resumed training goes on at the very batch. 0: a checkpoint after every epoch, and none within.
        order_seed: seed of the batch order, dropout and augmentation; None: random_state.
        random_state: seed of the initialization and of the batch order.

    Example:
        >>> from shattering import load_dataset
        >>> data = load_dataset("digits", n_train=100)
        >>> model = NetworkClassifier("mlp-1x64", epochs=5).fit(data.train)
        >>> len(model.history_), model.predict(data.train).shape
        (5, (100,))

    Attributes:
        module_: the trained torch module.
        classes_: (k,) the classes.
        image_shape_: shape of an image after cropping, or of another input.
        vocabulary_: number of token ids that the documents given to `fit` need; None for other inputs.
        device_: where it was trained.
        precision_: "float32" or "bfloat16", in which it was trained.
        history_: DataFrame, one row per epoch: epoch, step, learning_rate, train_loss and train_accuracy (online:
            each batch just before its update), full_train_loss and full_train_accuracy (evaluation mode; NaN where
            not evaluated), test_loss and test_accuracy, validation_loss and validation_accuracy (where such a split
            was given), seconds. With augmentation, the online ones are on the augmented images. Losses are cross-entropies
            in nats of the network's own logits and the labels as they are: label smoothing and the auxiliary classifier are
            in what is minimized, not in what is recorded. Accuracies in 0…1; with more than five classes also
            test_top5_accuracy and validation_top5_accuracy. Of asynchronous training also mean_staleness and max_staleness: by how many
            updates gradients were late, as the server counts them. With track_examples also the columns of
            `Tracker.end_epoch`: the same for clean and corrupted examples apart.
        examples_: with track_examples, a table of the training examples, as `Tracker.table` describes; else None.
        n_iter_: epochs trained.
        epochs_to_fit_: first epoch after which the training set was seen to be fitted, or None.
        interpolated_: True if every training example is classified as labelled at the end.
        diverged_: True if a loss was not finite.
        train_loss_: loss at the end, in evaluation mode.
        train_accuracy_: accuracy at the end, in evaluation mode.
        train_top5_accuracy_: top-5 accuracy at the end; None for five classes or fewer.
        train_predictions_: classes predicted for the training examples, if their images are on disk; else None.
        n_parameters_: trainable scalars.
        notes_: sentences on what has to be known of the fit, such as what was taken of the network's outputs.
        summary_: further numbers of a run's result: mean_staleness and max_staleness of asynchronous training,
            and precision where it was "auto".
    """

    later: ClassVar = {  # at these, left out of every identity
        "accumulate": 1,
        "sync_batch_norm": True,
        "label_smoothing": 0.0,
        "auxiliary": 0.0,
        "weights": None,
        "asynchronous": 0,
        "staleness": None,
        "stop_at_loss": None,
        "optimizer": "sgd",
        "loss": None,
        "padding": None,
    }

    def __init__(
        self,
        network: Annotated[str | Callable, "a name or a factory (image_shape, n_classes) → module"] = "mlp-1x512",
        *,
        epochs: Count = 100,
        batch_size: Count = 128,
        learning_rate: NotNegative | None = None,
        optimizer: OptimizerName | Callable = "sgd",
        loss: Callable | None = None,
        momentum: Share = 0.9,
        decay: Share = 0.95,
        decay_steps: Count | Literal["auto"] | None = "auto",
        weight_decay: NotNegative = 0.0,
        dropout: Share = 0.0,
        augment: str | Sequence[str] | Mapping[str, object] | None = None,
        label_smoothing: Share = 0.0,
        auxiliary: NotNegative = 0.0,
        weights: str | Path | None = None,
        stop_when_fitted: bool = False,
        stop_at_loss: NotNegative | None = None,
        evaluate_train: bool = False,
        track_examples: bool = False,
        crop: Count | Literal["auto"] | None = "auto",
        standardize: Standardize = "auto",
        padding: Natural | None = None,
        precision: Precision = "float32",
        accumulate: Count = 1,
        sync_batch_norm: bool = True,
        asynchronous: Natural = 0,
        staleness: Natural | None = None,
        compile: bool = False,
        device: Device = "auto",
        workers: Natural | None = None,
        checkpoint_every: NotNegative = 30.0,
        order_seed: Natural | None = None,
        random_state: Natural | np.random.RandomState | None = 0,
    ):
        self.network: str | Callable = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer: OptimizerName | Callable = optimizer
        self.loss = loss
        self.momentum = momentum
        self.decay = decay
        self.decay_steps: int | Literal["auto"] | None = decay_steps
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.augment = augment
        self.label_smoothing = label_smoothing
        self.auxiliary = auxiliary
        self.weights = weights
        self.stop_when_fitted = stop_when_fitted
        self.stop_at_loss = stop_at_loss
        self.evaluate_train = evaluate_train
        self.track_examples = track_examples
        self.crop: int | Literal["auto"] | None = crop
        self.standardize: Standardize = standardize
        self.padding = padding
        self.precision: Precision = precision
        self.accumulate = accumulate
        self.sync_batch_norm = sync_batch_norm
        self.asynchronous = asynchronous
        self.staleness = staleness
        self.compile = compile
        self.device = device
        self.workers = workers
        self.checkpoint_every = checkpoint_every
        self.order_seed = order_seed
        self.random_state = random_state

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        super().check_params()
        self._check_asynchronous()

    def _check_asynchronous(self) -> None:
        workers = self.asynchronous
        if not workers:
            if self.staleness is not None:
                raise InputError(
                    f"staleness is {self.staleness} where asynchronous is 0, expected a number of workers there, or no staleness"
                )
            return
        for name, value, only in (("optimizer", self.optimizer, "sgd"), ("loss", self.loss, None)):
            if value != only:
                expected = "none of your own" if only is None else repr(only)
                raise InputError(f"{name} is {shown(value)} where asynchronous is {workers}, expected {expected} beside it")
        if self.accumulate != 1:
            raise InputError(f"accumulate is {self.accumulate} where asynchronous is {workers}, expected 1 beside it")
        if self.compile:
            raise InputError(f"compile is {self.compile} where asynchronous is {workers}, expected false beside it")
        if str(self.device) not in ("auto", "cpu"):
            raise InputError(f"device is {str(self.device)!r} where asynchronous is {workers}, expected auto or cpu beside it")

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit."""
        check_is_fitted(self)
        return FitRecord(
            self.history_,
            self.examples_,
            self.n_iter_,
            self.epochs_to_fit_,
            self.diverged_,
            self.n_parameters_,
            self.summary_,
            self.device_,
            self.train_predictions_,
            self.train_top5_accuracy_,
            notes=self.notes_,
        )

    def decision_function(self, X) -> np.ndarray:
        """Return logits (n, classes); for two classes their difference (n,), as scikit-learn has it."""
        logits = self.logits(X).numpy()
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def logits(self, X) -> torch.Tensor:
        """Return logits (n, classes) float32 on the CPU, for a Split or images."""
        data = self._unlabelled(X)
        return evaluation.compute_logits(self.module_, data, self._forward).cpu()

    def predict_proba(self, X) -> np.ndarray:
        """Return class probabilities (n, classes): the softmax of the logits."""
        return torch.softmax(self.logits(X).double(), 1).numpy()

    def predict(self, X) -> np.ndarray:
        """Return the most probable class of each example (n,)."""
        data = self._unlabelled(X)
        return self.classes_[evaluation.predict(self.module_, data, self._forward).numpy()]

    def score(self, X, y=None, sample_weight=None) -> float:
        """Return the accuracy in 0…1 on a Split, or on images with labels y."""
        check_examples(X, y)
        return super().score(X, X.y if isinstance(X, Split) else y, sample_weight)

    def prepared(self, X, y=None) -> Examples:
        """Return examples as the network takes them, cropped and standardized as in `fit`, without augmentation.

        Args:
            X: a Split, or images (n, c, h, w) or features (n, d).
            y: (n,) labels, values in `classes_`; None: those of a Split, and for arrays all labels are 0.

        Raises:
            InputError: for images of another shape than in `fit`, labels that are not in `classes_`, and labels y beside a Split.
        """
        check_examples(X, y)
        if isinstance(X, Split):
            labels = self._evaluated_labels(X, "")
            return replace(self._unlabelled(X), labels=labels.to(self.device_))
        data = self._unlabelled(X)
        return data if y is None else replace(data, labels=self._codes(plain_labels(y, "y"), len(data.labels)).to(self.device_))

    def _codes(self, y: np.ndarray, n: int) -> torch.Tensor:
        """Return labels (n,), values in `classes_`, as 0…k-1."""
        if len(y) != n:
            raise InputError(f"X has {n} examples and y has {len(y)} labels, expected as many")
        codes = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        strange = np.flatnonzero(self.classes_[codes] != y)
        if len(strange):
            raise InputError(f"label {y[strange[0]]!r} is none of the classes of fit, {self.classes_.tolist()}")
        return torch.from_numpy(codes.astype(np.int64))

    def _identity(self) -> dict:
        params = super()._identity()
        if not self.track_examples:
            del params["track_examples"]  # a parameter at its default does not orphan a checkpoint that did not know it
        return params

    def _keep_measured(self, final: dict[str, float], predictions: torch.Tensor | None, tracker: Tracker | None) -> None:
        self.train_accuracy_ = final["accuracy"]
        self.train_top5_accuracy_ = final.get("top5_accuracy")
        self.train_predictions_ = None if predictions is None else self.classes_[predictions.cpu().numpy()]
        self.examples_ = tracker.table(self.classes_) if tracker else None
        self.interpolated_ = self.train_accuracy_ == 1.0

    @property
    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _outputs(self, n: int) -> Outputs:
        return Outputs(n, self._name)

    def _labels_of_split(self, split: Split) -> torch.Tensor:
        if split.is_regression:
            raise InputError("the labels are numbers, expected classes for a NetworkClassifier, or a NetworkRegressor")
        self.classes_ = split.label_values
        return split.labels

    def _labels_of_arrays(self, y: Any, is_checked: bool) -> torch.Tensor:
        self.classes_, codes = class_codes(np.asarray(y if is_checked else plain_labels(y, "y")))
        return torch.from_numpy(codes.astype(np.int64))

    def _evaluated_labels(self, split: Split, whose: str) -> torch.Tensor:
        if split.is_regression:
            raise InputError(f"{whose}labels are numbers, expected classes as in fit")
        if split.label_values.tolist() != self.classes_.tolist():
            raise InputError(f"{whose}classes are {split.label_values.tolist()}, expected those of fit, {self.classes_.tolist()}")
        return split.labels

    def _no_labels(self, n: int) -> torch.Tensor:
        return torch.zeros(n, dtype=torch.int64)

    def _meta(self) -> dict:
        return {"classes": self.classes_.tolist()}

    def _read_meta(self, meta: dict) -> None:
        self.classes_ = np.array(meta["classes"])

    def _strategy(self) -> AbstractContextManager[Strategy]:
        """Open what computes the epochs: this process, or asynchronous workers."""
        return asynchronous.opened(self.asynchronous, self.staleness) if self.asynchronous else super()._strategy()

    def _tracker(self, X, labels: torch.Tensor) -> Tracker | None:
        if not self.track_examples:
            return None
        true_labels, ids = (X.true_labels, X.ids) if isinstance(X, Split) else (labels, torch.arange(len(labels)))
        return Tracker(labels, true_labels, ids, self.device_)
