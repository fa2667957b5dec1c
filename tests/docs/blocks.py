"""The fenced blocks of a document, and what a comment in front of one says about running it.

A comment `<!-- docs: ... -->` stands on the line above the fence:

- `not run, REASON`: the block is for the eye; there are few of these, and each has its reason;
- `goes on`: the program continues the one before it, and runs together with it;
- `prints`: a `text` block: what the program before it prints;
- `types ONE | TWO`: what a person answers when a command of the block asks;
- `differs TOPIC TOPIC`: a screen of `mdk doctor`: what it says about these depends on the machine, and is not compared;
- `Ctrl-C after "TEXT"`: the program has no end of its own: it is interrupted when it has printed the text;
- `talk "SAID" -> "ANSWER"; ...`: the program is a bot: somebody invites it, says and expects this, then interrupts it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(
    r"^(?:<!-- docs: (?P<note>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
# What is generated says so itself, and is compared by its own tests.
GENERATED = {"coverage.md", "vault-proof.md"}
SHELL = {"sh", "console"}
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*mdk ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    document: Path
    line: int
    language: str
    code: str
    note: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None if it is."""
        word, _, reason = self.note.partition(",")
        return reason.strip() if word == "not run" else None

    @property
    def runs(self) -> bool:
        """Whether it is a program, or a session with the command line."""
        if self.language == "python":
            return True
        return self.language in SHELL and bool(COMMAND.search(self.code))

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self.document.name}:{self.line}"

    def asked(self, what: str) -> str | None:
        """What follows a word of the comment; None if it does not begin with the word."""
        if self.note != what and not self.note.startswith(f"{what} "):
            return None
        return self.note.removeprefix(what).strip()


@dataclass(frozen=True)
class Step:
    """One command of a session and what it shows; None for any output."""

    command: str
    shows: list[str] | None


def documents() -> list[Path]:
    """Every document whose blocks are run."""
    found = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/guide").glob("*.md")]
    return sorted(path for path in found if path.name not in GENERATED)


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of one document, in order."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("language")) + 1
        note = match["note"] or ""
        found.append(Block(document, line, match["language"], match["code"], note))
    return found


def programs(document: Path) -> list[tuple[Block, str, str | None]]:
    """What runs: the block, all of its code, and what it prints if that is shown."""
    found: list[tuple[Block, str, str | None]] = []
    for block in blocks(document):
        if block.asked("prints") is not None and found:
            last, code, _ = found[-1]
            found[-1] = (last, code, block.code)
        elif block.reason is None and block.runs:
            if block.asked("goes on") is not None and found:
                _, before, _ = found[-1]
                found[-1] = (block, f"{before}\n\n{block.code}", None)
            else:
                found.append((block, block.code, None))
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a session. In a `console` block `$ ` begins a command, and what follows is its output."""
    if block.language == "sh":
        return [Step(command, None) for command in joined(block.code.splitlines())]
    found: list[Step] = []
    lines = iter(block.code.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command += f"\n{next(lines).removeprefix('> ')}"
            found.append(Step(command, []))
        elif found:
            shown = found[-1].shows
            assert shown is not None
            shown.append(line)
        else:
            raise ValueError(f"{block.name}: output before the first command")
    return found


def joined(lines: list[str]) -> list[str]:
    """Commands of a script: comments and empty lines are left out, continued lines belong together."""
    found: list[str] = []
    begun = ""
    for line in lines:
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun += f"{line}\n"
        if not line.endswith("\\"):
            found.append(begun.rstrip("\n"))
            begun = ""
    return found
