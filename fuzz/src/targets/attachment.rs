//! The `imeta` tag: each line is one text of it. What is read can be written, and reads the same again.

use mdk_wire::v2::Attachment;

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let tag: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let Ok(attachment) = Attachment::from_tag(&tag) else {
        return;
    };
    let written = attachment.to_tag().expect("what was read can be written");
    assert_eq!(Attachment::from_tag(&written), Ok(attachment.clone()));
    let _ = (format!("{attachment:?}"), attachment.reference());
}
