import pytest

from shattering.runs.attempts import ATTEMPTS, STARTS, Attempts


def test_a_run_that_gets_no_further_is_given_up():
    attempts = Attempts()
    for death in range(1, ATTEMPTS + 1):
        attempts.see({})
        attempts.see({"epoch": 4})
        assert attempts.die() == (None if death == ATTEMPTS else 0)
    assert attempts.summary == "3 times"


def test_a_run_without_epochs_is_given_up():
    attempts, pauses = Attempts(), []
    for _ in range(ATTEMPTS):
        attempts.see({})
        pauses.append(attempts.die())
    assert pauses == [0, 0, None]


def test_deaths_before_the_beginning_count_by_themselves():
    attempts = Attempts()
    pauses = [attempts.die() for _ in range(STARTS - 1)]
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8, 8, 8]
    attempts.see({})
    assert attempts.die() == 0, "its first"
    assert attempts.die() == 0.5, "it had begun meanwhile"
    assert [attempts.die() for _ in range(STARTS - 1)][-1] is None
    assert attempts.summary == "10 times before the run began"


@pytest.mark.parametrize(
    ("reached", "given_up"), [([5, 5, 5], True), ([2, 1, 2], True), ([1, 1, 2, 1, 2], True), ([1, 2, 3, 4, 5, 6], False)]
)
def test_a_death_further_on_begins_a_new_count(reached, given_up):
    attempts = Attempts()
    for epoch in reached:
        attempts.see({})
        attempts.see({"epoch": epoch})
        last = attempts.die()
    assert (last is None) == given_up
