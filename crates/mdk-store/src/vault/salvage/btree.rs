//! The b-trees of a SQLite file, read page by page without SQLite, which stops at the first page that it cannot read
//! (<https://sqlite.org/fileformat2.html#b_tree_pages>).
//!
//! Only authentic pages are read, so what stands in them was written by SQLite. Lengths are checked all the same.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use zeroize::Zeroizing;

use crate::vault::{
    VaultError,
    log::Log,
    look::Source,
    pages::{LOCK_PAGE, PAGE, PageKey, USABLE},
    verify::read_page,
};

/// Longest row that is read; SQLite's own limit is below.
const MAX_PAYLOAD: u64 = 1 << 30;

/// The authentic pages of a file.
pub(super) struct Pages<'a> {
    pub(super) source: &'a Source,
    pub(super) log: &'a Log,
    pub(super) key: &'a PageKey,
    pub(super) count: u32,
}

type Page = Zeroizing<[u8; PAGE]>;

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    TableInner,
    TableLeaf,
    IndexInner,
    IndexLeaf,
}

/// A row or an entry of an index.
pub(super) struct Record {
    /// Row number, for a row of a table that has them.
    pub(super) row: Option<i64>,
    pub(super) values: Vec<Value>,
}

/// What a page of a b-tree holds.
#[derive(Default)]
pub(super) struct Content {
    pub(super) children: Vec<u32>,
    pub(super) records: Vec<Record>,
    /// Records of which a part stands on a page that is damaged.
    pub(super) cut: u64,
    /// Pages on which long records go on.
    pub(super) overflow: Vec<u32>,
}

impl Pages<'_> {
    /// The newest version of a page, decrypted; `None` if it is not there or not authentic.
    pub(super) fn get(&self, number: u32) -> Result<Option<Page>, VaultError> {
        if number == 0 || number > self.count || number == LOCK_PAGE {
            return Ok(None);
        }
        let mut page = Zeroizing::new([0u8; PAGE]);
        let there = read_page(self.source, self.log, number, &mut page[..])?;
        Ok((there && self.key.decrypt(number, &mut page[..])).then_some(page))
    }

    /// What a page holds, if it is there and belongs to a b-tree. Not inlined: the page itself lies below the frame of a
    /// caller that tells how far it is.
    #[inline(never)]
    pub(super) fn read(&self, number: u32) -> Result<Option<(Kind, Content)>, VaultError> {
        match self.get(number)? {
            Some(page) => self.content(number, &page),
            None => Ok(None),
        }
    }

    /// Whether what is there of a page is an older version. It is read all the same; what follows from it in other pages
    /// may have changed since.
    pub(super) fn is_old(&self, number: u32) -> bool {
        self.log.is_old(number)
    }

    /// The content of a page, if it belongs to a b-tree.
    fn content(&self, number: u32, page: &Page) -> Result<Option<(Kind, Content)>, VaultError> {
        let start = if number == 1 { 100 } else { 0 };
        let (kind, head) = match page[start] {
            2 => (Kind::IndexInner, 12),
            5 => (Kind::TableInner, 12),
            10 => (Kind::IndexLeaf, 8),
            13 => (Kind::TableLeaf, 8),
            _ => return Ok(None),
        };
        let mut content = Content::default();
        let cells = usize::from(u16_at(page, start + 3));
        for n in 0..cells {
            let pointer = start + head + 2 * n;
            if pointer + 2 > USABLE {
                break;
            }
            let at = usize::from(u16_at(page, pointer));
            if at < start + head || at >= USABLE {
                content.cut += 1;
                continue;
            }
            self.cell(number, kind, &page[at..USABLE], &mut content)?;
        }
        if head == 12 {
            content.children.push(u32_at(&page[..], start + 8));
        }
        Ok(Some((kind, content)))
    }

    fn cell(
        &self,
        number: u32,
        kind: Kind,
        cell: &[u8],
        content: &mut Content,
    ) -> Result<(), VaultError> {
        let mut rest = cell;
        if matches!(kind, Kind::TableInner | Kind::IndexInner) {
            let Some((child, after)) = rest.split_at_checked(4) else { return Ok(()) };
            content.children.push(u32_at(child, 0));
            rest = after;
        }
        if kind == Kind::TableInner {
            return Ok(());
        }
        let record = (|| {
            let length = varint(&mut rest)?;
            let row = match kind {
                Kind::TableLeaf => Some(varint(&mut rest)?.cast_signed()),
                _ => None,
            };
            Some((length, row))
        })();
        let Some((length, row)) = record else {
            content.cut += 1;
            return Ok(());
        };
        let payload = self.payload(number, kind, length, rest, &mut content.overflow)?;
        match payload.and_then(|payload| decode(&payload)) {
            Some(values) => content.records.push(Record { row, values }),
            None => content.cut += 1,
        }
        Ok(())
    }

    /// The bytes of a record, those on other pages included. `None` when one of these is damaged, or of another time than
    /// the record: of two versions no row is made.
    fn payload(
        &self,
        number: u32,
        kind: Kind,
        length: u64,
        cell: &[u8],
        overflow: &mut Vec<u32>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        if length > MAX_PAYLOAD {
            return Ok(None);
        }
        let length = length as usize;
        let most = match kind {
            Kind::TableLeaf => USABLE - 35,
            _ => (USABLE - 12) * 64 / 255 - 23,
        };
        let local = if length <= most {
            length
        } else {
            let least = (USABLE - 12) * 32 / 255 - 23;
            let fit = least + (length - least) % (USABLE - 4);
            if fit <= most { fit } else { least }
        };
        let Some((start, rest)) = cell.split_at_checked(local) else { return Ok(None) };
        let mut payload = Zeroizing::new(Vec::with_capacity(length.min(1 << 20)));
        payload.extend_from_slice(start);
        if local == length {
            return Ok(Some(payload));
        }
        if rest.len() < 4 {
            return Ok(None);
        }
        let mut next = u32_at(rest, 0);
        let mut met = BTreeSet::new();
        while payload.len() < length {
            if !met.insert(next) {
                return Ok(None);
            }
            if self.is_old(next) || (self.is_old(number) && self.log.pages.contains_key(&next)) {
                return Ok(None);
            }
            let Some(page) = self.get(next)? else { return Ok(None) };
            overflow.push(next);
            let part = (length - payload.len()).min(USABLE - 4);
            payload.extend_from_slice(&page[4..4 + part]);
            next = u32_at(&page[..], 0);
        }
        Ok(Some(payload))
    }
}

