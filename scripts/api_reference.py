"""Generate docs/reference/*.md from signatures and docstrings. `--check` compares, and writes nothing.

Signatures come from the sources (for the compiled half from `_mdk.pyi`, which stubtest holds to the extension),
sentences from the docstrings of what is really imported. An object that has none fails the run.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/reference"
WIDTH = 96
# Public modules, and the page that each name goes to by the module in which it is defined; the first prefix decides.
MODULES = ("mdk", "mdk.errors", "mdk.vault", "mdk.testing")
PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "bot": ("Bots", ("mdk.bot", "mdk.context", "mdk.routers", "mdk.filters", "mdk.arguments")),
    "testing": ("Testing", ("mdk.testing",)),
    "vault": ("The vault", ("mdk.vault",)),
    "client": ("The client", ("mdk.client",)),
    "engine": ("The engine", ("mdk._mdk",)),
    "config": ("Limits and lifetimes", ("mdk.config",)),
    "events": ("Events", ("mdk.events",)),
    "outcomes": ("Outcomes", ("mdk.outcomes",)),
    "values": ("Values", ("mdk.values",)),
    "reports": ("Reports", ("mdk.reports",)),
    "errors": ("Errors", ("mdk.errors",)),
}
SECTIONS = ("Args", "Raises", "Returns", "Yields", "Example", "Note")


@dataclass
class Entry:
    """One public name."""

    name: str
    home: str
    value: object
    node: ast.stmt | None


@cache
def tree(path: str) -> ast.Module:
    """The syntax of one file."""
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def source_of(home: str) -> str:
    """The file that has a module's signatures."""
    if home == "mdk._mdk":
        return str(ROOT / "python/mdk/_mdk.pyi")
    return str(inspect.getsourcefile(importlib.import_module(home)))


def find(home: str, name: str) -> ast.stmt | None:
    """Where a module defines a name."""
    for node in tree(source_of(home)).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name == name:
                return node
        elif isinstance(node, ast.AnnAssign):
            if isinstance(node.target, ast.Name) and node.target.id == name:
                return node
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return node
    return None


def where(module: ModuleType, name: str, value: object) -> str:
    """The module that defines a public name: aliases and constants do not know it themselves."""
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and home.startswith("mdk") and find(home, name) is not None:
        return home
    for node in tree(source_of(module.__name__)).body:
        if isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names):
            inner = importlib.import_module(
                "." * node.level + (node.module or ""), module.__package__
            )
            return where(inner, name, value)
    return module.__name__


def entries() -> list[Entry]:
    """Everything that is public, in alphabetical order, each once."""
    found: dict[str, Entry] = {}
    for public in MODULES:
        module = importlib.import_module(public)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or name.startswith("__"):
                continue
            home = where(module, name, value)
            shown = name if public in {"mdk", "mdk.errors"} else f"{public}.{name}"
            found.setdefault(f"{home}.{name}", Entry(shown, home, value, find(home, name)))
    return sorted(found.values(), key=lambda entry: entry.name.lower())


def page_of(entry: Entry) -> str:
    """The page that an entry belongs to."""
    public = entry.name.rpartition(".")[0]
    for page, (_, prefixes) in PAGES.items():
        for prefix in prefixes:
            if prefix == public or entry.home == prefix or entry.home.startswith(f"{prefix}."):
                return page
    raise SystemExit(f"api_reference: no page for {entry.home}.{entry.name}")


# ------------------------------------------------------------------ text


def signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> str:
    """One call as it is written, in several lines if it is long."""
    arguments = node.args
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    if method and not static:
        first = arguments.posonlyargs or arguments.args
        arguments = ast.arguments(
            posonlyargs=arguments.posonlyargs[1:],
            args=arguments.args if arguments.posonlyargs else arguments.args[1:],
            vararg=arguments.vararg,
            kwonlyargs=arguments.kwonlyargs,
            kw_defaults=arguments.kw_defaults,
            kwarg=arguments.kwarg,
            defaults=arguments.defaults,
        )
        assert first, f"{name} has no self"
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    text = ast.unparse(arguments).removesuffix(", /")
    line = f"{prefix}{name}({text}){result}"
    if len(line) <= WIDTH:
        return line
    parts = [f"    {part}," for part in split(text)]
    return "\n".join([f"{prefix}{name}(", *parts, f"){result}"])


