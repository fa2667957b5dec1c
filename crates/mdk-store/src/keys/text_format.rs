//! The forms in which a key is written down.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use mdk_wire::{Secret, secret::apart};
use zeroize::{Zeroize, Zeroizing};

use crate::OpenError;

/// The first bytes of a key as text: format and version.
pub(crate) const PREFIX: &str = "mdk-key-1:";
/// Prefix, 44 characters of base64 and a line end, with room to spare. A longer text is no key.
pub(crate) const MAX_LEN: usize = 256;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text of a key, without a line end, for key files and keyrings. KWallet refuses raw bytes.
pub(crate) fn encode(key: &Secret<32>) -> Zeroizing<String> {
    // The capacity is exact, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 44));
    text.push_str(PREFIX);
    apart(|| STANDARD.encode_string(key.expose(), &mut text));
    text
}

/// A key as this software writes it.
pub(crate) fn decode_own(text: &[u8], source: &'static str) -> Result<Secret<32>, OpenError> {
    apart(|| own(text, source))
}

fn own(text: &[u8], source: &'static str) -> Result<Secret<32>, OpenError> {
    let malformed = OpenError::KeyMalformed { source };
    if text.len() > MAX_LEN {
        return Err(malformed);
    }
    match text.trim_ascii_end().strip_prefix(PREFIX.as_bytes()) {
        Some(body) => base64(body).ok_or(malformed)?,
        None => Err(malformed),
    }
}

/// Whether this is the beginning of such a text, too short to be a key.
pub(crate) fn is_part(text: &[u8]) -> bool {
    // The last of the 44 characters is no part of the key.
    is_begun(text, PREFIX, 43)
}

/// Whether `text` is the beginning of `prefix` and base64, with fewer than `whole` characters of base64.
pub(crate) fn is_begun(text: &[u8], prefix: &str, whole: usize) -> bool {
    match text.strip_prefix(prefix.as_bytes()) {
        Some(body) => {
            body.len() < whole
                && body.iter().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b))
        }
        None => prefix.as_bytes().starts_with(text),
    }
}

/// A key in any of the forms that people and programs write. `raw` allows 32 plain bytes.
pub(crate) fn decode_any(
    bytes: &[u8],
    raw: bool,
    source: &'static str,
) -> Result<Secret<32>, OpenError> {
    apart(|| any(bytes, raw, source))
}

fn any(bytes: &[u8], raw: bool, source: &'static str) -> Result<Secret<32>, OpenError> {
    let text = bytes.trim_ascii();
    if bytes.len() <= MAX_LEN && text.starts_with(PREFIX.as_bytes()) {
        return own(text, source);
    }
    if raw && !is_hex(text) {
        let line = bytes.strip_suffix(b"\n").map(|b| b.strip_suffix(b"\r").unwrap_or(b));
        for candidate in [Some(bytes), line].into_iter().flatten() {
            if let Some(key) = Secret::from_slice(candidate) {
                return Ok(key);
            }
        }
    }
    if text.is_empty() || bytes.len() > MAX_LEN {
        return Err(OpenError::KeyLength { found: bytes.len() });
    }
    if is_hex(text) && text.len().is_multiple_of(2) {
        return hexadecimal(text);
    }
    match base64(text) {
        Some(key) => key,
        None if raw => Err(OpenError::KeyLength { found: bytes.len() }),
        None => Err(OpenError::KeyMalformed { source }),
    }
}

fn is_hex(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit)
}

fn hexadecimal(text: &[u8]) -> Result<Secret<32>, OpenError> {
    if text.len() != 64 {
        return Err(OpenError::KeyLength { found: text.len() / 2 });
    }
    let mut good = true;
    let key = Secret::init(|out| good = hex::decode_to_slice(text, out).is_ok());
    assert!(good, "64 hex digits decode to 32 bytes");
    Ok(key)
}

/// `None`: not base64.
fn base64(text: &[u8]) -> Option<Result<Secret<32>, OpenError>> {
    let mut out = [0u8; MAX_LEN];
    let found = LENIENT.decode_slice(text, &mut out).ok();
    let key =
        found.map(|found| Secret::from_slice(&out[..found]).ok_or(OpenError::KeyLength { found }));
    out.zeroize();
    key
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = *b"\x00\xff-a key of thirty-two bytes.-\x80\n";

    #[test]
    fn our_own_form_is_read_strictly() {
        let text = encode(&Secret::new(KEY));
        assert_eq!(text.capacity(), text.len());
        assert!(decode_own(text.as_bytes(), "file").unwrap() == Secret::new(KEY));
        assert!(decode_own(format!("{}\r\n", *text).as_bytes(), "file").unwrap().expose() == &KEY);
        let body = &text[PREFIX.len()..];
        for bad in [
            String::new(),
            body.to_owned(),
            format!("mdk-key-2:{body}"),
            format!("{PREFIX}{body}x"),
            format!("{PREFIX}{body}\n{body}"),
            format!("{}{}", *text, " ".repeat(300)),
        ] {
            let error = decode_own(bad.as_bytes(), "file").unwrap_err();
            assert_eq!(error, OpenError::KeyMalformed { source: "file" }, "{bad:?}");
        }
        for n in [31, 33] {
            let text = format!("{PREFIX}{}", STANDARD.encode(vec![7u8; n]));
            assert_eq!(decode_own(text.as_bytes(), "file"), Err(OpenError::KeyLength { found: n }));
        }
    }

    #[test]
    fn every_form_is_read_with_and_without_a_line_end() {
        let base = STANDARD.encode(KEY);
        let forms = [
            hex::encode(KEY),
            hex::encode_upper(KEY),
            base.clone(),
            base.trim_end_matches('=').to_owned(),
            format!("{PREFIX}{base}"),
        ];
        for form in forms {
            for end in ["", "\n", "\r\n"] {
                let text = format!("{form}{end}");
                for raw in [true, false] {
                    assert!(
                        decode_any(text.as_bytes(), raw, "fd").unwrap().expose() == &KEY,
                        "{text:?}"
                    );
                }
            }
        }
        for end in [&b""[..], b"\n", b"\r\n"] {
            let bytes = [&KEY[..], end].concat();
            assert!(decode_any(&bytes, true, "fd").unwrap().expose() == &KEY);
            assert!(decode_any(&bytes, false, "env").is_err(), "an environment variable is text");
        }
    }

    #[test]
    fn other_lengths_are_named() {
        for n in [0usize, 16, 31, 33, 64] {
            let error = Err(OpenError::KeyLength { found: n });
            assert_eq!(decode_any(&vec![0x80; n], true, "fd"), error, "{n} raw");
            if n > 0 {
                assert_eq!(decode_any(&vec![b'a'; n * 2], false, "env").is_err(), n != 32);
                assert_eq!(decode_any(STANDARD.encode(vec![9; n]).as_bytes(), false, "env"), error);
            }
        }
        // 32 hex digits are half a key, not 32 raw bytes.
        assert_eq!(decode_any(&[b'a'; 32], true, "fd"), Err(OpenError::KeyLength { found: 16 }));
        assert_eq!(
            decode_any(b"correct horse battery staple", false, "env"),
            Err(OpenError::KeyMalformed { source: "env" })
        );
        assert_eq!(decode_any(&[b'!'; 999], true, "fd"), Err(OpenError::KeyLength { found: 999 }));
    }
}
