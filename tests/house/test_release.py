"""The workflow of a release: what no run has shown yet is at least held together."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.house.kit import load

import mdk._mdk

ROOT = Path(__file__).resolve().parent.parent.parent
wheel = load("scripts/wheel.py")
wheel_check = load("scripts/wheel_check.py")
release_hashes = load("scripts/release_hashes.py")
nightly = load("scripts/nightly.py")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
# Machines that exist no more, or not for long: a job that asks for one waits for a day and fails.
RETIRED = {"macos-12", "macos-13", "macos-14", "ubuntu-20.04", "windows-2019"}


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["jobs"]
    return found


def machines(job: dict[str, Any]) -> list[dict[str, str]]:
    included: list[dict[str, str]] = job.get("strategy", {}).get("matrix", {}).get("include", [])
    return included


def test_every_wheel_is_waited_for_and_counted(jobs: dict[str, dict[str, Any]]) -> None:
    publish = jobs["publish"]
    assert set(publish["needs"]) == set(jobs) - {"publish"}
    scripts = [step["run"] for step in publish["steps"] if "run" in step]
    (count,) = re.findall(r"-eq (\d+)", "".join(scripts))
    for name in ("gnu", "musl", "macos", "windows"):
        kinds = {machine["machine"] for machine in machines(jobs[name])}
        assert "x86_64" in kinds
        assert kinds & {"aarch64", "arm64"}
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert all((ROOT / script).exists() for script in re.findall(r"scripts/\w+\.py", text))
    assert int(count) == sum(len(machines(job)) for job in jobs.values())


def test_no_job_asks_for_a_machine_that_is_gone(jobs: dict[str, dict[str, Any]]) -> None:
    asked = {machine["runner"] for job in jobs.values() for machine in machines(job)}
    asked |= {job["runs-on"] for job in jobs.values() if "matrix" not in job["runs-on"]}
    assert asked & RETIRED == set()
    assert len(asked) > 5


def test_lists_reach_the_scripts_whole(jobs: dict[str, dict[str, Any]]) -> None:
    """PowerShell, the shell of Windows, makes several arguments of a bare `a,b`."""
    steps = [
        step for job in jobs.values() if job["runs-on"] != "ubuntu-24.04" for step in job["steps"]
    ]
    lines = [step["run"] for step in steps if step.get("shell") != "bash" and "run" in step]
    bare = [line for line in lines if re.search(r'^[^"\']*\w,\w', line) and "docker" not in line]
    assert bare == []


def test_a_wheel_for_musl_may_hold_what_unwinds_and_nothing_else() -> None:
    assert wheel.ALLOWED.match("marmot_mdk.libs/libgcc_s-f685abf1.so.1")
    assert not wheel.ALLOWED.match("marmot_mdk.libs/libssl-f685abf1.so.3")


def test_pythons_are_found_where_windows_has_them(tmp_path: Path) -> None:
    for version in ("3.12", "3.11"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "python.exe").touch()
    path = os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "3.12"), str(tmp_path / "3.11")])
    found = wheel.on_path("3.11", path, windows=True)
    assert [program.parent.name for program in found] == ["3.12", "3.11"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))
def test_what_is_taken_from_elsewhere_is_pinned(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    actions = re.findall(r"uses: (\S+)", text)
    assert actions
    assert [name for name in actions if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []
    images = re.findall(r"\b[\w./-]+:[\w.-]*alpine[\w.-]*(\S*)", text)
    assert [digest for digest in images if not re.fullmatch(r"@sha256:[0-9a-f]{64}", digest)] == []
    installed = re.findall(r"cargo install ([^;\n]*)", text)
    assert [what for what in installed if not re.search(r"--locked.*--version [\d.]+$", what)] == []
    assert "| sh" not in text


def test_advisories_are_looked_up_everywhere() -> None:
    versions = set()
    for path in WORKFLOWS:
        found = re.findall(r"cargo-deny --version ([\d.]+)", path.read_text(encoding="utf-8"))
        assert found, f"{path.name} looks up no advisories"
        versions.update(found)
    assert len(versions) == 1
    # Where it cannot be done the gate says so last.
    last = (ROOT / ".ci/run").read_text(encoding="utf-8").partition('step "done"')[2]
    assert "advisories were NOT looked up" in last


def test_the_night_has_all_parts() -> None:
    yaml = pytest.importorskip("yaml")
    text = (ROOT / ".github/workflows/nightly.yml").read_text(encoding="utf-8")
    matrix = yaml.safe_load(text)["jobs"]["part"]["strategy"]["matrix"]
    assert matrix["part"] == list(nightly.PARTS)


def test_ten_million_inputs_a_night() -> None:
    table = json.loads((ROOT / "tests/sampling.json").read_text(encoding="utf-8"))
    shares = table["libfuzzer"]["inputs"]
    programs = {path.stem for path in (ROOT / "fuzz/libfuzzer/fuzz_targets").glob("*.rs")}
    assert set(shares) == programs
    assert sum(shares.values()) >= 10_000_000


def test_what_makes_a_wheel_has_hashes(jobs: dict[str, dict[str, Any]]) -> None:
    hashed = (ROOT / "requirements-release.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", hashed, re.MULTILINE))
    assert hashed.count("--hash=sha256:") > len(pinned)
    for name in ("requirements-wheel.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for package, version in re.findall(r"^([\w-]+)==([^;\s]+)", text, re.MULTILINE):
            if name == "requirements-wheel.txt" or package in {"maturin", "click"}:
                assert pinned[package] == version
    for name in ("gnu", "macos", "windows", "musl"):
        steps = jobs[name]["steps"]
        handed = next(at for at, step in enumerate(steps) if "upload" in step.get("uses", ""))
        before = "".join(step.get("run", "") for step in steps[:handed])
        assert "--require-hashes" in before
        assert "requirements-dev" not in before
        assert "wheel.py check" in before


def test_hashes_of_a_release(tmp_path: Path) -> None:
    for name in ("marmot_mdk-1.2.3.tar.gz", "marmot_mdk-1.2.3-cp311-abi3-any.whl"):
        (tmp_path / name).write_bytes(name.encode())
    release_hashes.write(tmp_path, tmp_path / "out")
    sums = (tmp_path / "out" / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    assert [line.split("  ")[1] for line in sums] == sorted(
        path.name for path in tmp_path.glob("marmot*")
    )
    wanted = (tmp_path / "out" / "requirements-marmot-mdk.txt").read_text(encoding="ascii")
    assert wanted.startswith("marmot-mdk==1.2.3 \\\n    --hash=sha256:")
    assert all(line.split("  ")[0] in wanted for line in sums)
    assert re.search(r"^click==\S+ \\$", wanted, re.MULTILINE)
    (tmp_path / "marmot_mdk-1.2.4.tar.gz").touch()
    with pytest.raises(SystemExit, match="2 versions"):
        release_hashes.write(tmp_path, tmp_path / "out")


def test_folders_of_the_builder_are_found() -> None:
    found = wheel_check.paths(
        b"\0/home/me/.cargo/registry/src/a.rs\0crates/openmls-0.9.2/src/lib.rs\0/srv/mdk/x\0",
        ("/srv/mdk/",),
    )
    assert found == ["/home/me/.cargo/registry/src/a.rs", "/srv/mdk/"]
    assert (
        wheel_check.paths(b"mdk/crates/mdk-core/src/lib.rs /usr/local/ssl /rustc/0123/library")
        == []
    )


def test_a_bill_of_materials_is_compared_with_the_lock() -> None:
    lock = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    packages = tomllib.loads(lock)["package"]
    parts = [{"name": part["name"], "version": part["version"]} for part in packages]
    bill: dict[str, Any] = {"bomFormat": "CycloneDX", "components": parts}
    assert wheel_check.unlisted(json.dumps(bill).encode(), lock) == []
    bill["components"] = [part for part in parts if part["name"] != "openssl-src"]
    bill["components"] += [{"name": "strange", "version": "1.0.0"}]
    wrong = wheel_check.unlisted(json.dumps(bill).encode(), lock)
    assert wrong == ["openssl-src is not in it", "strange 1.0.0 is in no lock file"]
    assert wheel_check.unlisted(b"{}", lock) == ["it is not CycloneDX"]


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("readelf") is None or shutil.which("cc") is None,
    reason="needs readelf and a C compiler, on Linux",
)
def test_guards_of_the_c_code(tmp_path: Path) -> None:
    """Those of the extension that is installed here, and a library that has none."""
    musl = "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    assert wheel_check.unguarded(Path(mdk._mdk.__file__), fortified=not musl) == []
    (tmp_path / "a.c").write_text("int f(char *to) { char a[64]; return a[*to]; }")
    bare = ["-fno-stack-protector", "-Wl,-z,norelro,-z,lazy,-z,execstack", "-shared", "-fPIC"]
    program = tmp_path / "a.so"
    subprocess.run(["cc", *bare, "-o", program, tmp_path / "a.c"], check=True)
    assert len(wheel_check.unguarded(program)) == 5


def test_no_release_of_lru_with_its_advisory_is_there() -> None:
    """RUSTSEC-2026-0253, also where nobody looks advisories up."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    versions = {part["version"] for part in lock if part["name"] == "lru"}
    assert all(tuple(map(int, version.split("."))) >= (0, 18, 2) for version in versions)


