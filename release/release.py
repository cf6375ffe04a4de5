"""Build what is released, and try it where nothing else is: `make release`, or `python release/release.py [--url URL] [--out dist]`.

From the last commit, not the files around it:

1. builds the source distribution, and the wheel from it;
2. checks both as the index does, and that the README renders there;
3. installs the wheel into a fresh environment with PyTorch, and counts the distributions that it brings along beside PyTorch's own;
4. uses it in an empty folder: import, `--version`, a demonstration with its report, and a sentence for each extra that is lacking.

Links of the README to files of the repository lead nowhere on the index. With --url, the address that files have before their path, they
are made absolute; without, they are counted. Takes some minutes, and some 2 GB in a temporary folder.
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = os.environ.get("TORCH", "torch==2.13.0")  # as in the Makefile
MOST = 25  # distributions beside PyTorch's own, shattering among them
_LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#)([^)\s]+\))")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of the repository's files, such as https://HOST/OWNER/NAME/blob/v0.1.0/")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, tools = checked_out(Path(folder) / "source"), Environment(Path(folder) / "tools")
        resolve_links(source / "README.md", options.url)
        wheel, sdist = build(source, tools, options.out)
        check(wheel, sdist, tools)
        fresh = Environment(Path(folder) / "fresh")
        install(fresh, wheel)
        use(fresh, Path(folder) / "empty")
    print(f"Released, if you upload them: {wheel} and {sdist}")


class Environment:
    """A virtual environment in a folder."""

    def __init__(self, folder: Path):
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        say(f"environment {folder.name}")
        run(sys.executable, "-m", "venv", folder)

    def pip(self, *arguments: object) -> None:
        """Call pip quietly, under the project's constraints."""
        run(self.bin / "python", "-m", "pip", "-q", *arguments, "-c", ROOT / "constraints.txt")

    def distributions(self) -> list[str]:
        """Return what is installed, as `pip list` has it, but for pip."""
        listed = run(self.bin / "python", "-m", "pip", "list", "--format", "freeze").split()
        return [line for line in listed if not line.startswith("pip==")]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def run(*command: object, cwd: Path | None = None, status: int = 0) -> str:
    """Run a program; return what it printed. Raises SystemExit with that unless it ends with `status`."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != status:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}, expected {status}:\n{done.stdout}")
    return done.stdout


def expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise SystemExit(f"expected {what}")


def checked_out(folder: Path) -> Path:
    """Unpack the last commit into a folder, and return it."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def resolve_links(readme: Path, url: str | None) -> None:
    """Make links to files absolute in a README, or say how many there are."""
    text = readme.read_text()
    if url:
        readme.write_text(_LINK.sub(lambda link: f"{link[1]}{url.rstrip('/')}/{link[2]}", text))
    elif found := _LINK.findall(text):
        say(f"README: {len(found)} links to files of the repository, which lead nowhere on the index; --url makes them absolute")


def build(source: Path, tools: Environment, out: Path) -> tuple[Path, Path]:
    """Build a source distribution, and a wheel from it; return the paths of both, the wheel first."""
    tools.pip("install", "build", "twine")
    say("build")
    run(tools.bin / "python", "-m", "build", "--outdir", out, source)
    newest = [max(out.glob(f"*.{kind}"), key=lambda path: path.stat().st_mtime) for kind in ("whl", "tar.gz")]
    return newest[0], newest[1]


def check(wheel: Path, sdist: Path, tools: Environment) -> None:
    """Check metadata and README as the index does, and what is in both files."""
    print(run(tools.bin / "python", "-m", "twine", "check", "--strict", wheel, sdist), end="")
    with tarfile.open(sdist) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
    expect(not any(name.startswith("results/") for name in names), "no stored runs in the source distribution")
    expect({"tests/conftest.py", "docs/conf.py", "constraints.txt", "Makefile", "LICENSE"} <= set(names), "tests and docs in it")
    say(f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB, {len(names)} files")
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    for end in ("shattering/py.typed", "/templates/vega.js.gz", "/templates/page.js", "licenses/LICENSE", "/templates/vega.licenses.txt"):
        expect(any(name.endswith(end) for name in names), f"{end} in the wheel")
    expect({name.split("/")[0].split("-")[0] for name in names} == {"shattering"}, "the package alone in the wheel")
    say(f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def install(fresh: Environment, wheel: Path) -> None:
    """Install PyTorch, then the wheel, and count what it brought along."""
    fresh.pip("install", TORCH)
    before = fresh.distributions()
    fresh.pip("install", wheel)
    added = sorted(set(fresh.distributions()) - set(before))
    say(f"{len(added)} distributions beside PyTorch's own {len(before)}: {' '.join(added)}")
    expect(len(added) <= MOST, f"at most {MOST} distributions beside PyTorch's own")
    run(fresh.bin / "python", "-m", "pip", "check")


def use(fresh: Environment, empty: Path) -> None:
    """Use what is installed in a folder with nothing in it."""
    empty.mkdir()
    run(fresh.bin / "python", "-W", "error", "-c", "import shattering; shattering.randomization_test", cwd=empty)
    say(run(fresh.bin / "shattering", "--version", cwd=empty).strip())
    started = time.monotonic()
    shown = run(fresh.bin / "shattering", "demo", cwd=empty)
    page = (empty / "report.html").read_text()
    expect("Report: " in shown and "vegaEmbed" in page, "a report with charts")
    say(f"demonstration: {time.monotonic() - started:.0f} s, a report of {len(page) / 1e6:.1f} MB")
    lacking = {
        "hub": ("run", "--data", "mnist"),
        "ray": ("sweep", "--seed", "0", "--engine", "ray"),
        "cloud": ("status", "--store", "s3://b/p"),
    }
    lacking |= {name: ("run", "--n-train", "20", "--log", name) for name in ("mlflow", "wandb")}
    for extra, command in lacking.items():
        answer = run(fresh.bin / "shattering", *command, cwd=empty, status=1).strip()
        expect(f'pip install "shattering[{extra}]"' in answer and "\n" not in answer, f"a sentence about {extra}, got {answer}")
    shown = run(fresh.bin / "shattering", "paper", "figure1a", "--from", "runs", cwd=empty, status=1)
    expect('pip install "shattering[figures]"' in shown, f"a sentence about figures, got {shown}")
    say(f"a sentence for each lacking extra: figures, {', '.join(lacking)}")


if __name__ == "__main__":
    main()
