//! Where invites go, and how large they may be there.

use std::sync::Arc;

use mdk_wire::{GroupId, PublicKey};

use super::{MOST_RELAYS, find, moment};
use crate::client::shared::Shared;
use crate::error::Result;
use crate::relay_pool::normal_url;

/// Where a Welcome goes: the recipient's inbox relays, or the group's when there are none. `None` when no relay
/// could be asked.
pub(crate) async fn welcome_targets(
    shared: &Arc<Shared>,
    recipient: &PublicKey,
    group: Option<&GroupId>,
) -> Option<Vec<String>> {
    let near = relays_of(shared, group).await;
    let lists = find(shared, recipient, &near).await?;
    let mut targets = inbox_or(shared, &lists.inbox, near).await;
    if targets.is_empty() {
        targets = shared.own_relays();
    }
    Some(targets).filter(|targets| !targets.is_empty())
}

/// The inbox relays of an account, or else those of the group.
async fn inbox_or(shared: &Shared, inbox: &[String], near: Vec<String>) -> Vec<String> {
    let mut targets = Vec::new();
    for relay in inbox {
        // One that must not be dialled is no target.
        if shared.touch(relay).await.is_ok() {
            targets.push(relay.clone());
        }
    }
    if targets.is_empty() { near } else { targets }
}

/// The first relays of a group.
pub(super) async fn relays_of(shared: &Arc<Shared>, group: Option<&GroupId>) -> Vec<String> {
    let Some(group) = group.cloned() else { return Vec::new() };
    let relays = shared
        .engine(move |engine| Ok(engine.group(&group).map(|info| info.relays).unwrap_or_default()))
        .await;
    let relays = relays.unwrap_or_default();
    relays.iter().filter_map(|url| normal_url(url).ok()).take(MOST_RELAYS).collect()
}

/// Where a Welcome goes as well when its recipient's inbox relays do not take it: to where that account reads, and to where
/// its KeyPackages are found, and to the group's. `None` when no relay could be asked.
pub(crate) async fn further_targets(
    shared: &Arc<Shared>,
    recipient: &PublicKey,
    group: Option<&GroupId>,
) -> Option<Vec<String>> {
    let near = relays_of(shared, group).await;
    let lists = find(shared, recipient, &near).await?;
    let mut targets = Vec::new();
    let all = lists.inbox.into_iter().chain(lists.read).chain(lists.write).chain(near);
    for relay in all {
        if !targets.contains(&relay) && shared.touch(&relay).await.is_ok() {
            targets.push(relay);
        }
    }
    Some(targets)
}

/// Tells the engine how large an invite the relays take that it goes to, so that one that no relay will take is noticed
/// before its commit is made. One relay that does not say, in a moment, may take anything. Of a group that is still to be
/// founded the relays are not known here: `near` is empty then.
pub(super) async fn note_limit(
    shared: &Arc<Shared>,
    who: &PublicKey,
    inbox: &[String],
    near: Vec<String>,
) -> Result<()> {
    let moment = moment(shared);
    let targets = inbox_or(shared, inbox, near).await;
    let asked = targets.iter().map(|relay| async move {
        shared.touch(relay).await.ok()?;
        let info = tokio::time::timeout(moment, shared.pool.info(relay)).await.ok()??;
        info.largest_invite()
    });
    let limits: Option<Vec<u64>> =
        futures_util::future::join_all(asked).await.into_iter().collect();
    let (who, limit) = (*who, limits.and_then(|limits| limits.into_iter().max()));
    shared
        .engine(move |engine| {
            engine.set_invite_limit(who, limit);
            Ok(())
        })
        .await
}
