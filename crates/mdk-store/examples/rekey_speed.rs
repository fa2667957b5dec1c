//! How fast a database is encrypted anew, beside what cannot be avoided: a plain copy of the same bytes, and AES and
//! HMAC over them, in the same run. `make bench` has a line of it.
//!
//! ```text
//! cargo run --release -p mdk-store --example rekey_speed -- [MiB, default 256] [directory] [--json]
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use aes::{Aes256, cipher::KeyInit};
use cbc::cipher::{BlockDecrypt, BlockEncryptMut, InnerIvInit, inout::InOutBuf};
use hmac::{Hmac, Mac};
use mdk_store::{DatabaseKey, OpenOptions, Progress, Store, encrypt_existing};
use mdk_wire::Secret;
use sha2::Sha512;

const MIB: f64 = 1_048_576.0;
const ROUNDS: usize = 3;

fn main() {
    let (flags, args): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a == "--json");
    let mut args = args.into_iter();
    let size: usize = args.next().map_or(256, |n| n.parse().unwrap());
    let dir = args.next().map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
    let path = dir.path().join("home").join("a.db");
    let key = |byte| DatabaseKey::Raw(Secret::new([byte; 32]));
    let mut store = Store::open(&path, &key(1), &OpenOptions::default()).unwrap();
    let value = vec![0x5a; 1 << 20];
    for n in 0..size {
        store.write(|tx| tx.set_meta(&format!("value {n}"), &value)).unwrap();
    }
    store.close().unwrap();
    let bytes = fs::metadata(&path).unwrap().len() as usize;
    let speed = |time: Duration| bytes as f64 / MIB / time.as_secs_f64();

    let (mut copy, mut crypto, mut rekey, mut whole) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        copy.push(timed(|| plain_copy(&path, &path.with_file_name("copy"))));
        let mut data = fs::read(&path).unwrap();
        crypto.push(timed(|| aes_and_hmac(&mut data)));
        drop(data);
        rekey.push(timed(|| {
            let mut store =
                Store::open(&path, &key(1 + round as u8), &OpenOptions::default()).unwrap();
            store.rekey(Some(&key(2 + round as u8)), &mut Progress::none()).unwrap();
            store.close().unwrap();
        }));
        let to = path.with_file_name("b.db");
        whole.push(timed(|| {
            let (from, to_key) = (key(2 + round as u8), key(99));
            encrypt_existing(&path, Some(&from), Some(&to), &to_key, &mut Progress::none())
                .unwrap();
        }));
        for name in ["b.db", "b.db.keyinfo", "copy"] {
            let _ = fs::remove_file(path.with_file_name(name));
        }
    }
    let best = |times: &[Time]| Time {
        wall: times.iter().map(|t| t.wall).min().unwrap(),
        busy: times.iter().map(|t| t.busy).min().unwrap(),
    };
    let (copy, crypto) = (best(&copy), best(&crypto));
    let floor = copy.wall + crypto.wall;
    if !flags.is_empty() {
        let [floor, rekey, whole] = [floor, best(&rekey).wall, best(&whole).wall];
        println!(
            r#"{{"bytes": {bytes}, "floor_s": {:.6}, "rekey_s": {:.6}, "copy_s": {:.6}}}"#,
            floor.as_secs_f64(),
            rekey.as_secs_f64(),
            whole.as_secs_f64()
        );
        return;
    }
    println!("{:.1} MiB, best of {ROUNDS}", bytes as f64 / MIB);
    let line = |name: &str, time: Time| {
        let ratio = time.wall.as_secs_f64() / floor.as_secs_f64();
        let (speed, busy) = (speed(time.wall), time.busy.as_secs_f64());
        println!(
            "{name:36} {speed:8.1} MiB/s  {ratio:5.2} x copy+AES+HMAC  {busy:5.2} s of processor time"
        );
    };
    line("plain copy with fsync", copy);
    line("AES and HMAC, both ways, on one core", crypto);
    line("rekey()", best(&rekey));
    line("copy to another key", best(&whole));
}

/// Wall time, and the time that all threads have computed, which other load on the machine does not change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Time {
    wall: Duration,
    busy: Duration,
}

fn timed(f: impl FnOnce()) -> Time {
    let (start, busy) = (Instant::now(), cpu());
    f();
    Time { wall: start.elapsed(), busy: cpu() - busy }
}

/// Processor time of this process so far; zero where it cannot be read.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after_name.split_whitespace().skip(11).take(2).map(|n| n.parse().unwrap_or(0)).sum();
    Duration::from_millis(ticks * 10)
}

fn plain_copy(from: &Path, to: &Path) {
    let (mut from, mut to) = (File::open(from).unwrap(), File::create(to).unwrap());
    let mut buf = vec![0; 1 << 20];
    loop {
        let n = from.read(&mut buf).unwrap();
        if n == 0 {
            break;
        }
        to.write_all(&buf[..n]).unwrap();
    }
    to.sync_all().unwrap();
}

/// What re-encryption does to each page, without any of its bookkeeping.
fn aes_and_hmac(data: &mut [u8]) {
    let (old, new) = (Aes256::new(&[1; 32].into()), Aes256::new(&[2; 32].into()));
    let mac = <Hmac<Sha512> as Mac>::new_from_slice(&[3; 32]).unwrap();
    let sign = |page: &[u8]| mac.clone().chain_update(&page[..4032]).finalize().into_bytes();
    let mut sum = 0u8;
    for page in data.chunks_exact_mut(4096) {
        sum ^= sign(page)[0];
        let before: [u8; 4016] = page[..4016].try_into().unwrap();
        let (blocks, _) = InOutBuf::from(&mut page[..4016]).into_chunks();
        old.decrypt_blocks_inout(blocks);
        page[16..4016].iter_mut().zip(&before).for_each(|(a, b)| *a ^= b);
        let (blocks, _) = InOutBuf::from(&mut page[..4016]).into_chunks();
        cbc::Encryptor::<&Aes256>::inner_iv_init(&new, &[4; 16].into())
            .encrypt_blocks_inout_mut(blocks);
        let tag = sign(page);
        page[4032..].copy_from_slice(&tag);
    }
    std::hint::black_box(sum);
}
