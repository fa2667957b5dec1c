//! Which relay URLs and addresses are dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::error::{ClientError, Result};
use crate::relay_pool::types::Origin;

/// Longest relay URL, bytes.
const MAX_URL_BYTES: usize = 512;

/// Names that never lead to a public host: special-use domains of RFC 6761, 6762, 8375 and 9476, what clouds call inside,
/// and what networks at home and at work do (RFC 6762, appendix G; ICANN delegates none of these).
const PRIVATE_NAMES: [&str; 14] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "mail",
    "home.arpa",
    "test",
    "invalid",
    "alt",
];

/// Reads a relay URL and brings it into its one form. `Peer` adds what an address that somebody else named must not be.
///
/// # Errors
/// [`ClientError::InvalidRelayUrl`], [`ClientError::AddressRefused`].
pub(crate) fn parse(url: &str) -> Result<Url> {
    if url.len() > MAX_URL_BYTES {
        return Err(ClientError::InvalidRelayUrl("longer than 512 bytes"));
    }
    let mut url = Url::parse(url.trim()).map_err(|_| ClientError::InvalidRelayUrl("not a URL"))?;
    if !matches!(url.scheme(), "ws" | "wss") {
        return Err(ClientError::InvalidRelayUrl("not ws:// or wss://"));
    }
    if url.host().is_none() || url.port() == Some(0) {
        return Err(ClientError::InvalidRelayUrl("no host or port"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::InvalidRelayUrl("user name or password in it"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The text of a parsed URL in its one form.
pub(crate) fn normal(url: &Url) -> String {
    let text = url.as_str();
    match url.path() == "/" && url.query().is_none() {
        true => text.trim_end_matches('/').to_owned(),
        false => text.to_owned(),
    }
}

/// The one form of a relay URL: lower-case host, no default port, no fragment, no slash when the path is empty.
///
/// # Errors
/// [`ClientError::InvalidRelayUrl`].
pub fn normal_url(url: &str) -> Result<String> {
    Ok(normal(&parse(url)?))
}

/// What can be judged without DNS.
///
/// # Errors
/// [`ClientError::AddressRefused`].
pub(crate) fn check_url(url: &Url, origin: Origin, allow_loopback: bool) -> Result<()> {
    if origin == Origin::User {
        return Ok(());
    }
    let port = url.port_or_known_default().unwrap_or_default();
    if !matches!(port, 80 | 443 | 1024..) {
        return Err(ClientError::AddressRefused("port below 1024"));
    }
    match url.host() {
        Some(Host::Ipv4(ip)) => check_ip(IpAddr::V4(ip), origin, allow_loopback),
        Some(Host::Ipv6(ip)) => check_ip(IpAddr::V6(ip), origin, allow_loopback),
        Some(Host::Domain(name)) => check_name(name, allow_loopback),
        None => Err(ClientError::AddressRefused("no host")),
    }
}

/// Names matter of their own when a proxy resolves them.
fn check_name(name: &str, allow_loopback: bool) -> Result<()> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is = |suffix: &str| {
        name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if allow_loopback && is("localhost") {
        return Ok(());
    }
    if !name.contains('.') || PRIVATE_NAMES.iter().any(|suffix| is(suffix)) {
        return Err(ClientError::AddressRefused("not a public name"));
    }
    Ok(())
}

/// Judges an address that is about to be dialled.
///
/// # Errors
/// [`ClientError::AddressRefused`].
pub(crate) fn check_ip(ip: IpAddr, origin: Origin, allow_loopback: bool) -> Result<()> {
    if origin == Origin::User {
        return Ok(());
    }
    let refused = match ip {
        IpAddr::V4(ip) => refused_v4(ip),
        IpAddr::V6(ip) => refused_v6(ip),
    };
    match refused {
        None => Ok(()),
        Some("loopback") if allow_loopback => Ok(()),
        Some(why) => Err(ClientError::AddressRefused(why)),
    }
}

/// The IANA special-purpose registry for IPv4 (RFC 6890 and later), multicast included.
fn refused_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [127, ..] => Some("loopback"),
        [0, ..] => Some("this network"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private network"),
        [100, 64..=127, ..] => Some("carrier-grade NAT"),
        // Cloud metadata lives here, too.
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("protocol assignments"),
        [192, 88, 99, _] => Some("6to4 relay"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("documentation"),
        [198, 18..=19, ..] => Some("benchmarking"),
        // A cloud's own services on an otherwise public address.
        [168, 63, 129, 16] => Some("cloud metadata"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved or broadcast"),
        _ => None,
    }
}

/// The same for IPv6. Addresses with an IPv4 address inside are judged by it; of the rest, only global unicast is dialled.
fn refused_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        refused_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // Mapped (RFC 4291 2.5.5.2), compatible (2.5.5.1), SIIT (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low] => v4(high, low),
        // NAT64 (RFC 6052); the local-use prefix of RFC 8215 is refused as a whole.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x64, 0xff9b, ..] => Some("local NAT64"),
        // 6to4 (RFC 3056), Teredo (RFC 4380) and the rest of the protocol block.
        [0x2002, high, low, ..] => v4(high, low),
        [0x2001, 0..=0x1ff, ..] => Some("protocol assignments"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("documentation"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xfc00..=0xfdff, ..] => Some("private network"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        // ISATAP (RFC 5214) carries an IPv4 address in its interface id.
        [0x2000..=0x3fff, .., 0 | 0x200, 0x5efe, high, low] => v4(high, low),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not global unicast"),
    }
}

/// Whether it is on this machine, by its address or name. Tests have many relays there.
pub(crate) fn on_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
