"""Draw docs/pictures/*.svg from the code's own data.

- house.svg: the crates, from `cargo metadata` and the first sentence of each `lib.rs`;
- message.svg: one message through two engines, with the kinds and sizes that a real run has;
- benchmark.svg: ours beside the peer, from docs/pictures/benchmark.json. That file is a copy of figures of `make bench`
  with their date and machine: `--take` copies the newest ones that are on this machine.

`--check` draws nothing and fails if a picture is not what would be drawn.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pictures_svg as svg

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/pictures"
FIGURES = FOLDER / "benchmark.json"
LATEST = ROOT / "benches/results/latest.json"

FACADE = ("python/mdk", "What you import: Bot, Client, Mdk, errors, the command line.")
# What one may want to know of the outside world: who in the house can reach it.
OUTSIDE = {
    "nostr": "Nostr events",
    "rusqlite": "SQLCipher",
    "openmls": "OpenMLS",
    "tokio-tungstenite": "sockets, relays",
    "pyo3": "CPython",
}
# Names of the measured operations in words of the table, and the size of group that is drawn.
OPERATIONS = {
    "send": ("send a message", 2),
    "receive": ("receive a message", 2),
    "ingest": ("catch up, per message", 2),
    "self_update": ("renew the keys of a leaf", 2),
    "process_commit": ("process a commit", 2),
    "create": ("found a group of 50", 50),
    "join": ("join a group of 100", 100),
    "key_package": ("make a KeyPackage", 1),
    "open": ("open an account", 2),
}


# ------------------------------------------------------------------ the house


def crates() -> list[tuple[str, str, list[str], list[str]]]:
    """Name, sentence, inner dependencies and reach of every crate, the outermost first."""
    raw = subprocess.check_output(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"], cwd=ROOT, text=True
    )
    needs: dict[str, set[str]] = {}
    for package in json.loads(raw)["packages"]:
        if Path(package["manifest_path"]).parent.parent == ROOT / "crates":
            used = {d["name"] for d in package["dependencies"] if d["kind"] is None}
            needs[package["name"]] = used

    def depth(name: str) -> int:
        return 1 + max((depth(n) for n in needs[name] if n in needs), default=0)

    found = []
    for name in sorted(needs, key=lambda n: (-depth(n), n)):
        inner = sorted((n for n in needs[name] if n in needs), key=lambda n: (-depth(n), n))
        found.append(
            (name, sentence(name), inner, [OUTSIDE[n] for n in OUTSIDE if n in needs[name]])
        )
    return found


def sentence(crate: str) -> str:
    """The first sentence of a crate's documentation."""
    text = (ROOT / "crates" / crate / "src/lib.rs").read_text(encoding="utf-8")
    said = " ".join(re.findall(r"^//! ?(.*)$", text.split("\n//!\n")[0], re.MULTILINE))
    first = re.split(r"(?<=\.)\s", said)[0].replace("`", "")
    first = first.removeprefix(f"{crate}: ")
    return first[:1].upper() + first[1:]


def house() -> str:
    """The crates, one above the other; each may use those below it."""
    rows = [(*FACADE, ["mdk-python"], list[str]()), *crates()]
    height, gap = 62, 34
    canvas = svg.Canvas(760, len(rows) * (height + gap) + 26, "The house: who may use whom")
    for number, (name, said, inner, outside) in enumerate(rows):
        top = 20 + number * (height + gap)
        canvas.box(20, top, 520, height, strong=number == 0)
        canvas.text(36, top + 25, name, kind="name")
        for line, part in enumerate(svg.wrap(said, 84)[:2]):
            canvas.text(36, top + 42 + 13 * line, part, kind="small")
        if number + 1 < len(rows):
            canvas.arrow(280, top + height, 280, top + height + gap)
            canvas.text(292, top + height + 21, f"uses {', '.join(inner)}", kind="quiet")
        for place, what in enumerate(outside):
            canvas.arrow(540, top + height / 2, 590, top + height / 2)
            canvas.box(590, top + 14 + 38 * place, 150, height - 28, soft=True)
            canvas.text(665, top + height / 2 + 5, what, kind="middle")
    return canvas.render()


# ------------------------------------------------------------------ a message's way


def exchange() -> dict[str, int]:
    """Kinds and sizes of one message between two engines, in bytes."""
    from mdk import Applied, Kind, Mdk  # noqa: PLC0415  # only this picture needs the extension

    relays = ["wss://relay.example"]
    with Mdk.in_memory() as alice, Mdk.in_memory() as bob:
        package = bob.new_key_package(relays=relays)
        with alice.create_group("Lunch", members=[package], relays=relays) as pending:
            (welcome,) = pending.welcomes
            group = pending.confirm()
        bob.process(welcome)
        (invite,) = bob.invites()
        bob.accept(invite.id)
        out = alice.create_message(group.id, "Soup or sandwich?")
        if not isinstance(bob.process(out.event), Applied):
            raise SystemExit("pictures: the message did not arrive")
        return {
            "inner": int(Kind.CHAT),
            "text": len(out.message.text.encode()),
            "sealed": len(out.event.content),
            "outer": out.event.kind,
            "event": len(out.event.to_json().encode()),
            "tags": len(out.event.tags),
        }


