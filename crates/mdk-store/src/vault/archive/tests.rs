//! Tests that written content comes back and changed content does not. Costs and chunks are small here and only here: a
//! restore accepts neither.
#![allow(clippy::unwrap_used)]

use super::{stream::TAG, *};

const SMALL: Cost = Cost { memory: 8, passes: 1, lanes: 1 };
const BITS: u8 = 9;
const CHUNK: usize = 1 << BITS;
const BOUNDS: Bounds =
    Bounds { least: SMALL, most: Cost { memory: 64, passes: 3, lanes: 2 }, chunk_bits: BITS };
const PASSPHRASE: &[u8] = b"correct horse";
const SEALED: usize = CHUNK + TAG;

/// xorshift64*: repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
}

fn archive(seed: u8, blobs: &[usize]) -> Vec<u8> {
    let (header, keys) = Header::new(SMALL, BITS, &[seed; 51], PASSPHRASE).unwrap();
    let sealer = Sealer::new(&header, &keys, Vec::new()).unwrap();
    let mut encoder = Encoder::new(sealer, 1, 1_700_000_000).unwrap();
    encoder.table("a", &["x".into()]).unwrap();
    encoder.table("b", &["x".into(), "y".into()]).unwrap();
    for (n, blob) in blobs.iter().enumerate() {
        encoder.row().unwrap();
        encoder.integer(n as i64).unwrap();
        encoder.blob(&vec![seed ^ n as u8; *blob]).unwrap();
    }
    for row in 0..2 {
        encoder.row().unwrap();
        if row == 0 {
            encoder.null().unwrap()
        } else {
            encoder.real(-0.5).unwrap()
        }
        encoder.text_cell(b"\xff not UTF-8").unwrap();
    }
    let (bytes, length) = encoder.finish(&[seed; 32]).unwrap();
    assert_eq!(bytes.len() as u64, length);
    bytes
}

fn open(bytes: &[u8], passphrase: &[u8]) -> Result<(Summary, usize), ArchiveError> {
    let mut input = bytes;
    let (header, keys) = unlock(&mut input, passphrase, &BOUNDS)?;
    let mut cells = 0;
    let summary = read(&header, &keys, input, bytes.len() as u64, |record, _| {
        if let Record::Row(row) = record {
            cells += row.len();
        }
        Ok::<_, ArchiveError>(())
    })?;
    Ok((summary, cells))
}

fn accepted(bytes: &[u8]) -> bool {
    open(bytes, PASSPHRASE).is_ok()
}

#[test]
fn what_is_written_comes_back() {
    for blob in [0, 1, CHUNK - 200, CHUNK, 3 * CHUNK + 1] {
        let (summary, cells) = open(&archive(1, &[blob, 3]), PASSPHRASE).unwrap();
        assert_eq!(summary, Summary { rows: 4, digest: [1; 32] });
        assert_eq!(cells, 8);
    }
}

#[test]
fn every_length_around_a_chunk_comes_back() {
    let (header, keys) = Header::new(SMALL, BITS, &[1; 51], PASSPHRASE).unwrap();
    for length in [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1] {
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut sealer = Sealer::new(&header, &keys, Vec::new()).unwrap();
        content.chunks(777).for_each(|part| sealer.write(part).unwrap());
        let (bytes, _) = sealer.finish().unwrap();
        assert_eq!(bytes.len(), HEADER + length + length.div_ceil(CHUNK) * TAG);
        let mut opener = Opener::new(&header, &keys, &bytes[HEADER..], bytes.len() as u64);
        let mut back = vec![0; length];
        back.chunks_mut(1234).for_each(|part| opener.fill(part).unwrap());
        assert!(back == content);
        opener.finish().unwrap();
    }
    // A stream without content does not exist: the end of the file alone must not look like one.
    let mut opener = Opener::new(&header, &keys, &b""[..], HEADER as u64);
    assert_eq!(opener.fill(&mut [0]), Err(ArchiveError::Refused));
}

