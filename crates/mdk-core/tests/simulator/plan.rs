//! What happens in a world, as data: drawn from a seed, and cut down when it fails.

use serde::{Deserialize, Serialize};

/// Seeded chance: the same numbers for the same words, whatever was drawn before. So a plan that is cut down keeps the
/// fates of what remains.
pub fn draw(words: &[u64]) -> u64 {
    let mut h = 0x9E37_79B9_7F4A_7C15u64;
    for word in words {
        h ^= word.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_add(h << 6).wrapping_add(h >> 2);
        h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        h ^= h >> 31;
    }
    h
}

/// Whether something that happens in `percent` of all cases happens in this one.
pub fn happens(percent: u64, words: &[u64]) -> bool {
    draw(words) % 100 < percent
}

/// One thing that happens. Numbers of members wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Send(usize),
    React(usize),
    Add(usize, usize),
    Remove(usize, usize),
    Rename(usize),
    SelfUpdate(usize),
    Leave(usize),
    Promote(usize, usize),
    Demote(usize, usize),
    /// Two admins commit before either hears of the other.
    Race(usize, usize),
    /// All members commit before any of them hears of another's.
    Crowd(usize),
    Disband(usize),
    /// Milliseconds.
    Wait(u64),
    /// Cut off from all relays.
    Cut(usize),
    Heal(usize),
    /// Fetches everything that it has missed.
    Resync(usize),
    Restart(usize),
    /// Dies between the preparation of a commit and its publication.
    DieWithCommit(usize),
    /// Dies after what was received is stored, before its answers are published.
    DieWithReplies(usize),
    /// Its clock jumps, in seconds.
    Skew(usize, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Decides on everything accidental about the step.
    pub salt: u64,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub seed: u64,
    pub members: usize,
    /// How many are in the group from the start.
    pub founders: usize,
    pub admins: usize,
    pub relays: usize,
    /// Whether relays give a member what it has published itself.
    #[serde(default = "yes")]
    pub echo: bool,
    pub steps: Vec<Step>,
}

fn yes() -> bool {
    true
}

/// Makes an act of two numbers of members and another number.
type Maker = fn(usize, usize, u64) -> Act;

const WEIGHTS: [(u64, Maker); 19] = [
    (300, |a, _, _| Act::Send(a)),
    (40, |a, _, _| Act::React(a)),
    (25, Act::add),
    (20, Act::remove),
    (60, |a, _, _| Act::Rename(a)),
    (50, |a, _, _| Act::SelfUpdate(a)),
    (8, |a, _, _| Act::Leave(a)),
    (14, Act::promote),
    (8, Act::demote),
    (120, |a, b, n| if n % 20 == 0 { Act::Crowd(a) } else { Act::Race(a, b) }),
    (0, |a, _, _| Act::Disband(a)),
    (220, |_, _, n| Act::Wait(n % 4000)),
    (8, |a, _, _| Act::Cut(a)),
    (60, |a, _, _| Act::Heal(a)),
    (100, |a, _, _| Act::Resync(a)),
    (20, |a, _, _| Act::Restart(a)),
    (8, |a, _, _| Act::DieWithCommit(a)),
    (12, |a, _, _| Act::DieWithReplies(a)),
    (8, |a, _, n| Act::Skew(a, i64::try_from(n % 241).unwrap_or(0) - 120)),
];

/// Races, and what is said meanwhile. Nobody is put out but who asks for it.
const RACES: [(u64, Maker); 8] = [
    (300, |a, _, _| Act::Send(a)),
    (120, |a, b, n| if n % 4 == 0 { Act::Crowd(a) } else { Act::Race(a, b) }),
    (50, |a, _, _| Act::Rename(a)),
    (50, |a, _, _| Act::SelfUpdate(a)),
    (25, |a, _, _| Act::Leave(a)),
    (15, Act::promote),
    (150, |_, _, n| Act::Wait(n % 2500)),
    (80, |a, _, _| Act::Resync(a)),
];

impl Act {
    /// The number of who does it.
    pub fn actor(self) -> usize {
        match self {
            Self::Wait(_) => 0,
            Self::Add(a, _)
            | Self::Remove(a, _)
            | Self::Promote(a, _)
            | Self::Demote(a, _)
            | Self::Race(a, _)
            | Self::Crowd(a)
            | Self::Send(a)
            | Self::React(a)
            | Self::Rename(a)
            | Self::SelfUpdate(a)
            | Self::Leave(a)
            | Self::Disband(a)
            | Self::Cut(a)
            | Self::Heal(a)
            | Self::Resync(a)
            | Self::Restart(a)
            | Self::DieWithCommit(a)
            | Self::DieWithReplies(a)
            | Self::Skew(a, _) => a,
        }
    }

    fn add(a: usize, b: usize, _: u64) -> Self {
        Self::Add(a, b)
    }
    fn remove(a: usize, b: usize, _: u64) -> Self {
        Self::Remove(a, b)
    }
    fn promote(a: usize, b: usize, _: u64) -> Self {
        Self::Promote(a, b)
    }
    fn demote(a: usize, b: usize, _: u64) -> Self {
        Self::Demote(a, b)
    }
}

fn drawn(seed: u64, steps: usize, members: usize, weights: &[(u64, Maker)]) -> Vec<Step> {
    let total: u64 = weights.iter().map(|(w, _)| w).sum();
    let step = |i| {
        let salt = draw(&[seed, 5, i]);
        let mut at = draw(&[salt, 1]) % total;
        let (a, b) = (draw(&[salt, 2]) as usize % members, draw(&[salt, 3]) as usize % members);
        let kind = weights.iter().find(|(w, _)| {
            let hit = at < *w;
            at = at.saturating_sub(*w);
            hit
        });
        Step { salt, act: kind.expect("below the total").1(a, b, draw(&[salt, 4])) }
    };
    (0..steps as u64).map(step).collect()
}

impl Plan {
    pub fn from_seed(seed: u64, steps: usize) -> Self {
        let members = 3 + (draw(&[seed, 1]) % 10) as usize;
        let founders = 2 + (draw(&[seed, 2]) % (members as u64 - 1)) as usize;
        let admins = 1 + (draw(&[seed, 3]) % (founders as u64).min(5)) as usize;
        let mut all = drawn(seed, steps, members, &WEIGHTS);
        // A group that ends early shows little: one world in ten is disbanded, in its last fifth.
        if seed % 10 == 7 && steps > 10 {
            let at = steps - 1 - (draw(&[seed, 6]) as usize % (steps / 5));
            all[at].act = Act::Disband(draw(&[seed, 7]) as usize % members);
        }
        Self {
            seed,
            members,
            founders,
            admins,
            relays: 1 + (draw(&[seed, 4]) % 3) as usize,
            echo: true,
            steps: all,
        }
    }

    /// A world of nothing but races, among a few who are in the group from the start.
    pub fn of_races(seed: u64, steps: usize, echo: bool) -> Self {
        let members = 4 + (draw(&[seed, 1]) % 3) as usize;
        let admins = 2 + (draw(&[seed, 3]) % 2) as usize;
        let steps = drawn(seed, steps, members, &RACES);
        Self { seed, members, founders: members, admins, relays: 1, echo, steps }
    }
}
