"""Completion, asked of the shells themselves."""

import shutil
import subprocess
from typing import get_args

import pytest

from shattering.cli import COMMANDS, main
from shattering.data.catalog import DATASETS
from shattering.data.noise import Pixels
from shattering.experiments.catalogue import NAMES


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Files with the scripts that the command prints, by the name of the shell."""
    folder = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch:
        for shell in ("bash", "zsh", "fish"):
            written = (folder / shell).open("w")
            patch.setattr("sys.stdout", written)
            assert main(["completion", shell]) == 0
            written.close()
    return folder


def ask(shell, script, words):
    """Return what a shell offers for the last of these words, after `shattering`."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "fish":
        text = f"source {script}\ncomplete -C '{' '.join(['shattering', *words])}'\n"
    else:
        typed = " ".join(f"'{word}'" for word in ("shattering", *words))
        text = f"source {script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _shattering; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {line.split("\t")[0] for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], set(COMMANDS)),
        (["stat"], {"status"}),
        (["capacity", ""], set(COMMANDS["capacity"])),
        (["run", "--pixels", ""], set(get_args(Pixels))),
        (["run", "--data", "cifar"], {"cifar10", "cifar100"}),
        (["list", ""], {"datasets", "networks", "models", "measures"}),
        (["paper", "figure1"], {"figure1", "figure1a", "figure1b", "figure1c"}),
        (["capacity", "bits", "--lab"], {"--labels"}),
        (["capacity", "bits", "--labels", ""], {"random", "true", "both"}),
        (["measure", "x", "--only", "n_param"], {"n_parameters"}),
        (["test", "random-f"], {"random-forest"}),
    ],
)
def test_what_is_offered(scripts, shell, words, offered):
    assert ask(shell, scripts / shell, words) == offered


def test_every_name_is_offered_and_zsh_has_what_bash_has(scripts):
    text = (scripts / "zsh").read_text()
    assert text.endswith((scripts / "bash").read_text())
    assert set(NAMES) | set(DATASETS) <= set(text.replace("'", " ").split())
