//! The suffix that a later key adds to the name of the first one.

/// The generation of a key file whose name still belongs to the key before it.
pub(crate) const NEW: &str = "new";

/// The hex digits of a random generation.
pub(super) const GENERATION: usize = 8;

/// Whether it is a random generation.
pub(super) fn is_generation(text: &str) -> bool {
    text.len() == GENERATION && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The name of an entry in a keyring.
pub(super) fn entry_name(id: &str, generation: Option<&str>) -> String {
    match generation {
        None => id.to_owned(),
        Some(generation) => format!("{id}#{generation}"),
    }
}
