"""Makes the world of one schema from that of the next or of the one before: see fixtures/README.md.

    python -m tests.vault.make_world 2 3

The statements are those of the store's own migrations, run by another build of SQLCipher.
"""

from __future__ import annotations

import argparse
import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlcipher3 import dbapi2 as sqlcipher
from tests.vault.torture.migration import FIXTURES, tables

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = ROOT / "crates/mdk-store/src/schema"
# Of the peers; see torture/world.py.
PEER_KEY = b"p" * 32


def statements(version: int) -> str:
    """What the migration to this version runs."""
    files = sorted(SCHEMA.glob(f"V{version:03}__*.sql"))
    assert files, f"no schema {version}"
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def databases(world: Path) -> Iterator[tuple[Path, bytes]]:
    account = world / "watched" / "account"
    text = (account / "key").read_text(encoding="ascii")
    yield account / "mdk.db", base64.b64decode(text.split(":", 1)[1])
    for path in sorted((world / "aside").glob("*/mdk.db")):
        yield path, PEER_KEY


def connect(path: Path, key: bytes) -> sqlcipher.Connection:
    connection = sqlcipher.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("PRAGMA cipher_compatibility = 4")
    return connection


def up(path: Path, key: bytes, version: int) -> None:
    """The migration to this version, as a build of it runs it."""
    connection = connect(path, key)
    connection.executescript(f"BEGIN; {statements(version)}; PRAGMA user_version = {version};")
    connection.execute("COMMIT")
    connection.close()


def down(path: Path, key: bytes, version: int) -> None:
    """The same rows in the schema of an earlier version, without the columns that came later."""
    connection = connect(path, key)
    listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    names = [name for (name,) in connection.execute(listed).fetchall()]
    rows = {}
    for name in [*names, "sqlite_sequence"]:
        cursor = connection.execute(f'SELECT * FROM "{name}"')
        rows[name] = [column[0] for column in cursor.description], cursor.fetchall()
    connection.execute("BEGIN")
    for name in names:
        connection.execute(f'DROP TABLE "{name}"')
    for number in range(1, version + 1):
        for statement in split(statements(number)):
            connection.execute(statement)
    connection.execute("DELETE FROM sqlite_sequence")
    for name, (columns, values) in rows.items():
        there = [c[1] for c in connection.execute(f'PRAGMA table_info("{name}")').fetchall()]
        kept = [column for column in columns if column in there]
        marks = ", ".join("?" * len(kept))
        for row in values:
            one = [value for column, value in zip(columns, row, strict=True) if column in kept]
            connection.execute(f'INSERT INTO "{name}" ({", ".join(kept)}) VALUES ({marks})', one)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.close()


def split(script: str) -> Iterator[str]:
    """Its statements one by one: `executescript` would commit what was begun."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlcipher.complete_statement(statement):
            yield statement
            statement = ""
    assert not statement.strip() or statement.strip().startswith("--"), statement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=int)
    parser.add_argument("new", type=int)
    options = parser.parse_args()
    old, new = (FIXTURES / f"schema-{version}" for version in (options.old, options.new))
    shutil.copytree(old, new)
    for record in new.rglob("*.keyinfo"):
        text = record.read_text(encoding="utf-8")
        record.write_text(text.replace(f"/srv/{old.name}/", f"/srv/{new.name}/"), encoding="utf-8")
    for path, key in databases(new):
        if options.new > options.old:
            for version in range(options.old + 1, options.new + 1):
                up(path, key, version)
        else:
            down(path, key, options.new)
        for extra in path.parent.glob("mdk.db-*"):
            extra.unlink()
    for name, (_, rows) in tables(new / "watched" / "account").items():
        print(f"{name:16}{rows.total():5}")


if __name__ == "__main__":
    main()
