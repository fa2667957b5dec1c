//! A share of the fuzzing, without libFuzzer: each target runs all of its seeds, then as many mutated inputs as
//! `tests/sampling.json` says, from `MDK_SEED` on.
//!
//! An input that fails is printed. The one that a target is at is also in a file, for a process that does not come back:
//! `mdk-fuzz/<target>.input` in cargo's folder for the temporary files of tests. A program of libFuzzer runs it again.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mdk_fuzz::mutate::mutated;
use mdk_fuzz::seeds::Seeds;
use mdk_fuzz::targets::{ALL, Target};

#[allow(dead_code)]
#[path = "../../tests/sampling.rs"]
mod sampling;

/// One test for each target.
macro_rules! shares {
    ($($target:ident,)*) => {
        const TESTED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                take_share(stringify!($target));
            }
        )*
    };
}

shares! {
    archive,
    attachment,
    components,
    engine_foreign,
    engine_state,
    event_json,
    event_members,
    gift_wrap_inner,
    gift_wrap_unwrap,
    group_message,
    identity_proof,
    key_package_event,
    payload,
    push,
    relay_frame,
    text,
    varint_reader,
    welcome_for_recipient,
    welcome_rumor,
}

fn take_share(name: &str) {
    let target = ALL.iter().find(|target| target.name == name).expect("there is such a target");
    // (each of these founds a group)
    let counted = if name.starts_with("engine_") { "fuzz_histories" } else { "fuzz_inputs" };
    let (first, count) = (sampling::first_seed(), sampling::count(counted));
    println!("{name}: {count} inputs from {first} (MDK_SEED={first} repeats them)");
    if let Err(failure) = run(target, Seeds::make().of(name), first..first + count) {
        panic!("{failure}");
    }
}

/// Where the input is that a target is at.
fn kept(target: &Target) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mdk-fuzz");
    fs::create_dir_all(&folder).expect("cargo's folder can be written");
    folder.join(format!("{}.input", target.name))
}

/// Runs the seeds, then the mutated inputs with these numbers. The error tells of the first that fails.
fn run(target: &Target, seeds: &[Vec<u8>], numbers: Range<u64>) -> Result<(), String> {
    let path = kept(target);
    let mut file = File::create(&path).expect("cargo's folder can be written");
    for (at, seed) in seeds.iter().enumerate() {
        attempt(target, seed, &mut file)
            .map_err(|why| format!("{}, seed {at}: {why}", target.name))?;
    }
    for number in numbers {
        attempt(target, &mutated(target, seeds, number), &mut file).map_err(|why| {
            let again = format!("MDK_SEED={number} MDK_FUZZ_INPUTS=1 repeats it");
            format!("{}, input {number} ({again}): {why}", target.name)
        })?;
    }
    fs::remove_file(path).expect("it was written");
    Ok(())
}

fn attempt(target: &Target, input: &[u8], file: &mut File) -> Result<(), String> {
    // Not emptied before it is written: some file systems wait for the disk then.
    let written = file.rewind().and_then(|()| file.write_all(input));
    written.and_then(|()| file.set_len(input.len() as u64)).expect("cargo's folder can be written");
    catch_unwind(|| (target.run)(input)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        format!("{said}\nThe input, {} bytes in base64: {}", input.len(), STANDARD.encode(input))
    })
}

/// A target with a bug that few inputs reach.
const BROKEN: Target = Target {
    name: "broken",
    longest: 64,
    run: |data| assert!(!data.windows(2).any(|pair| pair == b"[["), "a list in a list"),
};

#[test]
fn a_failure_is_told_with_its_input() {
    let seeds = [b"[1]".to_vec(), b"{\"a\":2}".to_vec()];
    let failure = run(&BROKEN, &seeds, 1..2000).expect_err("one of them has such a list");
    let (_, base64) = failure.rsplit_once("in base64: ").expect("the input is told");
    let input = STANDARD.decode(base64).expect("it is base64");
    assert!(catch_unwind(|| (BROKEN.run)(&input)).is_err(), "this is not the input: {failure}");
    // For a process that does not come back.
    assert_eq!(fs::read(kept(&BROKEN)).expect("it stays after a failure"), input);
    // The number alone gives the same input again.
    let number = failure.split_once("MDK_SEED=").and_then(|(_, rest)| rest.split_once(' '));
    let number: u64 = number.expect("the number is told").0.parse().expect("it is one");
    assert!(failure.starts_with("broken, input ") && failure.contains("a list in a list"));
    assert_eq!(mutated(&BROKEN, &seeds, number), input);
    assert_eq!(run(&BROKEN, &seeds, number..number + 1), Err(failure));
    assert_eq!(run(&BROKEN, &seeds, 1..number), Ok(()));
    // A seed that fails needs no number.
    let failure = run(&BROKEN, &[b"[[".to_vec()], 1..1).expect_err("it has such a list");
    assert!(failure.starts_with("broken, seed 0: ") && failure.ends_with("in base64: W1s="));
}

#[test]
fn mutated_inputs_are_many_and_within_the_limit() {
    let seeds = Seeds::make();
    for target in ALL {
        let seeds = seeds.of(target.name);
        let inputs: BTreeSet<_> = (0..200).map(|number| mutated(target, seeds, number)).collect();
        assert!(inputs.iter().all(|input| input.len() <= target.longest), "{}", target.name);
        let new = inputs.iter().filter(|input| !seeds.contains(input)).count();
        assert!(new > 150, "{}: {new} of 200 are new", target.name);
    }
}

/// The names of the Rust files in a folder of this package.
fn modules(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths =
        fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("listed").path());
    let stem = |path: PathBuf| path.file_stem().expect("a file").to_string_lossy().into_owned();
    paths.map(stem).filter(|name| name != "mod").collect()
}

#[test]
fn no_target_is_forgotten() {
    let all: BTreeSet<String> = ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(modules("src/targets"), all, "src/targets/mod.rs lists them");
    assert_eq!(modules("libfuzzer/fuzz_targets"), all, "each has a program");
    assert_eq!(TESTED.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), all, "and a test");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("it is there");
    let seeds = Seeds::make();
    for name in all {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"")), "{name} is not built");
        let program = folder.join(format!("fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(program).expect("it is there");
        assert!(program.contains(&format!("targets::{name}::run(data)")), "{name} runs another");
        assert!(!seeds.of(&name).is_empty(), "{name} has no seeds");
    }
}
