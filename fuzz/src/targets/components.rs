//! Every component: the first two bytes are its id. What decodes is in canonical form.

use mdk_wire::v2::components::{check_application_owned, decode_known};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let Some((id, data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let id = u16::from_be_bytes(*id);
    if let Some(Ok(component)) = decode_known(id, data) {
        assert_eq!(component.id(), id);
        assert_eq!(component.encode().expect("what was read can be written"), data);
        let _ = format!("{component:?}");
    }
    let _ = check_application_owned(data.chunks(64).map(|chunk| (id, chunk)));
}
