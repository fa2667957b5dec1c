//! Long tests on all cores. Each core has a process: engines of one process that lock and unlock memory wait for each
//! other, and two threads are slower than one.

/// Which share of the work is this process's: every `step`th piece from the `from`th on. `None`: it is to be shared out.
pub fn own() -> Option<(usize, usize)> {
    let share = std::env::var("MDK_SHARE").ok()?;
    let (from, step) = share.split_once('/').expect("a share");
    Some((from.parse().expect("a number"), step.parse().expect("a number")))
}

/// A test's name as this program takes it when it is started again.
pub fn name_of<T: Fn()>(_: T) -> &'static str {
    std::any::type_name::<T>().split_once("::").expect("a function of this program").1
}

/// Whether this process has one test only. If not, it starts one that does, and waits for its end.
pub fn alone(test: impl Fn()) -> bool {
    let alone = own().is_some();
    if !alone {
        out(test, 1);
    }
    alone
}

/// Runs a test of this program once for each core, or for each piece where there are fewer. What fails says so itself.
pub fn out(test: impl Fn(), pieces: usize) {
    let test = name_of(test);
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(pieces).max(1);
    let start = |from: usize| {
        std::process::Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", test, "--nocapture"])
            .env("MDK_SHARE", format!("{from}/{cores}"))
            .spawn()
            .expect("the program starts again")
    };
    let players: Vec<_> = (0..cores).map(start).collect();
    let ended = players.into_iter().map(|mut player| player.wait().expect("it ends"));
    assert_eq!(ended.filter(|status| !status.success()).count(), 0, "see what they said");
}
