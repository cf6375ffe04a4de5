import json
from dataclasses import replace

import pytest

from shattering import InputError, Randomization, RunSpec, Store, sweep
from shattering.interrogate.population import SCALES, STAGES, equal_steps, find_scale, natural, randomized, rounded_down
from shattering.interrogate.table import CONDITIONS, runs_table
from shattering.runs.execute import run
from tests.interrogate.conftest import TINY


def test_a_population_has_every_treatment_and_the_table_finds_what_each_run_is(population):
    store, runs = population
    table, axes = runs_table(store.runs())
    assert axes == []
    assert len(table) == len(runs) == len({one.run_id for one in runs})
    assert sorted(table["condition"]) == sorted(set(CONDITIONS) - {"gaussian pixels", "shatter point"})
    assert table.loc[~table["condition"].str.startswith("untrained"), "cell"].nunique() == 1
    assert table["fitted"].all()
    assert table["loss"].dtype == table["updates"].dtype == float
    assert table.loc[table["condition"] == "fewer", "n"].tolist() == [20]


def _with(one, **params):
    """A run as if it had been of other hyperparameters."""
    spec = replace(one.spec, params={**one.spec.params, **params})
    other = replace(one, spec=spec, folder=one.folder.with_name(f"other-{spec.run_id}"))
    other.__dict__["history"] = one.history
    return other


def test_hyperparameters_that_differ_are_axes_and_none_hides_a_column(population):
    """The network has a parameter "loss" beside the loss of the table."""
    _, runs = population
    to_a_loss = [one for one in runs if one.spec.params.get("stop_at_loss")]
    others = [_with(one, network="mlp-1x32", weight_decay=0.1) for one in to_a_loss]
    table, axes = runs_table([*runs, *others])
    assert axes == ["width", "weight_decay"]
    assert table["loss"].notna().all()
    assert table.groupby("cell")["width"].nunique().max() == 1


def test_a_stored_search_for_the_shatter_point_joins_the_cell_of_its_network(population):
    _, runs = population
    random = next(one for one in runs if one.spec.randomization == Randomization(1.0) and "stop_at_loss" in one.spec.params)

    def searched(n, accuracy):
        spec = replace(random.spec, n_train=n, params={k: v for k, v in random.spec.params.items() if k != "stop_at_loss"})
        other = replace(random, spec=spec, folder=random.folder.with_name(f"other-{spec.run_id}"))
        other.__dict__.update(history=random.history, result={**random.result, "n_train": n, "train_accuracy": accuracy})
        return other

    search = [searched(100, 1.0), searched(141, 0.995), searched(200, 0.7)]
    table, _ = runs_table([*runs, *search])
    found = table.loc[table["condition"] == "shatter point"]
    assert found["n"].tolist() == [141]
    assert found["fitted"].all()
    assert found["cell"].tolist() == table.loc[table["condition"] == "natural", "cell"].tolist()
    assert len(runs_table([*runs, *search[:2]])[0]) == len(runs)  # nothing failed, so the point is not known
    assert len(runs_table([*runs, search[2]])[0]) == len(runs)


def test_random_labels_stop_at_the_loss_that_their_natural_partner_has_reached(population):
    table, _ = runs_table(population[0].runs())
    loss = table.set_index("condition")["loss"]
    for condition in ("random", "partial", "fewer", "random pixels"):
        assert loss[condition] <= rounded_down(loss["natural"]) <= loss["natural"] <= 0.01


def test_equal_steps_are_equal(population):
    table, _ = runs_table(population[0].runs())
    updates = table.set_index("condition")["updates"]
    assert updates["random"] == updates["equal steps"] > updates["natural"]


def test_treatments_of_a_seed_share_initial_weights_and_images(population):
    import torch

    def weights(labels):
        spec = next(spec for spec in natural(TINY) if spec.params["learning_rate"] == 0)
        return list(population[0].of(replace(spec, randomization=Randomization(labels))).model().module_.parameters())

    assert all(torch.equal(a, b) for a, b in zip(weights(0.0), weights(1.0), strict=True))


