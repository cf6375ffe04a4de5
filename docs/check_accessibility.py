"""Look for faults of accessibility with axe-core, in light and in dark: `python docs/check_accessibility.py AXE PAGE...`.

AXE is the file axe.min.js of the npm package axe-core (`npm pack axe-core`). PAGE is an HTML file, or a folder of them, such as the
built docs. Charts are drawn, and what is folded is opened first. Prints each violation with where it is; the status is 1 if one of them is
serious or critical. Needs the program chromium, and playwright.
"""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

GRAVE = ("serious", "critical")
SHOWN = 3  # places of one violation that are printed
RUN = """async () => (await axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"],
})).violations.map(({ id, impact, help, nodes }) => ({
  id, impact, help, places: nodes.map((node) => [node.target.join(" "), node.any.concat(node.all, node.none)[0]?.message ?? ""]),
}))"""


def pages(paths: list[str]) -> Iterator[Path]:
    """Yield the files, and those in the folders; without the ones that Sphinx makes of source code."""
    for path in map(Path, paths):
        yield from sorted(file for file in path.rglob("*.html") if "_modules" not in file.parts) if path.is_dir() else [path]


def violations(page: Page, path: Path, axe: str) -> list[dict[str, Any]]:
    """Return what axe finds on a page."""
    page.goto(path.absolute().as_uri())
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for figure in page.locator(".chart").all():
        figure.locator(".save button").last.wait_for()
    page.evaluate(axe)
    return page.evaluate(RUN)


def main(axe: Path, paths: list[str]) -> int:
    """Check the pages in both colour schemes. Returns the number of grave violations."""
    source, grave = axe.read_text(), 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            with browser.new_context(color_scheme=scheme, bypass_csp=True) as context:
                page = context.new_page()
                for path in pages(paths):
                    for found in violations(page, path, source):
                        grave += found["impact"] in GRAVE
                        print(f"{path} ({scheme}): {found['impact']}: {found['id']}: {found['help']}, {len(found['places'])} places")
                        for target, message in found["places"][:SHOWN]:
                            print(f"    {target}: {message}")
    print(f"{grave} serious or critical violations")
    return grave


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]) > 0)
