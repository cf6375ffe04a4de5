"""What the fits of a torch module start from: drawn anew by its layers, or the weights that were given; and that it is said."""

import copy

import pytest
import pytorch_lightning
import safetensors.torch
import torch
from torch import nn

from shattering import InputError, randomization_test
from shattering.cli import main
from shattering.identity.digest import digest
from shattering.learners.adapt import as_model
from shattering.learners.factories import Given, ModuleFactory, Reinitialized, of_instance
from shattering.learners.network import NetworkClassifier
from shattering.learners.weights import start_from
from shattering.networks.forward import lazy_names
from shattering.runs.fit import load_data
from tests.conftest import make_split

QUICK = {"n_train": 60, "n_test": 30, "randomizations": ["permuted-labels"], "n_permutations": 1}
RECIPE = {"epochs": 1, "batch_size": 20, "learning_rate": 0.1}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))


def made(factory, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory((1, 8, 8), 10)


def weights(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


class Own(nn.Module):
    """Draws its part's weights its own way, as modules of graphs do."""

    def __init__(self):
        super().__init__()
        self.part = nn.Linear(3, 3)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.constant_(self.part.weight, 7.0)
        nn.init.zeros_(self.part.bias)


class Forgetful(nn.Module):
    """Has a parameter that its reset leaves out."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.weight = nn.Parameter(torch.ones(3))

    def reset_parameters(self):
        nn.init.normal_(self.weight)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.ones(3))


def test_an_instance_is_initialized_anew_for_every_seed_and_left_alone():
    module = net()
    module[2].running_mean.add_(1)
    before = weights(module).clone()
    factory = Reinitialized(module)
    a, b, c = (weights(made(factory, seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a, before)
    assert torch.equal(weights(module), before)
    assert made(factory)[2].running_mean.abs().max() == 0, "what batch normalization has learnt is no part of the start"


def test_given_weights_are_the_start_of_every_fit():
    module = net()
    factory = Given(module)
    assert torch.equal(weights(made(factory, 1)), weights(module))
    assert made(factory) is not module


def test_frozen_parameters_keep_the_values_that_they_were_given_with():
    module = net()
    module[1].requires_grad_(False)
    module[2].requires_grad_(False)
    module[2].running_mean.add_(1)
    module[4].bias.requires_grad_(False)
    new = made(Reinitialized(module), 1)
    assert torch.equal(new[1].weight, module[1].weight)
    assert torch.equal(new[2].running_mean, module[2].running_mean)
    assert torch.equal(new[4].bias, module[4].bias)
    assert not torch.equal(new[4].weight, module[4].weight)
    assert [p.requires_grad for p in new.parameters()] == [p.requires_grad for p in module.parameters()]
    assert "5 of its 6 parameters (such as 1.weight) kept the values" in Reinitialized(module).sentence


def test_a_module_draws_its_parts_after_they_have_drawn_themselves():
    new = made(Reinitialized(nn.Sequential(nn.Linear(2, 3), Own())))
    assert torch.equal(new[1].part.weight, torch.full((3, 3), 7.0))


def test_attention_and_transformers_of_torch_are_initialized_anew():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    new = made(Reinitialized(layer), 1)
    assert not torch.equal(new.self_attn.in_proj_weight, layer.self_attn.in_proj_weight)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Forgetful(), "layer itself .Forgetful. of the module leaves scale as it is in reset_parameters"),
        (nn.Sequential(nn.Linear(3, 3), Constant()), "layer 1 .Constant. of the module has no reset_parameters"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), "cannot be initialized anew"),
        (nn.ParameterList([nn.Parameter(torch.ones(2))]), 'has no reset_parameters.*expected start="given"'),
    ],
)
def test_a_module_that_would_keep_trained_weights_is_refused_with_the_remedy(module, message):
    with pytest.raises(InputError, match=message):
        Reinitialized(module)
    Given(module)


@pytest.mark.parametrize("start", ["given", "reinitialized"])
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_instances_whose_copies_would_not_be_their_own_are_refused(start):
    with pytest.raises(InputError, match=r"^the module is TorchScript .*, whose copies compute with its own weights, expected"):
        as_model(torch.jit.script(nn.Linear(4, 2)), start=start)
    with pytest.raises(InputError, match=r"^weight of Linear is on the meta device, where tensors have no values, expected"):
        as_model(nn.Linear(4, 2, device="meta"), start=start)


def test_start_is_for_instances_alone():
    for what in (nn.Identity, "mlp-1x16", NetworkClassifier(), lambda split, seed: None):
        with pytest.raises(InputError, match=r"start is 'given' beside .*, expected it beside an instance of a torch module alone"):
            as_model(what, start="given")
    with pytest.raises(InputError, match="unknown start 'fine'"):
        of_instance(nn.Linear(2, 2), "fine")
    with pytest.raises(InputError, match="cannot be copied"):
        of_instance(Uncopied(), "given")


class Uncopied(nn.Module):
    def __deepcopy__(self, memo):
        raise RuntimeError("no")


def test_what_counts_of_an_instance():
    def of(module, start="reinitialized"):
        return digest(NetworkClassifier(of_instance(module, start)), context="cloned")

    module, trained = net(), net()
    with torch.no_grad():
        trained[1].weight.add_(1)
    trained[2].running_mean.add_(1)
    assert of(trained) == of(module), "weights and statistics that are drawn anew do not count"
    assert of(trained, "given") != of(module, "given") != of(module)
    assert of(copy.deepcopy(module).eval(), "given") == of(module, "given"), "it will be trained whatever its mode"
    edited = [copy.deepcopy(module) for _ in range(5)]
    edited[0][1].weight.requires_grad_(False)
    edited[1][1].weight.requires_grad_(False).add_(1)
    edited[2][2].eps = 0.1
    edited[3].register_forward_hook(lambda *_: None)
    edited[4].double()
    for start in ("reinitialized", "given"):
        assert len({of(one, start) for one in [module, *edited]}) == 6


def test_the_result_says_what_the_fits_started_from(tmp_path):
    module = net()
    anew = randomization_test(module, "digits", hyperparameters=RECIPE, store=tmp_path, **QUICK)
    given = randomization_test(module, "digits", hyperparameters=RECIPE, store=tmp_path, start="given", **QUICK)
    assert (anew.start, given.start) == ("reinitialized", "given")
    assert anew.to_json()["start"] == "reinitialized"
    assert "re-initialized by the reset_parameters of its layers. The weights that it was given with were not used" in str(anew)
    assert "was fine-tuned from the weights that the Sequential was given with" in str(given)
    assert "fine-tuned from the same given weights. Subset, noise and batch order have" in given.to_html()
    assert "weights that its layers had drawn anew. Subset, noise, initialization and batch order have" in anew.to_html()
    assert not {run.run_id for run in anew.runs} & {run.run_id for run in given.runs}
    again = randomization_test(copy.deepcopy(module), "digits", hyperparameters=RECIPE, store=tmp_path, start="given", **QUICK)
    assert [run.provenance["started"] for run in again.runs] == [run.provenance["started"] for run in given.runs]
    other = randomization_test(lambda shape, k: net(), "digits", hyperparameters=RECIPE, **QUICK)
    assert (other.start, other.notes) == (None, ())


def test_every_fit_of_a_given_module_starts_from_its_weights():
    """With a learning rate of nothing the answers are those of the given weights, whatever the seed and the labels."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    still = {**RECIPE, "learning_rate": 0.0}
    given = randomization_test(module, "digits", hyperparameters=still, start="given", **QUICK)
    answers = [run.model(given.objects).module_.state_dict()["1.weight"] for run in given.runs]
    assert all(torch.equal(one, module[1].weight) for one in answers)
    anew = randomization_test(module, "digits", hyperparameters=still, **QUICK)
    first, second = (run.model(anew.objects).module_.state_dict()["1.weight"] for run in anew.runs)
    assert not torch.equal(first, second)
    assert not torch.equal(first, module[1].weight)


def test_a_module_without_anything_to_train_is_refused():
    module = net().requires_grad_(False)
    with pytest.raises(InputError, match="no parameter that can be trained"):
        randomization_test(module, "digits", hyperparameters=RECIPE, start="given", **QUICK)


def test_the_command_line_takes_a_start(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text("from torch import nn\nnet = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    arguments = ["test", "nets.py:net", "--n-train", "60", "--n-test", "30", "--randomizations", "permuted-labels", "--n-permutations", "1"]
    assert main([*arguments, "--set", "epochs=1", "--start", "given"]) == 0
    assert "fine-tuned from the weights that the Sequential was given with" in capsys.readouterr().out


def test_factories():
    assert made(ModuleFactory(net))[1].out_features == 8
    with pytest.raises(InputError, match="takes a; expected"):
        ModuleFactory(lambda a: None)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (lambda n_classes: ("m", n_classes), ("m", 10)),
        (lambda num_classes, in_channels: ("m", num_classes, in_channels), ("m", 10, 1)),
        (lambda in_features, out_features, hidden=3: ("m", in_features, out_features, hidden), ("m", 64, 10, 3)),
        (lambda input_shape, num_labels: ("m", input_shape, num_labels), ("m", (1, 8, 8), 10)),
        (lambda shape, k: ("m", shape, k), ("m", (1, 8, 8), 10)),
        (lambda a, b: ("m", a, b), ("m", (1, 8, 8), 10)),
        (lambda n_classes, image_shape: ("m", n_classes, image_shape), ("m", 10, (1, 8, 8))),
    ],
)
def test_sizes_are_given_by_the_names_of_the_parameters(make, arguments):
    assert ModuleFactory(make)((1, 8, 8), 10) == arguments


class Hidden(nn.Module):
    def __init__(self, hidden, n_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Linear(hidden, n_classes))

    def forward(self, images):
        return self.layers(images)


def hidden_and_more(hidden, n_classes):
    return Hidden(hidden, n_classes)


def test_another_parameter_is_refused_with_what_to_give_instead():
    with pytest.raises(InputError, match=r"Hidden takes hidden, n_classes; expected .* lambda image_shape, n_classes: Hidden\(hidden=…\)"):
        as_model(Hidden)
    with pytest.raises(InputError, match=r"function hidden_and_more takes hidden, n_classes; expected .*\(image_shape, n_classes\)"):
        as_model(hidden_and_more)
    assert isinstance(as_model(lambda n_classes: Hidden(3, n_classes))[1].network, ModuleFactory)


def test_lazy_layers_get_their_sizes_from_the_data_and_their_weights_from_the_seed(tmp_path):
    split = make_split(n=24)
    make = lambda shape, k: Hidden(8, k)  # noqa: E731
    first, same, other = (NetworkClassifier(make, epochs=2, batch_size=8, random_state=seed).fit(split) for seed in (0, 0, 1))
    assert torch.equal(weights(first.module_), weights(same.module_))
    assert not torch.equal(weights(first.module_), weights(other.module_))
    assert first.n_parameters_ == 90 * 8 + 8 + 2 * 8 + 8 * 4 + 4
    first.save(tmp_path / "m")
    assert torch.equal(NetworkClassifier(make).load(tmp_path / "m").logits(split), first.logits(split))
    with pytest.raises(InputError, match=r"the Hidden cannot be copied \(it has lazy layers without sizes\), expected its class"):
        of_instance(Hidden(8, 4), None)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 4))
    anew = NetworkClassifier(of_instance(lazy, None), epochs=1, batch_size=8).fit(split)
    assert anew.n_parameters_ == 90 * 8 + 8 + 8 * 4 + 4
    assert lazy_names(lazy), "the module that was given is left alone"
    assert len(digest(NetworkClassifier(of_instance(lazy, None)), context="cloned")) == 16
    with pytest.raises(InputError, match=r"start is 'given' beside a module whose 1.weight has no values yet"):
        of_instance(lazy, "given")