def message() -> str:
    """From send() to the other member's event."""
    facts = exchange()
    left = [
        ("await group.send(…)", f"{facts['text']} bytes of text"),
        ("inner event", f"kind {facts['inner']}, not signed: MLS says who wrote it"),
        ("MLS message", "encrypted and signed, keys used once"),
        (
            "group event",
            f"kind {facts['outer']}, {facts['event']} bytes, signed by a key used once",
        ),
        ("outbox", "on disk in the same transaction; send() returns"),
    ]
    right = [
        ("async for message", "in order, exactly once; the cursor is durable"),
        ("event log", "on disk in the same transaction"),
        ("MLS message", "decrypted, its author proven; the key is erased"),
        ("group event", "id and signature checked, duplicates dropped"),
        ("inbox of the connection", "the socket waits when the engine is busy"),
    ]
    step, width, height = 84, 330, 54
    canvas = svg.Canvas(820, step * len(left) + 150, "A message's way")
    for side, (x, who, rows) in enumerate(((20, "Alice", left), (470, "Bob", right))):
        canvas.text(x + width / 2, 26, who, kind="head")
        for number, (name, said) in enumerate(rows):
            top = 44 + number * step
            canvas.box(x, top, width, height, strong=number == 0)
            canvas.text(x + 14, top + 22, name, kind="name")
            canvas.text(x + 14, top + 41, said, kind="small")
            if number + 1 < len(rows):
                ends = (top + height, top + step) if side == 0 else (top + step, top + height)
                canvas.arrow(x + width / 2, ends[0], x + width / 2, ends[1])
    bottom = 44 + (len(left) - 1) * step + height
    canvas.box(260, bottom + 40, 300, 52, soft=True)
    canvas.text(410, bottom + 62, "relays", kind="head")
    sees = f"see {facts['tags']} tag, {facts['sealed']} characters of noise, a time"
    canvas.text(410, bottom + 81, sees, kind="middle-small")
    canvas.arrow(185, bottom, 258, bottom + 60)
    canvas.arrow(562, bottom + 60, 635, bottom)
    canvas.text(60, bottom + 62, "OK from a relay:", kind="small")
    canvas.text(60, bottom + 77, "Delivery.ACCEPTED", kind="small")
    return canvas.render()


# ------------------------------------------------------------------ the benchmark


def take() -> bool:
    """Copy what is drawn of the newest figures; False if there are none here."""
    if not LATEST.exists():
        return False
    measured = json.loads(LATEST.read_text(encoding="utf-8"))
    if measured["quick"]:
        return False
    rows = [
        {"operation": row["operation"], "members": row["members"]}
        | {key: round(row[key], 3) for key in ("ours_ms", "peer_ms")}
        for row in measured["rows"]
        if OPERATIONS.get(row["operation"], ("", 0))[1] == row["members"] and row["peer_ms"]
    ]
    machine = {
        key: measured["machine"][key] for key in ("cpu", "cores", "load", "filesystem", "python")
    }
    figures = {"measured_at": measured["measured_at"], "machine": machine, "rows": rows}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return True


def benchmark() -> str:
    """Ours beside the peer, in milliseconds; shorter is better."""
    figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    rows = {row["operation"]: row for row in figures["rows"]}
    drawn = [(OPERATIONS[name][0], rows[name]) for name in OPERATIONS if name in rows]
    step, left, span = 52, 210, 400
    canvas = svg.Canvas(760, 76 + step * len(drawn) + 30, "Ours beside mdk-python 0.8.0")
    canvas.text(20, 28, "Time for one call: marmot-mdk beside mdk-python 0.8.0", kind="name")
    canvas.text(
        20,
        47,
        "The upper bar is marmot-mdk. Each pair has its own scale; shorter is better.",
        kind="small",
    )
    for number, (words, row) in enumerate(drawn):
        top = 66 + number * step
        ours, peer = row["ours_ms"], row["peer_ms"]
        longest = max(ours, peer)
        canvas.text(left - 12, top + 25, words, kind="right")
        for place, (value, kind) in enumerate(((ours, "ours"), (peer, "peer"))):
            y = top + 3 + place * 18
            canvas.bar(left, y, max(2.0, span * value / longest), 14, kind)
            canvas.text(
                left + span * value / longest + 8, y + 11.5, milliseconds(value), kind="small"
            )
        canvas.text(740, top + 25, f"{peer / ours:.1f}×", kind="right-name")
    facts = figures["machine"]
    day = figures["measured_at"][:10]
    where = f"Measured {day}: {facts['cores']} cores {facts['cpu']}, load {facts['load']}, {facts['filesystem']}, "
    where += f"Python {facts['python']}."
    canvas.text(20, 66 + step * len(drawn) + 24, where, kind="quiet")
    return canvas.render()


def milliseconds(value: float) -> str:
    """A duration with three digits."""
    return (
        f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
    )


PICTURES = {"house.svg": house, "message.svg": message, "benchmark.svg": benchmark}


def main(arguments: list[str]) -> int:
    """Draw, or compare with `--check`."""
    if "--take" in arguments and not take():
        print("pictures: there are no complete figures here, run make bench", file=sys.stderr)
        return 1
    code = 0
    for name, draw in PICTURES.items():
        drawn, path = draw(), FOLDER / name
        if "--check" not in arguments:
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            print(
                f"pictures: docs/pictures/{name} is out of date, run scripts/pictures.py",
                file=sys.stderr,
            )
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
