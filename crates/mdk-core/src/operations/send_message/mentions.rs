//! The accounts that a message mentions.

use mdk_wire::mentions;

// rule: 2.4-23 a text that is sent tags whom it mentions
/// The `p` tags of the accounts that a text mentions and that no tag names yet.
pub(crate) fn tags(text: &str, given: &[Vec<String>]) -> Vec<Vec<String>> {
    let named = mentions::in_message("", given);
    let missing = mentions::in_text(text).into_iter().filter(|key| !named.contains(key));
    missing.map(|key| vec!["p".into(), key.to_hex()]).collect()
}
