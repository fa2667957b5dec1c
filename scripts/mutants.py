"""Break one rule of the product at a time and show whether the tests of its area notice.

The rules and promises are listed in mutants.toml: the text of the code that holds each of them, what it is replaced
with, and the tests that should fail then. All areas have to pass on the code as it is; that is looked at first.

It works on a copy of HEAD, or on the checkout that --repo names, which is as it was when this ends. What is built of
broken code stays in a target folder of its own, `mutants` in that of CARGO_TARGET_DIR (or in `target`): Cargo goes by
the times of files, and would take it for good in another checkout.

Tests in Python run with the interpreter of --python, which needs what requirements-dev.txt lists, and with an extension
that is built without optimization.

The exit code is 1 when a mutant was not caught, or could not be tried.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
# One selection for all tests, so that what is below the workspace is built once.
TESTED = ("--workspace", "--exclude", "mdk-python", "--exclude", "mdk-floor")
EXTENSION = ("--workspace", "--exclude", "mdk-floor", "--lib")
ALL = "all"
"""A test program that holds the modules of what are programs of their own elsewhere."""
TIMEOUT = 300.0
GRACE = 10.0
NOT_BUILT = 101
"""Exit code of a test run that had nothing to run, as cargo's."""
TESTS_FAILED = {"nextest": {100}, "test": {101}, "pytest": {1, 2}}
"""Exit codes that say so; any other one but 0 says that the tests could not be run."""

FAILURES = (
    re.compile(
        r"^\s*(?:FAIL|ABORT|LEAK-FAIL|SIG[A-Z]+|TIMEOUT)\s+\[[^]]*\]\s+(?:\([^)]*\)\s+)?(.+?)\s*$",
        re.MULTILINE,
    ),
    re.compile(r"^test (\S+) \.\.\. FAILED", re.MULTILINE),
    re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE),
)
"""How nextest, cargo test and pytest name a test that failed."""


class Trouble(Exception):
    """A mutant cannot be tried."""


@dataclass(frozen=True, order=True)
class Spot:
    """Where tests in Rust may be: in a program, or beside the code (without one), below a module."""

    program: str
    path: tuple[str, ...]

    def holds(self, program: str, test: str) -> bool:
        """Whether a test is here."""
        parts, count = tuple(test.split("::")), len(self.path)
        starts = range(len(parts) - count + 1) if self.program == ALL else (0,)
        return program == self.program and any(parts[n : n + count] == self.path for n in starts)

    def filter(self) -> str:
        """As an expression of nextest."""
        kind = f"binary(={self.program})" if self.program else "kind(lib)"
        begin = "(^|::)" if self.program == ALL else "^"
        return f"({kind} & test(/{begin}{'::'.join(self.path)}(::|$)/))" if self.path else kind


@dataclass(frozen=True, order=True)
class Module:
    """Tests in Rust by their package and module: `lib::a` beside the code, `a::b` elsewhere, `a|b` for both."""

    package: str
    names: str

    def __str__(self) -> str:
        return f"{self.package} {self.names}"

    def spots(self) -> list[Spot]:
        """Where it may be: `a::b` is the program `a_b`, `b` in the program `a`, or somewhere in the one for all."""
        spots = []
        for name in self.names.split("|"):
            parts = tuple(name.split("::"))
            if parts[0] == "lib":
                spots.append(Spot("", parts[1:]))
                continue
            cuts = range(1, len(parts) + 1)
            spots += [Spot("_".join(parts[:n]), parts[n:]) for n in cuts]
            spots.append(Spot(ALL, parts))
        return spots


@dataclass(frozen=True)
class Area:
    """The tests that should notice."""

    rust: tuple[Module, ...] = ()
    python: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join([*map(str, self.rust), *self.python])


@dataclass(frozen=True)
class Mutant:
    """One change that breaks a promise."""

    name: str
    promise: str
    file: str
    find: str
    replace: str
    area: Area


