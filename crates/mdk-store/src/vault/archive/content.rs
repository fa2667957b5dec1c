//! The content of an archive: the rows of every table, independent of their pages.
//!
//! The archive holds rows and no copy of the file. Deleted content on free pages does not travel. Nothing is written to
//! disk but the archive. A reader builds the schema itself, so an archive cannot bring triggers or views along.
//!
//! ```text
//! content = start table* end
//! start   = 'V' u32 schema version, u64 seconds since 1970
//! table   = 'T' text name, u16 number of columns, text per column, row*
//! row     = 'R' cell per column
//! cell    = 'N' | 'I' i64 | 'F' f64 | 'S' bytes | 'B' bytes
//! end     = 'E' u64 number of rows, 32 bytes digest of all rows
//! ```
//!
//! Integers are big endian. `text` is a u16 length and UTF-8, `bytes` a u32 length and bytes.

use std::io::{Read, Write};

use zeroize::Zeroizing;

use super::{ArchiveError, Opener, Sealer};

/// Most columns of a table and most bytes of a name; our schema is far below.
const MAX_COLUMNS: usize = 256;
const MAX_NAME: usize = 128;

/// One value.
#[derive(Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// Bytes that SQLite calls text; not always valid UTF-8.
    Text(Zeroizing<Vec<u8>>),
    Blob(Zeroizing<Vec<u8>>),
}

/// One step of the content. A value of a cell is secret: there is no `Debug`.
pub(crate) enum Record<'a> {
    Start {
        schema: u32,
        created_at: u64,
    },
    Table {
        name: &'a str,
        columns: &'a [String],
    },
    Row(&'a [Cell]),
    /// The file may still go on behind it. Then none of this counts.
    End,
}

/// The summary at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) rows: u64,
    pub(crate) digest: [u8; 32],
}

/// Writes content.
pub(crate) struct Encoder<W> {
    out: Sealer<W>,
    rows: u64,
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(
        mut out: Sealer<W>,
        schema: u32,
        created_at: u64,
    ) -> Result<Self, ArchiveError> {
        out.write(b"V")?;
        out.write(&schema.to_be_bytes())?;
        out.write(&created_at.to_be_bytes())?;
        Ok(Self { out, rows: 0 })
    }

    /// Bytes of the archive so far.
    pub(crate) fn written(&self) -> u64 {
        self.out.written()
    }

    pub(crate) fn table(&mut self, name: &str, columns: &[String]) -> Result<(), ArchiveError> {
        self.out.write(b"T")?;
        self.text(name)?;
        let count = u16::try_from(columns.len()).map_err(|_| ArchiveError::TooLong)?;
        if columns.is_empty() || columns.len() > MAX_COLUMNS {
            return Err(ArchiveError::TooLong);
        }
        self.out.write(&count.to_be_bytes())?;
        columns.iter().try_for_each(|column| self.text(column))
    }

    fn text(&mut self, text: &str) -> Result<(), ArchiveError> {
        if text.is_empty() || text.len() > MAX_NAME {
            return Err(ArchiveError::TooLong);
        }
        let length = u16::try_from(text.len()).map_err(|_| ArchiveError::TooLong)?;
        self.out.write(&length.to_be_bytes())?;
        self.out.write(text.as_bytes())
    }

    /// Begins a row. As many cells follow as the table has columns.
    pub(crate) fn row(&mut self) -> Result<(), ArchiveError> {
        self.rows += 1;
        self.out.write(b"R")
    }

    pub(crate) fn null(&mut self) -> Result<(), ArchiveError> {
        self.out.write(b"N")
    }

    pub(crate) fn integer(&mut self, number: i64) -> Result<(), ArchiveError> {
        self.out.write(b"I")?;
        self.out.write(&number.to_be_bytes())
    }

    pub(crate) fn real(&mut self, number: f64) -> Result<(), ArchiveError> {
        self.out.write(b"F")?;
        self.out.write(&number.to_bits().to_be_bytes())
    }

    pub(crate) fn text_cell(&mut self, text: &[u8]) -> Result<(), ArchiveError> {
        self.bytes(b'S', text)
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.bytes(b'B', bytes)
    }

    fn bytes(&mut self, kind: u8, bytes: &[u8]) -> Result<(), ArchiveError> {
        let length = u32::try_from(bytes.len()).map_err(|_| ArchiveError::TooLong)?;
        self.out.write(&[kind])?;
        self.out.write(&length.to_be_bytes())?;
        self.out.write(bytes)
    }

