from shattering.experiments import interpolators


def test_all_four_functions_interpolate_and_norms_are_in_their_order():
    _, table = interpolators.run_study(0, n=120, n_test=60, gamma=0.1)
    assert (table["train_accuracy"] == 1).all()
    assert (table["residual"] < 1e-8).all()
    norms = table.set_index("function")["norm"]
    assert norms.idxmin() == "minimum norm"
