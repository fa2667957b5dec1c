"""What is generated is what would be generated, and what is shipped is what it says."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def load(path: str) -> ModuleType:
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@pytest.mark.parametrize("script", ["api_reference", "pictures"])
def test_generated_files_are_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / f"scripts/{script}.py"), "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_has_every_public_name() -> None:
    import mdk  # noqa: PLC0415

    text = "\n".join(path.read_text() for path in (ROOT / "docs/reference").glob("*.md"))
    for name in {*mdk.__all__, *mdk.errors.__all__} - {"__version__", "errors", "vault"}:
        assert f"\n## {name}\n" in text, name


def test_a_changed_signature_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = load("scripts/api_reference.py")
    pages = reference.pages()
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["api_reference", "--check"])
    assert reference.main() == 0
    page = tmp_path / "engine.md"
    page.write_text(page.read_text().replace("limit: int=50", "limit: int=51", 1))
    assert reference.main() == 1


def test_the_figures_have_their_date() -> None:
    figures = json.loads((ROOT / "docs/pictures/benchmark.json").read_text())
    day = figures["measured_at"][:10]
    assert f"Measured {day}" in (ROOT / "docs/pictures/benchmark.svg").read_text()
    # A picture that leaves out what is slower would be an advertisement.
    assert {"send", "receive", "open"} <= {row["operation"] for row in figures["rows"]}


def test_every_picture_is_shown() -> None:
    text = "\n".join(
        path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs/guide").glob("*.md")]
    )
    for picture in (ROOT / "docs/pictures").glob("*.svg"):
        assert f"pictures/{picture.name})" in text, picture.name


def test_links_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            found = (document.parent / path).resolve() if path else document
            assert found.exists(), f"{document.name}: {target}"
            if anchor:
                page = found.read_text()
                headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
                names = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
                names |= set(re.findall(r'<a id="([^"]+)"></a>', page))
                assert anchor in names, f"{document.name}: {target}"


def test_every_guide_page_is_in_its_index() -> None:
    index = (ROOT / "docs/guide/README.md").read_text()
    for page in (ROOT / "docs/guide").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


# ------------------------------------------------------------------ what is shipped


def test_the_sdist_is_complete_and_its_lock_file_fits(tmp_path: Path) -> None:
    """`make wheel` builds from it; this is what can be said without building."""
    wheel = load("scripts/wheel.py")
    done = subprocess.run(
        [sys.executable, "-m", "maturin", "sdist", "--out", str(tmp_path / "dist")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    root = wheel.unpack(sdist, tmp_path / "unpacked")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert not [name for name in names if name.endswith((".so", ".pyd", ".pyc"))]
    assert any(name.endswith("/python/mdk/py.typed") for name in names)
    done = subprocess.run(
        ["cargo", "metadata", "--locked", "--offline", "--format-version=1", "--no-deps"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {p["name"] for p in json.loads(done.stdout)["packages"]} == wheel.crates()


def test_a_crate_that_is_missing_is_noticed(tmp_path: Path) -> None:
    wheel = load("scripts/wheel.py")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(ROOT / "LICENSE-MIT", "x/LICENSE-MIT")
    with pytest.raises(SystemExit, match="mdk-core"):
        wheel.unpack(tmp_path / "x.tar.gz", tmp_path / "unpacked")
