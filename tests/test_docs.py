"""README and docs: their numbers are those of the stored runs, their commands parse, their Python runs, their links lead somewhere."""

import json
import re
import shlex
from pathlib import Path
from pydoc import locate

import numpy as np
import pytest

from shattering.cli import understand
from shattering.compare.plan import RANDOMIZATIONS
from shattering.experiments.catalogue import NAMES
from shattering.measures.catalog import MEASURES
from shattering.report.style import COLORS, DARK
from shattering.runs.study import STUDIES
from tests.conftest import load_script
from tests.report.channels import has_bars, untold
from tests.report.test_style import DEUTERANOPIA, LEAST_DIFFERENCE, worst_difference

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if not {"_build", "auto_gallery"} & set(path.parts))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.S)


def our_commands(shell: str) -> list[list[str]]:
    """The arguments of each call of `shattering` in a block of shell; variables are 1."""
    found = []
    for line in shell.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(re.sub(r"\$\{?\w+\}?", "1", line), posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|"):
                while words and (words[0] == "srun" or re.match(r"\w+=", words[0])):
                    words.pop(0)
                if words[:1] == ["shattering"]:
                    found.append(words[1:])
                words = []
            else:
                words.append(word)
    return found


def inline_commands(page: Path) -> list[list[str]]:
    """The arguments of commands within sentences and tables, but for those that leave something open."""
    return [shlex.split(text) for text in re.findall(r"`shattering (\w+ [^`…]+)`", page.read_text()) if not re.search(r"\b[A-Z]+\b", text)]


COMMANDS = [
    (page.name, command)
    for page in PAGES
    for command in [*(c for s in blocks(page, "sh") for c in our_commands(s)), *inline_commands(page)]
]


def slug(heading: str) -> str:
    """The anchor that MyST gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def redraw(results):
    return load_script(ROOT / "docs" / "redraw.py")


@pytest.mark.parametrize(
    ("page", "section"),
    [("docs/start.md", "start_section"), ("README.md", "answer_section"), ("docs/interrogate.md", "interrogation_section")],
)
def test_what_is_drawn_is_up_to_date_with_the_results(redraw, page, section):
    text = (ROOT / page).read_text()
    assert redraw.with_section(text, getattr(redraw, section)()) == text, "run python docs/redraw.py"


def test_sentences_of_the_first_page_have_the_numbers_of_its_stored_test(results):
    test = json.loads((results / "start.json").read_text())
    scores = {f"{100 * row[name]:.1f}".removesuffix(".0") for row in test["table"] for name in ("train_score", "test_score")}
    p_values = {f"{row['p_value']:.2g}" for row in test["table"] if row["p_value"]}
    sentences = (ROOT / "docs" / "start.md").read_text().partition("- **Random labels, 100")[2].partition("## A network")[0]
    assert set(re.findall(r"([\d.]+) %", sentences)) - {"20"} <= scores  # 20 % are corrupted
    assert set(re.findall(r"p = ([\d.]*\d)", sentences)) <= p_values
    assert f"{test['n_train']:,}" in sentences


def test_the_pages_of_results_are_up_to_date(redraw):
    remedy = "run shattering paper NAME --scale small --store results for a new experiment, then python docs/redraw.py"
    pages = redraw.result_pages()
    assert {f"results/{path.name}" for path in (DOCS / "results").iterdir()} == pages.keys() - {"results.md"}, "a page is left over"
    for name, page in pages.items():
        assert page == (DOCS / name).read_text(), f"{name}: {remedy}"


def test_what_colour_tells_is_told_by_a_second_channel_in_every_chart(redraw):
    charts = redraw.page_charts()
    assert len(charts) > 30
    assert {name: fields for name, (spec, _) in charts.items() if (fields := untold(spec)[0])} == {}


def test_the_series_of_every_chart_differ_under_deuteranopia_on_light_and_dark_pages(redraw):
    used = {tuple(colors) for spec, _ in redraw.page_charts().values() for colors in untold(spec)[1]}
    assert len(used) > 3
    assert {color for colors in used for color in colors} <= set(COLORS)
    for colors in used:
        for shown in (colors, [DARK[color] for color in colors]):
            assert worst_difference(shown, np.array(DEUTERANOPIA)) >= LEAST_DIFFERENCE, colors


def test_captions_say_what_error_bars_are_of(redraw):
    charts = redraw.page_charts()
    drawn = {name: caption for name, (spec, caption) in charts.items() if has_bars(spec)}
    assert len(drawn) > 5
    assert {name for name, caption in drawn.items() if not re.search(r"standard deviation|intervals", caption)} == set()
    for name in ("passes-small", "theorem1-trained-small", "table3-filters-small", "table3-filters-full", "table3-conv-small"):
        assert "One seed, so there are no error bars." in charts[name][1]
        assert name not in drawn


def test_the_page_of_what_is_reproduced_is_up_to_date(redraw):
    assert redraw.coverage_page() == (ROOT / "docs" / "coverage.md").read_text(), "run python docs/redraw.py"


def test_the_table_of_label_errors_is_the_measured_one():
    benchmark = load_script(ROOT / "benchmarks" / "label_errors.py")
    measured = json.loads((ROOT / "benchmarks" / "label_errors.json").read_text())
    assert f"\n{benchmark.table(measured)}\n" in (DOCS / "memorization.md").read_text()


def test_the_table_of_asynchronous_training_is_the_measured_one():
    measured = json.loads((ROOT / "benchmarks" / "asynchronous.json").read_text())
    text = (DOCS / "how-to" / "cluster.md").read_text()
    for row in measured["rows"]:
        runs = [run for run in measured["runs"] if (run["labels"], run["workers"]) == (row["labels"], row["workers"])]
        epochs = sorted(str(run["epochs_to_fit"]) for run in runs if run["epochs_to_fit"])
        fitted = f"{' and '.join(epochs)} epochs{', or not' if len(epochs) < len(runs) else ''}" if epochs else "not"
        workers = f"{row['workers']}{' (synchronous)' if row['workers'] == 1 else ''}"
        numbers = f"{row['train_loss']:.{3 if row['train_loss'] < 0.1 else 2}f} | {100 * row['test_accuracy']:.1f} %"
        assert f"\n| {row['labels']} | {workers} | {row['staleness']} | {fitted} | {numbers} |\n" in text
    times = [row["time_ratio"] for row in measured["rows"] if row["workers"] > 1]
    assert f"{min(times):.0f} to {max(times):.0f} times as long" in text


def test_what_encoding_as_jpeg_costs_is_the_measured_cost():
    costs = {row["quality"]: row for row in json.loads((ROOT / "benchmarks" / "jpeg.json").read_text())["by_quality"]}
    for name, said in {
        "conv": r"at quality 50 the error rises by ([\d.]+) points,\s+at 30 by ([\d.]+) and at 15 by ([\d.]+)",
        "gaussian": r"the Gaussian kernel's by ([\d.]+), ([\d.]+) and ([\d.]+)",
    }.items():
        found = re.search(said, (DOCS / "linear.md").read_text())
        assert found, name
        assert list(found.groups()) == [f"{100 * costs[quality][f'{name}_cost']:.1f}" for quality in (50, 30, 15)]


def test_every_experiment_is_named_by_a_page_that_is_written_by_hand():
    text = "".join(page.read_text() for page in PAGES if page.parent.name != "results" and page.name not in ("results.md", "coverage.md"))
    assert [name for name in NAMES if f"`{name}`" not in text and f"shattering paper {name}" not in text] == []


def test_every_measure_and_every_study_is_among_the_functions_of_the_api():
    text = (DOCS / "api.md").read_text()
    names = [*(f"measures.{m.at.replace(':', '.')}" for m in MEASURES.values()), *(at.replace(":", ".") for at in STUDIES.values())]
    assert [name for name in names if f"   ~shattering.{name.removeprefix('shattering.')}\n" not in text] == []


def test_stored_runs_have_no_weights_and_are_small(results):
    assert not [*results.glob("*/*.safetensors"), *results.glob("*/*.pt")]
    assert sum(path.stat().st_size for path in results.rglob("*")) < 20e6


@pytest.mark.parametrize(("page", "arguments"), COMMANDS, ids=[shlex.join([page, *arguments]) for page, arguments in COMMANDS])
def test_every_command_of_the_docs_parses(page, arguments):
    assert hasattr(understand(arguments), "execute")


def test_commands_are_found_where_they_are():
    shell = "srun shattering sweep --seed $N # all\nA=1 shattering status; shattering show RUN\necho shattering\n#SBATCH shattering"
    assert our_commands(shell) == [["sweep", "--seed", "1"], ["status"], ["show", "RUN"]]
    assert len(COMMANDS) > 30


def test_the_python_of_the_start_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(DOCS / "start.md", "python"):
        exec(block, names)
    assert names["forest"].n_estimators == 50
    assert names["net"]((1, 8, 8), 10)[-1].out_features == 10
    assert (tmp_path / "report.html").stat().st_size > 0
    assert names["test"].n_train == 143
    assert names["test"].p_value == 0.05


def test_the_python_of_own_data_runs():
    names: dict = {}
    exec(blocks(DOCS / "how-to" / "own-data.md", "python")[0], names)
    assert names["table"].original.test_score > 0.6
    assert names["regression"].scrambling.corrected_r2 > 0.4
    assert names["text"].original.test_score == 1


def test_links_lead_to_pages_and_headings():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
            path = (page.parent / target).resolve() if target else page
            if "auto_gallery" in path.parts:  # made when the site is built
                assert path.stem == "index" or (DOCS / "gallery" / f"{path.stem}.py").exists(), f"{page.name}: {target}"
                continue
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in [slug(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text(), flags=re.M)], (
                    f"{page.name}: #{anchor}"
                )


def test_names_of_the_package_in_docstrings_and_pages_exist():
    for path in [*PAGES, *sorted((ROOT / "src").rglob("*.py"))]:
        for name in re.findall(r"`(shattering(?:\.\w+)+)`", path.read_text()):
            if name != "shattering.run_id":  # a tag of MLflow's
                assert locate(name) is not None, f"{path.relative_to(ROOT)}: {name}"


def test_the_table_of_randomizations_names_all_of_them():
    names = re.findall(r"^\| `([\w-]+)` \| `Randomization", (DOCS / "api.md").read_text(), flags=re.M)
    assert names == list(RANDOMIZATIONS)
