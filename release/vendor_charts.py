"""Renew the scripts that draw the charts of pages: `python release/vendor_charts.py NODE_MODULES`.

Pages hold Vega, Vega-Lite and Vega-Embed, so that they show without a network. The package ships these scripts, as putting them together
takes seconds and needs vl-convert, of 84 MB. This writes src/shattering/report/templates/vega.js.gz, from the vl-convert that is installed,
and vega.licenses.txt beside it, from a folder of npm: `npm install --ignore-scripts vega@V vega-lite@V vega-embed@V` with the versions
that this prints when it is called without a folder. A test compares the versions in vega.js with those of the installed vl-convert.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import vl_convert

TEMPLATES = Path(__file__).parents[1] / "src" / "shattering" / "report" / "templates"
_COMMAND_LINE = {"commander", "yargs", "yargs-parser", "y18n", "cliui", "escalade", "get-caller-file", "wrap-ansi", "string-width", "rw"}
_COMMAND_LINE |= {"strip-ansi", "ansi-regex", "ansi-styles", "emoji-regex", "get-east-asian-width", "iconv-lite", "safer-buffer"}


def versions() -> dict[str, str]:
    """Return the versions in vl-convert's scripts, by the names that npm has for them."""
    return {
        "vega": vl_convert.get_vega_version(),
        "vega-lite": vl_convert.get_vegalite_versions()[-1],
        "vega-embed": vl_convert.get_vega_embed_version(),
    }


def first_line() -> str:
    """Return the comment that vega.js begins with."""
    names = ", ".join(f"{name} {version}" for name, version in versions().items())
    return f"/* {names} and what they need; licences in vega.licenses.txt; written by release/vendor_charts.py */"


def licenses(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each text of a licence below a folder of npm, with the packages that have it. Programs of a command line are left out."""
    found: dict[str, list[str]] = {}
    for about in sorted(folder.glob("*/package.json")):
        package = json.loads(about.read_text())
        if package["name"] in _COMMAND_LINE or package["name"].startswith("@types"):
            continue
        texts = [path.read_text().strip() for path in sorted(about.parent.iterdir()) if path.name.lower().startswith("licen")]
        text = texts[0] if texts else f"(The package has no text of its licence, which is {package['license']}.)"
        found.setdefault(text, []).append(f"{package['name']} {package['version']}: {package['license']}")
    yield from found.items()


def main() -> None:
    if len(sys.argv) != 2:
        print("npm install --ignore-scripts", *(f"{name}@{version}" for name, version in versions().items()))
        return
    parts = [f"{chr(10).join(packages)}\n\n{text}" for text, packages in licenses(Path(sys.argv[1]))]
    scripts = f"{first_line()}\n{vl_convert.javascript_bundle()}"  # type: ignore[call-arg]  # its stub lacks the default
    (TEMPLATES / "vega.js.gz").write_bytes(gzip.compress(scripts.encode(), mtime=0))  # packed, as a search in the source should not find it
    (TEMPLATES / "vega.licenses.txt").write_text(f"\n\n{'-' * 80}\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
