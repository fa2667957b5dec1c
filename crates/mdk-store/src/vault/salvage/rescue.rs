//! Rows from authentic pages into a new database.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    iter,
};

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    btree::{Content, Kind, Pages, Record},
    schema::Tree,
};
use crate::{
    StoreError,
    vault::{Progress, Stage, VaultError, pages::PAGE, rows},
};

/// Rows after which what was written is moved out of the write-ahead log.
const COMMIT_EVERY: u64 = 2000;
/// Tables whose rows of one group must be of one time, or it has no MLS state that is good.
const TOGETHER: [&str; 3] = ["groups", "mls_rows", "nodes"];

/// What was lost of one table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Rows of which a part is damaged.
    pub(super) cut: u64,
    /// Rows that an index lists and that were not found.
    pub(super) listed: u64,
    /// The groups of these, where the index says it.
    pub(super) groups: BTreeSet<Vec<u8>>,
}

pub(super) struct Rescue<'a> {
    pages: &'a Pages<'a>,
    to: &'a Connection,
    trees: Vec<Tree>,
    /// Pages that were read as part of a tree.
    owned: BTreeSet<u32>,
    pub(super) losses: BTreeMap<String, Loss>,
    /// Pages of b-trees of which it cannot be said to which they belong.
    pub(super) unknown_pages: u64,
    /// Pages of tables whose newest version is lost or may be, each with its tree.
    old: Vec<(usize, u32)>,
    /// Groups of which rows in the tables that must fit together stand on such pages, or on some that may be such.
    pub(super) mixed: BTreeSet<Vec<u8>>,
    written: u64,
}

impl<'a> Rescue<'a> {
    pub(super) fn new(pages: &'a Pages<'a>, to: &'a Connection, trees: Vec<Tree>) -> Self {
        let (owned, losses) = (BTreeSet::new(), BTreeMap::new());
        let (old, mixed) = (Vec::new(), BTreeSet::new());
        Self { pages, to, trees, owned, losses, unknown_pages: 0, old, mixed, written: 0 }
    }

    /// Reads everything and writes what it finds.
    pub(super) fn run(&mut self, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        let batch = |sql| self.to.execute_batch(sql).map_err(StoreError::from);
        batch("PRAGMA synchronous = OFF; BEGIN")?;
        self.find_roots()?;
        for index in 0..self.trees.len() {
            self.walk(index, progress, |rescue, record| rescue.keep(index, record))?;
        }
        self.strays(progress)?;
        self.keep_old(progress)?;
        batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
        for index in 0..self.trees.len() {
            self.compare_with_index(index, progress)?;
        }
        Ok(())
    }

    /// Trees of tables that were not read to their end, with the number of their damaged pages, if known.
    pub(super) fn damaged_tables(&self) -> Vec<(String, Option<u64>)> {
        let damaged = self.trees.iter().filter(|tree| tree.is_table && tree.is_incomplete());
        damaged.map(|tree| (tree.name.clone(), tree.root.map(|_| tree.damaged))).collect()
    }

    /// The list of tables, as far as it is there. It is a table itself, whose root is page 1.
    fn find_roots(&mut self) -> Result<(), VaultError> {
        let mut found = Vec::new();
        let mut next = vec![1];
        let mut met = BTreeSet::new();
        while let Some(number) = next.pop() {
            if !met.insert(number) {
                continue;
            }
            if let Some((Kind::TableInner | Kind::TableLeaf, content)) = self.pages.read(number)? {
                next.extend(content.children);
                self.owned.extend(content.overflow);
                found.extend(content.records);
            }
        }
        self.owned.extend(met);
        // Leaves of it that nothing leads to any more.
        if self.pages.get(1)?.is_none() || found.len() < self.trees.len() {
            for number in 2..=self.pages.count {
                if let Some((Kind::TableLeaf, content)) = self.pages.read(number)?
                    && content.records.iter().any(|record| schema_entry(record).is_some())
                {
                    self.owned.insert(number);
                    found.extend(content.records);
                }
            }
        }
        for (name, root) in found.iter().filter_map(schema_entry) {
            if let Some(tree) = self.trees.iter_mut().find(|tree| tree.name == name) {
                tree.root = Some(root);
            }
        }
        Ok(())
    }

