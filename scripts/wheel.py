"""Build the sdist, and the wheel out of it; look at both; try the wheel in fresh environments. `make wheel`.

The wheel is built from the unpacked sdist, in an empty folder and offline, with what cargo has in its cache: a file
that the sdist lacks is missed there. On Linux the linker is zig, aimed at glibc 2.17, so that the wheel also runs on
older systems; `--no-zig` links with the machine's own.

    scripts/wheel.py build [--no-zig] [--musl]
    scripts/wheel.py check
    scripts/wheel.py smoke [--require 3.11,3.12,3.13]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
GLIBC = "manylinux_2_17"
MUSL = "musllinux_1_2"
VERSIONS = ("3.11", "3.12", "3.13")
# What a wheel of this package is made of, and nothing else. For musl maturin adds the part of GCC that unwinds: images
# of Alpine that only run programs do not have it.
ALLOWED = re.compile(
    r"mdk/(?:[a-z_]+/)*[a-z_]+\.pyi?$|mdk/py\.typed$|mdk/_mdk(?:\.abi3\.so|\.pyd)$|"
    r"marmot_mdk\.libs/libgcc_s-[0-9a-f]+\.so\.1$|"
    r"marmot_mdk-[^/]+\.dist-info/(?:METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE-(?:MIT|APACHE)|sboms/.+)$"
)
NEEDED = ("mdk/__init__.py", "mdk/_mdk.pyi", "mdk/py.typed", "mdk/cli/app.py")


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command and fail with it."""
    shown = " ".join(Path(part).name if "/" in str(part) else str(part) for part in command)
    print(f"wheel: {shown}", flush=True)
    # maturin looks for zig as `python3 -m ziglang`: it has to be this Python that it finds.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=True,
        env={**os.environ, "PATH": path, **environment},
    )


def only(pattern: str) -> Path:
    """The one file in dist that fits."""
    found = sorted(DIST.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"wheel: {len(found)} files {pattern} in dist, one is expected")
    return found[0]


def machine() -> str:
    """Processor, as wheel tags call it."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


# ------------------------------------------------------------------ build


def cargo_home() -> Path:
    """Where cargo keeps what it has fetched."""
    return Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))


COMPILER = re.compile(rb"(?<=\0compiler: )[\x21-\x7e]*[/\\](?=[\x21-\x7e]* )")
"""The folder of the compiler, in what OpenSSL says of how it was built."""


def toolchain() -> str:
    """The compiler of the checkout."""
    text = (ROOT / "rust-toolchain.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["toolchain"]["channel"])


def flags(root: Path, target: Path) -> str:
    """What the compiler is told beside the rest: the names of this machine's folders stay out of the wheel."""
    sysroot = subprocess.check_output(["rustc", "--print", "sysroot"], cwd=ROOT, text=True).strip()
    renamed = [(root, "mdk"), (target, "target"), (Path(sysroot), "rust")]
    renamed += [(cargo_home(), "cargo"), (cargo_home() / "registry" / "src", "crates")]
    given = os.environ.get("RUSTFLAGS", "").split()
    # The last one that fits is taken. (Cargo splits at this sign, so that a folder may have a space.)
    return "\x1f".join([*given, *(f"--remap-path-prefix={path}={name}" for path, name in renamed)])


def crates() -> set[str]:
    """The crates that the extension is made of."""
    manifests = ROOT.glob("crates/*/Cargo.toml")
    return {manifest.parent.name for manifest in manifests}


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist; its one folder."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    missing = {name for name in crates() if not (root / "crates" / name / "Cargo.toml").exists()}
    for name in (
        "Cargo.lock",
        ".cargo/config.toml",
        ".cargo/openssl/parts.conf",
        "pyproject.toml",
        "README.md",
        "LICENSE-MIT",
    ):
        if not (root / name).exists():
            missing.add(name)
    if missing:
        raise SystemExit(f"wheel: the sdist lacks {', '.join(sorted(missing))}")
    return root


def build(*, zig: bool, musl: bool) -> None:
    """The sdist from the checkout, the wheel from the sdist."""
    maturin = [sys.executable, "-m", "maturin"]
    DIST.mkdir(exist_ok=True)
    for old in (*DIST.glob("marmot_mdk-*.whl"), *DIST.glob("marmot_mdk-*.tar.gz")):
        old.unlink()
    run(*maturin, "sdist", "--out", DIST)
    # What the lock file names is fetched here, so that the build itself needs no network.
    run("cargo", "fetch", "--locked")
    options = ["--release", "--locked", "--strip", "--out", str(DIST)]
    if sys.platform == "linux":
        libc = MUSL if musl else GLIBC
        options += ["--compatibility", libc if zig or musl else "linux"]
        if musl:
            options += ["--target", f"{machine()}-unknown-linux-musl"]
        if zig:
            options.append("--zig")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "wheel"
    with tempfile.TemporaryDirectory(prefix="mdk-sdist-") as folder:
        root = unpack(only("marmot_mdk-*.tar.gz"), Path(folder))
        run(
            *maturin,
            "build",
            *options,
            cwd=root,
            CARGO_TARGET_DIR=str(target),
            CARGO_NET_OFFLINE="true",
            CARGO_ENCODED_RUSTFLAGS=flags(root, target),
            # The sdist does not say which compiler the checkout is built with.
            RUSTUP_TOOLCHAIN=toolchain(),
        )
        rename(only("marmot_mdk-*.whl"), root)


