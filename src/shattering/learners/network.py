"""`NetworkClassifier`: a scikit-learn classifier that trains a torch module by SGD (ICLR 2017, appendix A)."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from shattering import networks, seeds
from shattering.data.arrays import as_images
from shattering.data.augment import strengths
from shattering.data.channels import A_SPLIT
from shattering.data.split import Split
from shattering.data.targets import plain_labels
from shattering.errors import InputError, reason, shown
from shattering.identity.digest import identify
from shattering.learners.classes import class_codes
from shattering.learners.devices import Device, resolve_device
from shattering.learners.factories import own_training
from shattering.learners.own import FitRecord, OwnModel
from shattering.learners.preprocessing import Preprocessing, Standardize
from shattering.learners.train import asynchronous, evaluation, loop
from shattering.learners.train.batches import Examples
from shattering.learners.train.checkpoint import TrainState
from shattering.learners.train.epoch import Strategy, Synchronous
from shattering.learners.train.hyperparameters import Hyperparameters, resolve_decay_steps
from shattering.learners.train.optimizers import DEFAULT_RATE, OptimizerName, check_optimizer
from shattering.learners.train.outputs import Forward, Outputs
from shattering.learners.train.ranks import Ranks, has_batch_norm, local_device, synchronize_batch_norm
from shattering.learners.train.tracker import Tracker
from shattering.learners.weights import file_identity, load_fitted, save_fitted, start_from
from shattering.parameters import Count, Natural, NotNegative, Share, check_fields

_LOOKED_AT = 32  # examples whose outputs are looked at before training


class NetworkClassifier(OwnModel, ClassifierMixin, BaseEstimator):
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
            for tables (in float64, before they become float32), "range" for "inception-v3", "image" for other images.
        precision: "float32", or "bfloat16" (autocast).
        accumulate: parts in which each batch (each process's part of it) is passed through the network before its one update: less
            memory, and the same update, except that batch normalization takes its moments over a part.
        sync_batch_norm: where several processes train together, take the moments of batch normalization over the whole batch, as one
            process would. False is quicker; the result then depends on the number of processes.
        asynchronous: workers that compute gradients on Ray, from parameters that are some updates old, as in the papers' training of
            Inception V3 (50 workers; ICLR 2017, appendix A); 0: none, synchronous SGD. On CPUs. For what it does to the training, not
            for speed.
        staleness: how many updates later a gradient is applied to the parameters (where as many have been made); None: asynchronous − 1,
            as where each worker in turn goes on from the parameters that its last gradient gave. The result depends on it alone, not
            on the number of workers.
        compile: use torch.compile.
        device: "auto" (CUDA, else MPS, else CPU), or a torch device.
        workers: processes that read, decode and randomize images on disk; None: one per core, at most 16. The result does not depend on it.
        checkpoint_every: least seconds between checkpoints, if `fit` is given a file for them; 0: after every epoch. They are also written
            within epochs, and go on at the very batch.
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
        image_shape_: shape of an image after cropping.
        device_: where it was trained.
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
        summary_: further numbers of a run's result: mean_staleness and max_staleness of asynchronous training.
    """

    takes_splits = True
    not_identity = ("device", "compile", "workers", "checkpoint_every", "random_state")  # a run has its seed outside the model
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
    }
    files = ("weights",)  # identified by content

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
        precision: Literal["float32", "bfloat16"] = "float32",
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
        self.network = network
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
        self.precision = precision
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
        check_fields(self)
        strengths(self.augment)
        check_optimizer(self.optimizer, self.momentum, self.weight_decay)
        if self.loss is not None:
            self._check_loss(self.loss)
        self._check_asynchronous()
        if isinstance(self.network, str):
            networks.find_network(self.network)
            if self.auxiliary:
                networks.check_auxiliary(self.network)

    def _check_loss(self, loss: Callable) -> None:
        for name in ("label_smoothing", "auxiliary"):
            if getattr(self, name):
                raise InputError(f"{name} is {getattr(self, name):g} beside a loss of your own, expected it in the loss")
        if isinstance(loss, type):
            raise InputError(f"loss is the class {loss.__name__}, expected an instance of it, such as {loss.__name__}(), or a function")
        if isinstance(loss, nn.Module) and any(parameter.requires_grad for parameter in loss.parameters()):
            raise InputError(f"loss {type(loss).__name__} has parameters of its own, which would not be trained, expected a loss without")

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

    def hyperparameters(self, n: int, seed: int, n_classes: int = 0) -> Hyperparameters:
        """Return what the training loop needs to know.

        Args:
            n: number of training examples.
            seed: seed of the batch order, dropout and augmentation, unless there is an `order_seed`.
            n_classes: logits that the network has to give; 0: any number.
        """
        rate = self.learning_rate
        if rate is None:
            rate = networks.initial_learning_rate(self.network) if self.optimizer == "sgd" else DEFAULT_RATE
        return Hyperparameters(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=float(rate),
            momentum=self.momentum,
            decay=self.decay,
            decay_steps=resolve_decay_steps(self.decay_steps, self.batch_size, n),
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            auxiliary=self.auxiliary,
            order_seed=seed if self.order_seed is None else int(self.order_seed),
            stop_when_fitted=self.stop_when_fitted,
            stop_at_loss=self.stop_at_loss,
            evaluate_train=self.evaluate_train,
            autocast=self._autocast,
            checkpoint_every=self.checkpoint_every,
            accumulate=self.accumulate,
            outputs=self._outputs(n_classes),
            optimizer_name=self.optimizer,
            loss=self._loss(),
        )

    def fit(
        self,
        X,
        y=None,
        *,
        test: Split | None = None,
        validation: Split | None = None,
        checkpoint: str | Path | None = None,
        on_epoch: Callable[[dict], None] | None = None,
    ):
        """Train on a Split, or on images (n, c, h, w) or features (n, d) with labels y (n,).

        Args:
            X: a Split, or arrays.
            y: labels, unless X is a Split.
            test: a split to evaluate after every epoch, against its labels.
            validation: another one, to choose by.
            checkpoint: a file to resume from and to keep checkpoints in; a resumed fit has the history of an
                uninterrupted one (bitwise on the CPU).
            on_epoch: called with each row of the history.

        In a process group of `torch.distributed` all processes train together, each on its part of every batch; of what is written
        and called, rank 0 takes care.

        Raises:
            InputError: for bad parameters or data.
        """
        self.check_params()
        images, labels = self._training_data(X, y)
        seed = _as_seed(self.random_state)
        self._prepare(images, seed)
        module = self.module_
        if self.weights is not None:
            start_from(module, self.weights, len(self.classes_))
        if self.sync_batch_norm and Ranks.current().world > 1:
            synchronize_batch_norm(module)
        clean = self._examples(images, labels, persistent=True)
        hyperparameters = self.hyperparameters(len(labels), seed, len(self.classes_))
        self._look(clean, hyperparameters)
        compiled: nn.Module = self._compiled(module) if self.compile else module
        key = json.dumps([repr(self._identity()), len(labels), list(images.shape[1:])]) if checkpoint else ""
        tracker = self._tracker(X, labels)
        with self._strategy() as strategy:
            state = loop.fit(
                compiled,
                self._preprocessing.augmented(clean, images, self.augment, hyperparameters.order_seed),
                self._watched(test=test, validation=validation),
                hyperparameters,
                strategy,
                clean=clean,
                tracker=tracker,
                checkpoint=Path(checkpoint) if checkpoint else None,
                key=key,
                world_matters=self._world_matters(),
                on_epoch=on_epoch,
            )
        self._keep(state, clean, tracker)
        return self

    def _look(self, clean: Examples, hyperparameters: Hyperparameters) -> None:
        """Look at the outputs for the first examples before any training, and keep notes of what was found."""
        n = min(len(clean.labels), self.batch_size, _LOOKED_AT)
        inputs = next(clean.in_order(0, n, n))
        own, note = hyperparameters.forward.look(self.module_, inputs)
        if hyperparameters.loss is not None:
            hyperparameters.losses(own, clean.labels[:n])
        self.notes_ = tuple(text for text in (note, own_training(self.module_)) if text)

    def _keep(self, state: TrainState, clean: Examples, tracker: Tracker | None) -> None:
        """Set the attributes of a fit from the state at its end."""
        self.history_ = pd.DataFrame(state.history)
        self.summary_ = asynchronous.summary(self.history_)
        self.examples_ = tracker.table(self.classes_) if tracker else None
        self.n_iter_ = len(state.history)
        self.epochs_to_fit_ = state.epochs_to_fit
        self.diverged_ = state.diverged
        predictions = None if clean.in_memory else torch.zeros_like(clean.labels)
        final = evaluation.evaluate(self.module_, clean, self._forward, Ranks.current(), predictions)
        self.train_loss_, self.train_accuracy_ = final["loss"], final["accuracy"]
        self.train_top5_accuracy_ = final.get("top5_accuracy")
        self.train_predictions_ = None if predictions is None else self.classes_[predictions.cpu().numpy()]
        self.interpolated_ = self.train_accuracy_ == 1.0

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
        return super().score(X, X.y if isinstance(X, Split) else y, sample_weight)

    def save(self, path: str | Path) -> None:
        """Write weights and preprocessing as safetensors."""
        check_is_fitted(self)
        scaler = self._preprocessing.scaler
        moments = {"_feature_mean": scaler.mean, "_feature_std": scaler.std} if scaler else {}
        meta = {"image_shape": list(self._preprocessing.raw_shape), "classes": self.classes_.tolist()}
        save_fitted(path, {**self.module_.state_dict(), **moments}, meta)

    def load(self, path: str | Path):
        """Become the fitted classifier that `save` wrote, with this one's parameters. There is no history.

        Raises InputError for a file that is damaged, or of a network with other parameters.
        """
        tensors, meta = load_fitted(path)
        try:
            self.classes_ = np.array(meta["classes"])
            self._prepare(torch.zeros(1, *meta["image_shape"]), 0)
            if scaler := self._preprocessing.scaler:
                scaler.mean, scaler.std = tensors.pop("_feature_mean"), tensors.pop("_feature_std")
            self.module_.load_state_dict(tensors)
        except (LookupError, TypeError, RuntimeError) as error:
            raise InputError(f"{path} is not of this network: {reason(error)}") from None
        return self

    def _identity(self) -> dict:
        params = {k: v for k, v in self.get_params().items() if k not in self.not_identity or k == "random_state"}
        if not self.track_examples:
            del params["track_examples"]  # a parameter at its default does not orphan a checkpoint that did not know it
        params = {name: value for name, value in params.items() if name not in self.later or value != self.later[name]}
        params |= {name: file_identity(params[name]) for name in self.files if name in params}
        for name in ("network", "optimizer", "loss"):
            if callable(params.get(name)):
                params[name] = identify(params[name], name)[0]
        return params

    def _training_data(self, X, y) -> tuple[torch.Tensor, torch.Tensor]:
        """Return raw images and labels 0…k-1; set classes_ (and n_features_in_ for tables)."""
        if isinstance(X, Split):
            if X.is_regression or X.kind not in ("images", "table"):
                what = "the labels are numbers" if X.is_regression else f"the inputs are {X.kind}"
                raise InputError(f"{what}, expected classes of images or of a table of numbers for a network")
            self.classes_ = X.label_values
            return X.with_numbers().inputs, X.labels
        if y is None:
            raise InputError("requires y to be passed, but the target y is None")
        if getattr(X, "ndim", 2) in (3, 4):
            images, y = as_images(X, remedy=A_SPLIT), plain_labels(y, "y")
            if len(images) != len(y):
                raise InputError(f"X has {len(images)} examples and y has {len(y)} labels, expected as many")
        else:
            X, y = validate_data(self, X, y)
            images = as_images(X, where="X")
        self.classes_, labels = class_codes(np.asarray(y))
        return images, torch.from_numpy(labels.astype(np.int64))

    def _examples(self, images: torch.Tensor, labels: torch.Tensor, persistent: bool = False) -> Examples:
        return self._preprocessing.examples(images, labels, self.device_, self.workers, persistent)

    def _watched(self, **splits: Split | None) -> dict[str, Examples]:
        shape = self._preprocessing.raw_shape
        for name, split in splits.items():
            if split and split.input_shape != shape:
                raise InputError(f"{name} images have shape {split.input_shape}, expected {shape} as in the train split")
        return {name: self._examples(split.with_numbers().inputs, split.labels) for name, split in splits.items() if split}

    def _strategy(self) -> AbstractContextManager[Strategy]:
        """Open what computes the epochs: this process, or asynchronous workers."""
        return asynchronous.opened(self.asynchronous, self.staleness) if self.asynchronous else nullcontext(Synchronous())

    def _tracker(self, X, labels: torch.Tensor) -> Tracker | None:
        if not self.track_examples:
            return None
        true_labels, ids = (X.true_labels, X.ids) if isinstance(X, Split) else (labels, torch.arange(len(labels)))
        return Tracker(labels, true_labels, ids, self.device_)

    def _input_images(self, X) -> torch.Tensor:
        if getattr(X, "ndim", 2) in (3, 4):
            return as_images(X, like=self._preprocessing.raw_shape, remedy=A_SPLIT)
        return as_images(validate_data(self, X, reset=False), where="X")

    def _prepare(self, images: torch.Tensor, seed: int) -> None:
        """Set up preprocessing and a new module for images of this shape."""
        self._preprocessing = Preprocessing.of(images, self.crop, self.standardize, self.network)
        self.image_shape_ = self._preprocessing.image_shape
        together = local_device() if str(self.device) in ("auto", "cuda") and torch.cuda.is_available() else None
        self.device_ = resolve_device(together or ("cpu" if self.asynchronous else self.device))
        module = self._build(seed)
        self._preprocessing.channels_last = any(isinstance(part, nn.Conv2d) for part in module.modules())
        memory_format = torch.channels_last if self._preprocessing.channels_last else torch.preserve_format
        self.module_ = module.to(device=self.device_).to(memory_format=memory_format)  # type: ignore[call-overload]  # the stub lacks modules
        self.n_parameters_ = networks.count_parameters(module)
        if not self.n_parameters_:
            raise InputError("the network has no parameter that can be trained (requires_grad is False of all), expected at least one")

    def prepared(self, X, y=None) -> Examples:
        """Return examples as the network takes them, cropped and standardized as in `fit`, without augmentation.

        Args:
            X: a Split, or images (n, c, h, w) or features (n, d).
            y: (n,) labels, values in `classes_`, unless X is a Split; None: all labels are 0.

        Raises:
            InputError: for images of another shape than in `fit`, or labels that are not in `classes_`.
        """
        if isinstance(X, Split) and X.label_values.tolist() != self.classes_.tolist():
            raise InputError(f"classes are {X.label_values.tolist()}, expected those of fit, {self.classes_.tolist()}")
        data = self._unlabelled(X)
        if isinstance(X, Split):
            return replace(data, labels=X.labels.to(self.device_))
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

    def _build(self, seed: int) -> nn.Module:
        module = networks.build_network(
            self.network, self.image_shape_, len(self.classes_), seeds.integer(seed, "init"), self.auxiliary > 0
        )
        if self.dropout:
            networks.add_dropout(module, self.dropout)
        return module

    @property
    def is_reproducible(self) -> bool:
        """True if random_state is a whole number, so that `initial_module` can build the same weights again."""
        return isinstance(self.random_state, (int, np.integer))

    def initial_module(self) -> nn.Module:
        """Build the network as it was before training, with the same weights; on the CPU.

        Raises:
            InputError: if random_state is no whole number: then nobody knows these weights.
        """
        check_is_fitted(self)
        if not isinstance(self.random_state, (int, np.integer)):
            raise InputError(f"random_state is {self.random_state!r}, expected a whole number to build the initial network again from")
        module = self._build(int(self.random_state))
        if self.weights is not None:
            start_from(module, self.weights, len(self.classes_))
        return module

    def _unlabelled(self, X) -> Examples:
        check_is_fitted(self)
        images = X.with_numbers().inputs if isinstance(X, Split) else self._input_images(X)
        if tuple(images.shape[1:]) != self._preprocessing.raw_shape:
            raise InputError(f"images have shape {tuple(images.shape[1:])}, expected {self._preprocessing.raw_shape} as in fit")
        return self._examples(images, torch.zeros(len(images), dtype=torch.int64))

    def _compiled(self, module: nn.Module) -> nn.Module:
        """Compile the module; on a GPU with CUDA graphs, which save the launches of many small kernels."""
        mode = "reduce-overhead" if self.device_.type == "cuda" else "default"
        return torch.compile(module, mode=mode, dynamic=False)  # type: ignore[return-value]  # a module stays one

    def _world_matters(self) -> bool:
        """Return whether training by another number of processes gives another result, beyond rounding."""
        normalized = has_batch_norm(self.module_) and (not self.sync_batch_norm or self.accumulate > 1)
        return normalized or bool(self.dropout) or any(isinstance(part, nn.modules.dropout._DropoutNd) for part in self.module_.modules())

    def _loss(self) -> Callable | None:
        """Return the loss of the user's; a module is copied to where the network is."""
        module = isinstance(self.loss, nn.Module) and hasattr(self, "device_")
        return deepcopy(self.loss).to(self.device_) if module else self.loss  # type: ignore[union-attr]  # it is a module

    def _outputs(self, n_classes: int) -> Outputs:
        return Outputs(n_classes, type(self.module_).__name__ if hasattr(self, "module_") else "the network")

    @property
    def _forward(self) -> Forward:
        return Forward(self._autocast, self._outputs(len(self.classes_)))

    @property
    def _autocast(self) -> Callable[[], AbstractContextManager]:
        return partial(torch.autocast, self.device_.type, torch.bfloat16) if self.precision == "bfloat16" else nullcontext


def _as_seed(random_state: int | np.random.RandomState | None) -> int:
    """Turn scikit-learn's random_state into an integer: an integer is itself, None is fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31)) if isinstance(random_state, np.random.RandomState) else int(random_state)
