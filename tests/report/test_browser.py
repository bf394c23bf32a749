"""The HTML report in a real browser: Chromium opens it, says nothing, and pictures are kept.

The pictures lie in build/screenshots/ for people to look at; they are not compared.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tbdiag.report import render
from tests.report.samples import STORIES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--log-level=0",
]
DARK = "--blink-settings=preferredColorScheme=0"
STORY_NAMES = ("healthy", "wrong-ca", "missing-intermediate", "expired", "plain", "hostile")
LOOKS = {
    "light": ["--window-size=1100,2400"],
    "dark": ["--window-size=1100,2400", DARK],
    "narrow": ["--window-size=500,3200"],
}
CASES = [(story, "light") for story in STORY_NAMES]
for name in ("missing-intermediate", "hostile"):
    CASES += [(name, "dark"), (name, "narrow")]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def browse(folder: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[bytes]:
    """Open `page` in a fresh Chromium and wait until it has ended."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags]
    return subprocess.run([*command, page.as_uri()], capture_output=True, timeout=90, check=True)


def page_of(folder: Path, story: str) -> Path:
    page = folder / f"{story}.html"
    page.write_text(render(STORIES[story](), "html"), encoding="utf-8")
    return page


@pytest.mark.parametrize(("story", "look"), CASES)
def test_the_page_opens_without_a_complaint(tmp_path: Path, story: str, look: str) -> None:
    """Chromium draws the page and logs no error, blocked load or broken style of ours."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{story}-{look}.png"
    ran = browse(tmp_path, page_of(tmp_path, story), *LOOKS[look], f"--screenshot={picture}")
    assert b":CONSOLE" not in ran.stderr, ran.stderr.decode()
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert f"--window-size={width},{height}" in LOOKS[look]


def test_the_page_prints(tmp_path: Path) -> None:
    """The page becomes a PDF of a few pages."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    paper = PICTURES / "missing-intermediate.pdf"
    page = page_of(tmp_path, "missing-intermediate")
    browse(tmp_path, page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    pages = paper.read_bytes().count(b"/Type /Page\n")
    assert paper.read_bytes().startswith(b"%PDF-")
    assert pages <= 4


def test_hostile_text_makes_no_element(tmp_path: Path) -> None:
    """In the browser's own document there is no script, image, link or handler from a server."""
    ran = browse(tmp_path, page_of(tmp_path, "hostile"), "--dump-dom")
    document = ran.stdout.decode()
    assert "Root cause" in document
    for markup in ("<script", "<img", "<a ", "<iframe", "<object", "<form", "<!--", 'onerror="'):
        assert markup not in document
