//! Members on disk whose databases can be copied: the same moment is lived through in many orders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mdk_core::{Engine, ManualClock, Outcome, testing};
use mdk_store::{DatabaseKey, OpenOptions, Store, StoreError, Tx};
use mdk_wire::{Event, GroupId, Keys, Secret};

use super::{Member, event, now, number, unhurried};

/// A member whose database lies in a file.
pub struct Filed {
    pub member: Member,
    pub path: PathBuf,
    secret: [u8; 32],
}

fn open(path: &Path, secret: [u8; 32], clock: &ManualClock) -> Engine {
    Engine::open(
        path,
        Keys::from_secret(Secret::new(secret)).unwrap(),
        &DatabaseKey::Raw(Secret::new([7; 32])),
        &OpenOptions::default(),
        unhurried(),
        Arc::new(clock.clone()),
    )
    .unwrap()
}

fn stand_in(clock: &ManualClock) -> Engine {
    Engine::in_memory(Keys::generate(), unhurried(), Arc::new(clock.clone())).unwrap()
}

impl Filed {
    /// Accounts are numbered; the number decides the key.
    pub fn new(folder: &Path, name: &'static str, number: u8) -> Self {
        let clock = ManualClock::at(now());
        let path = folder.join(format!("{name}.db"));
        let secret = [number; 32];
        let engine = open(&path, secret, &clock);
        Self { member: Member { name, engine, clock }, path, secret }
    }

    /// The process ends and starts again.
    pub fn restarts(&mut self) {
        let clock = self.member.clock.clone();
        let before = self.member.engine.digest().unwrap();
        drop(std::mem::replace(&mut self.member.engine, stand_in(&clock)));
        self.member.engine = open(&self.path, self.secret, &clock);
        assert!(self.member.engine.digest().unwrap() == before);
    }

    /// Writes the database out and gives a copy of it in another folder.
    pub fn copied(&mut self, folder: &Path) -> Self {
        self.at_rest(folder).opens()
    }

    /// As [`Filed::copied`], without opening the copy.
    pub fn at_rest(&mut self, folder: &Path) -> Rest {
        let clock = self.member.clock.clone();
        let engine = std::mem::replace(&mut self.member.engine, stand_in(&clock));
        engine.close().unwrap();
        let here = self.rest();
        let copy = here.copied(folder);
        self.member.engine = open(&self.path, self.secret, &clock);
        copy
    }

    fn rest(&self) -> Rest {
        Rest {
            name: self.member.name,
            path: self.path.clone(),
            secret: self.secret,
            millis: mdk_core::Clock::now_millis(&self.member.clock),
        }
    }

    /// Ends the process in good order.
    pub fn closes(self) -> Rest {
        let rest = self.rest();
        self.member.engine.close().unwrap();
        rest
    }

    pub fn takes(&mut self, event: &Event) -> Outcome {
        self.member.takes(event)
    }

    /// Time passes and the engine is told.
    pub fn waits(&mut self, millis: u64) -> Outcome {
        self.member.clock.advance_millis(millis);
        self.member.engine.tick().unwrap()
    }

    pub fn ends(&mut self, group: &GroupId) -> End {
        end(&mut self.member.engine, group)
    }
}

/// Alice and bob, both admins, and a third one, a member; settled. Of alice and bob the first one's commits win.
pub fn two_admins_and(third: &'static str, folder: &Path) -> (Vec<Filed>, GroupId) {
    let mut all = numbered(folder, &["alice", "bob", third]);
    all[..2].sort_by_key(|m| m.member.engine.public_key());
    let group = found(&mut all, &[1]);
    (all, group)
}

/// The first one founds a group with the others and makes some of these its admins; settled.
pub fn found(all: &mut [Filed], admins: &[usize]) -> GroupId {
    let keys: Vec<_> = admins.iter().map(|at| all[*at].member.key()).collect();
    let (first, others) = all.split_at_mut(1);
    let first = &mut first[0].member;
    let mut others: Vec<_> = others.iter_mut().map(|m| &mut m.member).collect();
    let group = first.founds("before", &mut others);
    let promoted = first.engine.promote(&group, &keys).unwrap();
    first.confirms(&promoted);
    others.into_iter().for_each(|member| drop(member.applies(event(&promoted))));
    later(all, 1_000);
    group
}

pub fn later(all: &mut [Filed], millis: u64) {
    all.iter_mut().for_each(|member| drop(member.waits(millis)));
}

/// Accounts with the numbers from one on.
pub fn numbered(folder: &Path, names: &[&'static str]) -> Vec<Filed> {
    names.iter().zip(1..).map(|(name, number)| Filed::new(folder, name, number)).collect()
}

/// A member whose database is closed.
pub struct Rest {
    name: &'static str,
    path: PathBuf,
    secret: [u8; 32],
    millis: u64,
}

impl Rest {
    pub fn opens(&self) -> Filed {
        let clock = ManualClock::at(0);
        clock.advance_millis(self.millis);
        let engine = open(&self.path, self.secret, &clock);
        let member = Member { name: self.name, engine, clock };
        Filed { member, path: self.path.clone(), secret: self.secret }
    }

    pub fn copied(&self, folder: &Path) -> Self {
        let path = folder.join(self.path.file_name().unwrap());
        std::fs::copy(&self.path, &path).unwrap();
        Self { path, ..*self }
    }
}

/// What all members must agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub epoch: u64,
    pub context: String,
    pub authenticator: String,
    pub name: String,
    /// Text and whether it was said on a branch that lost; sorted.
    pub said: Vec<(String, bool)>,
}

pub fn end(engine: &mut Engine, group: &GroupId) -> End {
    let state = testing::state(engine, group).unwrap();
    let page = engine.messages(group, 100_000, None, None).unwrap();
    let mut said: Vec<_> = page.into_iter().map(|m| (m.text, m.fate.invalidated)).collect();
    said.sort();
    End {
        epoch: state.epoch,
        context: hex::encode(state.group_context),
        authenticator: hex::encode(state.authenticator),
        name: engine.group(group).unwrap().profile.name,
        said,
    }
}

/// Opens a database behind the engine's back.
pub fn rows<T>(path: &Path, f: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
    let key = DatabaseKey::Raw(Secret::new([7; 32]));
    let mut store = Store::open(path, &key, &OpenOptions::default()).unwrap();
    store.write(f).unwrap()
}

/// Every order of `n` things.
pub fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    (0..n)
        .flat_map(|at| {
            shorter.iter().map(move |order| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}

struct EndsWithPanic<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for EndsWithPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Does something with each of these, on all cores; a panic ends it.
pub fn on_all_cores<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number("MDK_THREADS", threads).min(items.len());
    let items = std::sync::Mutex::new(items.into_iter());
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = EndsWithPanic(&ended);
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    // Unlocked before the work begins.
                    let next = items.lock().unwrap().next();
                    let Some(item) = next else { return };
                    work(item);
                }
            });
        }
    });
}