#[test]
fn another_passphrase_is_refused_and_says_no_more_than_a_changed_header() {
    let good = archive(1, &[9]);
    let mut changed = good.clone();
    changed[MAGIC.len() + 20] ^= 1;
    assert_eq!(open(&good, b"correct horsf"), Err(ArchiveError::Refused));
    assert_eq!(open(&changed, PASSPHRASE), Err(ArchiveError::Refused));
}

#[test]
fn costs_out_of_bounds_are_refused_before_anything_is_derived() {
    let good = archive(1, &[9]);
    for (at, value) in
        [(12, 0), (12, 7), (12, 65), (12, u32::MAX), (16, 0), (16, 4), (20, 0), (20, u32::MAX)]
    {
        let mut bad = good.clone();
        bad[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
        assert_eq!(open(&bad, PASSPHRASE), Err(ArchiveError::NotABackup), "{at} {value}");
    }
    // A restore accepts no cost below that of a written backup. So it refuses the archives of this file.
    let mut input = &good[..];
    let real = unlock(&mut input, PASSPHRASE, &Bounds::DEFAULT).map(|_| ());
    assert_eq!(real, Err(ArchiveError::NotABackup));
    let Bounds { least, most, chunk_bits } = Bounds::DEFAULT;
    assert_eq!((least.memory, least.passes, chunk_bits), (64 * 1024, 3, 16));
    assert!(least == Cost::DEFAULT && most.memory <= 256 * 1024);
}

#[test]
fn another_version_is_not_a_backup_that_we_read() {
    for at in [0, 10, 11, HEADER - 33] {
        let mut bad = archive(1, &[9]);
        bad[at] ^= 3;
        assert_eq!(open(&bad, PASSPHRASE), Err(ArchiveError::NotABackup), "{at}");
    }
    for length in [0, 5, HEADER - 1] {
        let short = &archive(1, &[9])[..length];
        assert_eq!(open(short, PASSPHRASE), Err(ArchiveError::NotABackup));
    }
}

/// One change of `good`. `other` is another archive under the same passphrase.
fn mutate(kind: usize, dice: &mut Dice, good: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bad = good.to_vec();
    let chunks = (good.len() - HEADER).div_ceil(SEALED);
    let chunk = |n: usize, of: &[u8]| -> std::ops::Range<usize> {
        let start = HEADER + n * SEALED;
        start..of.len().min(start + SEALED)
    };
    let (a, b) = (dice.below(chunks), dice.below(chunks));
    match kind {
        0 => bad[dice.below(HEADER)] ^= 1 << dice.below(8),
        1 => bad[HEADER + dice.below(good.len() - HEADER)] ^= 1 << dice.below(8),
        2 => bad[good.len() - 1 - dice.below(200)] ^= 1 << dice.below(8),
        3 => bad.truncate(dice.below(good.len())),
        4 => bad.truncate(HEADER + a * SEALED),
        5 => bad.extend((0..=dice.below(300)).map(|n| n as u8)),
        6 => bad.extend_from_slice(&good[chunk(a, good)]),
        7 => {
            let (first, second) = (good[chunk(a, good)].to_vec(), good[chunk(b, good)].to_vec());
            let rest: Vec<_> = (0..chunks)
                .map(|n| match n {
                    n if n == a => second.clone(),
                    n if n == b => first.clone(),
                    n => good[chunk(n, good)].to_vec(),
                })
                .collect();
            bad.truncate(HEADER);
            bad.extend(rest.concat());
        }
        8 => drop(bad.splice(chunk(a, good), good[chunk(b, good)].iter().copied())),
        9 => drop(bad.drain(chunk(a, good))),
        10 => drop(bad.splice(chunk(a, good), other[chunk(a, other)].iter().copied())),
        11 => bad[..HEADER].copy_from_slice(&other[..HEADER]),
        12 => drop(bad.splice(HEADER.., other[HEADER..].iter().copied())),
        13 => {
            let at = dice.below(good.len());
            let end = good.len().min(at + 1 + dice.below(600));
            bad[at..end].fill(dice.below(256) as u8);
        }
        14 => bad.insert(dice.below(good.len()), dice.below(256) as u8),
        15 => drop(bad.remove(dice.below(good.len()))),
        16 => bad.extend_from_slice(other),
        // The parts of a header one by one: salt, prefix, MAC.
        17 => {
            let parts = [24..56, 56..75, 76..HEADER];
            let part = parts[dice.below(parts.len())].clone();
            bad[part.clone()].copy_from_slice(&other[part]);
        }
        _ => unreachable!("there are 18 kinds"),
    }
    bad
}

#[test]
fn ten_thousand_mutated_archives_are_refused() {
    let good = archive(1, &[700, 10, 900, 500]);
    let other = archive(2, &[700, 10, 900, 500]);
    assert!(accepted(&good) && accepted(&other), "the control is accepted");
    let mut dice = Dice(0x6d64_6b21);
    let (mut tried, mut taken) = (0, 0);
    let mut of_kind = [0; 18];
    for turn in 0.. {
        if tried == 10_000 {
            break;
        }
        let kind = turn % of_kind.len();
        let bad = mutate(kind, &mut dice, &good, &other);
        if bad == good || bad == other {
            continue;
        }
        tried += 1;
        of_kind[kind] += 1;
        taken += usize::from(accepted(&bad));
    }
    assert_eq!((tried, taken), (10_000, 0));
    assert!(of_kind.iter().all(|count| *count > 100), "{of_kind:?}");
}

#[test]
fn every_bit_of_a_small_archive_counts() {
    let good = archive(3, &[5]);
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(!accepted(&bad), "bit {at}");
    }
}

