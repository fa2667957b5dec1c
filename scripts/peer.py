"""Set up and run the peer that benchmarks and interoperability tests measure against.

The peer is ``mdk-python`` with ``nostr-sdk``, both released on PyPI, in an environment of their own: mdk-python
installs the same import name as this project. Its wheel needs glibc 2.39. On an older Debian the newer C library is
unpacked beside the environment (never installed) and the environment's interpreter is started through its loader.

    peer.py setup                  create .peer, print how the peer is started
    peer.py check                  exit 0 when the peer can be imported, 2 with the reason when it cannot be had here
    peer.py run -- script.py ARGS  run a Python program inside the peer's environment
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEER = Path(os.environ.get("MDK_PEER_DIR", ROOT / ".peer"))
VENV = PEER / "venv"
GLIBC = PEER / "glibc"
REQUIREMENTS = ("mdk-python==0.8.0", "nostr-sdk==0.44.8")
NEEDED_GLIBC = (2, 39)
SUITE = "trixie"  # Debian 13: glibc 2.41
PACKAGES = ("libc6", "libgcc-s1", "libssl3t64", "zlib1g", "libzstd1")


class Unavailable(Exception):
    """The peer cannot be had on this machine; the message says why."""


def system_glibc() -> tuple[int, int] | None:
    """The version of the C library that this process runs on, or None where it is not glibc."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return None
    found = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return (int(found[1]), int(found[2])) if found else None


def needs_loader() -> bool:
    """True where the peer's wheel only runs through a newer loader. Raises `Unavailable` where no wheel runs at all."""
    if sys.platform == "darwin":
        return False
    if not sys.platform.startswith("linux"):
        raise Unavailable(f"the peer is set up on Linux and macOS only, not on {sys.platform}")
    if platform.machine() != "x86_64":
        raise Unavailable(f"the peer has no wheel for Linux on {platform.machine()}")
    version = system_glibc()
    if version is None:
        raise Unavailable("the peer's wheel needs glibc; this system has another C library")
    return version < NEEDED_GLIBC


def call(command: list[str], **options: object) -> None:
    """Run quietly; on failure show everything the command said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}".rstrip())


def debian_source() -> tuple[str, str | None]:
    """Mirror and keyring of this system's own Debian sources: nothing comes from elsewhere."""
    etc = Path("/etc/apt")
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            fields = dict(
                re.findall(r"^(URIs|Suites|Signed-By):[ \t]*(.+)$", stanza, flags=re.MULTILINE)
            )
            uri = fields.get("URIs", "").split()
            if uri and re.search(r"/debian/?$", uri[0]):
                keyring = fields.get("Signed-By", "").strip()
                return uri[0], keyring if keyring.startswith("/") else None
    lists = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]
    for path in (p for p in lists if p.is_file()):
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+/debian/?)\s", line)
            if found:
                keyring = re.search(r"signed-by=(\S+)", found[1] or "")
                return found[2], keyring[1] if keyring else None
    raise Unavailable(
        "no Debian mirror is configured in /etc/apt, so the newer C library cannot be fetched"
    )


def unpack_glibc() -> None:
    """Download the packages with a private apt configuration and unpack them into `GLIBC`."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(
                f"glibc is older than 2.39 and {tool} is not here to fetch a newer one"
            )
    uri, keyring = debian_source()
    apt = PEER / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "debs", "etc/preferences.d"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "state/status").touch()
    signed = f" [signed-by={keyring}]" if keyring else ""
    (apt / "etc/sources.list").write_text(f"deb{signed} {uri} {SUITE} main\n", encoding="utf-8")
    config = apt / "apt.conf"
    config.write_text(
        f'Dir::State "{apt}/state";\nDir::State::status "{apt}/state/status";\nDir::Cache "{apt}/cache";\n'
        f'Dir::Etc::SourceList "{apt}/etc/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::Etc::Preferences "/dev/null";\nDir::Etc::PreferencesParts "{apt}/etc/preferences.d";\n'
        # The sandbox user cannot write into a folder of ours; the signature is checked all the same.
        f'APT::Sandbox::User "";\nAPT::Architecture "amd64";\nAcquire::Languages "none";\n',
        encoding="utf-8",
    )
    env = {**os.environ, "APT_CONFIG": str(config)}
    call(["apt-get", "-q", "update"], env=env)
    call(["apt-get", "-q", "download", *PACKAGES], env=env, cwd=apt / "debs")
    staging = PEER / "glibc.tmp"
    shutil.rmtree(staging, ignore_errors=True)
    for deb in sorted((apt / "debs").glob("*.deb")):
        call(["dpkg-deb", "-x", str(deb), str(staging)])
    shutil.rmtree(GLIBC, ignore_errors=True)
    staging.rename(GLIBC)
    shutil.rmtree(apt)


def glibc_folder() -> Path:
    """The one folder of the unpacked packages that holds the loader's libraries."""
    return next(GLIBC.glob("**/libc.so.6")).parent