    fn walk(
        &mut self,
        index: usize,
        progress: &mut Progress<'_>,
        mut each: impl FnMut(&mut Self, Record) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let Some(root) = self.trees[index].root else { return Ok(()) };
        self.trees[index].damaged = 0;
        let mut next = vec![root];
        let mut met = BTreeSet::new();
        // What an older page leads to may have gone to another tree since.
        let mut doubtful = BTreeSet::<u32>::new();
        while let Some(number) = next.pop() {
            if !met.insert(number) {
                continue;
            }
            let Some((kind, content)) = self.pages.read(number)? else {
                self.trees[index].damaged += 1;
                continue;
            };
            let fits = |record| self.trees[index].fits(record);
            if !self.trees[index].is_of_kind(kind)
                || doubtful.contains(&number) && !content.records.iter().all(fits)
            {
                self.trees[index].damaged += 1;
                continue;
            }
            next.extend(content.children.iter().rev());
            let is_old = self.pages.is_old(number);
            if is_old || doubtful.contains(&number) {
                doubtful.extend(&content.children);
            }
            // What it holds may be another tree's by now, of the same shape: that is looked at when all trees are known.
            let is_stray = doubtful.contains(&number) && !content.records.is_empty();
            if is_stray && self.trees[index].is_table {
                continue;
            }
            if !is_stray {
                self.owned.insert(number);
            }
            self.note_mixed(index, number, &content);
            self.owned.extend(content.overflow);
            if content.cut > 0 && self.trees[index].is_table {
                self.loss(index).cut += content.cut;
            }
            // What it led to may be elsewhere now, and an index may list what is gone.
            self.trees[index].damaged += u64::from(is_old);
            if self.trees[index].is_table && self.pages.log.may_be_old(number) {
                self.old.push((index, number));
            } else if !is_old {
                for record in content.records {
                    each(self, record)?;
                }
            }
            let total = u64::from(self.pages.count) * PAGE as u64;
            let done = (self.owned.len() as u64 * PAGE as u64).min(total);
            progress.tell(Stage::Writing, done, total)?;
        }
        Ok(())
    }

    /// Pages that nothing leads to, because what led to them is damaged. They are known by what they hold; a tree
    /// that was read to its end has none.
    fn strays(&mut self, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        // Where it is not known which pages are old ones, any tree may have one.
        let unsure = self.pages.log.old_pages().is_none();
        let candidates: Vec<usize> =
            (0..self.trees.len()).filter(|&n| self.trees[n].is_incomplete() || unsure).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let total = u64::from(self.pages.count) * PAGE as u64;
        for number in 2..=self.pages.count {
            progress.tell(Stage::Writing, u64::from(number) * PAGE as u64, total)?;
            if self.owned.contains(&number) {
                continue;
            }
            let Some((kind, content)) = self.pages.read(number)? else { continue };
            if kind == Kind::TableInner || content.records.is_empty() {
                continue;
            }
            let fits = |n: &&usize| {
                let tree = &self.trees[**n];
                tree.is_of_kind(kind) && content.records.iter().all(|record| tree.fits(record))
            };
            let fitting: Vec<usize> = candidates.iter().filter(fits).copied().collect();
            match fitting[..] {
                [index] => {
                    self.note_mixed(index, number, &content);
                    if content.cut > 0 && self.trees[index].is_table {
                        self.loss(index).cut += content.cut;
                    }
                    self.trees[index].damaged += u64::from(self.pages.is_old(number));
                    if self.pages.log.may_be_old(number) {
                        self.old.push((index, number));
                        continue;
                    }
                    for record in content.records {
                        self.keep(index, record)?;
                    }
                }
                // Rather lost than in the wrong table. Of indexes nothing is missed.
                [_, ..] if fitting.iter().all(|n| !self.trees[*n].is_table) => {}
                _ => self.unknown_pages += 1,
            }
        }
        Ok(())
    }

    /// Rows on pages that are old or may be. Last, and from the page that was written last to the one that was written first:
    /// a row that stands on two pages has gone to the later one, and is newer there.
    fn keep_old(&mut self, progress: &mut Progress<'_>) -> Result<(), VaultError> {
        let mut old = std::mem::take(&mut self.old);
        old.sort_by_key(|(_, number)| Reverse(self.pages.log.pages.get(number)));
        let total = u64::from(self.pages.count) * PAGE as u64;
        for (index, number) in old {
            progress.tell(Stage::Writing, total, total)?;
            let Some((_, content)) = self.pages.read(number)? else { continue };
            for record in content.records {
                self.keep(index, record)?;
            }
        }
        Ok(())
    }

