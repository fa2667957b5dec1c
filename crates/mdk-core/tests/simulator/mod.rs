//! Worlds of members behind bad relays, each from one seed: at the end all must agree, and no message may be lost.
//!
//! `MDK_SIM_WORLDS`, `MDK_SIM_STEPS` and `MDK_SIM_SEED` say how many, how long and from which seed; `MDK_SIM_PLAN` names a
//! file with a plan, as a failure prints it, to be played again; with `MDK_SIM_STORY=1` it says what became of what.
//! Accounts and fates are drawn from the seed. What MLS draws is not, and where a commit's hash decides, or the hash of a
//! proposal when it is answered, a plan differs from run to run: `scripts/simulate.py` draws that from the seed, too.

mod act;
mod arrival;
mod check;
mod excuse;
mod net;
mod plan;
mod shrink;
mod story;
mod told;
mod tree;
mod turn;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use check::Summary;
use plan::Plan;
use serde::Serialize;
use world::{Broken, Checked, Fault, World};

use crate::kit::number;
use crate::sampling;

fn run(plan: &Plan, broken: Broken) -> Checked<(Summary, u64, u64)> {
    let mut world = World::new(plan, broken)?;
    for step in &plan.steps {
        world.play(step)?;
    }
    world.settle()?;
    world.is_complete()?;
    world.tell_end();
    let summary = world.judge()?;
    world.repeat()?;
    let again = world.judge()?;
    if summary != again {
        return world::fault("repetition", format!("{summary:?} became {again:?}"));
    }
    world.a_month_later()?;
    assert!(world.path().is_dir());
    Ok((summary, world.commits, world.races))
}

/// Runs a world; a panic is a fault like any other.
fn attempt(plan: &Plan, broken: Broken) -> Checked<(Summary, u64, u64)> {
    catch_unwind(AssertUnwindSafe(|| run(plan, broken))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_default();
        Err(Fault { sort: "panic", text })
    })
}

/// Cuts a failing plan down, and tells it.
fn report(plan: &Plan, fault: &Fault, broken: Broken) -> String {
    let time = Duration::from_secs(number("MDK_SIM_SHRINK_SECONDS", 60));
    let (small, why) =
        shrink::shrink(plan.clone(), fault.clone(), time, |p| attempt(p, broken).err());
    let mut text = format!(
        "seed {}: {}: {}\ncut down from {} steps to {}, from {} members to {}: {}: {}\n",
        plan.seed,
        fault.sort,
        fault.text,
        plan.steps.len(),
        small.steps.len(),
        plan.members,
        small.members,
        why.sort,
        why.text,
    );
    for step in &small.steps {
        text += &format!("  {:?}\n", step.act);
    }
    text + "to play it again: MDK_SIM_PLAN=<file with the next line>\n"
        + &serde_json::to_string(&small).unwrap()
}

