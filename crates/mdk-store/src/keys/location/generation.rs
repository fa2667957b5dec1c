//! What follows the name of a key in those of the keys after it.

/// What a key file is called whose name still belongs to the key before it.
pub(crate) const NEW: &str = "new";

/// How many hex digits a generation has that is random.
pub(super) const GENERATION: usize = 8;

/// Whether it is a generation that is random.
pub(super) fn is_generation(text: &str) -> bool {
    text.len() == GENERATION && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the entry of a keyring is called.
pub(super) fn entry_name(id: &str, generation: Option<&str>) -> String {
    match generation {
        None => id.to_owned(),
        Some(generation) => format!("{id}#{generation}"),
    }
}
