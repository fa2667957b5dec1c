//! Writes the seeds into a folder for each target, named after their hashes: `seeds FOLDER`. It prints as JSON what `run.py`
//! has to know of the targets.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mdk_fuzz::seeds::{Seeds, recipient};
use mdk_fuzz::targets::ALL;
use sha2::{Digest as _, Sha256};

fn main() -> std::io::Result<()> {
    let corpus = PathBuf::from(std::env::args_os().nth(1).expect("seeds FOLDER"));
    let seeds = Seeds::make();
    for target in ALL {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for seed in seeds.of(target.name) {
            fs::write(folder.join(hex::encode(Sha256::digest(seed))), seed)?;
        }
    }
    let longest: BTreeMap<_, _> = ALL.iter().map(|target| (target.name, target.longest)).collect();
    println!("{}", serde_json::json!({ "recipient": recipient(), "longest": longest }));
    Ok(())
}