    /// Writes the end. Returns the output and the length of the archive.
    pub(crate) fn finish(mut self, digest: &[u8; 32]) -> Result<(W, u64), ArchiveError> {
        self.out.write(b"E")?;
        self.out.write(&self.rows.to_be_bytes())?;
        self.out.write(digest)?;
        self.out.finish()
    }
}

/// Reads content, record by record.
#[derive(Default)]
pub(crate) struct Decoder {
    started: bool,
    name: String,
    columns: Vec<String>,
    cells: Vec<Cell>,
    rows: u64,
    end: Option<Summary>,
}

impl Decoder {
    /// The next record; `None` after the end.
    pub(crate) fn next(
        &mut self,
        from: &mut Opener<impl Read>,
    ) -> Result<Option<Record<'_>>, ArchiveError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let [kind] = array(from)?;
        if self.started == (kind == b'V') {
            return Err(ArchiveError::Malformed);
        }
        self.started = true;
        match kind {
            b'V' => {
                let schema = u32::from_be_bytes(array(from)?);
                let created_at = u64::from_be_bytes(array(from)?);
                Ok(Some(Record::Start { schema, created_at }))
            }
            b'T' => {
                let name = text(from)?;
                // Tables come in the order of their names, so none comes twice.
                if !self.columns.is_empty() && name <= self.name {
                    return Err(ArchiveError::Malformed);
                }
                self.name = name;
                let count = usize::from(u16::from_be_bytes(array(from)?));
                if count == 0 || count > MAX_COLUMNS {
                    return Err(ArchiveError::Malformed);
                }
                self.columns.clear();
                for _ in 0..count {
                    self.columns.push(text(from)?);
                }
                Ok(Some(Record::Table { name: &self.name, columns: &self.columns }))
            }
            b'R' if !self.columns.is_empty() => {
                self.rows = self.rows.checked_add(1).ok_or(ArchiveError::Malformed)?;
                self.cells.clear();
                for _ in 0..self.columns.len() {
                    self.cells.push(cell(from)?);
                }
                Ok(Some(Record::Row(&self.cells)))
            }
            b'E' => {
                let rows = u64::from_be_bytes(array(from)?);
                if rows != self.rows {
                    return Err(ArchiveError::Malformed);
                }
                self.end = Some(Summary { rows, digest: array(from)? });
                Ok(Some(Record::End))
            }
            _ => Err(ArchiveError::Malformed),
        }
    }

    /// The summary that the end gave; before the end, an empty one.
    pub(crate) fn summary(&self) -> Summary {
        self.end.unwrap_or_default()
    }
}

fn array<const N: usize>(from: &mut Opener<impl Read>) -> Result<[u8; N], ArchiveError> {
    let mut out = [0; N];
    from.fill(&mut out)?;
    Ok(out)
}

fn text(from: &mut Opener<impl Read>) -> Result<String, ArchiveError> {
    let length = usize::from(u16::from_be_bytes(array(from)?));
    if length == 0 || length > MAX_NAME {
        return Err(ArchiveError::Malformed);
    }
    let mut out = vec![0; length];
    from.fill(&mut out)?;
    String::from_utf8(out).map_err(|_| ArchiveError::Malformed)
}

fn cell(from: &mut Opener<impl Read>) -> Result<Cell, ArchiveError> {
    let [kind] = array(from)?;
    Ok(match kind {
        b'N' => Cell::Null,
        b'I' => Cell::Integer(i64::from_be_bytes(array(from)?)),
        b'F' => Cell::Real(f64::from_bits(u64::from_be_bytes(array(from)?))),
        b'S' => Cell::Text(bytes(from)?),
        b'B' => Cell::Blob(bytes(from)?),
        _ => return Err(ArchiveError::Malformed),
    })
}

/// A length and as many bytes. Nothing is allocated for a length that the rest of the archive cannot hold.
fn bytes(from: &mut Opener<impl Read>) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
    let length = u32::from_be_bytes(array(from)?);
    if u64::from(length) > from.remaining() {
        return Err(ArchiveError::Malformed);
    }
    let length = usize::try_from(length).map_err(|_| ArchiveError::Malformed)?;
    let mut out = Vec::new();
    out.try_reserve_exact(length).map_err(|_| ArchiveError::OutOfMemory)?;
    out.resize(length, 0);
    let mut out = Zeroizing::new(out);
    from.fill(&mut out)?;
    Ok(out)
}
