//! To whom a trigger goes, and its way there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mdk_core::Engine;
use mdk_wire::push::{EncryptedToken, TokenRecord, triggers};
use mdk_wire::{Event, EventId, GroupId, OsRandom, PublicKey};
use tokio::task::JoinSet;

use super::quiet::was_quiet;
use crate::client::shared::{Shared, add};
use crate::client::times::now;
use crate::lists;
use crate::relay_pool::{Published, normal_url};

/// Notification servers that one message asks: those of most phones. A member may name any number of them.
const MOST_SERVERS: usize = 8;
/// Relays of one server that get its triggers: those that most phones name.
const MOST_RELAYS: usize = 3;

/// What one server is asked for.
#[derive(Default)]
struct Batch {
    tokens: Vec<EncryptedToken>,
    /// The relays that records name for the server, and how many do.
    hints: HashMap<String, usize>,
}

/// Asks the servers of a group's members to wake their phones, if one of these messages is to.
pub(super) async fn wake(shared: Arc<Shared>, group: GroupId, messages: Vec<EventId>) {
    let whom = move |engine: &mut Engine| targets(engine, &group, &messages);
    let Ok(records) = shared.engine(whom).await else { return };
    let mut jobs = JoinSet::new();
    for (server, batch) in batches(records) {
        jobs.spawn(ask_server(shared.clone(), server, batch));
    }
    while jobs.join_next().await.is_some() {}
}

/// The tokens to wake for any of the messages.
fn targets(
    engine: &mut Engine,
    group: &GroupId,
    messages: &[EventId],
) -> mdk_core::Result<Vec<TokenRecord>> {
    let mut records = Vec::new();
    for message in messages {
        if !was_quiet(engine, message)? && records.is_empty() {
            records = engine.push_targets(group, message)?;
        }
    }
    Ok(records)
}

// rule: 2.11-16 so many servers and relays are asked, those of most phones
fn batches(records: Vec<TokenRecord>) -> Vec<(PublicKey, Batch)> {
    let mut by_server: BTreeMap<PublicKey, Batch> = BTreeMap::new();
    for record in records {
        let batch = by_server.entry(record.key.server).or_default();
        if let Ok(hint) = normal_url(record.relay_hint.trim()) {
            *batch.hints.entry(hint).or_default() += 1;
        }
        if !batch.tokens.contains(&record.token) {
            batch.tokens.push(record.token);
        }
    }
    let mut batches: Vec<_> = by_server.into_iter().collect();
    batches.sort_by_key(|(_, batch)| std::cmp::Reverse(batch.tokens.len()));
    batches.truncate(MOST_SERVERS);
    batches
}

impl Batch {
    /// The relays that most records name, the most named one first.
    fn relays(&self) -> Vec<String> {
        let mut hints: Vec<_> = self.hints.iter().collect();
        hints.sort_by_key(|(relay, count)| (std::cmp::Reverse(**count), (*relay).clone()));
        hints.into_iter().take(MOST_RELAYS).map(|(relay, _)| relay.clone()).collect()
    }
}

async fn ask_server(shared: Arc<Shared>, server: PublicKey, batch: Batch) {
    let mut relays = batch.relays();
    if relays.is_empty() {
        relays = lists::inbox_of(&shared, &server).await;
        relays.truncate(MOST_RELAYS);
    }
    let made = triggers(batch.tokens, &server, now(), &mut OsRandom).unwrap_or_default();
    for trigger in made {
        let deliveries = &shared.deliveries;
        match publish_once(&shared, &relays, &trigger).await {
            true => add(&deliveries.push_sent, 1),
            false => add(&deliveries.push_failed, 1),
        }
    }
    shared.bump();
}

/// Publishes to each relay once. A phone that rings late is worse than one that does not. Returns whether one has it.
async fn publish_once(shared: &Arc<Shared>, relays: &[String], trigger: &Event) -> bool {
    /// What a relay needs that was not open: a connection, and its answer.
    const WAIT: Duration = Duration::from_secs(20);
    let json: Arc<str> = trigger.to_json().into();
    let mut jobs = JoinSet::new();
    for relay in relays {
        let (shared, relay, json) = (shared.clone(), relay.clone(), json.clone());
        jobs.spawn(async move {
            if shared.touch(&relay).await.is_err() {
                return false;
            }
            let answer = shared.pool.publish(&relay, &shared.me, &json, WAIT).await;
            matches!(answer, Published::Accepted)
        });
    }
    let mut accepted = false;
    while let Some(answer) = jobs.join_next().await {
        accepted |= answer.unwrap_or(false);
    }
    accepted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::Keys;
    use mdk_wire::push::{Fingerprint, Platform, TokenKey};

    use super::*;

    fn record(server: &PublicKey, hint: &str) -> TokenRecord {
        TokenRecord {
            key: TokenKey {
                member: Keys::generate().public_key(),
                leaf: 0,
                platform: Platform::Fcm,
                server: *server,
            },
            fingerprint: Fingerprint([0; 12]),
            relay_hint: hint.to_owned(),
            token: EncryptedToken::padding(&mut OsRandom),
            owner_ts: 0,
            signature: [0; 64],
        }
    }

    // shows: 2.11-16
    #[test]
    fn the_servers_and_relays_of_most_phones_are_asked() {
        let servers: Vec<_> = (0..20).map(|_| Keys::generate().public_key()).collect();
        let mut records: Vec<_> =
            servers.iter().map(|server| record(server, "wss://a.example")).collect();
        let hints = [
            "wss://c.example",
            " wss://b.example/ ",
            "wss://b.example",
            "",
            "http://no",
            "wss://d.example",
        ];
        records.extend(hints.map(|hint| record(&servers[7], hint)));
        records.push(records.last().unwrap().clone());
        let batches = batches(records);
        assert_eq!(batches.len(), MOST_SERVERS);
        let (server, batch) = &batches[0];
        assert_eq!((*server, batch.tokens.len()), (servers[7], 7));
        let most =
            ["b", "d", "a"].map(|name| normal_url(&format!("wss://{name}.example")).unwrap());
        assert_eq!(batch.relays(), most);
    }
}