def test_untrained_networks_are_as_they_were_initialized(population):
    import torch

    from shattering.networks import build_network
    from shattering.seeds import integer

    spec = next(spec for spec in natural(TINY) if spec.params["learning_rate"] == 0)
    stored = population[0].of(spec).model().module_
    fresh = build_network(str(spec.params["network"]), (1, 8, 8), 10, integer(spec.seed, "init"))
    assert all(torch.equal(a, b) for a, b in zip(stored.parameters(), fresh.parameters(), strict=True))


def test_every_stage_is_there_already_when_it_is_asked_for_again(population):
    store, runs = population
    for stage in STAGES:
        for spec in stage(TINY, runs):
            assert store.of(spec).status == "done"
    assert [one.status for one in sweep(randomized(TINY, runs), store)] == ["done"] * len(randomized(TINY, runs))


def test_later_stages_wait_for_those_before():
    assert randomized(TINY, []) == equal_steps(TINY, []) == []


def test_a_run_that_missed_its_loss_has_no_partners(population):
    _, runs = population
    assert len(randomized(TINY, runs)) == 4
    (one,) = (done for done in runs if done.run_id == natural(TINY)[0].run_id)
    missed = replace(one)
    missed.__dict__["history"] = one.history.assign(full_train_loss=0.02)  # as it was read from its file
    assert randomized(TINY, [missed]) == randomized(TINY, [replace(one, status="failed")]) == []


def test_other_runs_of_a_store_are_left_out(population, tmp_path):
    runs = list(population[0].runs())
    other = run(RunSpec("digits", 40, 50, params={"network": "mlp-1x16", "epochs": 1}), Store(tmp_path))
    assert len(runs_table([*runs, other])[0]) == len(runs)
    with pytest.raises(InputError, match="and none trained to a loss on both original and random labels"):
        runs_table([other])


def test_runs_on_other_images_are_no_partners_and_none_is_dropped_for_another(population, tmp_path):
    specs = [run.spec for run in population[1] if run.spec.params.get("stop_at_loss") and run.spec.randomization.labels in (0.0, 1.0)]
    specs = [spec for spec in specs if spec.n_train == 40 and spec.randomization.pixels == "true"]
    others = [run(replace(spec, data_seed=5), Store(tmp_path)) for spec in specs]
    table, _ = runs_table([*population[1], *others])
    cells = table.set_index("run")["cell"]
    assert len(specs) == 2
    assert {other.run_id for other in others} <= set(table["run"])
    assert cells[others[0].run_id] == cells[others[1].run_id]
    assert cells[others[0].run_id] != cells[specs[0].run_id]


def test_runs_that_differ_in_what_is_no_axis_are_left_out_but_for_the_first_and_a_warning_says_so(population):
    runs = list(population[0].runs())
    natural = next(one for one in runs if "stop_at_loss" in one.spec.params and one.spec.randomization == Randomization())
    again = _with(natural, epochs=201)
    with pytest.warns(UserWarning, match=r"^1 run left out, first \S+: of runs of one cell, treatment and seed, which differ in"):
        table, _ = runs_table([*runs, again])
    assert len(table) == len(runs)
    kept = {natural.run_id, again.run_id} & set(table["run"])
    assert kept == {min(natural.run_id, again.run_id)}


def test_scales_are_literal_and_their_sizes_are_known():
    sizes = {name: sum(len(list(block.cells())) for block in scale.blocks) for name, scale in SCALES.items()}
    assert sizes["demo"] == 16
    assert sizes["small"] == 32
    assert len(natural(SCALES["small"])) == 2 * 32 + 6 * 10 * 2
    assert {json.dumps(spec.to_json()) for scale in SCALES.values() if scale.dataset == "digits" for spec in natural(scale)}
    with pytest.raises(InputError, match="unknown scale 'huge'"):
        find_scale("huge")


@pytest.mark.parametrize(("loss", "rounded"), [(0.0099999, 0.0099), (0.01, 0.01), (0.0086, 0.0086), (0.00012345, 0.00012), (3.19, 3.1)])
def test_losses_are_rounded_down_to_two_digits(loss, rounded):
    assert rounded_down(loss) == rounded