/// The values of a record (<https://sqlite.org/fileformat2.html#record_format>).
fn decode(payload: &[u8]) -> Option<Vec<Value>> {
    let mut rest = payload;
    let size = usize::try_from(varint(&mut rest)?).ok()?;
    let mut types = payload.get(payload.len() - rest.len()..size)?;
    let mut body = payload.get(size..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        let kind = varint(&mut types)?;
        let mut take = |len: usize| body.split_off(..len);
        let integer = |bytes: &[u8]| {
            let first = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            bytes.iter().fold(first, |n: i64, &b| n << 8 | i64::from(b))
        };
        values.push(match kind {
            0 => Value::Null,
            1..=4 => Value::Integer(integer(take(kind as usize)?)),
            5 => Value::Integer(integer(take(6)?)),
            6 => Value::Integer(integer(take(8)?)),
            7 => Value::Real(f64::from_bits(integer(take(8)?).cast_unsigned())),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            10 | 11 => return None,
            _ => {
                let bytes = take(usize::try_from((kind - 12) / 2).ok()?)?.to_vec();
                match kind % 2 {
                    0 => Value::Blob(bytes),
                    _ => Value::Text(String::from_utf8(bytes).ok()?),
                }
            }
        });
    }
    Some(values)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for n in 0..9 {
        let byte = *bytes.split_off_first()?;
        if n == 8 {
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn u16_at(bytes: &Page, at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_are_decoded_and_short_ones_refused() {
        // NULL, 1, -2 (one byte), 300, text "ab", blob 07.
        let record = [7, 0, 9, 1, 2, 17, 14, 0xfe, 0x01, 0x2c, b'a', b'b', 7];
        let values = decode(&record).unwrap();
        assert_eq!(
            values,
            [
                Value::Null,
                Value::Integer(1),
                Value::Integer(-2),
                Value::Integer(300),
                Value::Text("ab".into()),
                Value::Blob(vec![7])
            ]
        );
        for end in 0..record.len() {
            assert!(decode(&record[..end]).is_none(), "cut at {end}");
        }
        assert!(decode(&[2, 10]).is_none() && decode(&[3, 15, 0xff, 0xff]).is_none());
    }

    #[test]
    fn varints_have_one_to_nine_bytes() {
        for (bytes, value) in [
            (&[0x7f][..], 0x7f),
            (&[0x81, 0x00], 0x80),
            (&[0xff; 9], u64::MAX),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 5], 5),
        ] {
            assert_eq!(varint(&mut &bytes[..]), Some(value));
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