    fn note_mixed(&mut self, index: usize, number: u32, content: &Content) {
        let tree = &self.trees[index];
        let mut pages = iter::once(&number).chain(&content.overflow);
        if !TOGETHER.contains(&tree.name.as_str())
            || !pages.any(|page| self.pages.log.may_be_old(*page))
        {
            return;
        }
        let Some(column) = tree.columns.iter().position(|c| c == "group_id" || c == "scope") else {
            return;
        };
        for record in &content.records {
            if let Some(Value::Blob(group)) = record.values.get(column) {
                self.mixed.insert(group.clone());
            }
        }
    }

    /// Writes a row, unless it is there already.
    fn keep(&mut self, index: usize, record: Record) -> Result<(), VaultError> {
        let tree = &self.trees[index];
        if !tree.is_table {
            return Ok(());
        }
        if !tree.fits(&record) {
            self.loss(index).cut += 1;
            return Ok(());
        }
        if tree.name == "sqlite_sequence" {
            return self.keep_counter(&record.values);
        }
        let sql = rows::insert_sql(&tree.table, &tree.columns);
        let sql = sql.replacen("INSERT", "INSERT OR IGNORE", 1);
        let inserted = self
            .to
            .prepare_cached(&sql)
            .and_then(|mut insert| insert.execute(params_from_iter(tree.row(record))));
        match inserted {
            Ok(count) => self.written += count as u64,
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
            {
                self.loss(index).cut += 1;
            }
            Err(error) => return Err(StoreError::from(error).into()),
        }
        if self.written >= COMMIT_EVERY {
            self.written = 0;
            self.to
                .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE); BEGIN")
                .map_err(StoreError::from)?;
        }
        Ok(())
    }

    /// A counter never goes back.
    fn keep_counter(&self, values: &[Value]) -> Result<(), VaultError> {
        let [Value::Text(name), Value::Integer(seq)] = values else { return Ok(()) };
        let known = self.trees.iter().any(|tree| tree.is_table && tree.name == *name);
        if known {
            let changed = self
                .to
                .execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
                    (name, seq),
                )
                .map_err(StoreError::from)?;
            if changed == 0 {
                self.to
                    .execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (name, seq))
                    .map_err(StoreError::from)?;
            }
        }
        Ok(())
    }

    /// Counts the rows that an index lists and that were not found.
    fn compare_with_index(
        &mut self,
        index: usize,
        progress: &mut Progress<'_>,
    ) -> Result<(), VaultError> {
        let tree = self.trees[index].clone();
        let better = self.trees.iter().find(|other| {
            other.table == tree.table && other.lists_all_rows && other.group.is_some()
        });
        if !tree.lists_all_rows || better.is_some_and(|better| better.name != tree.name) {
            return Ok(());
        }
        let sql = format!("SELECT 1 FROM \"{}\" WHERE rowid = ?1", tree.table);
        self.walk(index, progress, |rescue, record| {
            let Some(Value::Integer(row)) = record.values.last() else { return Ok(()) };
            let found = rescue.to.prepare_cached(&sql).and_then(|mut find| find.exists([row]));
            if !found.map_err(StoreError::from)? {
                let loss = rescue.loss(index);
                loss.listed += 1;
                if let Some(Value::Blob(group)) = tree.group.and_then(|n| record.values.get(n)) {
                    loss.groups.insert(group.clone());
                }
            }
            Ok(())
        })
    }

    fn loss(&mut self, index: usize) -> &mut Loss {
        self.losses.entry(self.trees[index].table.clone()).or_default()
    }
}

/// Name and root page of a table or an index, if the record is an entry of the list of tables.
fn schema_entry(record: &Record) -> Option<(String, u32)> {
    let [Value::Text(kind), Value::Text(name), Value::Text(_), Value::Integer(root), sql] =
        record.values.as_slice()
    else {
        return None;
    };
    let known = matches!(kind.as_str(), "table" | "index");
    let sql = matches!(sql, Value::Text(_) | Value::Null);
    (known && sql).then(|| Some((name.clone(), u32::try_from(*root).ok()?))).flatten()
}
