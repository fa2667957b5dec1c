//! The header, the chunks and the content of a backup. The module is included by its path: to depend on mdk-store would
//! build SQLCipher for it. Costs and chunks are small, so that many archives with many chunks are read in a second.

#[allow(dead_code, unused_imports)]
#[path = "../../../crates/mdk-store/src/vault/archive/mod.rs"]
mod backup;

use backup::{ArchiveError, Bounds, Cell, Cost, Encoder, Header, Keys, Record, Sealer, Summary};

const COST: Cost = Cost { memory: 8, passes: 1, lanes: 1 };
const MOST: Cost = Cost { memory: 32, passes: 2, lanes: 2 };
const BITS: u8 = 5;
const BOUNDS: Bounds = Bounds { least: COST, most: MOST, chunk_bits: BITS };
const PASSPHRASE: &[u8] = b"fuzz";

fn header() -> (Header, Keys) {
    Header::new(COST, BITS, &[7; 51], PASSPHRASE).expect("small costs are possible")
}

fn seal(content: &[u8]) -> Vec<u8> {
    let (header, keys) = header();
    let mut sealer = Sealer::new(&header, &keys, Vec::new()).expect("memory can be written");
    sealer.write(content).expect("it is short");
    sealer.finish().expect("it is short").0
}

/// Reads an archive, and writes again what it says.
fn open(bytes: &[u8]) -> Result<(Summary, Vec<u8>), ArchiveError> {
    let mut input = bytes;
    let (header, keys) = backup::unlock(&mut input, PASSPHRASE, &BOUNDS)?;
    let mut sealer = Some(Sealer::new(&header, &keys, Vec::new())?);
    let mut encoder: Option<Encoder<Vec<u8>>> = None;
    let length = bytes.len() as u64;
    let summary = backup::read(&header, &keys, input, length, |record, consumed| {
        assert!(consumed <= length);
        match (record, &mut encoder) {
            (Record::Start { schema, created_at }, None) => {
                let sealer = sealer.take().expect("there is one start");
                encoder = Some(Encoder::new(sealer, schema, created_at)?);
            }
            (Record::Table { name, columns }, Some(encoder)) => encoder.table(name, columns)?,
            (Record::Row(cells), Some(encoder)) => {
                encoder.row()?;
                for cell in cells {
                    match cell {
                        Cell::Null => encoder.null(),
                        Cell::Integer(number) => encoder.integer(*number),
                        Cell::Real(number) => encoder.real(*number),
                        Cell::Text(text) => encoder.text_cell(text),
                        Cell::Blob(bytes) => encoder.blob(bytes),
                    }?;
                }
            }
            (Record::End, Some(_)) => {}
            _ => panic!("a start comes first and once"),
        }
        Ok::<_, ArchiveError>(())
    })?;
    let written = encoder.expect("it had a start").finish(&summary.digest)?.0;
    Ok((summary, written))
}

/// A small archive of several chunks.
fn good() -> Vec<u8> {
    let (header, keys) = header();
    let sealer = Sealer::new(&header, &keys, Vec::new()).expect("memory can be written");
    let write = || -> Result<Vec<u8>, ArchiveError> {
        let mut encoder = Encoder::new(sealer, 1, 2)?;
        encoder.table("a", &["x".to_owned()])?;
        for number in 0..9 {
            encoder.row()?;
            encoder.integer(number)?;
        }
        Ok(encoder.finish(&[3; 32])?.0)
    };
    write().expect("it is short")
}

/// Changes `bytes` as the script says: five bytes per step, what, where (twice two bytes).
fn edit(bytes: &mut Vec<u8>, script: &[u8]) {
    for step in script.chunks_exact(5).take(8) {
        let (length, word) =
            (bytes.len(), |at: usize| usize::from(step[at]) << 8 | usize::from(step[at + 1]));
        if length == 0 {
            return;
        }
        let (at, other) = (word(1) % length, word(3));
        // A chunk with its tag, by number.
        let (size, start) = ((1 << BITS) + 16, backup::HEADER);
        let chunk = |number: usize| {
            let from = (start + number % 8 * size).min(length);
            from..(from + size).min(length)
        };
        match step[0] % 7 {
            0 => bytes[at] ^= step[3],
            1 => bytes.truncate(at),
            2 => bytes.insert(at, step[3]),
            3 => drop(bytes.remove(at)),
            4 => bytes.extend_from_within(chunk(word(1))),
            5 => {
                let copy = bytes[chunk(other)].to_vec();
                drop(bytes.splice(chunk(word(1)), copy));
            }
            _ => drop(bytes.drain(chunk(word(1)))),
        }
    }
}

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        // Any bytes: nobody guesses a MAC.
        0 => assert!(open(data).is_err() || data == good()),
        // Any content under our key: what is understood is written back as it was.
        1 => {
            let sealed = seal(data);
            match open(&sealed) {
                Ok((_, written)) => assert!(written == sealed),
                Err(error) => assert!(matches!(
                    error,
                    ArchiveError::Malformed | ArchiveError::Refused | ArchiveError::TooLong
                )),
            }
        }
        // A good archive, edited: refused unless nothing has changed in the end.
        _ => {
            let good = good();
            let mut bytes = good.clone();
            edit(&mut bytes, data);
            match open(&bytes) {
                Ok((summary, written)) => {
                    assert!(bytes == good && written == good && summary.rows == 9)
                }
                Err(error) => assert!(
                    bytes != good
                        && matches!(error, ArchiveError::Refused | ArchiveError::NotABackup)
                ),
            }
        }
    }
}
