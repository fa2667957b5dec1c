//! URLs of servers and blobs.

use url::Url;

use crate::dial::address::on_loopback;
use crate::error::{ClientError, Result};
use crate::relay_pool::Origin;

/// Longest URL: the bound of a base URL in the group's media policy (Marmot v2, 2.2), and room for the hash.
const MAX_URL_BYTES: usize = 2048 + 128;

/// Reads the root of a server. A path is kept: there are servers below one, though BUD-01 wants none.
///
/// # Errors
/// [`ClientError::InvalidServerUrl`].
pub(super) fn server(url: &str) -> Result<Url> {
    let url = web(url)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ClientError::InvalidServerUrl("a query or fragment in it"));
    }
    Ok(url)
}

/// Reads the URL of the blob that is called `name`, as a message names it: BUD-01 ends it in the hash, and perhaps an
/// extension. Others are refused, or a message could have any URL of the web asked for.
///
/// # Errors
/// [`ClientError::InvalidServerUrl`].
pub(super) fn blob(url: &str, name: &str) -> Result<Url> {
    let url = server(url)?;
    let last = url.path_segments().and_then(|mut segments| segments.next_back());
    match last.and_then(|last| last.strip_prefix(name)) {
        Some(rest) if is_extension(rest) => Ok(url),
        _ => Err(ClientError::InvalidServerUrl("not that of the file")),
    }
}

fn is_extension(rest: &str) -> bool {
    let extension = rest.strip_prefix('.').unwrap_or(rest);
    rest.is_empty()
        || (extension.len() < rest.len()
            && (1..=16).contains(&extension.len())
            && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn web(url: &str) -> Result<Url> {
    if url.len() > MAX_URL_BYTES {
        return Err(ClientError::InvalidServerUrl("longer than 2176 bytes"));
    }
    let url = Url::parse(url.trim()).map_err(|_| ClientError::InvalidServerUrl("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ClientError::InvalidServerUrl("not https://"));
    }
    if url.host().is_none() || url.port() == Some(0) {
        return Err(ClientError::InvalidServerUrl("no host or port"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::InvalidServerUrl("user name or password in it"));
    }
    if url.scheme() == "http" && !on_loopback(&url) {
        return Err(ClientError::InvalidServerUrl("http:// is for loopback only"));
    }
    Ok(url)
}

/// What is judged of a blob's or server's URL besides the dialler's rules: to loopback without TLS goes only what the user
/// named, or what the options allow.
///
/// # Errors
/// [`ClientError::AddressRefused`].
pub(super) fn check(url: &Url, origin: Origin, allow_loopback: bool) -> Result<()> {
    if url.scheme() == "https" || origin == Origin::User || allow_loopback {
        return Ok(());
    }
    Err(ClientError::AddressRefused("not https"))
}

/// The text of a root in its one form.
pub(super) fn root(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// `name` below the root.
pub(super) fn below(root: &Url, name: &str) -> Url {
    let mut url = root.clone();
    let path = format!("{}/{name}", root.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// Scheme, host and port: what a server is called in errors.
pub(super) fn host(url: &Url) -> String {
    url[..url::Position::BeforePath].to_owned()
}

/// Whether both are the same blob's on the same server: they differ in an extension at most.
pub(super) fn same_blob(one: &Url, other: &Url) -> bool {
    other.as_str().strip_prefix(one.as_str()).is_some_and(is_extension)
}
