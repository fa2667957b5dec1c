"""The workflow of a release: what no run has shown yet is at least held together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.house.test_scripts import load

ROOT = Path(__file__).resolve().parent.parent.parent
wheel = load("scripts/wheel.py")
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
    (script,) = [step["run"] for step in publish["steps"] if "run" in step]
    (count,) = re.findall(r"-eq (\d+)", script)
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