/// What worlds came to together, also as JSON for whoever runs many.
#[derive(Debug, Default, Serialize)]
struct Sums {
    first: u64,
    worlds: u64,
    steps: usize,
    seconds: f64,
    #[serde(flatten)]
    sum: Summary,
    commits: u64,
    races: u64,
    /// Seed, sort of fault, and what it was.
    failed: Vec<(u64, &'static str, String)>,
}

impl Sums {
    fn add(&mut self, one: Summary, commits: u64, races: u64) {
        self.worlds += 1;
        self.sum.agreed += one.agreed;
        self.sum.messages += one.messages;
        self.sum.invalidated += one.invalidated;
        self.sum.left_behind += one.left_behind;
        self.sum.blind += one.blind;
        self.sum.too_far += one.too_far;
        self.sum.ended += one.ended;
        self.sum.too_late += one.too_late;
        self.sum.epoch += one.epoch;
        self.commits += commits;
        self.races += races;
    }
}

/// Plays worlds on all cores, or on `MDK_THREADS` of them; gives the sums of what they came to. A summary is written to
/// `MDK_SIM_SUMMARY`.
fn worlds(wanted: &[Plan]) -> Sums {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Vec<(Plan, Fault)>> = Mutex::new(Vec::new());
    let sums = Mutex::new(Sums::default());
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let most = number("MDK_SIM_FAILURES", 5);
    std::thread::scope(|scope| {
        for _ in 0..number("MDK_THREADS", threads as u64) {
            scope.spawn(|| {
                loop {
                    let Some(plan) = wanted.get(next.fetch_add(1, Ordering::SeqCst)) else {
                        return;
                    };
                    if failed.lock().unwrap().len() as u64 >= most {
                        return;
                    }
                    let Plan { seed, echo, .. } = *plan;
                    let began = Instant::now();
                    match attempt(plan, Broken::Nothing) {
                        Ok((summary, commits, races)) => {
                            sums.lock().unwrap().add(summary, commits, races);
                            let took = began.elapsed();
                            println!(
                                "world {seed}, echo {echo}: {summary:?}, {commits} commits, {races} races, {took:?}"
                            );
                        }
                        Err(fault) => {
                            println!("world {seed}, echo {echo}: {}: {}", fault.sort, fault.text);
                            failed.lock().unwrap().push((plan.clone(), fault));
                        }
                    }
                }
            });
        }
    });
    let mut sums = sums.into_inner().unwrap();
    sums.seconds = started.elapsed().as_secs_f64();
    let failed = failed.into_inner().unwrap();
    sums.failed = failed.iter().map(|(p, f)| (p.seed, f.sort, f.text.clone())).collect();
    println!("{sums:?}");
    if let Ok(path) = std::env::var("MDK_SIM_SUMMARY") {
        std::fs::write(path, serde_json::to_string(&sums).unwrap() + "\n").unwrap();
    }
    if let Some((plan, fault)) = failed.iter().min_by_key(|(p, _)| p.members) {
        let list: Vec<_> = failed.iter().map(|(p, f)| format!("{} ({})", p.seed, f.sort)).collect();
        panic!("worlds failed: {}\n{}", list.join(", "), report(plan, fault, Broken::Nothing));
    }
    sums
}

#[test]
fn members_agree_whatever_happens() {
    if let Ok(path) = std::env::var("MDK_SIM_PLAN") {
        let plan: Plan = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        println!("{:?}", attempt(&plan, Broken::Nothing).expect("the world holds"));
        return;
    }
    let steps = number("MDK_SIM_STEPS", 60);
    let first = number("MDK_SIM_SEED", sampling::first_seed());
    let count = number("MDK_SIM_WORLDS", sampling::count("simulated_worlds"));
    let sums = worlds(
        &(first..first + count).map(|seed| Plan::from_seed(seed, steps)).collect::<Vec<_>>(),
    );
    // Worlds in which nothing happens prove nothing. (In a single one the group may have ended.)
    assert!(sums.worlds == 1 || sums.sum.agreed > 0 && sums.sum.messages > 0 && sums.commits > 0);
}

/// Each of these ended wrong once.
#[test]
fn worlds_that_have_failed_hold() {
    let long = sampling::failed_seeds("simulated_worlds").into_iter().map(|seed| (seed, 500));
    let short = sampling::failed_seeds("short_worlds").into_iter().map(|seed| (seed, 60));
    worlds(
        &long.chain(short).map(|(seed, steps)| Plan::from_seed(seed, steps)).collect::<Vec<_>>(),
    );
}

/// Races of commits and messages, once with what members publish coming back to them and once without. Of those who stay
/// nobody is excused for not being where all are; who has left may not see that it has (H2).
#[test]
fn races_end_on_one_branch_with_and_without_echoes() {
    let seeds = sampling::seeds("race_worlds").into_iter();
    let plans = seeds.flat_map(|seed| [true, false].map(|echo| Plan::of_races(seed, 40, echo)));
    let Sums { sum, races, .. } = worlds(&plans.collect::<Vec<_>>());
    assert_eq!((sum.left_behind, sum.too_far, sum.ended), (0, 0, 0));
    assert!(races > 0 && sum.messages > 0 && sum.invalidated > 0);
}

#[cfg(feature = "broken-order")]
#[test]
fn a_broken_order_is_noticed_and_cut_down() {
    let steps = number("MDK_SIM_STEPS", 60);
    let found = (1..200u64).find_map(|seed| {
        let plan = Plan::from_seed(seed, steps);
        attempt(&plan, Broken::Nothing).ok()?;
        attempt(&plan, Broken::Order).err().map(|fault| (plan, fault))
    });
    let (plan, fault) = found.expect("a member that orders otherwise is noticed");
    let text = report(&plan, &fault, Broken::Order);
    println!("{text}");
    // Who joined where only some follow is left out of what the others follow.
    assert!(["divergence", "left out"].contains(&fault.sort));
}
