//! The accounts that a message mentions (NIP-27, NIP-21): references in its Markdown text, and its `p` tags.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::ids::PublicKey;

/// Only so many bytes at the beginning of a text are searched, cut at a character.
const SEARCHED: usize = 65_519;

/// A message mentions at most so many accounts.
const MOST: usize = 256;

/// The accounts that a text refers to, each once, in the order in which they come; at most 256.
///
/// A reference is `npub1…` or `nprofile1…`, with `nostr:` or `@` before it or bare. One in code, in maths or within an
/// address of the web is none.
#[must_use]
pub fn in_text(text: &str) -> Vec<PublicKey> {
    let mut found = Found::default();
    found.read_text(text);
    found.0
}

// rule: 2.4-24 tags and text both mention
/// The accounts that a message mentions: those of its `p` tags first, then those of its text.
#[must_use]
pub fn in_message(text: &str, tags: &[Vec<String>]) -> Vec<PublicKey> {
    let mut found = Found::default();
    for tag in tags {
        if let [name, value, ..] = tag.as_slice()
            && name == "p"
        {
            found.mention(value);
        }
    }
    found.read_text(text);
    found.0
}

#[derive(Default)]
struct Found(Vec<PublicKey>);

impl Found {
    fn mention(&mut self, reference: &str) {
        if self.0.len() >= MOST {
            return;
        }
        if let Ok(key) = PublicKey::parse(reference)
            && !self.0.contains(&key)
        {
            self.0.push(key);
        }
    }

    fn read_text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(SEARCHED)];
        if !text.contains("npub1") && !text.contains("nprofile1") {
            return;
        }
        let mut code = 0_usize;
        for event in Parser::new_ext(text, Options::ENABLE_MATH) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => code += 1,
                Event::End(TagEnd::CodeBlock) => code -= 1,
                Event::Start(Tag::Link { dest_url, .. }) if dest_url.starts_with("nostr:") => {
                    self.mention(&dest_url);
                }
                Event::Text(words) | Event::Html(words) | Event::InlineHtml(words) if code == 0 => {
                    self.read_words(&words);
                }
                _ => {}
            }
        }
    }

    fn read_words(&mut self, words: &str) {
        let mut before = ' ';
        for word in words.split_inclusive(|c: char| !c.is_alphanumeric()) {
            let reference = word.trim_end_matches(|c: char| !c.is_alphanumeric());
            let in_address = ['/', '=', '#', '?', '&'].contains(&before);
            if !in_address && (reference.starts_with("npub1") || reference.starts_with("nprofile1"))
            {
                self.mention(reference);
            }
            before = word.chars().next_back().unwrap_or(' ');
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(n: u8) -> PublicKey {
        let secret = secp256k1::SecretKey::from_secret_bytes([n; 32]).unwrap();
        let keys = secp256k1::Keypair::from_secret_key(&secret);
        PublicKey::from_bytes(keys.x_only_public_key().0.to_byte_array()).unwrap()
    }

    // rule: 2.4-23 references in the text count in each form, once, in their order.
    #[test]
    fn a_text_mentions_whom_it_refers_to() {
        let (a, b, c) = (key(1), key(2), key(3));
        let profile = "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9ejuumpv34kytnrdaksjlyr9p";
        let d = PublicKey::parse(profile).unwrap();
        let text = format!(
            "hello @{}, nostr:{} and *{}*; [her](nostr:{profile})\n\n- {}",
            b.to_npub(),
            a.to_npub(),
            c.to_npub(),
            b.to_npub(),
        );
        assert_eq!(in_text(&text), [b, a, c, d]);
        assert_eq!(in_text(&format!("<nostr:{profile}>, <b>{}</b>", a.to_npub())), [d, a]);
    }

    // rule: 2.4-23 what is quoted as code or as an address is no mention, and what no key is, neither.
    #[test]
    fn code_maths_and_addresses_mention_nobody() {
        let npub = key(1).to_npub();
        let longer = format!("{npub}q");
        for text in [
            format!("`{npub}`"),
            format!("```\n{npub}\n```"),
            format!("    {npub}"),
            format!("$${npub}$$ and ${npub}$"),
            format!("https://njump.me/{npub} https://a.b/?who={npub} https://a.b/#{npub}"),
            format!("x{npub} é{npub} {longer} {}", npub.to_uppercase()),
            format!("nostr:{} {}", key(1).to_hex(), key(1).to_hex()),
            format!("npub1 nprofile1 {}", &npub[..62]),
            "note1fntxtkcy9pjwucqwa9mddn7v03wwwsu9j330jj350nvhpky2tuaspk6nqc".into(),
        ] {
            assert!(in_text(&text).is_empty(), "{text}");
        }
    }

    // rule: 2.4-23 a text is searched up to 65,519 bytes, and mentions 256 accounts at most.
    #[test]
    fn long_texts_are_searched_in_part() {
        let npub = key(1).to_npub();
        let fits = format!("{}{npub} é", "x ".repeat((65_519 - 64) / 2));
        assert_eq!(in_text(&fits).len(), 1);
        assert!(in_text(&format!("xx {fits}")).is_empty());
        // The border lies within a character.
        assert!(in_text(&format!("{}{npub}", "é".repeat(32_760))).is_empty());
        let many: Vec<_> = (0..=255).flat_map(|n| [(n, 1), (n, 2)]).take(300).collect();
        let tags = many.iter().map(|(n, m)| {
            let mut bytes = [*m; 32];
            bytes[0] = *n;
            let secret = secp256k1::SecretKey::from_secret_bytes(bytes).unwrap();
            let keys = secp256k1::Keypair::from_secret_key(&secret);
            vec!["p".to_owned(), hex::encode(keys.x_only_public_key().0.to_byte_array())]
        });
        assert_eq!(in_message("", &tags.collect::<Vec<_>>()).len(), 256);
    }

    // rule: 2.4-24 tags name accounts in each form; the text adds those that have no tag.
    #[test]
    fn tags_and_text_together_say_who_is_mentioned() {
        let (a, b, c) = (key(1), key(2), key(3));
        let tag = |value: String| vec!["p".to_owned(), value, "wss://r.x.com".to_owned()];
        let tags = [
            tag(b.to_npub()),
            tag(a.to_hex()),
            vec!["p".into(), "nobody".into()],
            vec!["p".into()],
            vec!["e".into(), c.to_hex()],
        ];
        let text = format!("{} {}", c.to_npub(), a.to_npub());
        assert_eq!(in_message(&text, &tags), [b, a, c]);
    }
}