def test_a_lazy_layer_that_is_not_used_is_refused():
    module = nn.Sequential(nn.Flatten(), nn.Linear(90, 4))
    module.register_module("spare", nn.LazyLinear(3))
    module.forward = lambda x: module[1](module[0](x))
    with pytest.raises(InputError, match=r"spare\.weight of Sequential is of a lazy layer that forward did not use"):
        NetworkClassifier(lambda shape, k: module, epochs=1).fit(make_split(n=8))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.inner, self.again, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.again.weight = self.inner.weight

    def forward(self, images):
        return self.last(torch.relu(self.again(torch.relu(self.inner(images.flatten(1))))))


@pytest.mark.parametrize("start", ["reinitialized", "given"])
def test_tied_weights_are_stored_loaded_and_trained_as_one(tmp_path, start):
    test = randomization_test(Tied(), "digits", hyperparameters=RECIPE, store=tmp_path, start=start, **QUICK)
    run = test.runs[0]
    model = run.model(test.objects)
    assert model.module_.inner.weight is model.module_.again.weight
    assert run.result["n_parameters"] == 64 * 64 + 2 * 64 + 64 * 10 + 10
    data = load_data(run.spec, test.objects)[0]
    assert (model.predict(data.train) == data.train.labels.numpy()).mean() == run.result["train_accuracy"]
    assert ("fine-tuned" if start == "given" else "re-initialized") in test.notes[0]


def test_weights_that_are_left_out_as_others_are_the_same(tmp_path):
    """As libraries write tied weights to safetensors."""
    module = Tied()
    tensors = {name: tensor.clone() for name, tensor in module.state_dict().items() if name != "again.weight"}
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors")
    other = Tied()
    start_from(other, tmp_path / "w.safetensors", 10)
    assert torch.equal(other.again.weight, module.inner.weight)


class Light(pytorch_lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images):
        return self.layer(images.flatten(1))

    def training_step(self, batch, index):
        raise AssertionError("never called")

    def configure_optimizers(self):
        raise AssertionError("never called")


@pytest.mark.parametrize(("model", "start"), [(Light(), "given"), (Light(), "reinitialized"), (Light, None)])
def test_a_module_of_lightnings_is_trained_by_us_and_that_is_said(model, start):
    test = randomization_test(model, "digits", hyperparameters=RECIPE, start=start, **QUICK)
    assert "The training_step and configure_optimizers of Light were not used: its forward was trained" in test.notes[-1]
    assert test.notes[-1] in str(test)
    assert len(test.notes) == (1 if start is None else 2)
