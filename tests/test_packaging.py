"""What is built works in an empty environment; what is tracked names no package index."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tbdiag import __version__

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"))
LIMIT = 300
DATA = {"tbdiag/py.typed", "tbdiag/explanations.toml", "tbdiag/report/report.css"}
INDEXES = ("py" + "pi", "python" + "hosted", "index" + "-url", "dev" + "pi", "arti" + "factory")
"""Parts of names that would tie the project to a place where packages are kept."""


def ran(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def environment(folder: Path, *wanted: str | Path) -> Path:
    """An empty environment with `wanted` installed; skips where that cannot be had."""
    made = ran(sys.executable, "-m", "venv", "--without-pip", folder)
    assert made.returncode == 0, made.stderr
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q")
    done = ran(*pip, "--disable-pip-version-check", *CONSTRAINTS, *wanted)
    if done.returncode and "No matching distribution" in done.stderr + done.stdout:
        pytest.skip("what is needed to build or install cannot be downloaded here")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    tools = environment(folder / "tools", "hatchling")
    done = ran(tools / "python", "-m", "hatchling", "build", "-d", folder / "dist", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder / "dist"


def test_the_wheel_holds_what_is_not_python(built: Path) -> None:
    """py.typed, the explanations and the style sheet are in the wheel; tests are not."""
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    mine = {str(p.relative_to(ROOT)) for p in (ROOT / "tbdiag").rglob("*.py")}
    assert names >= DATA | mine
    assert {name.split("/")[0] for name in names} == {"tbdiag", f"tbdiag-{__version__}.dist-info"}


def test_the_sdist_holds_what_its_tests_need(built: Path) -> None:
    """The source archive has the tests, the sample chains, the scripts and no private key file."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {"tests/test_packaging.py", "fuzz/targets.py", "sample_chains/healthy/ca.pem"}
    assert names >= DATA | wanted | {"Makefile", "constraints.txt", "LICENSE", "README.md"}
    assert [name for name in names if name.endswith((".key", ".p12"))] == []


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_a_package_works_in_an_empty_environment(built: Path, tmp_path: Path, kind: str) -> None:
    """Installed with nothing but its dependencies, tbdiag says its version, diagnoses and lists."""
    (package,) = built.glob(kind)
    tbdiag = environment(tmp_path / "empty", package) / "tbdiag"
    assert ran(tbdiag, "--version", cwd=tmp_path).stdout == f"tbdiag {__version__}\n"
    checked = ran(tbdiag, "check", "--sandbox", "healthy", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "OK: no errors" in checked.stdout
    listed = ran(tbdiag, "list", "rules", cwd=tmp_path)
    assert listed.returncode == 0
    assert "x509.wrong-ca-file" in listed.stdout


def tracked() -> list[Path]:
    """The files of the project: those that git knows, else those beside the package."""
    listed = ran("git", "ls-files", "-z", cwd=ROOT)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is the business of the machine: pip's own configuration says it."""
    naming = {}
    for path in tracked():
        text = path.read_bytes().lower() if path.is_file() else b""
        found = [name for name in INDEXES if name.encode() in text]
        if found:
            naming[str(path.relative_to(ROOT))] = found
    assert naming == {}