def loader_prefix() -> list[str]:
    """What stands before the interpreter on the command line."""
    if not needs_loader():
        return []
    folder = glibc_folder()
    loader = next(GLIBC.glob("**/ld-linux-x86-64.so.2"))
    # Libraries of the second unpacked folder (Debian splits /lib and /usr/lib), then the system's own.
    own = sorted(
        {
            str(p.parent)
            for p in GLIBC.glob("**/*.so.*")
            if p.parent != folder and "engines" not in str(p)
        }
    )
    system = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"]
    # Before the system: it may hold another build of the interpreter's own shared library.
    libdir = sysconfig.get_config_var("LIBDIR")
    path = ":".join([str(folder), *own, *([libdir] if libdir else []), *system])
    return [str(loader), "--library-path", path, "--argv0", str(VENV / "bin/python")]


def command(arguments: list[str]) -> list[str]:
    """The full command that runs the peer's interpreter with `arguments`."""
    prefix = loader_prefix()
    interpreter = (VENV / "bin/python").resolve() if prefix else VENV / "bin/python"
    return [*prefix, str(interpreter), *arguments]


def environment() -> dict[str, str]:
    """Our own import path must not leak in: both projects are called `mdk`."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
    return {k: v for k, v in os.environ.items() if k not in hidden}


@contextmanager
def locked() -> Iterator[None]:
    """Two test processes may ask for the peer at once."""
    PEER.mkdir(parents=True, exist_ok=True)
    with (PEER / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def setup() -> None:
    """Create what is missing; does nothing when everything is there."""
    stamp = PEER / "ready"
    wanted = "\n".join((*REQUIREMENTS, sys.version, str(needs_loader())))
    with locked():
        if (
            stamp.is_file()
            and stamp.read_text(encoding="utf-8") == wanted
            and (VENV / "bin/python").exists()
        ):
            return
        if needs_loader() and not GLIBC.is_dir():
            unpack_glibc()
        shutil.rmtree(VENV, ignore_errors=True)
        call([sys.executable, "-m", "venv", str(VENV)])
        # The platform tag of the wheel names glibc 2.39; pip on an older system has to be told that we know.
        flags = ["--only-binary=:all:"]
        if needs_loader():
            tags = [
                f"--platform=manylinux_2_{minor}_x86_64" for minor in range(NEEDED_GLIBC[1], 16, -1)
            ]
            site = next((VENV / "lib").glob("python*/site-packages"))
            flags += [
                *tags,
                "--platform=manylinux2014_x86_64",
                "--platform=any",
                f"--target={site}",
                "--upgrade",
            ]
        call([str(VENV / "bin/python"), "-m", "pip", "install", "-q", *flags, *REQUIREMENTS])
        done = subprocess.run(
            command(["-c", "import mdk, nostr_sdk"]),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unavailable(f"the peer is installed but does not start:\n{done.stderr}".rstrip())
        stamp.write_text(wanted, encoding="utf-8")


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("setup", "check", "run"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        setup()
    except Unavailable as reason:
        print(f"peer: {reason}", file=sys.stderr)
        return 2
    if options.action == "run":
        arguments = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
        full = command(arguments)
        os.execve(full[0], full, environment())
    if options.action == "setup":
        how = "through the loader of a newer glibc" if needs_loader() else "directly"
        print(f"peer: {', '.join(REQUIREMENTS)}, started {how}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