def split(arguments: str) -> list[str]:
    """The text of arguments, cut at the commas between them."""
    parts, depth, begin = [], 0, 0
    for place, char in enumerate(arguments):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(arguments[begin:place].strip())
            begin = place + 1
    return [*parts, arguments[begin:].strip()]


def prose(text: str) -> list[str]:
    """A docstring as Markdown: sections become bold words with lists, indented code becomes fenced code."""
    lines: list[str] = []
    section = False
    code: list[str] = []

    def close() -> None:
        if code:
            body = inspect.cleandoc("\n".join(code))
            lines.extend(["```text", *body.splitlines(), "```"])
            code.clear()

    for line in inspect.cleandoc(text).splitlines():
        word = line.strip().removesuffix(":")
        if line.endswith(":") and word in SECTIONS and not line.startswith(" "):
            close()
            section = True
            lines += ["", f"**{word}**", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            item = f"`{name}`: {rest}" if colon and "`" not in name else line.strip()
            lines.append(f"- {item}")
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        elif line.startswith("    "):
            code.append(line)
        elif code and not line.strip():
            code.append("")
        else:
            close()
            if line.strip():
                section = False
            lines.append(line)
    close()
    return lines


def documented(value: object, name: str) -> str:
    """The docstring of an object, which it must have."""
    text = inspect.getdoc(value)
    if not text:
        raise SystemExit(f"api_reference: {name} has no docstring")
    return text


def followed(body: list[ast.stmt]) -> dict[str, tuple[str, str, str]]:
    """Fields of a class: name, with annotation, default, and the string that follows."""
    found: dict[str, tuple[str, str, str]] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        default, annotation = "", ""
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, annotation = node.target.id, ast.unparse(node.annotation)
            default = ast.unparse(node.value) if node.value is not None else ""
            if default.startswith("field("):
                default = ""
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, default = node.targets[0].id, ast.unparse(node.value)
        else:
            continue
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = " ".join(inspect.cleandoc(str(after.value.value)).split())
        if not name.startswith("_"):
            found[name] = (annotation, default, said)
    return found


def class_text(entry: Entry, node: ast.ClassDef) -> list[str]:
    """A class: what it is, how it is made, its fields, its methods."""
    cls = entry.value
    # How a value is shown is no kind of value.
    bases = [
        b.__name__ for b in getattr(cls, "__bases__", ()) if b.__name__ not in {"object", "Shown"}
    ]
    lines = [f"## {entry.name}", ""]
    if bases:
        lines += [f"*{'*, *'.join(bases)}*", ""]
    lines += prose(documented(cls, entry.name))
    makers = [
        n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in {"__init__", "__new__"}
    ]
    if makers and entry.home != "mdk.errors.base" and not entry.home.startswith("mdk.errors"):
        lines += ["", "```text", signature(node.name, made(makers[0]), method=True), "```"]
    fields = followed(node.body)
    if entry.home.startswith("mdk.errors"):
        for name in ("code", "hint"):
            if name in fields and fields[name][1] != "None":
                lines += [
                    "",
                    f"{name.capitalize()}: {constant(fields[name][1], code=name == 'code')}",
                ]
    elif fields:
        lines += ["", "| | type | |", "|---|---|---|"]
        for name, (annotation, default, said) in fields.items():
            kind = f"`{annotation}`" if annotation else f"`{default}`"
            tail = f" Default: `{default}`." if annotation and default else ""
            lines.append(f"| `{name}` | {kind} | {said}{tail} |".replace("  ", " "))
    for member in node.body:
        if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines += method_text(entry, member)
    return lines


def constant(text: str, *, code: bool) -> str:
    """A string of the source as a reader sees it."""
    value = str(ast.literal_eval(text))
    return f"`{value}`" if code else value


def made(node: ast.FunctionDef) -> ast.FunctionDef:
    """A constructor says nothing of what it returns."""
    node.returns = None
    return node


def method_text(entry: Entry, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """One method or property."""
    if node.name.startswith("_"):
        return []
    decorators = [ast.unparse(d) for d in node.decorator_list]
    if any(d.endswith(".setter") or d == "overload" for d in decorators):
        return []
    value = inspect.getattr_static(entry.value, node.name)
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    name = entry.name.rpartition(".")[2]
    text = prose(documented(value, f"{entry.name}.{node.name}"))
    if "property" in decorators:
        kind = ast.unparse(node.returns) if node.returns is not None else ""
        return [
            "",
            f"### {name}.{node.name}",
            "",
            "```text",
            f"{node.name}: {kind}",
            "```",
            "",
            *text,
        ]
    shown = signature(node.name, node, method=True)
    if "staticmethod" in decorators or "classmethod" in decorators:
        shown = re.sub(rf"^(async )?{node.name}", rf"\g<1>{name}.{node.name}", shown)
        shown = shown.replace("None" + name, name)
    return ["", f"### {name}.{node.name}", "", "```text", shown, "```", "", *text]


def entry_text(entry: Entry) -> list[str]:
    """One public name."""
    if isinstance(entry.node, ast.ClassDef):
        return class_text(entry, entry.node)
    if isinstance(entry.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        shown = signature(entry.name, entry.node, method=False)
        text = prose(documented(entry.value, entry.name))
        return [f"## {entry.name}", "", "```text", shown, "```", "", *text]
    return alias_text(entry)


def alias_text(entry: Entry) -> list[str]:
    """A type alias, a new type or a constant: its definition, and the string behind it."""
    name = entry.name.rpartition(".")[2]
    body = tree(source_of(entry.home)).body
    for node in body:
        if (
            node is entry.node
            and isinstance(node, (ast.Assign, ast.AnnAssign))
            and node.value is not None
        ):
            said = followed(body).get(name, ("", "", ""))[2]
            shown = f"{name} = {ast.unparse(node.value)}"
            return [f"## {entry.name}", "", "```text", shown, "```", *(["", said] if said else [])]
    raise SystemExit(f"api_reference: {entry.name} is defined nowhere")


def pages() -> dict[str, str]:
    """Name and text of every page."""
    grouped: dict[str, list[Entry]] = {page: [] for page in PAGES}
    for entry in entries():
        grouped[page_of(entry)].append(entry)
    texts: dict[str, str] = {}
    index = [
        "# API reference",
        "",
        "Generated from signatures and docstrings by `scripts/api_reference.py`.",
        "",
    ]
    for page, (title, _) in PAGES.items():
        if not grouped[page]:
            continue
        lines = [
            f"# {title}",
            "",
            "Generated by `scripts/api_reference.py`; the index is [README.md](README.md).",
        ]
        for entry in grouped[page]:
            lines += ["", *entry_text(entry)]
        texts[f"{page}.md"] = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"
        names = ", ".join(f"[{e.name}]({page}.md#{anchor(e.name)})" for e in grouped[page])
        index += [f"**[{title}]({page}.md)**: {names}", ""]
    texts["README.md"] = "\n".join(index).rstrip() + "\n"
    return texts


def anchor(name: str) -> str:
    """How a heading is linked to."""
    return name.lower().replace(".", "")


def main() -> int:
    """Write the pages, or compare with `--check`."""
    texts, stale = pages(), []
    for path in FOLDER.glob("*.md"):
        if path.name not in texts:
            stale.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.unlink()
    for name, text in texts.items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv[1:] and stale:
        print(
            f"api_reference: {', '.join(stale)}: out of date, run scripts/api_reference.py",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