def rename(wheel: Path, root: Path) -> None:
    """Take out folders of this machine that no flag keeps out.

    The bill of materials names our crates by the folder that they were built in: by `/mdk` instead. OpenSSL keeps the
    path of its compiler; its folder becomes spaces, so that nothing moves.
    """
    with zipfile.ZipFile(wheel) as archive:
        held = [(info, archive.read(info)) for info in archive.infolist()]
    lines: dict[str, str] = {}
    changed: dict[str, bytes] = {}
    for info, data in held:
        if info.filename.endswith(".cyclonedx.json"):
            here = data.replace(root.resolve().as_uri().encode(), b"file:///mdk")
            new = here.replace(root.as_uri().encode(), b"file:///mdk")
        elif info.filename.endswith((".so", ".pyd")):
            new = COMPILER.sub(lambda folder: b" " * len(folder.group()), data)
        else:
            continue
        changed[info.filename] = new
        digest = base64.urlsafe_b64encode(hashlib.sha256(new).digest()).decode().rstrip("=")
        lines[info.filename] = f"{info.filename},sha256={digest},{len(new)}"
    for info, data in held:
        if info.filename.endswith(".dist-info/RECORD"):
            record = [lines.get(line.split(",")[0], line) for line in data.decode().splitlines()]
            changed[info.filename] = "".join(f"{line}\n" for line in record).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in held:
            archive.writestr(info, changed.get(info.filename, data))


# ------------------------------------------------------------------ check


def check() -> None:
    """What is in the wheel, and on which systems it runs."""
    wheel = only("marmot_mdk-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    strange = [name for name in names if not ALLOWED.match(name)]
    if strange:
        raise SystemExit(f"wheel: not expected in it: {strange}")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise SystemExit(f"wheel: missing in it: {missing}")
    if "-cp311-abi3-" not in wheel.name:
        raise SystemExit(f"wheel: not for every Python from 3.11 on: {wheel.name}")
    if "License-Expression: MIT OR Apache-2.0" not in metadata:
        raise SystemExit("wheel: its licence is not in the metadata")
    print(f"wheel: {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, {len(names)} files")
    run(sys.executable, ROOT / "scripts" / "wheel_check.py", wheel)
    if sys.platform == "linux":
        audit(wheel)


def audit(wheel: Path) -> None:
    """Ask auditwheel which systems it runs on, and hold the tag in its name to that."""
    done = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout.strip() or done.stderr.strip())
    if done.returncode:
        raise SystemExit("wheel: auditwheel cannot read it")
    tags = re.findall(r'"((?:many|musl)?linux_[\w]+)"', done.stdout)
    if not tags:
        raise SystemExit("wheel: auditwheel names no platform")
    # The first tag that it names is the one that the symbols allow.
    if wheel.name.endswith(f"-linux_{machine()}.whl"):
        print(f"wheel: made for this machine alone; its symbols would allow {tags[0]}")
        return
    if not any(tag in wheel.name for tag in tags):
        raise SystemExit(f"wheel: {wheel.name} promises more than {tags[0]}")


# ------------------------------------------------------------------ smoke


def on_path(version: str, path: str, *, windows: bool) -> list[Path]:
    """Programs that may be a Python of this version. On Windows all are called `python.exe`, each in its folder."""
    if windows:
        folders = [Path(folder) for folder in path.split(os.pathsep) if folder]
        return [program for f in folders if (program := f / "python.exe").is_file()]
    shown = shutil.which(f"python{version}", path=path)
    return [Path(shown)] if shown is not None else []


def interpreter(version: str) -> Path | None:
    """A Python of this version that starts: from PATH, or one that pyenv has and does not show."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = on_path(version, os.environ.get("PATH", ""), windows=os.name == "nt")
    found += sorted(kept.glob(f"{version}.*/bin/python{version}"), reverse=True)
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        found.insert(0, Path(sys.executable))
    # A shim may stand there without the version behind it.
    probe = (
        f"import sys, venv, ensurepip; sys.exit(sys.version.split('.')[:2] != {version.split('.')})"
    )
    for python in found:
        if subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return python
    return None


def smoke(required: tuple[str, ...]) -> None:
    """Install the wheel in fresh environments, and use it there."""
    wheel = only("marmot_mdk-*.whl")
    tried = []
    for version in VERSIONS:
        python = interpreter(version)
        if python is None:
            if version in required:
                raise SystemExit(f"wheel: there is no Python {version} here")
            print(f"wheel: Python {version} is not here, not tried")
            continue
        try_in(python, wheel)
        tried.append(version)
    if not tried:
        raise SystemExit("wheel: no Python was found to try it with")
    print(f"wheel: works with Python {', '.join(tried)}")


def try_in(python: Path, wheel: Path) -> None:
    """One fresh environment, away from the checkout."""
    with tempfile.TemporaryDirectory(prefix="mdk-smoke-") as folder:
        home = Path(folder) / "env"
        run(python, "-m", "venv", home, cwd=Path(folder))
        scripts = home / ("Scripts" if os.name == "nt" else "bin")
        inside = scripts / ("python.exe" if os.name == "nt" else "python")
        run(
            inside,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            wheel,
            cwd=Path(folder),
        )
        program = Path(folder) / "smoke.py"
        shutil.copy(ROOT / "scripts/wheel_smoke.py", program)
        run(inside, "-W", "error", program, cwd=Path(folder), PYTHONPATH="")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Build, look at and try the wheel.")
    steps = parser.add_subparsers(dest="step", required=True)
    building = steps.add_parser("build")
    building.add_argument("--no-zig", action="store_true")
    building.add_argument("--musl", action="store_true")
    steps.add_parser("check")
    trying = steps.add_parser("smoke")
    trying.add_argument("--require", default="")
    options = parser.parse_args()
    try:
        if options.step == "build":
            build(zig=sys.platform == "linux" and not options.no_zig, musl=options.musl)
        elif options.step == "check":
            check()
        else:
            smoke(tuple(v for v in options.require.split(",") if v))
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"wheel: that failed with exit code {error.returncode}") from None


if __name__ == "__main__":
    main()
