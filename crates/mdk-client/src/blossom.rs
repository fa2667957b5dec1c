//! Encrypted files on Blossom servers, where a blob is named by its SHA-256 (BUD-01, BUD-02).
//!
//! What goes up was encrypted before, and what comes down is kept only if it has the hash that was asked for. A server is
//! told the size, the time, and the address that asks (the proxy's, with one); an upload is authorised by a key that is used
//! once, so that nothing links it to an account. Redirects are not followed. HEAD is not asked: a GET says the same, and then
//! has the blob.

mod address;
mod authorization;
mod body;
mod exchange;
mod failure;
mod options;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::body::Bytes;
use mdk_wire::Keys;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep_until};
use url::Url;

use self::failure::Failure;
pub use self::options::BlossomOptions;
use crate::dial::Dialer;
use crate::error::{ClientError, Result};
use crate::relay_pool::{Origin, Pool};

/// The kind of a locator that is a URL of a Blossom server (Marmot v2, 2.10). Others cannot be fetched.
pub const LOCATOR_KIND: &str = "blossom-v1";

/// Locators of one message that are tried: a message must not keep a client busy for long.
const MAX_LOCATORS: usize = 8;
/// When one server has the blob, the others get as much time again, and this.
const GRACE: Duration = Duration::from_secs(5);

/// A server, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its root, in the form of [`normal_server`].
    pub root: String,
    /// Servers of others are not dialled on private networks.
    pub origin: Origin,
}

/// The one form of a server's root: without the slash at its end.
///
/// # Errors
/// [`ClientError::InvalidServerUrl`].
pub fn normal_server(url: &str) -> Result<String> {
    Ok(address::root(&address::server(url)?))
}

/// Moves blobs, over the connections' rules of a pool.
#[derive(Clone)]
pub struct Blossom {
    dialer: Dialer,
    options: BlossomOptions,
}

impl std::fmt::Debug for Blossom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blossom(..)")
    }
}

/// One try to come by a blob.
struct Source {
    url: Url,
    origin: Origin,
}

impl Blossom {
    /// Transfers with the proxy and the address rules of `pool`.
    #[must_use]
    pub fn new(pool: &Pool, options: BlossomOptions) -> Self {
        Self { dialer: pool.dialer().clone(), options }
    }

