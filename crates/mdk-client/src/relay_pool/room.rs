//! Whether there is room for another connection, and to whom.

use mdk_wire::budget::relay::{HOST_RELAYS, PEER_SHARE};
use url::Url;

use super::Origin;
use super::registry::Registry;
use crate::dial::address::on_loopback;
use crate::error::{ClientError, Result};

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
