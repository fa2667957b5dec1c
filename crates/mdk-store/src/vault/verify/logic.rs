//! The rules between rows that the schema cannot hold. Each rule counts the rows that break it.

use rusqlite::Connection;

use crate::vault::VaultError;
use crate::{OpenError, sqlcipher::connection::Conn, store::tables::groups::GROUP_TABLES};

/// Live groups that lack one of the MLS rows without which OpenMLS does not load a group.
///
/// The numbers are those of `store/mls/rows.rs`: join configuration, tree, interim transcript hash, group context,
/// confirmation tag, state, message secrets, resumption PSKs, own leaf index and epoch secrets. Left, removed,
/// disbanded and unrecoverable groups have none.
pub(crate) const INCOMPLETE_GROUPS: &str = "SELECT group_id FROM groups AS g WHERE status IN (0, 1, 2, 3, 6, 9) AND \
     (SELECT count(DISTINCT label) FROM mls_rows WHERE scope = g.group_id \
      AND label IN (1, 4, 5, 6, 7, 8, 9, 10, 11, 12)) < 10";

/// A fault, and the query that counts it.
struct Rule {
    what: &'static str,
    count: &'static str,
}

const fn rule(what: &'static str, count: &'static str) -> Rule {
    Rule { what, count }
}

const RULES: [Rule; 17] = [
    rule(
        "MLS rows belong to a group that is not there",
        "SELECT count(*) FROM mls_rows WHERE scope <> x'' AND NOT EXISTS \
         (SELECT 1 FROM groups WHERE group_id = scope)",
    ),
    rule(
        "groups have an unknown status",
        "SELECT count(*) FROM groups WHERE status NOT BETWEEN 0 AND 9",
    ),
    rule(
        "groups are at an epoch before the one in which they were joined",
        "SELECT count(*) FROM groups WHERE epoch < join_epoch",
    ),
    rule(
        "groups have a negative mark of what was read",
        "SELECT count(*) FROM groups WHERE last_read < 0",
    ),
    rule(
        "groups in use have no retained state for their current epoch",
        "SELECT count(*) FROM groups AS g WHERE status IN (1, 2, 3, 6, 9) AND NOT EXISTS \
         (SELECT 1 FROM nodes AS n WHERE n.group_id = g.group_id AND n.authenticator = g.authenticator \
          AND n.epoch = g.epoch AND n.canonical = 1)",
    ),
    rule(
        "retained states are newer than their group",
        "SELECT count(*) FROM nodes AS n JOIN groups AS g USING (group_id) WHERE n.canonical = 1 AND n.epoch > g.epoch",
    ),
    rule(
        "epochs have two states on the branch that is followed",
        "SELECT count(*) FROM (SELECT 1 FROM nodes WHERE canonical = 1 GROUP BY group_id, epoch HAVING count(*) > 1)",
    ),
    rule(
        "retained states are empty",
        // The state of an epoch in which we had no leaf is empty.
        "SELECT count(*) FROM nodes AS n JOIN groups AS g USING (group_id) WHERE g.status IN (1, 2, 3, 6, 9) \
         AND n.canonical = 1 AND n.removed = 0 AND n.epoch < g.epoch AND length(n.state) = 0",
    ),
    rule(
        "identifiers of messages have a wrong length",
        "SELECT count(*) FROM messages WHERE length(id) <> 32 OR length(content_id) <> 32 OR length(sender) <> 32",
    ),
    rule(
        "file keys are kept for a message that is gone",
        "SELECT count(*) FROM file_keys AS k WHERE NOT EXISTS (SELECT 1 FROM messages AS m \
         WHERE m.seq = k.message AND m.group_id = k.group_id AND m.status NOT IN (1, 3))",
    ),
    rule(
        "Welcomes wait for a commit that is not there",
        "SELECT count(*) FROM welcomes WHERE sendable = 0 AND NOT EXISTS \
         (SELECT 1 FROM commits WHERE commits.id = pending)",
    ),
    rule(
        "commits have an unknown status",
        "SELECT count(*) FROM commits WHERE status NOT BETWEEN 0 AND 3",
    ),
    rule(
        "counters are behind the rows that they count",
        "SELECT (SELECT count(*) FROM (SELECT max(id) AS top FROM commits) WHERE top > coalesce( \
          (SELECT seq FROM sqlite_sequence WHERE name = 'commits'), 0)) \
         + (SELECT count(*) FROM (SELECT max(id) AS top FROM welcomes) WHERE top > coalesce( \
          (SELECT seq FROM sqlite_sequence WHERE name = 'welcomes'), 0))",
    ),
    rule(
        "the counter of the outbox is behind its rows",
        "SELECT count(*) FROM (SELECT max(seq) AS top FROM outbox) WHERE top > coalesce( \
          (SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)",
    ),
    rule(
        "events that are to be published are not there",
        "SELECT count(*) FROM outbox WHERE finished_at IS NULL AND event_json IS NULL",
    ),
    rule(
        "published KeyPackages have no private keys",
        "SELECT count(*) FROM key_packages WHERE used = 0 AND replaced_at IS NULL AND NOT EXISTS \
         (SELECT 1 FROM mls_rows WHERE scope = x'' AND label = 34 AND key = reference)",
    ),
    rule(
        "signing keys of the account are missing",
        "SELECT count(*) FROM meta WHERE name = 'account' AND NOT EXISTS \
         (SELECT 1 FROM mls_rows WHERE scope = x'' AND label = 32)",
    ),
];

