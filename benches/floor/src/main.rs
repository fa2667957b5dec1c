//! The floor of the benchmarks: bare OpenMLS with its in-memory storage doing the same MLS operation, plus one durable
//! SQLCipher transaction of three rows. No Nostr, no validation of ours, no history. Prints one JSON object.

mod disk;
mod party;

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Value, json};

use crate::disk::Disk;
use crate::party::Party;

type Failure = Box<dyn std::error::Error>;

/// How often each operation is repeated.
struct Plan {
    light: usize,
    heavy: usize,
    batch: usize,
    sizes: &'static [usize],
}

const FULL: Plan = Plan { light: 300, heavy: 11, batch: 500, sizes: &[2, 10, 50, 100] };
const QUICK: Plan = Plan { light: 40, heavy: 3, batch: 100, sizes: &[2, 10] };

/// Times of one operation, the MLS part and the durable write apart.
#[derive(Default)]
struct Samples {
    mls: Vec<f64>,
    disk: Vec<f64>,
}

impl Samples {
    /// Runs `mls`, then `disk`, and keeps both times, divided by `per`.
    fn take<T>(
        &mut self,
        per: usize,
        mls: impl FnOnce() -> Result<T, Failure>,
        disk: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let value = black_box(mls()?);
        let middle = Instant::now();
        disk()?;
        let scale = 1000.0 / per as f64;
        self.mls.push((middle - start).as_secs_f64() * scale);
        self.disk.push(middle.elapsed().as_secs_f64() * scale);
        Ok(value)
    }

    fn row(self, operation: &str, members: usize) -> Value {
        let totals = self.mls.iter().zip(&self.disk).map(|(a, b)| a + b).collect();
        json!({
            "operation": operation,
            "members": members,
            "ms": median(totals),
            "mls_ms": median(self.mls),
            "disk_ms": median(self.disk),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<(), Failure> {
    let plan = if std::env::args().any(|a| a == "--quick") { QUICK } else { FULL };
    let folder = tempfile::tempdir()?;
    let mut disk = Disk::open(&folder.path().join("floor.db"))?;
    let mut rows = vec![key_packages(&plan, &mut disk)?, opening(&plan, &disk)?];
    for &size in plan.sizes {
        rows.extend(founding(&plan, &mut disk, size)?);
        rows.extend(conversation(&plan, &mut disk, size)?);
    }
    rows.push(ingest(&plan, &mut disk)?);
    println!("{}", json!({ "rows": rows }));
    Ok(())
}

fn key_packages(plan: &Plan, disk: &mut Disk) -> Result<Value, Failure> {
    let party = Party::new("solo")?;
    let mut samples = Samples::default();
    for _ in 0..plan.light {
        samples.take(1, || party.key_package(), || disk.write(3))?;
    }
    Ok(samples.row("key_package", 1))
}

/// Opening: no MLS at all, the database is opened and its schema read.
fn opening(plan: &Plan, disk: &Disk) -> Result<Value, Failure> {
    let mut samples = Samples::default();
    for _ in 0..plan.light.min(50) {
        samples.take(1, || Ok(()), || Disk::open(disk.path()).map(drop))?;
    }
    Ok(samples.row("open", 2))
}

/// Creating a group of `size` and joining it.
fn founding(plan: &Plan, disk: &mut Disk, size: usize) -> Result<Vec<Value>, Failure> {
    let (mut create, mut join) = (Samples::default(), Samples::default());
    for _ in 0..plan.heavy {
        let (alice, bob) = (Party::new("alice")?, Party::new("bob")?);
        let invited = party::invitees(&bob, size - 1)?;
        let (_, welcome) = create.take(1, || alice.create(&invited), || disk.write(3))?;
        join.take(1, || bob.join(&welcome), || disk.write(3))?;
    }
    Ok(vec![create.row("create", size), join.row("join", size)])
}

/// Messages and commits between two of `size` members.
fn conversation(plan: &Plan, disk: &mut Disk, size: usize) -> Result<Vec<Value>, Failure> {
    let (alice, bob) = (Party::new("alice")?, Party::new("bob")?);
    let (mut ours, welcome) = alice.create(&party::invitees(&bob, size - 1)?)?;
    let mut theirs = bob.join(&welcome)?;
    let (mut send, mut receive) = (Samples::default(), Samples::default());
    for _ in 0..plan.light {
        let bytes = send.take(1, || alice.send(&mut ours, party::TEXT), || disk.write(3))?;
        receive.take(1, || bob.receive(&mut theirs, &bytes), || disk.write(3))?;
    }
    let (mut update, mut process) = (Samples::default(), Samples::default());
    for _ in 0..plan.light / 4 {
        let commit = update.take(1, || alice.self_update(&mut ours), || disk.write(3))?;
        process.take(1, || bob.receive(&mut theirs, &commit), || disk.write(3))?;
    }
    Ok(vec![
        send.row("send", size),
        receive.row("receive", size),
        update.row("self_update", size),
        process.row("process_commit", size),
    ])
}

/// A batch of messages in one transaction; the time is per message.
fn ingest(plan: &Plan, disk: &mut Disk) -> Result<Value, Failure> {
    let (alice, bob) = (Party::new("alice")?, Party::new("bob")?);
    let (mut ours, welcome) = alice.create(&party::invitees(&bob, 1)?)?;
    let mut theirs = bob.join(&welcome)?;
    let mut samples = Samples::default();
    for _ in 0..plan.heavy {
        let batch = (0..plan.batch)
            .map(|_| alice.send(&mut ours, party::TEXT))
            .collect::<Result<Vec<_>, _>>()?;
        samples.take(
            plan.batch,
            || batch.iter().try_for_each(|bytes| bob.receive(&mut theirs, bytes)),
            || disk.write(3 * plan.batch),
        )?;
    }
    Ok(samples.row("ingest", 2))
}
