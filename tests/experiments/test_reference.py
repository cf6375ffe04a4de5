import pytest

from shattering.experiments import reference
from shattering.networks import CIFAR_SHAPE, build_network, count_parameters


def test_the_tables_have_all_their_rows():
    assert [len(t) for t in (reference.TABLE_1, reference.TABLE_2, reference.TABLE_3, reference.TABLE_4)] == [19, 7, 5, 6]
    assert len({(r.network, r.random_labels, r.random_crop, r.weight_decay) for r in reference.TABLE_1}) == 19


def test_every_network_of_the_tables_is_ours_at_the_papers_size():
    for network in {r.network for r in (*reference.TABLE_1, *reference.TABLE_4)}:
        assert count_parameters(build_network(network, CIFAR_SHAPE, 10, 0)) == reference.PARAMETERS[network]
        assert network in reference.MODEL_NAMES


def test_what_the_text_says_of_the_tables():
    gain = reference.table_1("inception").test - reference.table_1("inception-no-bn").test
    assert reference.BATCH_NORM_GAIN[0] <= gain <= reference.BATCH_NORM_GAIN[1]
    assert all(abs(r.test - 10) < 1 and r.train > 99 for r in reference.TABLE_1 if r.random_labels)
    augmented = [r for r in reference.TABLE_2 if not r.random_labels]
    assert augmented[0].test_top1 - augmented[-1].test_top1 == pytest.approx(18, abs=0.1)
    assert [r.network for r in reference.TABLE_4 if r.train is None] == ["alexnet"]
    with pytest.raises(StopIteration):
        reference.table_1("mlp-1x512", random_crop=True)
