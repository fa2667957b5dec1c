//! Kind 0: the name, the words and the picture that an account claims for itself (NIP-01, NIP-24).
//!
//! Nobody vouches for them, and anybody may take the name of another. Nothing here is shown as it came.

use serde_json::{Map, Value};
use unicode_properties::{GeneralCategory as Category, UnicodeGeneralCategory};
use unicode_security::skeleton;

/// A field counts up to so many characters.
const LONGEST_FIELD: usize = 4_096;

/// A name is shown up to so many characters.
const LONGEST_NAME: usize = 64;

/// Letters and marks that are drawn as nothing.
const BLANKS: [char; 9] = [
    '\u{34f}', '\u{115f}', '\u{1160}', '\u{17b4}', '\u{17b5}', '\u{2800}', '\u{3164}', '\u{ffa0}',
    '\u{fffc}',
];

/// A profile that can be shown: a name of one line, a description and the address of a picture.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// At most 64 characters on one line; none that is invisible, and none that turns the text around.
    pub name: Option<String>,
    /// At most 4,096 characters, with line ends.
    pub about: Option<String>,
    /// An address of the web. Nobody fetches it here: its server would learn who looks.
    pub picture: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Profile(..)")
    }
}

impl Profile {
    /// Reads the content of an event of kind 0; `None` if it is no object of JSON.
    ///
    /// A field of another type than text counts as absent.
    #[must_use]
    pub fn parse(content: &str) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(content).ok()?;
        let text = |field: &str| fields.get(field).and_then(Value::as_str).map(shortened);
        // rule: 2.12-1 the display name stands before the name
        let names = ["display_name", "displayName", "name"];
        Some(Self {
            name: names.into_iter().filter_map(text).find_map(shown_name),
            about: text("about").and_then(shown_text),
            picture: text("picture").filter(|url| is_address(url)).map(str::to_owned),
        })
    }
}

/// The first 4,096 characters.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(LONGEST_FIELD).map_or(text, |(end, _)| &text[..end])
}

// rule: 2.12-2 a name is one line without characters that cannot be seen
/// The name as it may stand in a line of text; `None` if nothing of it remains, or if it passes itself off as a key.
#[must_use]
pub fn shown_name(name: &str) -> Option<String> {
    let words: Vec<String> = name
        .split(char::is_whitespace)
        .map(|word| word.chars().filter(|&c| is_visible(c)).collect::<String>())
        .filter(|word| !word.is_empty())
        .collect();
    let name: String = words.join(" ").chars().take(LONGEST_NAME).collect();
    let name = name.trim_end();
    // rule: 2.12-3 a name that looks like an npub is none
    (!name.is_empty() && !look_alike(name).contains("npubl")).then(|| name.to_owned())
}

fn shown_text(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|&c| c == '\n' || is_visible(c)).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_visible(c: char) -> bool {
    let unseen = matches!(
        c.general_category(),
        Category::Control
            | Category::Format
            | Category::PrivateUse
            | Category::Unassigned
            | Category::LineSeparator
            | Category::ParagraphSeparator
    );
    !unseen && !BLANKS.contains(&c)
}

fn is_address(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

// rule: 2.12-4 names that look alike have one key
/// Equal for names that a reader may take for each other, in whatever script, case and spacing (UTS 39, section 4).
#[must_use]
pub fn look_alike(name: &str) -> String {
    // A capital has another skeleton than its small letter: M is itself, m is rn.
    let small = skeleton(name).collect::<String>().to_lowercase();
    skeleton(&small)
        .filter(|c| !c.is_whitespace())
        .map(|c| if c == 'i' { 'l' } else { c })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(content: &str) -> Option<String> {
        Profile::parse(content).unwrap().name
    }

    // rule: 2.12-1
    #[test]
    fn the_display_name_stands_before_the_name() {
        assert_eq!(name(r#"{"name":"ann","display_name":"Ann B."}"#).as_deref(), Some("Ann B."));
        assert_eq!(name(r#"{"name":"ann","displayName":"Ann C."}"#).as_deref(), Some("Ann C."));
        assert_eq!(name(r#"{"name":"ann","display_name":" "}"#).as_deref(), Some("ann"));
        assert_eq!(name(r#"{"name":7,"about":"x"}"#), None);
        assert_eq!(name("{}"), None);
        for broken in ["", "[]", "\"ann\"", "{", "null"] {
            assert!(Profile::parse(broken).is_none(), "{broken}");
        }
    }

    // rule: 2.12-1 a field counts up to 4,096 characters.
    #[test]
    fn long_fields_are_cut() {
        let long = "ä".repeat(5_000);
        let content = serde_json::json!({ "name": long, "about": long }).to_string();
        let profile = Profile::parse(&content).unwrap();
        assert_eq!(profile.name.unwrap().chars().count(), 64);
        assert_eq!(profile.about.unwrap().chars().count(), 4_096);
    }

    #[test]
    fn only_addresses_of_the_web_are_pictures() {
        let picture = |url: &str| {
            Profile::parse(&serde_json::json!({ "picture": url }).to_string()).unwrap().picture
        };
        assert!(picture("https://pictures.example/a.png").is_some());
        for bad in ["javascript:alert(1)", "data:image/png;base64,AAAA", "file:///etc/passwd", "a"]
        {
            assert_eq!(picture(bad), None, "{bad}");
        }
    }

    // rule: 2.12-2
    #[test]
    fn a_name_is_one_line_that_can_be_seen() {
        for (given, shown) in [
            ("  Ann \n\t B. ", "Ann B."),
            ("\u{202e}nnA", "nnA"),
            ("A\u{200b}n\u{ad}n\u{1b}[31m", "Ann[31m"),
            ("Ann\u{2028}admin", "Ann admin"),
            ("Zo\u{eb} 🦊", "Zo\u{eb} 🦊"),
        ] {
            assert_eq!(shown_name(given).as_deref(), Some(shown));
        }
        for nothing in ["", " \n", "\u{3164}", "\u{2800}\u{200d}", "\u{e000}", "\u{feff}"] {
            assert_eq!(shown_name(nothing), None, "{nothing:?}");
        }
        let about = Profile::parse("{\"about\":\" one\\n\\u202etwo \"}").unwrap().about;
        assert_eq!(about.as_deref(), Some("one\ntwo"));
    }

    // rule: 2.12-3
    #[test]
    fn a_name_is_no_key() {
        for npub in ["npub1qqqq", "NPUB1", "ｎｐｕｂ１", "n p u b 1", "nрubI (Ann)"] {
            assert_eq!(shown_name(npub), None, "{npub}");
        }
        assert!(shown_name("npub").is_some());
    }

    // rule: 2.12-4
    #[test]
    fn names_that_look_alike_have_one_key() {
        for (one, other) in [
            ("Alice", "alice"),
            ("Alice", "AIice"),
            ("alice", "аlісе"),
            ("Tom", "Torn"),
            ("TOM", "torn"),
            ("Bob B.", "BobB."),
            ("Zo\u{eb}", "Zoe\u{308}"),
            ("b0b", "bob"),
            ("al1ce", "alice"),
        ] {
            assert_eq!(look_alike(one), look_alike(other), "{one} {other}");
        }
        assert_ne!(look_alike("alice"), look_alike("bob"));
        assert_ne!(look_alike("Zoë"), look_alike("Zoe"));
    }
}