#[test]
fn content_that_makes_no_sense_is_refused_although_it_authenticates() {
    let start = [&b"V"[..], &[0, 0, 0, 1], &[0; 8]].concat();
    let table = |name: &str| [&b"T\0\x01"[..], name.as_bytes(), b"\0\x01\0\x01x"].concat();
    let end = |rows: u8| [&b"E"[..], &[0, 0, 0, 0, 0, 0, 0, rows], &[0; 32]].concat();
    let cases: [(&str, Vec<Vec<u8>>); 13] = [
        ("nothing before the start", vec![table("a"), end(0)]),
        ("one start", vec![start.clone(), start.clone(), end(0)]),
        ("a row needs a table", vec![start.clone(), b"RN".to_vec(), end(1)]),
        ("a known kind of record", vec![start.clone(), b"X".to_vec()]),
        ("a known kind of cell", vec![start.clone(), table("a"), b"RX".to_vec(), end(1)]),
        ("the rows are counted", vec![start.clone(), table("a"), b"RN".to_vec(), end(2)]),
        ("no table twice", vec![start.clone(), table("a"), table("a"), end(0)]),
        ("tables in order", vec![start.clone(), table("b"), table("a"), end(0)]),
        ("a table has columns", vec![start.clone(), b"T\0\x01a\0\0".to_vec(), end(0)]),
        ("not too many columns", vec![start.clone(), b"T\0\x01a\xff\xff".to_vec(), end(0)]),
        ("a name is text", vec![start.clone(), b"T\0\x01\xff\0\x01\0\x01x".to_vec(), end(0)]),
        ("an end", vec![start.clone(), table("a")]),
        ("no more than there is", vec![start.clone(), table("a"), b"RB\xff\xff\xff\xff".to_vec()]),
    ];
    let (header, keys) = Header::new(SMALL, BITS, &[1; 51], PASSPHRASE).unwrap();
    let seal = |content: &[u8]| {
        let mut sealer = Sealer::new(&header, &keys, Vec::new()).unwrap();
        sealer.write(content).unwrap();
        sealer.finish().unwrap().0
    };
    let good = [start.clone(), table("a"), b"RN".to_vec(), end(1)].concat();
    assert!(accepted(&seal(&good)));
    for (rule, content) in cases {
        let found = open(&seal(&content.concat()), PASSPHRASE);
        assert_eq!(found, Err(ArchiveError::Malformed), "{rule}");
    }
    let more = [good, b"x".to_vec()].concat();
    assert_eq!(open(&seal(&more), PASSPHRASE), Err(ArchiveError::Malformed), "behind the end");
}
