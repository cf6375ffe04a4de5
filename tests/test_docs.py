"""What README and docs say of results is what the stored runs say."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def redraw():
    spec = importlib.util.spec_from_file_location("redraw", ROOT / "docs" / "redraw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_is_up_to_date_with_the_results(redraw):
    readme = (ROOT / "README.md").read_text()
    assert redraw.with_section(readme) == readme, "run python docs/redraw.py"


def test_the_page_of_results_is_up_to_date(redraw):
    assert redraw.results_page() == (ROOT / "docs" / "results.md").read_text(), "run python docs/redraw.py"


def test_stored_runs_have_no_weights_and_are_small():
    assert not [*(ROOT / "results").glob("*/*.safetensors"), *(ROOT / "results").glob("*/*.pt")]
    assert sum(path.stat().st_size for path in (ROOT / "results").rglob("*")) < 20e6