    /// Uploads a blob to all servers at once. The URLs of those that have it, in the servers' order.
    ///
    /// Each upload is authorised by `key`, or else by a key of its own. When one server has the blob, the others get as long
    /// again; one that is down does not hold up the rest for ever.
    ///
    /// # Errors
    /// [`ClientError::MediaUnavailable`] when no server took it.
    pub async fn upload(
        &self,
        servers: &[Server],
        blob: Vec<u8>,
        key: Option<&Keys>,
    ) -> Result<Vec<String>> {
        let sha256: [u8; 32] = Sha256::digest(&blob).into();
        let (blob, begun) = (Bytes::from(blob), Instant::now());
        let mut running: FuturesUnordered<_> = servers
            .iter()
            .enumerate()
            .map(|(at, server)| {
                let blob = blob.clone();
                async move { (at, self.upload_to(server, blob, &sha256, key).await) }
            })
            .collect();
        let (mut stored, mut reasons) = (Vec::new(), Vec::new());
        let mut end: Option<Instant> = None;
        loop {
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = sleep_until(end.unwrap_or(begun)), if end.is_some() => break,
            };
            match ended {
                None => break,
                Some((at, Ok(url))) => {
                    stored.push((at, url));
                    end = end.or_else(|| Some(begun + begun.elapsed() * 2 + GRACE));
                }
                Some((at, Err(failure))) => {
                    reasons.push((servers[at].root.clone(), failure.words()));
                }
            }
        }
        if stored.is_empty() {
            return Err(ClientError::MediaUnavailable {
                problem: "no server took the file",
                reasons,
            });
        }
        stored.sort_unstable();
        Ok(stored.into_iter().map(|(_, url)| url).collect())
    }

    async fn upload_to(
        &self,
        server: &Server,
        blob: Bytes,
        sha256: &[u8; 32],
        key: Option<&Keys>,
    ) -> Result<String, Failure> {
        let root = address::server(&server.root).map_err(Failure::address)?;
        self.check(&root, server.origin)?;
        let upload = address::below(&root, "upload");
        let once;
        let key = match key {
            Some(key) => key,
            None => {
                once = Keys::generate();
                &once
            }
        };
        let header = authorization::upload(key, sha256, now());
        exchange::put(&self.dialer, &upload, server.origin, &self.options, header, blob, sha256)
            .await?;
        Ok(address::below(&root, &hex::encode(sha256)).into())
    }

    /// Fetches a blob: from each locator of kind [`LOCATOR_KIND`] in turn, as others named them, then from each server.
    /// At most `max_bytes` are read from any, and what has another hash is not kept.
    ///
    /// # Errors
    /// [`ClientError::MediaTooLarge`] or [`ClientError::MediaCorrupt`] when this is what all of them came to,
    /// [`ClientError::MediaUnavailable`] otherwise.
    pub async fn download(
        &self,
        locators: &[(String, String)],
        servers: &[Server],
        sha256: &[u8; 32],
        max_bytes: u64,
    ) -> Result<Vec<u8>> {
        let mut reasons = Vec::new();
        let sources = sources(locators, servers, sha256, &mut reasons);
        let mut failures: Vec<Failure> = Vec::new();
        for source in &sources {
            let got = match self.check(&source.url, source.origin) {
                Ok(()) => {
                    let (url, origin) = (&source.url, source.origin);
                    exchange::get(&self.dialer, url, origin, &self.options, sha256, max_bytes).await
                }
                Err(failure) => Err(failure),
            };
            match got {
                Ok(blob) => return Ok(blob),
                Err(failure) => {
                    reasons.push((address::host(&source.url), failure.words()));
                    failures.push(failure);
                }
            }
        }
        let all = |test: fn(&Failure) -> bool| {
            !failures.is_empty() && failures.len() == reasons.len() && failures.iter().all(test)
        };
        if all(|failure| matches!(failure, Failure::TooLarge)) {
            return Err(ClientError::MediaTooLarge { limit: max_bytes });
        }
        if all(|failure| matches!(failure, Failure::Corrupt)) {
            return Err(ClientError::MediaCorrupt);
        }
        Err(ClientError::MediaUnavailable { problem: "no server has the file", reasons })
    }

    fn check(&self, url: &Url, origin: Origin) -> Result<(), Failure> {
        address::check(url, origin, self.dialer.allows_loopback())
            .and_then(|()| self.dialer.check(url, origin))
            .map_err(Failure::address)
    }
}

/// What is tried, in this order, each once. What cannot be is noted in `reasons`.
fn sources(
    locators: &[(String, String)],
    servers: &[Server],
    sha256: &[u8; 32],
    reasons: &mut Vec<(String, String)>,
) -> Vec<Source> {
    let name = hex::encode(sha256);
    let own: Vec<Source> = servers
        .iter()
        .filter_map(|server| {
            let url = address::below(&address::server(&server.root).ok()?, &name);
            Some(Source { url, origin: server.origin })
        })
        .collect();
    let mut sources: Vec<Source> = Vec::new();
    for (kind, url) in locators.iter().take(MAX_LOCATORS) {
        if kind != LOCATOR_KIND {
            reasons.push((
                kind.clone(),
                "a kind of place that this version cannot fetch from".to_owned(),
            ));
            continue;
        }
        match address::blob(url, &name) {
            Ok(url) => {
                // A place that the user named, too, is the user's.
                let origin = own.iter().find(|own| address::same_blob(&own.url, &url));
                let origin = origin.map_or(Origin::Peer, |own| own.origin);
                sources.push(Source { url, origin });
            }
            Err(error) => reasons.push(("a locator".to_owned(), error.to_string())),
        }
    }
    sources.extend(own);
    let mut seen = Vec::new();
    sources.retain(|source| {
        let new = !seen.contains(&source.url);
        seen.push(source.url.clone());
        new
    });
    sources
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
