//! How many connections there may be, and to whom.

use mdk_wire::budget::relay::{HOST_RELAYS, PEER_SHARE, SOCKET_SHARE, SOCKETS};
use url::{Host, Url};

use super::Origin;
use super::registry::Registry;
use crate::error::{ClientError, Result};

/// How many connections the process may have: a share of the files that it may have open.
pub(crate) fn sockets() -> usize {
    (open_files() / SOCKET_SHARE).min(SOCKETS)
}

#[cfg(unix)]
fn open_files() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn open_files() -> usize {
    usize::MAX
}

impl Registry {
    /// Whether another connection may be made.
    ///
    /// # Errors
    /// [`ClientError::NoRoom`].
    pub(super) fn room_for(&self, at: &(String, Origin), url: &Url, most: usize) -> Result<()> {
        if self.handles().count() >= most {
            return Err(ClientError::NoRoom("raise the number of files that it may have open"));
        }
        if at.1 == Origin::User {
            return Ok(());
        }
        let peers = self.hosts.iter().filter(|((_, origin), _)| *origin == Origin::Peer);
        let open: usize = peers.clone().map(|(_, host)| host.connections.len()).sum();
        if open >= most / PEER_SHARE {
            return Err(ClientError::NoRoom("others named more relays than it connects to"));
        }
        let same = |name: &str| {
            name != at.0 && Url::parse(name).is_ok_and(|other| other.host() == url.host())
        };
        let beside = peers.filter(|((name, _), _)| same(name)).count();
        if beside >= HOST_RELAYS && !on_loopback(url) {
            return Err(ClientError::NoRoom("others named too many relays on this host"));
        }
        Ok(())
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