def listed() -> list[Mutant]:
    """All of them."""
    with LIST.open("rb") as file:
        entries = tomllib.load(file)["mutant"]
    mutants = []
    for entry in entries:
        rust = tuple(Module(*text.split()) for text in entry.pop("rust", []))
        python = tuple(entry.pop("python", []))
        mutants.append(Mutant(**entry, area=Area(rust, python)))
    if len({mutant.name for mutant in mutants}) != len(mutants):
        raise SystemExit(f"{LIST.name}: a name stands twice")
    return mutants


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    said: str
    hung: bool = False

    def failure(self) -> str:
        """The first test that failed."""
        found = (match for pattern in FAILURES for match in pattern.finditer(self.said))
        first = min(found, key=lambda match: match.start(), default=None)
        return " ".join(first[1].split()) if first else f"an end with exit code {self.code}"

    def judged(self, runner: str) -> Ran:
        """The same, unless the tests could not be run at all."""
        if self.hung or self.code == 0 or self.code in TESTS_FAILED[runner]:
            return self
        raise Trouble(f"the tests cannot be run\n{self.tail()}")

    def tail(self) -> str:
        """Its last lines."""
        return "\n".join(self.said.splitlines()[-40:])


def run(command: Iterable[str], cwd: Path, env: dict[str, str], timeout: float | None) -> Ran:
    """Run a command to its end; after `timeout` seconds it is ended, with all that it has started."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        hung = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            if process.poll() is None:
                end(process)
        output.seek(0)
        return Ran(process.returncode, output.read().decode(errors="replace"), hung)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: nextest passes a first signal on to its tests, which have groups of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
            return


def target(spot: Spot) -> str:
    """What cargo calls it."""
    return f"--test={spot.program}" if spot.program else "--lib"


class Checkout:
    """Where mutants are tried."""

    def __init__(self, root: Path, python: Path, scratch: Path) -> None:
        self.root, self.python = root, python
        outer = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
        self.target = outer.absolute() / "mutants"
        self.env = {**os.environ, "CARGO_TARGET_DIR": str(self.target), "CARGO_TERM_COLOR": "never"}
        self.env |= {"PYO3_PYTHON": str(python), "PYTHONPATH": str(root / "python")}
        self.extension = root / "python/mdk/_mdk.abi3.so"
        self.good = scratch / "good.so"
        self.nextest = self.cargo("nextest", "--version").code == 0
        self.programs = self.read_programs()

    def cargo(self, *arguments: str, timeout: float | None = None) -> Ran:
        """Run cargo here."""
        return run(["cargo", *arguments], self.root, self.env, timeout)

    def read_programs(self) -> dict[str, set[str]]:
        """The test programs of each package."""
        command = ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"]
        raw = subprocess.check_output(command, cwd=self.root)
        return {
            package["name"]: {t["name"] for t in package["targets"] if "test" in t["kind"]}
            for package in json.loads(raw)["packages"]
        }

    def freshen(self) -> None:
        """Let everything of the workspace be built anew, unless what is in the target folder is of this checkout."""
        stamp = self.target / "checkout"
        if not stamp.exists() or stamp.read_text() != str(self.root):
            for pattern in ("crates/**/*.rs", "crates/**/*.sql"):
                for path in self.root.glob(pattern):
                    path.touch()
        self.target.mkdir(parents=True, exist_ok=True)
        stamp.write_text(str(self.root))

    def spots(self, module: Module) -> list[Spot]:
        """Where a module may be, in programs that there are."""
        programs = {"", *self.programs.get(module.package, ())}
        return [spot for spot in module.spots() if spot.program in programs]

    def selection(self, modules: Iterable[Module]) -> list[str]:
        """What cargo builds for these modules."""
        options = {target(spot) for module in modules for spot in self.spots(module)}
        if not options:
            raise Trouble("no test program has its area")
        return sorted(options)

    def expression(self, modules: Iterable[Module]) -> str:
        """These modules as a filter of nextest."""
        filters = {
            (module.package, spot.filter()) for module in modules for spot in self.spots(module)
        }
        return " | ".join(f"(package(={package}) & {spot})" for package, spot in sorted(filters))

    def test_rust(self, modules: tuple[Module, ...], timeout: float) -> Ran:
        """Run these tests until one fails. The build comes first and takes as long as it takes."""
        select = ["--locked", *TESTED, *self.selection(modules)]
        built = self.cargo("test", "--quiet", "--no-run", *select)
        if built.code:
            return Ran(NOT_BUILT, built.said)
        if self.nextest:
            quiet = ("--status-level=fail", "--hide-progress-bar", "--fail-fast", "--retries=0")
            command = ("nextest", "run", *select, *quiet, "-E", self.expression(modules))
            return self.cargo(*command, timeout=timeout).judged("nextest")
        until = time.monotonic() + timeout
        done = Ran(0, "")
        for module in modules:
            for spot in self.spots(module):
                names = ["--", "::".join(spot.path)] if spot.path else []
                left = max(1.0, until - time.monotonic())
                command = ("test", "--locked", *TESTED, target(spot), *names)
                done = self.cargo(*command, timeout=left).judged("test")
                if done.code or done.hung:
                    return Ran(1, done.said, done.hung)
        return done

    def build_extension(self) -> Ran:
        """Build the extension and put it where Python looks for it."""
        built = self.cargo("build", "--quiet", "--locked", *EXTENSION)
        if built.code == 0:
            self.put(self.target / "debug/lib_mdk.so")
        return built

    def put(self, extension: Path) -> None:
        """Put an extension where Python looks for it; processes that have the old one keep it."""
        fresh = self.extension.with_suffix(".new")
        shutil.copy2(extension, fresh)
        fresh.replace(self.extension)

    def test_python(self, paths: tuple[str, ...], timeout: float) -> Ran:
        """Run these tests until one fails."""
        for path in paths:
            if not (self.root / path.split("::")[0]).exists():
                raise Trouble(f"{path} is not there")
        options = ("-x", "-q", "-n", "2", "--dist", "load", "-p", "no:cacheprovider")
        command = (str(self.python), "-m", "pytest", *options, *paths)
        return run(command, self.root, self.env, timeout).judged("pytest")

    def test(self, area: Area, timeout: float, *, rust_changed: bool) -> Ran:
        """Run the tests of an area until one fails. NOT_BUILT says that there was nothing to run."""
        done = Ran(0, "")
        if area.rust:
            done = self.test_rust(area.rust, timeout)
        if area.python and done.code == 0 and not done.hung:
            if rust_changed:
                built = self.build_extension()
                if built.code:
                    return Ran(NOT_BUILT, built.said)
            done = self.test_python(area.python, timeout)
        return done

    def check_modules(self, modules: Iterable[Module]) -> None:
        """Fail if a module has no tests: an area must not shrink unseen."""
        wanted = sorted(set(modules))
        if not wanted or not self.nextest:
            return
        form = ("--message-format=json", "--cargo-quiet")
        done = subprocess.run(
            ["cargo", "nextest", "list", "--locked", *TESTED, *self.selection(wanted), *form],
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise SystemExit("the tests cannot be listed")
        suites = json.loads(done.stdout)["rust-suites"].values()
        tests = {
            (suite["package-name"], "" if suite["kind"] == "lib" else suite["binary-name"], name)
            for suite in suites
            for name in suite["testcases"]
        }
        for module in wanted:
            if not any(
                package == module.package and spot.holds(program, name)
                for package, program, name in tests
                for spot in self.spots(module)
            ):
                raise SystemExit(f"no test is in {module}: correct {LIST.name}")

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """The code with one mutant in it; then as before."""
        path = self.root / mutant.file
        before = path.read_bytes() if path.exists() else b""
        count = before.decode().count(mutant.find)
        if count != 1:
            raise Trouble(f"its text stands {count} times in {mutant.file}: correct {LIST.name}")
        try:
            path.write_text(before.decode().replace(mutant.find, mutant.replace))
            yield
        finally:
            path.write_bytes(before)


def first_look(place: Checkout, mutants: list[Mutant], timeout: float) -> dict[Area, str]:
    """Run all areas on the code as it is. Gives what fails, by area."""
    areas = sorted({mutant.area for mutant in mutants}, key=str)
    rust = tuple(sorted({module for area in areas for module in area.rust}))
    python = tuple(sorted({path for area in areas for path in area.python}))
    print(f"first the areas as they are: {Area(rust, python)}", flush=True)
    place.check_modules(rust)
    whole = attempt(place, Area(rust, python), timeout * 10)
    if whole is None:
        return {}
    print(f"not all of them pass: {whole}", flush=True)
    tried = {area: attempt(place, area, timeout) for area in areas}
    return {area: words for area, words in tried.items() if words is not None}


def attempt(place: Checkout, area: Area, timeout: float) -> str | None:
    """Run an area on the code as it is; gives what is wrong, if something is."""
    try:
        done = place.test(area, timeout, rust_changed=False)
    except Trouble as trouble:
        return str(trouble)
    if done.code == NOT_BUILT:
        raise SystemExit(f"{done.tail()}\nthe tests do not compile")
    if done.hung:
        return f"no end after {timeout:.0f} seconds"
    return done.failure() if done.code else None


def judge(
    place: Checkout, mutant: Mutant, bad: dict[Area, str], timeout: float
) -> tuple[bool, str]:
    """Whether a mutant was caught, and by what."""
    if mutant.area in bad:
        return False, f"ERROR: its area fails without it: {bad[mutant.area]}"
    in_rust = mutant.file.endswith(".rs")
    try:
        with place.broken(mutant):
            done = place.test(mutant.area, timeout, rust_changed=in_rust)
    except Trouble as trouble:
        return False, f"ERROR: {trouble}"
    finally:
        if in_rust and mutant.area.python and place.good.exists():
            place.put(place.good)
    if done.hung:
        return True, f"caught by a hang: no end after {timeout:.0f} seconds"
    if done.code == NOT_BUILT:
        return False, f"ERROR: it does not compile\n{done.tail()}"
    return (True, f"caught by {done.failure()}") if done.code else (False, "NOT CAUGHT")


@contextmanager
def checkout(given: Path | None, scratch: Path) -> Iterator[Path]:
    """The checkout to work in: the given one, or a copy of HEAD."""
    if given is not None:
        yield given.resolve()
        return
    copy = scratch / "copy"
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(copy), "HEAD"], check=True)
    try:
        yield copy
    finally:
        subprocess.run([*git, "remove", "--force", str(copy)], check=False)


def try_all(place: Checkout, mutants: list[Mutant], timeout: float, *, trust: bool) -> int:
    """Try them one after the other; gives the exit code."""
    place.freshen()
    if any(mutant.area.python for mutant in mutants):
        built = place.build_extension()
        if built.code:
            raise SystemExit(f"{built.tail()}\nthe extension does not compile")
        shutil.copy2(place.extension, place.good)
    bad = {} if trust else first_look(place, mutants, timeout)
    caught = 0
    for mutant in mutants:
        started = time.monotonic()
        good, words = judge(place, mutant, bad, timeout)
        caught += good
        print(f"{mutant.name}: {words} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"{caught} of {len(mutants)} caught", flush=True)
    return 0 if caught == len(mutants) else 1


def stop(_number: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does: everything is put back."""
    raise KeyboardInterrupt


