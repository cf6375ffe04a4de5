from shattering.experiments import double_descent


def test_double_descent_is_of_least_norm_on_nested_features():
    _, table = double_descent.run_study(0, n=60, n_test=40, widths=[20, 60, 400])
    assert table["width"].tolist() == [20, 60, 400]
    assert table["train_error"].iloc[-1] == 0
    _, alone = double_descent.run_study(0, n=60, n_test=40, widths=[60])
    assert alone["norm"].iloc[0] != table["norm"].iloc[2]
