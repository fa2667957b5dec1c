"""Run the blocks of one document, in order: `python -m tests.docs.play DOCUMENT FOLDER [--update]`.

`--update` writes what commands really show into the document, in place of what it has.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.docs.blocks import programs
from tests.docs.masks import same
from tests.docs.stage import difference, rewritten, stage


async def play(document: Path, folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """What is wrong with the document, nothing if all is well; and what would put it right."""
    wrong: list[str] = []
    changes: list[tuple[str, str]] = []
    async with stage(folder) as scene:
        for block, code, prints in programs(document):
            try:
                if block.language == "python":
                    printed = await scene.program(block, code)
                    if prints is not None and not same(prints.splitlines(), printed):
                        wrong.append(f"{block.name} prints\n" + "\n".join(printed))
                        changes.append(
                            (f"```text\n{prints}```", "```text\n" + "\n".join(printed) + "\n```")
                        )
                    continue
                outputs = await scene.session(block)
            except AssertionError as error:
                wrong.append(f"{block.name}: {error}")
                continue
            if (what := difference(block, outputs)) is not None:
                wrong.append(what)
                changes.append((f"\n{block.code}```", f"\n{rewritten(block, outputs)}```"))
    return wrong, changes


def main() -> int:
    """Play one document and say what is wrong."""
    document, folder = Path(sys.argv[1]), Path(sys.argv[2])
    wrong, changes = asyncio.run(play(document, folder))
    if "--update" in sys.argv[3:]:
        text = document.read_text(encoding="utf-8")
        for old, new in changes:
            text = text.replace(old, new, 1)
        document.write_text(text, encoding="utf-8")
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