def main() -> int:
    """Try the mutants that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="say what there is, and do nothing")
    parser.add_argument(
        "--repo", type=Path, help="a checkout to work in, instead of a copy of HEAD"
    )
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="for the tests")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the areas as they are first"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, help="seconds for each area's tests"
    )
    given = parser.parse_args()
    mutants = listed()
    if unknown := set(given.only or ()) - {mutant.name for mutant in mutants}:
        parser.error(f"not in the list: {', '.join(sorted(unknown))}")
    mutants = [m for m in mutants if not given.only or m.name in given.only]
    if given.list:
        for mutant in mutants:
            print(f"{mutant.name}\n  {mutant.promise}\n  {mutant.file}\n  {mutant.area}")
        return 0
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory(prefix="mdk-mutants-") as folder:
        scratch = Path(folder)
        with checkout(given.repo, scratch) as root:
            place = Checkout(root, given.python.absolute(), scratch)
            before = scratch / "before.so"
            if place.extension.exists():
                shutil.copy2(place.extension, before)
            try:
                return try_all(place, mutants, given.timeout, trust=given.trust)
            except KeyboardInterrupt:
                print("interrupted: everything is as it was", flush=True)
                return 130
            finally:
                if before.exists():
                    place.put(before)
                else:
                    place.extension.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