def test_a_wheel_does_not_name_where_it_was_made(tmp_path: Path) -> None:
    root, built = tmp_path / "mdk-sdist-x", tmp_path / "a.whl"
    bill, program = "a.dist-info/sboms/a.cyclonedx.json", "mdk/_mdk.abi3.so"
    code = b"\0compiler: /opt/tools/zig/cc-b9.sh -O2 -I/x\0compiler: cc -O2\0/usr/lib\0"
    with zipfile.ZipFile(built, "w") as archive:
        archive.writestr(program, code)
        archive.writestr(bill, json.dumps({"ref": f"path+{root.as_uri()}/crates/a#0.1.0"}))
        record = "".join(f"{name},sha256=old,1\n" for name in (program, bill))
        archive.writestr("a.dist-info/RECORD", f"{record}a.dist-info/RECORD,,\n")
    wheel.rename(built, root)
    with zipfile.ZipFile(built) as archive:
        changed = {name: archive.read(name) for name in (program, bill)}
        lines = archive.read("a.dist-info/RECORD").decode().splitlines()
    assert changed[program] == code.replace(b"/opt/tools/zig/", b" " * 15)
    assert json.loads(changed[bill]) == {"ref": "path+file:///mdk/crates/a#0.1.0"}

    def line(name: str) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(changed[name]).digest()).decode()
        return f"{name},sha256={digest.rstrip('=')},{len(changed[name])}"

    assert lines == [line(program), line(bill), "a.dist-info/RECORD,,"]
