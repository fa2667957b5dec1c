//! One transaction. Everything that the engine stores goes through a [`Tx`], so either it commits or nothing happened.

use std::cell::Cell;

use rusqlite::{Connection, Params, Row, Statement, StatementStatus};

use crate::sqlcipher::{
    errors::{Fault, note_fault},
    is_sound,
};
use crate::store::epoch_state_cache::KnownStates;
use crate::store::secure_deletion::Erased;
use crate::store::unread_counts::UnreadCounts;
use crate::{Result, StoreError};

/// An open transaction. Made by [`Store::write`](crate::Store::write) and [`Store::read`](crate::Store::read).
///
/// Its methods fail with [`StoreError`] when the database fails or a row cannot be decoded. Those that have other errors
/// name them.
pub struct Tx<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) unread: &'a UnreadCounts,
    pub(crate) states: &'a KnownStates,
    erased: &'a Cell<Erased>,
    depth: u32,
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("depth", &self.depth).finish_non_exhaustive()
    }
}

impl<'a> Tx<'a> {
    /// Runs `f` in a transaction that `begin` starts. `Ok` commits if `commit` is `true`. Everything else, a panic too,
    /// rolls back.
    pub(crate) fn run<T, E: From<StoreError>>(
        conn: &'a Connection,
        unread: &'a UnreadCounts,
        states: &'a KnownStates,
        erased: &'a Cell<Erased>,
        begin: &str,
        commit: bool,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        conn.prepare_cached(begin).and_then(|mut s| s.execute([])).map_err(StoreError::from)?;
        let guard = Undo { conn, unread, states, sql: &["ROLLBACK"], armed: true };
        let said = f(&Tx { conn, unread, states, erased, depth: 0 });
        if !is_sound(conn) {
            // SQLCipher gave zeros for a damaged page, so no result counts, and no error either.
            note_fault(Fault::Damage);
            return Err(StoreError::Corrupt.into());
        }
        let value = said?;
        if !commit {
            // The counts of a read transaction match the stored rows.
            unread.keep();
        }
        if commit {
            // A failed COMMIT may leave the transaction open; the guard then rolls it back.
            conn.prepare_cached("COMMIT")
                .and_then(|mut s| s.execute([]))
                .map_err(StoreError::from)?;
            guard.disarm();
            unread.keep();
            states.keep();
        }
        Ok(value)
    }

    /// Runs `f` in a nested transaction: on `Err` or a panic only what `f` did is undone.
    ///
    /// # Errors
    /// The error of `f`, or a [`StoreError`] of the savepoint itself.
    pub fn savepoint<T, E: From<StoreError>>(
        &self,
        f: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let depth = self.depth + 1;
        // Savepoints nest, so one name serves all: SQLite resolves it to the innermost.
        self.conn
            .prepare_cached("SAVEPOINT mdk")
            .and_then(|mut s| s.execute([]))
            .map_err(StoreError::from)?;
        let Self { conn, unread, states, erased, .. } = *self;
        let guard =
            Undo { conn, unread, states, sql: &["ROLLBACK TO mdk", "RELEASE mdk"], armed: true };
        let value = f(&Tx { conn, unread, states, erased, depth })?;
        self.conn
            .prepare_cached("RELEASE mdk")
            .and_then(|mut s| s.execute([]))
            .map_err(StoreError::from)?;
        guard.disarm();
        Ok(value)
    }

    /// Rows changed on this connection so far. Equal numbers mean that nothing was written in between.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.conn.total_changes()
    }

    /// Executes one statement; returns the number of rows that it changed.
    pub(crate) fn exec(&self, sql: &str, params: impl Params) -> Result<usize> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let changed = statement.execute(params)?;
        self.meter(&statement);
        Ok(changed)
    }

    /// Executes a statement that must change exactly one row, or fails: a write that finds no row would be lost.
    pub(crate) fn exec_one(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        what: &'static str,
    ) -> Result<()> {
        match self.exec(sql, params)? {
            1 => Ok(()),
            _ => Err(StoreError::Internal { what, code: 0 }),
        }
    }

    /// Counts the steps of a statement that has run, in builds for tests.
    fn meter(&self, statement: &Statement<'_>) {
        if cfg!(debug_assertions) {
            let steps = statement.reset_status(StatementStatus::VmStep);
            let steps = u64::try_from(steps).unwrap_or(0);
            self.states.steps.set(self.states.steps.get().saturating_add(steps));
        }
    }

    /// Steps of SQLite's machine so far, for tests of the cost of work; 0 in an optimized build.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.states.steps.get()
    }

    /// The same for a statement that erases content from the file for good (see [`Store::forget_erased`]).
    ///
    /// [`Store::forget_erased`]: crate::Store::forget_erased
    pub(crate) fn erase(&self, sql: &str, params: impl Params) -> Result<usize> {
        let changed = self.exec(sql, params)?;
        if changed > 0 {
            self.note_erased(Erased::Content);
        }
        Ok(changed)
    }

    /// Notes that erased content is still in the log: rows that must not be found any more were deleted or overwritten.
    pub(crate) fn note_erased(&self, what: Erased) {
        self.erased.set(self.erased.get().max(what));
    }

    /// The first row of a query, mapped, or `None` when there is no row.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        map: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let found = rows.next()?.map(map).transpose();
        drop(rows);
        self.meter(&statement);
        found
    }

    /// All rows of a query, mapped.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push(map(row)?);
        }
        drop(rows);
        self.meter(&statement);
        Ok(out)
    }

    /// The rowid of the last row inserted on this connection.
    pub(crate) fn last_id(&self) -> i64 {
        self.conn.last_insert_rowid()
    }
}

/// Undoes a transaction or savepoint unless it was disarmed. An armed one was left by `?` or a panic.
struct Undo<'a> {
    conn: &'a Connection,
    unread: &'a UnreadCounts,
    states: &'a KnownStates,
    sql: &'static [&'static str],
    armed: bool,
}

impl Undo<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.unread.undo();
            self.states.undo();
        }
        // After some errors (disk full, I/O) SQLite has rolled back by itself and there is nothing to undo.
        if self.armed && !self.conn.is_autocommit() {
            for sql in self.sql {
                if self.conn.prepare_cached(sql).and_then(|mut s| s.execute([])).is_err() {
                    tracing::error!("a transaction could not be rolled back");
                }
            }
        }
    }
}
