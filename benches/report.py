"""The table that a person reads, and the targets that the project set itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OPERATIONS = (
    "send",
    "receive",
    "self_update",
    "process_commit",
    "create",
    "join",
    "ingest",
    "open",
    "key_package",
)
# What a history is to be seen beside, too: those of one message have a line of their own.
OTHERS = OPERATIONS[2:]
# How many times faster than the peer. `None` for members: every measured size.
MULTIPLES: tuple[tuple[str, int | None, float], ...] = (
    ("send", 2, 12),
    ("receive", 2, 12),
    ("self_update", 2, 15),
    ("process_commit", 2, 20),
    ("join", 100, 15),
    ("ingest", 2, 25),
    ("create", 50, 8),
    ("create", 100, 5),
)
MOST_FSYNCS = 2
# Calls of the API that make up one operation, where it is more than one: prepare and confirm, receive and accept.
CALLS = {"self_update": 2, "create": 2, "join": 2}
FLOOR_MULTIPLE = 1.5
# Medians after 1,000 and after 10,000 messages, of groups in turn; growth would be a multiple, not a tenth.
HISTORY_MULTIPLE = 1.1
# And beside a group without any: its indexes are a page each, which is cheaper and does not last (some 200 messages).
NEW_MULTIPLE = 1.25
FORK_MULTIPLE = 4
REKEY_BYTES_PER_SECOND = 50_000_000
REKEY_MULTIPLE = 1.2


@dataclass(frozen=True)
class Verdict:
    """One target and what was measured."""

    target: str
    value: float
    holds: bool
    key: tuple[str, int] | None = None

    def as_json(self) -> dict[str, Any]:
        return {"target": self.target, "value": round(self.value, 3), "holds": self.holds}


def verdicts(rows: list[dict[str, Any]], history: dict[str, Any]) -> list[Verdict]:
    """Every target for which there are numbers."""
    found = []
    for operation, members, multiple in MULTIPLES:
        for row in rows:
            if row["operation"] != operation or members not in {None, row["members"]}:
                continue
            if row["ours_ms"] and row["peer_ms"]:
                ratio = row["peer_ms"] / row["ours_ms"]
                name = f"{operation} ({row['members']}): {multiple:g} times the peer"
                found.append(Verdict(name, ratio, ratio >= multiple, (operation, row["members"])))
    for row in rows:
        key = (row["operation"], row["members"])
        if row["fsyncs_most"] is not None:
            most, calls = row["fsyncs_most"], CALLS.get(key[0], 1)
            name = f"{key[0]} ({key[1]}): at most {MOST_FSYNCS} fsyncs in each of {calls} call(s)"
            found.append(Verdict(name, most, most <= MOST_FSYNCS * calls))
        if row["operation"] in {"send", "receive"} and row["ours_ms"] and row["floor_ms"]:
            ratio = row["ours_ms"] / row["floor_ms"]
            name = f"{key[0]} ({key[1]}): within {FLOOR_MULTIPLE} times the floor"
            found.append(Verdict(name, ratio, ratio <= FLOOR_MULTIPLE, key))
    for operation in ("send", "receive"):
        for age, multiple, beside in (
            ("young", HISTORY_MULTIPLE, f"{history['few']}"),
            ("new", NEW_MULTIPLE, "none"),
        ):
            ratio = history[f"{operation}_ms_old"] / history[f"{operation}_ms_{age}"]
            name = f"{operation}: after {history['messages']} messages as after {beside}, within {multiple:g}"
            found.append(Verdict(name, ratio, ratio <= multiple))
    return found


def fork_verdict(found: dict[str, Any]) -> Verdict:
    """What it costs to choose between two commits, in commits that nobody contests."""
    ratio = found["fork_ms"] / found["commit_ms"]
    name = f"a fork of two ({found['members']}): within {FORK_MULTIPLE} commits"
    return Verdict(name, ratio, ratio <= FORK_MULTIPLE)


def rekey_verdict(found: dict[str, Any]) -> Verdict:
    """Whether a whole database is encrypted anew as fast as it should be; fast enough in one of two ways will do."""
    speed = found["bytes"] / found["rekey_s"]
    ratio = found["rekey_s"] / found["floor_s"]
    name = (
        f"rekey: {REKEY_BYTES_PER_SECOND / 1e6:g} MB/s or more (now {speed / 1e6:.0f}), or within "
        f"{REKEY_MULTIPLE:g} times a plain copy with AES and HMAC"
    )
    return Verdict(name, ratio, speed >= REKEY_BYTES_PER_SECOND or ratio <= REKEY_MULTIPLE)


def better(
    first: list[dict[str, Any]], second: list[dict[str, Any]], keys: set[tuple[str, int]]
) -> list[dict[str, Any]]:
    """`first`, with the rows of `keys` replaced where the second run has the better ratio to the peer or the floor."""

    def score(row: dict[str, Any]) -> float:
        return float((row["peer_ms"] or row["floor_ms"] or 0) / (row["ours_ms"] or float("inf")))

    again = {(row["operation"], row["members"]): row for row in second}
    merged = []
    for row in first:
        key = (row["operation"], row["members"])
        other = again.get(key)
        merged.append(other if key in keys and other and score(other) > score(row) else row)
    return merged


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def rekeyed_line(found: dict[str, Any]) -> str:
    """How fast a whole database was encrypted anew."""
    each = {"rekey": found["rekey_s"], "copy to another key": found["copy_s"]}
    figures = ", ".join(
        f"{name} {found['bytes'] / 1e6 / seconds:.0f} MB/s ({seconds / found['floor_s']:.2f} times a plain copy "
        "with AES and HMAC)"
        for name, seconds in each.items()
    )
    return f"A database of {found['bytes'] / 1e6:.0f} MB: {figures}."


def show(result: dict[str, Any], found: list[Verdict]) -> None:
    """Print everything."""
    facts = result["machine"]
    print(
        f"\n{facts['cpu']}, {facts['cores']} cores, load {facts['load']}, {facts['filesystem']}, {facts['system']}"
    )
    if facts["load"] > 0.5:
        print("The machine was not idle when this began: absolute times are too high.")
    heads = (
        "operation",
        "members",
        "ours ms",
        "peer ms",
        "peer/ours",
        "floor ms",
        "ours/floor",
        "fsyncs",
    )
    lines = [heads]
    for row in result["rows"]:
        ours, peer, floor = row["ours_ms"], row["peer_ms"], row["floor_ms"]
        lines.append(
            (
                row["operation"],
                str(row["members"]),
                number(ours),
                number(peer),
                number(peer / ours) if ours and peer else "–",
                number(floor),
                number(ours / floor) if ours and floor else "–",
                "–" if row["fsyncs"] is None else f"{row['fsyncs']:g}",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    print()
    for line in lines:
        cells = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(cells))
    history = result["history"]
    # So many go into the log's file before the database's has to grow.
    grown = history["database_bytes_per_1000_messages"]
    size = (
        f"{grown / 1024:.0f} KiB per 1,000 messages" if grown > 0 else "too few to tell its growth"
    )
    costs = ", ".join(
        f"{operation} "
        + " -> ".join(f"{history[f'{operation}_ms_{age}']:.3f}" for age in ("new", "young", "old"))
        for operation in ("send", "receive")
    )
    others = ", ".join(
        f"{operation} {history[f'{operation}_ms_new']:.3f} -> {history[f'{operation}_ms_old']:.3f}"
        for operation in OTHERS
    )
    print(
        f"\nDatabase: {size}. Milliseconds in a new group, after {history['few']} and after {history['messages']} "
        f"messages: {costs}."
    )
    print(f"Milliseconds in new accounts and after {history['messages']} messages: {others}.")
    if race := result.get("fork"):
        print(
            f"A commit, read and settled, among {race['members']}: {race['commit_ms']:.3f} ms; two at once: "
            f"{race['fork_ms']:.3f} ms."
        )
    if rekeyed := result.get("rekey"):
        print(rekeyed_line(rekeyed))
    for side, sizes in result["bytes"].items():
        print(
            f"Bytes of events, {side}: "
            + ", ".join(f"{k.replace('_bytes_', ' (')}) {v}" for k, v in sizes.items())
        )
    print("\nTargets" + (" (a short run decides nothing)" if result["quick"] else ""))
    for verdict in found:
        print(f"  {'holds ' if verdict.holds else 'MISSED'}  {verdict.target}: {verdict.value:.2f}")
