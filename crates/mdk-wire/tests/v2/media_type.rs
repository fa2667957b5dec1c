use mdk_wire::v2::media_type::{canonical, is_canonical};

#[test]
fn canonical_forms() {
    let long = "a".repeat(64);
    for (input, expected) in [
        ("image/png", Some("image/png")),
        // shows: 2.10-1
        ("image/png; q=1", Some("image/png")),
        ("\t\n\u{c}\r image/png \r\n", Some("image/png")),
        ("image/png ;x", Some("image/png")),
        ("\u{b}image/png", None),
        ("\u{a0}image/png", None),
        // shows: 2.10-2
        ("IMAGE/Svg+XML", Some("image/svg+xml")),
        // rule: 2.10-3
        ("image", None),
        ("image/", None),
        ("/png", None),
        ("image/png/x", None),
        ("im age/png", None),
        ("im\u{e4}ge/png", None),
        ("", None),
        (";image/png", None),
        (&format!("{long}/{long}"), Some(&format!("{long}/{long}"))),
        (&format!("{long}a/{long}"), None),
        (&format!("{long}/{long}a"), None),
        ("!#$%&'*+-.^_`|~/0", Some("!#$%&'*+-.^_`|~/0")),
        // shows: 2.10-4
        ("image/jpg", Some("image/jpeg")),
        ("Image/JPG;x", Some("image/jpeg")),
        ("image/jpgx", Some("image/jpgx")),
    ] {
        assert_eq!(canonical(input).as_deref(), expected, "{input:?}");
    }
}

// rule: 2.10-5
#[test]
fn only_the_canonical_form_is_stored() {
    assert!(is_canonical("image/jpeg"));
    for other in ["image/jpg", "image/JPEG", " image/jpeg", "image/jpeg;", "image", ""] {
        assert!(!is_canonical(other), "{other:?}");
    }
}
