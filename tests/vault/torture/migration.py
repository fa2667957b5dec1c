"""The first opening of a database of an earlier schema, whose rows are all there afterwards, and whose groups go on."""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from tests.vault.sqlcipher_format import Encrypted

from mdk import GroupId, Mdk

from .operation import Context, Operation
from .world import Broken, Place, require, talk, took

# Databases of each earlier schema, with their keys and facts, as they were when it was current; see README.md there.
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def migrations() -> list[Operation]:
    """One for each earlier schema that has a world in the fixtures."""
    return [Migrate(world) for world in sorted(FIXTURES.glob("schema-*"))]


def decoded(account: Path) -> Encrypted:
    """The database of an account, read without any code of this project."""
    key = base64.b64decode((account / "key").read_text(encoding="ascii").split(":", 1)[1])
    return Encrypted(account / "mdk.db", key)


Tables = dict[str, tuple[list[str], Counter[tuple[Any, ...]]]]


def tables(account: Path) -> Tables:
    """Every table: the names of its columns, and its rows."""
    found: Tables = {}
    database = decoded(account).sqlite()
    names = database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    for (name,) in names.fetchall():
        rows = database.execute(f'SELECT * FROM "{name}"')
        columns = [column[0] for column in rows.description]
        found[name] = columns, Counter(rows.fetchall())
    database.close()
    return found


# What a fixture holds does not change.
tables_of_fixture = cache(tables)


def shape(account: Path) -> list[tuple[Any, ...]]:
    """The tables, indexes and triggers as they were declared."""
    database = decoded(account).sqlite()
    rows = database.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
    found = rows.fetchall()
    database.close()
    return found


def same_rows(account: Path, fixture: Path) -> None:
    """Each row of before is there, with what stood in it; columns may have come."""
    after, gone = tables(account), {}
    for table, (columns, rows) in tables_of_fixture(fixture).items():
        new_columns, new_rows = after.get(table, ([], Counter()))
        missing = set(columns) - set(new_columns)
        require(not missing, "lost", f"columns of {table}: {sorted(missing)}")
        places = [new_columns.index(name) for name in columns]
        now: Counter[tuple[Any, ...]] = Counter()
        for row, count in new_rows.items():
            now[tuple(row[n] for n in places)] += count
        if lost := (rows - now).total():
            gone[table] = lost
    require(not gone, "lost", f"rows of {gone}")


@cache
def newest() -> int:
    """The schema that this build brings a database to."""
    with Mdk.in_memory() as account:
        return account.info.schema_version


def before_or_after(account: Path, fixture: Path) -> int:
    """The schema of a database that a migration was stopped in: nothing has changed, or all of it is there.

    It is read from the bytes: an opening would migrate it.
    """
    version, old = decoded(account).header.user_version, decoded(fixture).header.user_version
    if version == old:
        same = tables(account) == tables_of_fixture(fixture) and shape(account) == shape(fixture)
        require(same, "broken", f"not what schema {old} was")
    else:
        require(version == newest(), "broken", f"schema {version} between {old} and {newest()}")
        same_rows(account, fixture)
    return version


class Migrate(Operation):
    """The first opening of a database of an earlier schema."""

    exact = True

    def __init__(self, world: Path) -> None:
        self.world = world
        self.name = f"migrate_{world.name}"
        self.account = world / "watched" / "account"
        self.version = int(world.name.removeprefix("schema-"))

    def setup(self, place: Place) -> None:
        shutil.rmtree(place.root)
        shutil.copytree(self.world, place.root)
        # A checkout keeps no narrow modes.
        for path in place.root.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        found = decoded(place.account).header.user_version
        assert found == self.version, f"{self.world} has schema {found}"

    def prepare(self, _place: Place) -> Context:
        return Context(Mdk.in_memory())

    def call(self, place: Place, context: Context) -> Any:
        context.alice = place.alice()
        return context.alice.info.schema_version

    def fingerprint(self, place: Place, _context: Context) -> Any:
        return before_or_after(place.account, self.account)

    def recover(self, place: Place, context: Context, before: Any, reopen: bool) -> dict[str, Any]:  # noqa: ARG002
        report: dict[str, Any] = {"unchanged": True}
        try:
            # An opening that failed may have done it before: what it was for came after.
            report["left"] = f"schema {self.fingerprint(place, context)}"
        except Broken as broken:
            report |= {"unchanged": False, "left": str(broken)}
        try:
            report["retry"] = self.call(place, context)
        except Exception as error:  # noqa: BLE001
            report["retry_error"] = [type(error).__name__, str(error)]
        return report

    def repeat(self, place: Place, alice: Mdk) -> None:
        """Opening was the call: here is what it came to."""
        header = decoded(place.account).header
        require(
            header.user_version == alice.info.schema_version > self.version, "broken", f"{header}"
        )
        same_rows(place.account, self.account)
        was = tables_of_fixture(self.account)
        columns, rows = was["groups"]
        groups = [dict(zip(columns, row, strict=True)) for row in rows.elements()]
        kept = {(group.id, group.name, group.epoch) for group in alice.groups()}
        wanted = {(g["group_id"].hex(), g["name"], g["epoch"]) for g in groups}
        require(kept == wanted, "broken", f"groups: {wanted} became {kept}")
        columns, rows = was["messages"]
        messages = [dict(zip(columns, row, strict=True)) for row in rows.elements()]
        for group in alice.groups():
            texts = [m.text for m in alice.messages(group.id, limit=1000)]
            ours = [m for m in messages if m["group_id"].hex() == group.id]
            in_order = [m["content"] for m in sorted(ours, key=lambda m: m["seq"])]
            require(texts == in_order, "lost", f"messages: {in_order} became {texts}")

    def follow(self, place: Place, alice: Mdk, bob: Mdk) -> None:
        """What was on its way before the migration arrives after it: messages and an invite."""
        facts = place.facts
        for event in facts["messages"]:
            took(alice.process(event), "a message from before")
        took(alice.process(facts["welcome"]), "an invite from before")
        (invite,) = alice.invites()
        joined = alice.accept(invite.id)
        with place.peer("carol") as carol:
            talk(alice, carol, joined.id)
        talk(alice, bob, GroupId(facts["other"]))