/// All rules. A rule that cannot be checked does not end the others. They get a new connection, because SQLCipher gives
/// one up once it has met a damaged page. `ask` may stop the work between two rules.
pub(super) fn all(
    connect: &dyn Fn() -> Result<Conn, OpenError>,
    lines: &mut Vec<String>,
    ask: &mut dyn FnMut() -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    let mut conn = connect().ok();
    each(|what, sql| {
        ask()?;
        let line = match &conn {
            Some(conn) => check(conn, what, sql),
            None => Err(()),
        };
        match line {
            Ok(line) => lines.extend(line),
            Err(()) => {
                lines.push(format!("not checked: whether {what}"));
                // The old connection ends first: beside a log it holds an exclusive lock.
                drop(conn.take());
                conn = connect().ok();
            }
        }
        Ok(())
    })
}

/// All rules, on a connection that stays.
pub(super) fn all_on(
    conn: &Connection,
    lines: &mut Vec<String>,
    ask: &mut dyn FnMut() -> Result<(), VaultError>,
) -> Result<(), VaultError> {
    each(|what, sql| {
        ask()?;
        match check(conn, what, sql) {
            Ok(line) => lines.extend(line),
            Err(()) => lines.push(format!("not checked: whether {what}")),
        }
        Ok(())
    })
}

fn check(conn: &Connection, what: &str, sql: &str) -> Result<Option<String>, ()> {
    match conn.query_row(sql, [], |row| row.get::<_, i64>(0)) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(format!("{count} {what}"))),
        Err(_) => Err(()),
    }
}

fn each(mut rule: impl FnMut(&str, &str) -> Result<(), VaultError>) -> Result<(), VaultError> {
    rule(
        "groups in use lack parts of their MLS state",
        &format!("SELECT count(*) FROM ({INCOMPLETE_GROUPS})"),
    )?;
    // The rows of MLS have a rule of their own, because some belong to the account.
    let of_groups =
        GROUP_TABLES.iter().filter(|(table, _)| !matches!(*table, "groups" | "mls_rows"));
    for (table, column) in of_groups {
        rule(
            &format!("rows of {table} belong to a group that is not there"),
            &format!(
                "SELECT count(*) FROM {table} AS t WHERE {column} IS NOT NULL AND NOT EXISTS \
                 (SELECT 1 FROM groups WHERE groups.group_id = t.{column})"
            ),
        )?;
    }
    RULES.iter().try_for_each(|Rule { what, count }| rule(what, count))
}
