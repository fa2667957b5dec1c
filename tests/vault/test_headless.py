"""The line of docs/keys.md for machines without a keyring, where it has to work: in a bare container."""

from __future__ import annotations

import inspect
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.vault import seccomp
from tests.vault.kit import ran, succeeded

import mdk

ROOT = Path(__file__).resolve().parent.parent.parent

# A root folder of its own, in which everything can be read and nothing written but /data; no D-Bus, no /proc, no /tmp.
CONTAINER = r"""
set -eu
new=$1; shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$new"
while [ "$1" != -- ]; do
  mkdir -p "$new$1"
  mount --bind "$1" "$new$1"
  mount -o remount,bind,ro "$new$1"
  shift
done
shift
for link in bin lib lib64 sbin; do
  if [ -L "/$link" ]; then ln -s "$(readlink "/$link")" "$new/$link"; fi
done
mkdir "$new/data"
mount -t tmpfs -o "mode=700,size=4m,uid=$OWNER,gid=$OWNER" tmpfs "$new/data"
mount -o remount,ro "$new"
exec chroot "$new" "$@"
"""

CHECK = """
import os, sys
assert os.geteuid() == int(sys.argv[1]) or os.geteuid() == 0 and sys.argv[1] == "0"
for folder in ("/", "/usr", sys.prefix):
    try:
        open(os.path.join(folder, "x"), "w")
    except OSError:
        pass
    else:
        raise SystemExit(folder + " is writable")
assert not any("DBUS" in name for name in os.environ), "there is a bus"
os.chdir("/data")
"""

OTHERWISE = """
import mdk
try:
    mdk.Mdk.open("other/mdk.db", keys=mdk.Keys.generate())
except mdk.errors.KeyringUnavailable as error:
    print(error.hint)
assert not os.path.exists("other")
print(sorted(os.listdir("bot")))
"""

# After `refuse` of seccomp.py: that it does what it says, and that a keyring of the kernel is not there.
FILTERED = """
import logging, mdk
logging.basicConfig()
for name in sorted(refused & {"keyctl", "add_key", "request_key", "io_uring_setup", *LOCKING}):
    assert is_refused(name), name
key = mdk.DatabaseKey.keyring(store="keyutils", allow_volatile=True)
try:
    mdk.Mdk.open("kernel/mdk.db", keys=mdk.Keys.generate(), key=key)
except mdk.errors.KeyringUnavailable:
    pass
assert not os.path.exists("kernel")
"""
# What the container's filter refuses; nothing: there is no filter.
FILTERS = {"no filter": set(), "like Docker": seccomp.LIKE_DOCKER, "stricter": seccomp.STRICTER}


def filtered(refused: set[str]) -> str:
    if not refused:
        return ""
    text = inspect.getsource(seccomp)
    return f"{text}\nrefused = set({sorted(refused)!r})\nrefuse(refused)\n{FILTERED}"


def documented() -> str:
    """The program below the heading, as it stands in the document."""
    text = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    section = text.split("no keyring\n", 1)[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def folders() -> list[str]:
    """All that Python and this package need, without what lies inside of another one."""
    package = Path(mdk.__file__).resolve().parent
    needed = {"/usr", sys.prefix, sys.base_prefix, str(ROOT / "python"), str(package.parent)}
    needed |= {str(Path(p).resolve()) for p in ("/etc", *sys.path) if p and Path(p).is_dir()}
    needed |= {f"/{n}" for n in ("bin", "lib", "lib64") if not Path(f"/{n}").is_symlink()}
    kept: list[str] = []
    for folder in sorted(path for path in needed if Path(path).is_dir()):
        if not any(folder == k or folder.startswith(k + "/") for k in kept):
            kept.append(folder)
    return kept


# proves: K10, S29
@pytest.mark.parametrize("name", FILTERS)
def test_the_documented_line_works_in_a_bare_container(tmp_path: Path, name: str) -> None:
    refused = FILTERS[name]
    if refused and platform.machine() not in seccomp.ARCHITECTURES:
        pytest.skip(f"no numbers of calls for {platform.machine()}")
    root = os.geteuid() == 0
    wrapper = ["unshare", "--mount"] if root else ["unshare", "--map-root-user", "--mount"]
    if missing := [t for t in ("unshare", "setpriv", "chroot") if shutil.which(t) is None]:
        pytest.skip(f"not installed: {missing}")
    probe = [*wrapper, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if (tried := subprocess.run(probe, capture_output=True, text=True)).returncode:
        pytest.skip(f"no mount namespace for this user: {tried.stderr.strip()}")
    owner = "65534" if root else "0"
    drop = ["setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups"]
    drop += ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    program = CHECK + filtered(refused) + documented() + OTHERWISE
    container = [*wrapper, "sh", "-c", CONTAINER, "sh", tmp_path, *folders(), "--"]
    done = ran(
        [*container, *(drop if root else []), sys.executable, "-c", program, owner],
        env={"OWNER": owner, "PATH": os.environ["PATH"]},
    )
    said = succeeded(done).splitlines()
    assert said[0] == "the key is kept in a file"
    assert "from_file" in said[1]
    assert "'mdk.db'" in said[2]
    assert "'mdk.key'" in said[2]
    if "mlock" in refused:
        # It works all the same, and says once what it could not have.
        assert done.stderr.count("locked in memory") == 1, done.stderr
