//! How much of what is sampled a run takes, and from which seed on: `tests/sampling.json` is the one table of it.
//!
//! `MDK_SAMPLING` is `gate` (the default) or `nightly`. `MDK_SEED` is where the seeds begin; the gate takes it from the commit,
//! so that each commit tries others. A test that fails prints the seed, and `MDK_SEED=<it>` repeats it.

use serde_json::Value;

const TABLE: &str = include_str!("sampling.json");

fn table() -> Value {
    serde_json::from_str(TABLE).expect("sampling.json is JSON")
}

fn from_environment(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How many of `name` to take in this run. `MDK_<NAME>` overrides the table.
pub(crate) fn count(name: &str) -> u64 {
    let column = match std::env::var("MDK_SAMPLING").as_deref() {
        Ok("nightly") => 1,
        Ok("gate") | Err(_) => 0,
        Ok(other) => panic!("MDK_SAMPLING is gate or nightly, not {other}"),
    };
    let usual = || table()["counts"][name][column].as_u64().unwrap_or_else(|| panic!("no {name}"));
    from_environment(&format!("MDK_{}", name.to_uppercase())).unwrap_or_else(usual)
}

/// The first seed of this run, 1 where nobody says another.
pub(crate) fn first_seed() -> u64 {
    from_environment("MDK_SEED").unwrap_or(1)
}

/// Seeds that ever failed.
pub(crate) fn failed_seeds(name: &str) -> Vec<u64> {
    let seeds = table()["failed_seeds"][name].as_array().cloned().unwrap_or_default();
    seeds.iter().map(|seed| seed.as_u64().expect("a seed is a number")).collect()
}

/// Seeds of one sampled test: those that ever failed, then as many new ones as this run takes.
pub(crate) fn seeds(name: &str) -> Vec<u64> {
    let first = first_seed();
    println!("{name}: seeds from {first} (MDK_SEED={first} repeats them)");
    failed_seeds(name).into_iter().chain(first..first + count(name)).collect()
}
