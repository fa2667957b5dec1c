//! The target of a message of each kind, and the changes that it allows.

use mdk_store::MessageRow;
use mdk_wire::{EventId, kind};

/// The message a chat message answers: its `q` tag, else its first `e` tag.
pub(crate) fn reply_target(tags: &[Vec<String>]) -> Option<EventId> {
    tag_id(tags, "q").or_else(|| tag_id(tags, "e"))
}

/// First event id in a tag of this name.
pub(crate) fn tag_id(tags: &[Vec<String>], name: &str) -> Option<EventId> {
    tags.iter()
        .find(|tag| tag.first().is_some_and(|n| n == name))
        .and_then(|tag| tag.get(1))
        .and_then(|id| EventId::from_hex(id).ok())
}

// rule: 2.4-18 a deletion is final: deleting it brings nothing back, in whatever order they come
/// Whether it can be deleted: anything but a deletion.
pub(crate) fn can_be_deleted(row: &MessageRow) -> bool {
    row.kind != kind::DELETE
}

/// Whether it is a deletion of which nothing but its target is left.
pub(crate) fn is_bare(row: &MessageRow) -> bool {
    row.kind == kind::DELETE && row.tags.is_empty() && row.target.is_some()
}

/// Whether a message of this kind is about the tokens that wake phones.
pub(crate) fn is_about_tokens(kind: u16) -> bool {
    matches!(kind, kind::PUSH_TOKENS | kind::PUSH_KNOWN_TOKENS | kind::PUSH_REMOVALS)
}

/// Longest content of a reaction, in characters.
pub(crate) const MAX_REACTION_CHARS: usize = 64;

/// A message that only says something about another one has no text that could be replaced (rule: 2.4-9).
pub(crate) fn can_be_edited(kind: u16) -> bool {
    !matches!(kind, kind::REACTION | kind::EDIT | kind::DELETE)
}

/// The message that a reaction, edit or delete points at.
pub(crate) fn target_of(kind: u16, tags: &[Vec<String>]) -> Option<EventId> {
    // rule: 2.4-9 an edit names one message: of two that it names, others may change another one
    let named = || tags.iter().filter(|tag| tag.first().is_some_and(|name| name == "e")).count();
    if kind == kind::EDIT && named() != 1 {
        return None;
    }
    matches!(kind, kind::REACTION | kind::EDIT | kind::DELETE).then(|| tag_id(tags, "e")).flatten()
}

/// Whether this kind only says something about a message.
pub(crate) const fn is_about(kind: u16) -> bool {
    matches!(kind, kind::REACTION | kind::EDIT | kind::DELETE)
}

/// End of a message's life: checked, so that a huge retention means "never" (rule: 2.9-2).
pub(crate) fn expiry(created_at: u64, retention: u64) -> Option<u64> {
    if retention == 0 { None } else { created_at.checked_add(retention) }
}

/// The characters of the longest emoji that is one sign: a kiss of two people with their skin tones.
pub(crate) const LONGEST_SIGN: usize = 10;

/// Whether a reaction is one sign, in which nothing can be written: `+`, `-`, a flag, or pictures that are joined to one.
pub(crate) fn is_sign(content: &str) -> bool {
    let flag = |c: char| ('\u{1f1e6}'..='\u{1f1ff}').contains(&c);
    let picture = |c: char| {
        matches!(c, '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{25a0}'..='\u{27bf}'
            | '\u{2b00}'..='\u{2bff}' | '\u{1f300}'..='\u{1faff}')
    };
    let chars: Vec<char> = content.chars().take(LONGEST_SIGN + 1).collect();
    if matches!(chars[..], ['+' | '-']) || matches!(chars[..], [a, b] if flag(a) && flag(b)) {
        return true;
    }
    chars.len() <= LONGEST_SIGN
        && chars.split(|&c| c == '\u{200d}').all(|part| match part {
            [base] => picture(*base),
            // (how it is shown, and the tone of a skin)
            [base, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}'] => picture(*base),
            _ => false,
        })
}
