use super::*;

const HASH: [u8; 32] = [0xab; 32];

fn server(root: &str, origin: Origin) -> Server {
    Server { root: root.to_owned(), origin }
}

fn locator(url: &str) -> (String, String) {
    (LOCATOR_KIND.to_owned(), url.to_owned())
}

fn tried(locators: &[(String, String)], servers: &[Server]) -> Vec<(String, Origin)> {
    sources(locators, servers, &HASH, &mut Vec::new())
        .into_iter()
        .map(|source| (source.url.to_string(), source.origin))
        .collect()
}

#[test]
fn a_root_has_one_form() {
    for (given, form) in [
        ("https://Blobs.Example", "https://blobs.example"),
        ("https://blobs.example/", "https://blobs.example"),
        ("https://blobs.example:443//", "https://blobs.example"),
        ("https://blobs.example/files/", "https://blobs.example/files"),
        (" http://127.0.0.1:8080/ ", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ] {
        assert_eq!(normal_server(given).expect(given), form);
    }
    for bad in [
        "",
        "blobs.example",
        "wss://blobs.example",
        "http://blobs.example",
        "http://192.168.1.1",
        "https://user@blobs.example",
        "https://:secret@blobs.example",
        "https://blobs.example?x=1",
        "https://blobs.example#x",
        "https://blobs.example:0",
        "file:///etc/passwd",
    ] {
        let refused = normal_server(bad);
        assert!(matches!(refused, Err(ClientError::InvalidServerUrl(_))), "{bad}: {refused:?}");
    }
    assert!(normal_server(&format!("https://blobs.example/{}", "a".repeat(2200))).is_err());
}

#[test]
fn locators_come_first_and_each_place_once() {
    let name = hex::encode(HASH);
    let own = [server("https://own.example", Origin::User)];
    let theirs = format!("https://theirs.example/{name}.bin");
    let same = format!("https://own.example/{name}");
    let asked = tried(&[locator(&theirs), locator(&same), locator(&theirs)], &own);
    // A place that the user named is the user's, also when a message names it.
    assert_eq!(asked, [(theirs, Origin::Peer), (same.clone(), Origin::User)]);
    // Another place on that server is not.
    let other = format!("https://own.example/delete/{name}");
    let asked = tried(&[locator(&other)], &own);
    assert_eq!(asked, [(other, Origin::Peer), (same, Origin::User)]);
}

#[test]
fn what_is_no_place_to_fetch_from_is_told_and_harms_nothing() {
    let name = hex::encode(HASH);
    let good = format!("https://good.example/{name}");
    let mut reasons = Vec::new();
    let locators = [
        ("mirror-v9".to_owned(), "https://mirror.example/blob".to_owned()),
        locator(&format!("http://plain.example/{name}")),
        locator(&format!("https://user:secret@good.example/{name}")),
        locator("not a url"),
        locator("https://any.example/page"),
        locator(&format!("https://any.example/{name}/more")),
        locator(&format!("https://any.example/{name}?more")),
        locator(&good),
    ];
    let found = sources(&locators, &[], &HASH, &mut reasons);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].url.as_str(), good);
    assert_eq!(reasons.len(), 7);
    assert_eq!(reasons[0].0, "mirror-v9");
}

#[test]
fn only_so_many_locators_are_tried() {
    let name = hex::encode(HASH);
    let many = (0..100).map(|n| locator(&format!("https://{n}.example/{name}")));
    let many: Vec<_> = many.collect();
    assert_eq!(tried(&many, &[]).len(), MAX_LOCATORS);
}

#[test]
fn an_upload_is_authorised_as_servers_expect() {
    use base64::Engine as _;
    let key = Keys::generate();
    let header = authorization::upload(&key, &HASH, 1_800_000_000);
    let text = header.strip_prefix("Nostr ").expect("the scheme");
    let json = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    // Verifies id and signature.
    let event = mdk_wire::Event::from_json(&json).expect("an event");
    assert_eq!((event.kind(), event.pubkey()), (24_242, key.public_key()));
    assert!(event.created_at() < 1_800_000_000 && !event.content().is_empty());
    let tag = |name: &str| {
        let tag = event.tags().iter().find(|tag| tag[0] == name).expect("the tag");
        tag[1].clone()
    };
    assert_eq!((tag("t"), tag("x")), ("upload".to_owned(), hex::encode(HASH)));
    assert!(tag("expiration").parse::<u64>().expect("a time") > 1_800_000_000);
}
