//! `mdk.Mdk`: files of messages, bytes in and bytes out.

use mdk_core::Attachment;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::{Mdk, Object};
use crate::args;
use crate::errors::Raise;
use crate::text::Text;
use crate::views::{ToPy, imported};

#[pymethods]
impl Mdk {
    /// Encrypts a file for a message in the present epoch: an EncryptedMedia.
    ///
    /// A picture (JPEG, PNG, WebP, GIF) loses its metadata first, unless Config.strip_image_metadata is False; its size
    /// and a tiny preview are noted. Upload `data` where everybody can fetch it by its hash, note where in the
    /// attachment's locators, and give that to create_message() before the epoch changes: MediaStale then asks for another
    /// call. Moving the bytes is the caller's work.
    ///
    /// Args:
    ///     data: the file, at most Config.max_media_bytes.
    ///     filename: 1 to 255 bytes of UTF-8, sent as it is; without the path, which nobody else has to know.
    ///     mime_type: None: told by the first bytes and the ending of the name.
    ///
    /// Raises:
    ///     MediaTooLarge: the file, or a picture when it is decoded.
    ///     MediaError: a picture whose metadata cannot be taken out.
    ///     InvalidInput: the name or the type. GroupNotFound, NotMember: the group.
    #[pyo3(signature = (group_id, data, *, filename, mime_type=None))]
    fn encrypt_media<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        data: PyBackedBytes,
        filename: Text,
        mime_type: Option<Text>,
    ) -> Object<'py> {
        let group = args::group(&group_id)?;
        let filename = filename.get("filename")?;
        let mime_type = mime_type.as_ref().map(|text| text.get("mime_type")).transpose()?;
        self.call(py, |e| e.encrypt_media(&group, &data, filename, mime_type))?.to_py(py)
    }

    /// Opens what was fetched for an attachment of a message: bytes. Works as long as a message that carries it is in the
    /// history, however old; with a deleted or expired message its key is gone.
    ///
    /// Args:
    ///     attachment: from Message.attachments.
    ///     data: the ciphertext.
    ///
    /// Raises:
    ///     MediaCorrupt: it is not what was sent.
    ///     MediaTooLarge: it is over Config.max_media_bytes.
    ///     MediaError: no message that is still there carries it. GroupNotFound: the group.
    fn decrypt_media<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        attachment: &Bound<'_, PyAny>,
        data: PyBackedBytes,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let group = args::group(&group_id)?;
        let attachment = self::attachment(attachment)?;
        let file = self.call(py, |e| e.decrypt_media(&group, &attachment, &data))?;
        Ok(PyBytes::new(py, &file))
    }
}

/// A sequence of `mdk.Attachment` as an argument.
pub(crate) fn attachments(value: &Bound<'_, PyAny>) -> PyResult<Vec<Attachment>> {
    args::items("attachments", value)?.map(|item| attachment(&item?)).collect()
}

#[derive(FromPyObject)]
struct Fields {
    filename: String,
    mime_type: String,
    size: Option<u64>,
    sha256: String,
    ciphertext_sha256: String,
    nonce: String,
    locators: Vec<(String, String)>,
    dimensions: Option<(u32, u32)>,
    thumbhash: Option<String>,
}

/// `mdk.Attachment` (a Python dataclass) as the engine's.
pub(crate) fn attachment(value: &Bound<'_, PyAny>) -> PyResult<Attachment> {
    let class = imported!(value.py(), "mdk.values", "Attachment")?;
    if !value.is_instance(class)? {
        return Err(PyTypeError::new_err("not an Attachment"));
    }
    let bad = |problem| Raise::input("attachment", problem);
    let fields: Fields = value.extract().map_err(|_: PyErr| bad("a field of a wrong type"))?;
    Ok(Attachment {
        filename: fields.filename,
        mime_type: fields.mime_type,
        size: fields.size,
        sha256: hex(&fields.sha256).ok_or_else(|| bad("sha256 is not 64 lower-case hex digits"))?,
        ciphertext_sha256: hex(&fields.ciphertext_sha256)
            .ok_or_else(|| bad("ciphertext_sha256 is not 64 lower-case hex digits"))?,
        nonce: hex(&fields.nonce).ok_or_else(|| bad("nonce is not 24 lower-case hex digits"))?,
        locators: fields.locators,
        dimensions: fields.dimensions,
        thumbhash: fields.thumbhash,
    })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}
