"""`NetworkRegressor`: a scikit-learn regressor that trains a torch module with one output."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from shattering.data.split import Split
from shattering.errors import InputError
from shattering.learners.devices import Device
from shattering.learners.network_inputs import check_examples
from shattering.learners.own import FitRecord
from shattering.learners.preprocessing import Standardize
from shattering.learners.train import evaluation
from shattering.learners.train.autocast import Precision
from shattering.learners.train.optimizers import OptimizerName
from shattering.learners.train.outputs import NumberOutputs, Outputs
from shattering.learners.train.tracker import Tracker
from shattering.learners.trained import TrainedNetwork
from shattering.parameters import Count, Natural, NotNegative, Share


class NetworkRegressor(RegressorMixin, TrainedNetwork):
    """A network with one output, trained on the squared error as `NetworkClassifier` trains one on the cross-entropy.

    Args:
        network: as for `NetworkClassifier`; a factory (image_shape, n_classes) → module is called with one class. The module's forward
            gives (b, 1) or (b,).
        loss: what is minimized in place of the mean squared error: a function, or a module such as `nn.HuberLoss()`, of outputs and targets
            in their shape.
        scale_targets: train on (y - mean) / standard deviation of the training targets, and predict in their own unit. The losses of the
            history are of the scaled targets: 1 is that of the best constant answer.
        stop_when_fitted: stop once the training set's R² is at least 0.99 (in evaluation mode).

    All other parameters are those of `NetworkClassifier`.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = NetworkRegressor("mlp-1x64", epochs=20, batch_size=32).fit(X, y)
        >>> model.predict(X).shape, bool(model.score(X, y) > 0.4)
        ((442,), True)

    Attributes:
        precision_: "float32" or "bfloat16", in which it was trained.
        history_: as of `NetworkClassifier`, with mean squared errors for losses, and R² for accuracies (train_r2, test_r2, …).
        train_loss_: mean squared error of the (scaled) targets at the end, in evaluation mode.
        train_r2_: R² on the training set at the end.
        epochs_to_fit_: first epoch after which the training set's R² was seen to be at least 0.99, or None.
        fitted_: True if the training R² is at least 0.99 at the end.
        train_predictions_: numbers predicted for the training examples, if their images are on disk; else None.

    All other attributes are those of `NetworkClassifier`.
    """

    def __init__(
        self,
        network: Annotated[str | Callable, "a name or a factory (image_shape, n_classes) → module"] = "mlp-1x512",
        *,
        epochs: Count = 100,
        batch_size: Count = 128,
        learning_rate: NotNegative | None = None,
        optimizer: OptimizerName | Callable = "sgd",
        loss: Callable | None = None,
        scale_targets: bool = True,
        momentum: Share = 0.9,
        decay: Share = 0.95,
        decay_steps: Count | Literal["auto"] | None = "auto",
        weight_decay: NotNegative = 0.0,
        dropout: Share = 0.0,
        augment: str | Sequence[str] | Mapping[str, object] | None = None,
        weights: str | Path | None = None,
        stop_when_fitted: bool = False,
        stop_at_loss: NotNegative | None = None,
        evaluate_train: bool = False,
        crop: Count | Literal["auto"] | None = "auto",
        standardize: Standardize = "auto",
        padding: Natural | None = None,
        precision: Precision = "float32",
        accumulate: Count = 1,
        sync_batch_norm: bool = True,
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
        self.scale_targets = scale_targets
        self.momentum = momentum
        self.decay = decay
        self.decay_steps: int | Literal["auto"] | None = decay_steps
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.augment = augment
        self.weights = weights
        self.stop_when_fitted = stop_when_fitted
        self.stop_at_loss = stop_at_loss
        self.evaluate_train = evaluate_train
        self.crop: int | Literal["auto"] | None = crop
        self.standardize: Standardize = standardize
        self.padding = padding
        self.precision: Precision = precision
        self.accumulate = accumulate
        self.sync_batch_norm = sync_batch_norm
        self.compile = compile
        self.device = device
        self.workers = workers
        self.checkpoint_every = checkpoint_every
        self.order_seed = order_seed
        self.random_state = random_state

    def record(self) -> FitRecord:
        """Return what a stored run reports of a fit."""
        check_is_fitted(self)
        return FitRecord(
            self.history_,
            epochs=self.n_iter_,
            epochs_to_fit=self.epochs_to_fit_,
            diverged=self.diverged_,
            n_parameters=self.n_parameters_,
            device=self.device_,
            predicted=self.train_predictions_,
            notes=self.notes_,
            summary=self.summary_,
        )

    def predict(self, X) -> np.ndarray:
        """Return a number for each example (n,) float64, in the unit of the targets, for a Split or arrays."""
        data = self._unlabelled(X)
        return self._in_unit(evaluation.predict(self.module_, data, self._forward))

    def score(self, X, y=None, sample_weight=None) -> float:
        """Return R² on a Split, or on inputs with targets y."""
        check_examples(X, y)
        return super().score(X, X.y if isinstance(X, Split) else y, sample_weight)

    def _in_unit(self, outputs: torch.Tensor) -> np.ndarray:
        return outputs.cpu().double().numpy() * self._scale[1] + self._scale[0]

    def _scaled(self, targets: torch.Tensor) -> torch.Tensor:
        return ((targets - self._scale[0]) / self._scale[1]).float()

    def _keep_measured(self, final: dict[str, float], predictions: torch.Tensor | None, tracker: Tracker | None) -> None:
        self.train_r2_ = final["r2"]
        self.train_predictions_ = None if predictions is None else self._in_unit(predictions)
        self.fitted_ = self.train_r2_ >= NumberOutputs.fits_from

    @property
    def _n_outputs(self) -> int:
        return 1

    def _outputs(self, n: int) -> Outputs:
        return NumberOutputs(n, self._name)

    def _labels_of_split(self, split: Split) -> torch.Tensor:
        if not split.is_regression:
            raise InputError("the labels are classes, expected numbers for a NetworkRegressor, or a NetworkClassifier")
        return self._trained_on(split.labels)

    def _labels_of_arrays(self, y: Any, is_checked: bool) -> torch.Tensor:
        try:
            targets = np.asarray(y, np.float64)
        except (TypeError, ValueError):
            targets = np.empty(0)
        if targets.ndim == 2 and np.shape(y)[1:] == (1,):
            targets = targets.reshape(-1)
        if targets.ndim != 1 or not len(targets) or not np.isfinite(targets).all():
            kind = getattr(y, "dtype", type(y).__name__)
            raise InputError(f"y has type {kind} and shape {np.shape(y)}, expected one finite number for each example")
        return self._trained_on(torch.from_numpy(targets))

    def _trained_on(self, targets: torch.Tensor) -> torch.Tensor:
        """Set the scale of targets (n,) float64, and return them as they are trained on."""
        spread = float(targets.std(correction=0))
        self._scale = (float(targets.mean()), spread or 1.0) if self.scale_targets else (0.0, 1.0)
        return self._scaled(targets)

    def _evaluated_labels(self, split: Split, whose: str) -> torch.Tensor:
        if not split.is_regression:
            raise InputError(f"{whose}labels are classes, expected numbers as in fit")
        return self._scaled(split.labels)

    def _no_labels(self, n: int) -> torch.Tensor:
        return torch.zeros(n)

    def _meta(self) -> dict:
        return {"scale": list(self._scale)}

    def _read_meta(self, meta: dict) -> None:
        mean, spread = meta["scale"]
        self._scale = (float(mean), float(spread))
