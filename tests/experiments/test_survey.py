import json

import pytest

from shattering import InputError, Store
from shattering.experiments import survey
from shattering.experiments.experiment import Runs
from shattering.experiments.scales import SCALES
from shattering.interrogate.survey import SURVEY

ROWS = [
    {"family": "norms", "measure": "distance", "T1a": 1.0, "T1b": 1.0, "T1c": 0.95, "claim": "holds", "why": ""},
    {"family": "margin bounds", "measure": "inverse_margin", "T1a": 0.1, "T1b": 1.0, "T1c": None, "claim": "does not hold", "why": ""},
    {"family": "norms", "measure": "fisher_rao", "T1a": 0.9, "T1b": 1.0, "T1c": 0.8, "claim": "inconclusive", "why": "at both it is open"},
]


@pytest.fixture
def runs(tmp_path):
    return Runs(Store(tmp_path), SCALES["small"])


def test_every_measure_of_the_survey_is_a_claim_that_is_missing_until_it_is_stored(runs):
    result = survey.result(SCALES["small"], runs)
    assert {claim.verdict for claim in result.claims} == {"missing"}
    assert len(result.claims) == sum(map(len, SURVEY.values()))
    assert result.not_done == []
    assert survey.specs(SCALES["small"]) == []


def test_claims_are_those_of_the_stored_interrogation_of_the_same_scale(runs, tmp_path):
    (tmp_path / "interrogation-small.json").write_text(json.dumps({"survey": ROWS}))
    claims = {claim.name.split()[0]: claim for claim in survey.result(SCALES["small"], runs).claims}
    assert claims["distance"].verdict == "holds"
    assert claims["distance"].ours == "at equal loss: 100%; at equal steps: 100%; at both: 95%"
    assert claims["inverse_margin"].verdict == "does not hold"
    assert claims["fisher_rao"].shown_verdict == "inconclusive: at both it is open"
    assert claims["log_path_norm"].verdict == "missing"
    assert {claim.verdict for claim in survey.result(SCALES["demo"], runs).claims} == {"missing"}
    (tmp_path / "interrogation-small.json").write_text("[]")
    with pytest.raises(InputError, match=r"interrogation-small\.json is no stored interrogation"):
        survey.result(SCALES["small"], runs)
