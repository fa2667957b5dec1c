//! Small parts that the component codecs share.

use crate::error::WireError;
use crate::limits::MAX_VECTOR_BYTES;
use crate::varint::{Reader, Writer};

pub(super) const RULES: &[(&str, &str)] = &[
    ("2.1-1", "a length prefix has its shortest form"),
    ("2.1-2", "a decoder consumes everything"),
    ("2.1-3", "a field that ends early is refused"),
    ("2.1-4", "text is UTF-8, compared byte for byte"),
];

pub(super) fn invalid(what: &'static str) -> WireError {
    WireError::InvalidEncoding(what)
}

/// Bounds the length of a field in bytes, before it is copied.
pub(super) fn limit_bytes(
    what: &'static str,
    actual: usize,
    limit: usize,
) -> Result<(), WireError> {
    if actual > limit {
        return Err(WireError::VectorTooLong { what, limit, actual });
    }
    Ok(())
}

/// Bounds the number of entries of a list, while it is read.
pub(super) fn limit_entries(
    what: &'static str,
    actual: usize,
    limit: usize,
) -> Result<(), WireError> {
    if actual > limit {
        return Err(WireError::TooManyEntries { what, limit, actual });
    }
    Ok(())
}

/// The content of a vector that only its items bound; it is borrowed, not copied.
pub(super) fn items<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, WireError> {
    Ok(Reader::new(reader.vector("list", MAX_VECTOR_BYTES)?))
}

/// Counterpart of [`items`].
pub(super) fn write_items(writer: &mut Writer, items: Writer) -> Result<(), WireError> {
    writer.vector("list", MAX_VECTOR_BYTES, &items.into_vec())?;
    Ok(())
}

pub(super) fn text(bytes: &[u8]) -> Result<String, WireError> {
    // rule: 2.1-4
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(invalid("text is not UTF-8")),
    }
}

/// Checks an http(s) URL that a component stores: WHATWG-normal form, a host, no userinfo, no fragment.
pub(super) fn web_url(url: &str, schemes: &[&str], query_allowed: bool) -> Result<(), WireError> {
    let parsed = url::Url::parse(url).map_err(|_| invalid("URL does not parse"))?;
    if !schemes.contains(&parsed.scheme()) {
        return Err(invalid("URL has a scheme that is not allowed here"));
    }
    if parsed.as_str() != url {
        return Err(invalid("URL is not in normal form"));
    }
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(invalid("URL without host"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(invalid("URL with user information"));
    }
    if parsed.fragment().is_some() {
        return Err(invalid("URL with fragment"));
    }
    if !query_allowed && parsed.query().is_some() {
        return Err(invalid("URL with query"));
    }
    Ok(())
}
