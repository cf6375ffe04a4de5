"""`TrainedNetwork`: the base of the models that train a torch module, whatever its outputs stand for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from shattering import networks, seeds
from shattering.data.augment import strengths
from shattering.data.kinds import Kind
from shattering.data.lazy import ImagesOnDisk
from shattering.data.split import Split
from shattering.errors import InputError, reason, shown
from shattering.identity.digest import identify
from shattering.learners.devices import Device, resolve_device
from shattering.learners.factories import ModuleFactory, check_trainable, own_training
from shattering.learners.network_inputs import NetworkInputs
from shattering.learners.outside import watch_factory, watch_network
from shattering.learners.own import OwnModel
from shattering.learners.preprocessing import Preprocessing, Standardize
from shattering.learners.tokens import mask_name, vocabulary_of
from shattering.learners.train import asynchronous, evaluation, loop
from shattering.learners.train.autocast import Autocast, Precision
from shattering.learners.train.batches import Examples
from shattering.learners.train.checkpoint import TrainState
from shattering.learners.train.epoch import Strategy, Synchronous
from shattering.learners.train.hyperparameters import Hyperparameters, resolve_decay_steps
from shattering.learners.train.optimizers import DEFAULT_RATE, OptimizerName, check_optimizer
from shattering.learners.train.outputs import Call, Forward, Outputs, watched_in_training
from shattering.learners.train.ranks import Ranks, has_batch_norm, local_device, synchronize_batch_norm
from shattering.learners.train.shown import shown_epochs
from shattering.learners.train.tracker import Tracker
from shattering.learners.weights import file_identity, load_fitted, save_fitted, start_from, unstored
from shattering.parameters import check, check_fields

_LOOKED_AT = 32  # examples whose outputs are looked at before training


class TrainedNetwork(NetworkInputs, OwnModel, BaseEstimator):
    """Base of `NetworkClassifier` and `NetworkRegressor`, which document the parameters: what they share."""

    takes_splits = True
    not_identity = ("device", "compile", "workers", "checkpoint_every", "random_state")  # a run has its seed outside the model
    files = ("weights",)  # identified by content

    network: str | Callable
    epochs: int
    batch_size: int
    learning_rate: float | None
    optimizer: OptimizerName | Callable
    loss: Callable | None
    momentum: float
    decay: float
    decay_steps: int | Literal["auto"] | None
    weight_decay: float
    dropout: float
    augment: str | Sequence[str] | Mapping[str, object] | None
    label_smoothing: float = 0.0
    auxiliary: float = 0.0
    weights: str | Path | None
    stop_when_fitted: bool
    stop_at_loss: float | None
    evaluate_train: bool
    crop: int | Literal["auto"] | None
    standardize: Standardize
    precision: Precision
    accumulate: int
    sync_batch_norm: bool
    asynchronous: int = 0
    staleness: int | None = None
    compile: bool
    device: Device
    checkpoint_every: float
    order_seed: int | None
    random_state: int | np.random.RandomState | None

    def check_params(self) -> None:
        """Raise InputError for the first parameter out of range, without fitting."""
        check_fields(self)
        strengths(self.augment)
        check_optimizer(self.optimizer, self.momentum, self.weight_decay)
        if self.loss is not None:
            self._check_loss(self.loss)
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

    def hyperparameters(self, n: int, seed: int, n_outputs: int = 0) -> Hyperparameters:
        """Return what the training loop needs to know.

        Args:
            n: number of training examples.
            seed: seed of the batch order, dropout and augmentation, unless there is an `order_seed`.
            n_outputs: of the network, for an example; 0: any number.
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
            autocast=Autocast(self.device_.type if hasattr(self, "device_") else "cpu", self.precision),
            checkpoint_every=self.checkpoint_every,
            accumulate=self.accumulate,
            outputs=self._outputs(n_outputs),
            call=self._call(),
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
        progress: bool | None = None,
    ):
        """Train on a Split, or on images (n, c, h, w) or features (n, d) with labels or targets y (n,).

        Args:
            X: a Split, or arrays.
            y: labels or targets; None where X is a Split, which has them.
            test: a split to evaluate after every epoch, against its labels.
            validation: another one, to choose by.
            checkpoint: a file to resume from and to keep checkpoints in; a resumed fit has the history of an
                uninterrupted one (bitwise on the CPU).
            on_epoch: called with each row of the history.
            progress: see `shattering.system.progress`; shown after a second, unless this is a part of a call that has a line of its own.
                It is no parameter of the model, as those identify its runs.

        In a process group of `torch.distributed` all processes train together, each on its part of every batch; of what is written
        and called, rank 0 takes care.

        Raises:
            InputError: for bad parameters or data.
        """
        self.check_params()
        check("progress", progress, bool | None)
        for name, split in {"test": test, "validation": validation}.items():
            check(name, split, Annotated[Split | None, "a Split, such as data.test, or none"])
        if checkpoint and not self.is_reproducible:
            order = "expected a whole number, by which a resumed training goes on in the order in which it began"
            raise InputError(f"random_state is {shown(self.random_state)} beside a checkpoint, {order}")
        inputs, labels = self._training_data(X, y)
        seed = _as_seed(self.random_state)
        watched = [split.inputs for split in (test, validation) if split]
        self.vocabulary_ = vocabulary_of(inputs, *watched) if self._kind == "tokens" else None
        self._prepare(inputs, seed)
        module = self.module_
        kept = "" if self.weights is None else start_from(module, self.weights, self._n_outputs)
        if self.sync_batch_norm and Ranks.current().world > 1:
            synchronize_batch_norm(module)
        clean = self._examples(inputs, labels, persistent=True)
        hyperparameters = self.hyperparameters(len(labels), seed, self._n_outputs)
        self.notes_ = tuple(text for text in (kept, self._look(clean, hyperparameters), own_training(module)) if text)
        compiled: nn.Module = self._compiled(module) if self.compile else module
        key = json.dumps([repr(self._identity()), _digest(inputs, labels)]) if checkpoint else ""
        tracker = self._tracker(X, labels)
        rows = shown_epochs(self.epochs, progress, on_epoch)
        drawn = seeds.put_back() if checkpoint else nullcontext()  # a resumed training sets the global generators
        drew = watch_network(module, self.loss, self.optimizer)
        with self._strategy() as strategy, rows as each_epoch, drawn, self._second_outputs() as found:
            state = loop.fit(
                compiled,
                self._preprocessing.augmented(clean, inputs, self.augment, hyperparameters.order_seed),
                self._watched(test=test, validation=validation),
                hyperparameters,
                strategy,
                clean=clean,
                tracker=tracker,
                checkpoint=Path(checkpoint) if checkpoint else None,
                key=key,
                world_matters=self._world_matters(),
                on_epoch=each_epoch,
                notes=found,
            )
        self._keep(state, clean, tracker)
        self.notes_ += tuple(filter(None, (drew(),)))
        return self

    def _look(self, clean: Examples, hyperparameters: Hyperparameters) -> str:
        """Look at the outputs for the first examples before any training. Returns a sentence on what was found, or nothing."""
        n = min(len(clean.labels), self.batch_size, _LOOKED_AT)
        inputs = next(clean.in_order(0, n, n))
        own, note = hyperparameters.forward.look(self.module_, inputs)
        hyperparameters.look_at_loss(own, clean.labels[:n])
        return note

    @contextmanager
    def _second_outputs(self) -> Iterator[list[str]]:
        """Note that the network gives more than a tensor in training mode alone, where that is not used as the auxiliary logits.

        Networks that are compiled or TorchScript, and the workers of asynchronous training, are not watched.
        """
        unseen = self.compile or self.asynchronous or isinstance(self.module_, torch.jit.ScriptModule)
        if unseen or self.auxiliary or any("more than a tensor" in note for note in self.notes_):
            yield []
            return
        with watched_in_training(self.module_) as found:
            yield found
        if what := "".join(found):
            self.notes_ += (f"The forward of {self._name} returned more than a tensor in training mode: {what} was used.",)

    def _keep(self, state: TrainState, clean: Examples, tracker: Tracker | None) -> None:
        """Set the attributes of a fit from the state at its end."""
        self.history_ = pd.DataFrame(state.history)
        self.precision_: Precision = state.precision or self.precision
        self.summary_ = asynchronous.summary(self.history_) | ({"precision": state.precision} if state.precision else {})
        self.n_iter_ = len(state.history)
        self.epochs_to_fit_ = state.epochs_to_fit
        self.diverged_ = state.diverged
        predictions = None if clean.in_memory else torch.zeros_like(clean.labels)
        final = evaluation.evaluate(self.module_, clean, self._forward, Ranks.current(), predictions)
        self.train_loss_ = final["loss"]
        self.notes_ += self._not_stored()
        self._keep_measured(final, predictions, tracker)

    def save(self, path: str | Path) -> None:
        """Write weights and preprocessing as safetensors."""
        check_is_fitted(self)
        scaler = self._preprocessing.scaler
        moments = {"_feature_mean": scaler.mean, "_feature_std": scaler.std} if scaler else {}
        meta = {"image_shape": list(self._preprocessing.raw_shape), **self._meta()}
        if self.precision == "auto":
            meta |= {"precision": self.precision_}
        if self._kind in ("sequence", "tokens"):
            meta |= {"kind": self._kind, "is_ragged": self._is_ragged, "vocabulary": self.vocabulary_}
        save_fitted(path, {**self.module_.state_dict(), **moments}, meta)

    def load(self, path: str | Path):
        """Become the fitted model that `save` wrote, with this one's parameters. There is no history.

        Tensors that the network draws and does not store, such as buffers that are not persistent, are drawn anew: with the `random_state`
        of the fit they are the same.

        Raises InputError for a file that is damaged, or of a network with other parameters.
        """
        tensors, meta = load_fitted(path)
        try:
            self._kind = meta.get("kind") or ("table" if len(meta["image_shape"]) == 1 else "images")
            self._is_ragged = meta.get("is_ragged", False)
            self.precision_ = meta.get("precision", self.precision)
            self.vocabulary_ = meta.get("vocabulary")
            self._read_meta(meta)
            example = torch.zeros(1, *meta["image_shape"], dtype=torch.int64 if self._kind == "tokens" else torch.float32)
            self._prepare(example, self._seed_again)
            if scaler := self._preprocessing.scaler:
                scaler.mean, scaler.std = tensors.pop("_feature_mean"), tensors.pop("_feature_std")
            self.module_.load_state_dict(tensors)
        except (LookupError, TypeError, RuntimeError) as error:
            raise InputError(f"{path} is not of this network: {reason(error)}") from None
        return self

    def _identity(self) -> dict:
        params = {k: v for k, v in self.get_params().items() if k not in self.not_identity or k == "random_state"}
        params = {name: value for name, value in params.items() if name not in self.later or value != self.later[name]}
        params |= {name: file_identity(params[name]) for name in self.files if params.get(name) is not None}
        for name in ("network", "optimizer", "loss"):
            if callable(params.get(name)):
                params[name] = identify(params[name], name)[0]
        return params

    def _strategy(self) -> AbstractContextManager[Strategy]:
        """Open what computes the epochs: this process."""
        return nullcontext(Synchronous())

    def _tracker(self, X, labels: torch.Tensor) -> Tracker | None:
        """Return what records the training examples, if that is asked for."""
        return None

    def _prepare(self, inputs: torch.Tensor, seed: int) -> None:
        """Set up preprocessing and a new module for inputs of this shape."""
        self._preprocessing = Preprocessing.of(inputs, self.crop, self.standardize, self.network, self._kind)
        self.image_shape_ = self._preprocessing.image_shape
        together = local_device() if str(self.device) in ("auto", "cuda") and torch.cuda.is_available() else None
        self.device_ = resolve_device(together or ("cpu" if self.asynchronous else self.device))
        module = self._build(seed)
        check_trainable(module)
        self._preprocessing.channels_last = any(isinstance(part, nn.Conv2d) for part in module.modules())
        memory_format = torch.channels_last if self._preprocessing.channels_last else torch.preserve_format
        self.module_ = module.to(device=self.device_).to(memory_format=memory_format)  # type: ignore[call-overload]  # the stub lacks modules
        self.n_parameters_ = networks.count_parameters(module)
        if not self.n_parameters_:
            raise InputError("the network has no parameter that can be trained (requires_grad is False of all), expected at least one")

    def _build(self, seed: int) -> nn.Module:
        module = self.new_module(self.image_shape_, self._n_outputs, seed, self._kind, self.vocabulary_)
        if self.dropout:
            networks.add_dropout(module, self.dropout)
        return module

    @property
    def is_reproducible(self) -> bool:
        """True if random_state is a whole number, so that `initial_module` can build the same weights again."""
        return isinstance(self.random_state, (int, np.integer))

    @property
    def _seed_again(self) -> int:
        """The seed with which the network is built again, for stored weights: that of the fit, if that is known."""
        return int(self.random_state) if self.is_reproducible else 0  # type: ignore[arg-type]  # it is a whole number

    def _not_stored(self) -> tuple[str, ...]:
        """Return a sentence about tensors that are not stored with the weights, and are others once the network is built again."""
        kept = {} if isinstance(self.network, str) else unstored(self.module_)
        if not kept:
            return ()
        with seeds.put_back():
            again = unstored(self._build(self._seed_again))
        both = [name for name in kept if name in again and kept[name].shape == again[name].shape]  # others are kept of a last call
        names = [name for name in both if not torch.equal(kept[name], again[name])]
        if not names:
            return ()
        are = f"{', '.join(names[:5])} of {self._name} {'is' if len(names) == 1 else 'are'}"
        return (
            f"{are} not stored with its weights, and other values when it is built again, so that it may predict otherwise once loaded: "
            "register_buffer keeps them.",
        )

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
            start_from(module, self.weights, self._n_outputs)
        return module

    def new_module(
        self, shape: tuple[int, ...], n_outputs: int, seed: int, kind: Kind = "images", vocabulary: int | None = None
    ) -> nn.Module:
        """Return the network before training, with the weights of a seed or those that it was given with.

        Args:
            shape: of an input, after cropping.
            n_outputs: classes, or 1 for a regression.
            seed: of a fit.
            kind: of the inputs.
            vocabulary: number of tokens, of which a factory may take the number.
        """
        network = partial(self.network, vocabulary=vocabulary) if isinstance(self.network, ModuleFactory) else self.network
        dtype = torch.int64 if kind == "tokens" else torch.float32
        factory = self.network.make if isinstance(self.network, ModuleFactory) else self.network
        check = watch_factory(factory) if callable(factory) else None
        module = networks.build_network(network, shape, n_outputs, seeds.integer(seed, "init"), self.auxiliary > 0, dtype)
        if check:
            check(module)
        return module

    def _compiled(self, module: nn.Module) -> nn.Module:
        """Compile the module; on a GPU with CUDA graphs, which save the launches of many small kernels.

        There are none where gradients are accumulated: a graph writes them to the same memory again, which drops parts of their sum.
        """
        mode = "reduce-overhead" if self.device_.type == "cuda" and self.accumulate == 1 else "default"
        return torch.compile(module, mode=mode, dynamic=False)  # type: ignore[return-value]  # a module stays one

    def _world_matters(self) -> bool:
        """Return whether training by another number of processes gives another result, beyond rounding."""
        normalized = has_batch_norm(self.module_) and (not self.sync_batch_norm or self.accumulate > 1)
        return normalized or bool(self.dropout) or any(isinstance(part, nn.modules.dropout._DropoutNd) for part in self.module_.modules())

    def _loss(self) -> Callable | None:
        """Return the loss of the user's; a module is copied to where the network is."""
        module = isinstance(self.loss, nn.Module) and hasattr(self, "device_")
        return deepcopy(self.loss).to(self.device_) if module else self.loss  # type: ignore[union-attr]  # it is a module

    def _call(self) -> Call:
        """Return how the network's forward is called: with a mask of tokens, if it takes one."""
        name = mask_name(self.module_) if hasattr(self, "module_") and self._kind == "tokens" else ""
        unpadded = self.padding is None and not getattr(self, "_is_ragged", False)
        return Call(name, -1 if unpadded else self.padding or 0)

    @property
    def _forward(self) -> Forward:
        return Forward(Autocast(self.device_.type, self.precision_), self._outputs(self._n_outputs), self._call())

    @property
    def _name(self) -> str:
        """Return the name of the network in messages."""
        return type(self.module_).__name__ if hasattr(self, "module_") else "the network"

    @property
    def _n_outputs(self) -> int:
        """The outputs that the network has to have for an example."""
        raise NotImplementedError

    def _outputs(self, n: int) -> Outputs:
        """Return what reads so many outputs of an example."""
        raise NotImplementedError

    def _meta(self) -> dict:
        """Return what `save` has to keep of the labels."""
        raise NotImplementedError

    def _read_meta(self, meta: dict) -> None:
        """Set what `_meta` has kept."""
        raise NotImplementedError

    def _keep_measured(self, final: dict[str, float], predictions: torch.Tensor | None, tracker: Tracker | None) -> None:
        """Set the attributes of what is predicted, from the last evaluation on the training set and its predictions, if these are kept."""
        raise NotImplementedError


def _digest(inputs: torch.Tensor, labels: torch.Tensor) -> str:
    """Return a digest of what a network is trained on; of images on disk, as `ImagesOnDisk.fingerprint` says."""
    on_disk = isinstance(inputs, ImagesOnDisk)
    digest = hashlib.sha256(inputs.fingerprint().encode() if on_disk else b"")
    for tensor in (labels,) if on_disk else (labels, inputs):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _as_seed(random_state: int | np.random.RandomState | None) -> int:
    """Turn scikit-learn's random_state into an integer: an integer is itself, None is fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(random_state.randint(2**31)) if isinstance(random_state, np.random.RandomState) else int(random_state)
