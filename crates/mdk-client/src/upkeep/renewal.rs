//! Fresh keys for our leaf in each group: after a join, every week, and before anything is said after a restore.
//!
//! The commit waits for a quiet moment. Other apps do not show what their people say in the second after it, and one that was
//! away for more than five commits misses messages.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use mdk_core::{CommitState, Config, Engine};
use mdk_wire::GroupId;
use tokio::time::Instant;

use super::Upkeep;
use crate::client::times::{backoff, jittered};
use crate::error::{ClientError, Result};
use crate::relay_pool::normal_url;

/// Nothing can be said before it, so it waits for nobody else's talk.
const AFTER_RESTORE: Duration = Duration::from_secs(5);

/// A group whose leaf wants fresh keys.
pub(super) struct Renewal {
    pub(super) at: Instant,
    /// Since when it has been due.
    since: Instant,
    failures: u32,
    /// A commit that is under way.
    pub(super) pending: Option<i64>,
    /// None of the group's relays was connected.
    pub(super) away: bool,
}

/// What came of a look at one group.
enum Renewed {
    /// The commit is under way.
    Staged(i64),
    /// Something happened there lately.
    Later(Duration),
    /// None of its relays is connected.
    Away,
}

impl Upkeep {
    /// Those who were invited together do not all do it at once: of two commits for one epoch one is lost, with what was
    /// said after it.
    fn delay(&self, members: usize) -> Duration {
        let least = self.shared.options.self_update_after_join;
        let spread = least.saturating_mul(u32::try_from(members / 2).unwrap_or(u32::MAX).max(1));
        least + (jittered(spread) - spread)
    }

    /// Renews our leaf where it is due (RFC 9420, 16.6: forward secrecy and recovery from a compromise).
    pub(super) async fn renew(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        let older_than = Config::default().self_update_every;
        let look = move |engine: &mut Engine| {
            Ok((engine.needs_self_update(older_than)?, engine.needs_self_update(u64::MAX)?))
        };
        let (due, restored) = shared.engine(look).await?;
        let due: BTreeSet<GroupId> = due.into_iter().collect();
        self.renewals.retain(|group, _| due.contains(group));
        for group in due {
            let required = restored.contains(&group);
            if !self.renewals.contains_key(&group) {
                let id = group.clone();
                let info = shared.engine(move |engine| engine.group(&id)).await?;
                let delay = self.delay(info.member_count);
                let now = Instant::now();
                let renewal = Renewal {
                    at: now + if required { delay.min(AFTER_RESTORE) } else { delay },
                    since: now,
                    failures: 0,
                    pending: None,
                    away: false,
                };
                self.renewals.insert(group.clone(), renewal);
            }
            let Some(renewal) = self.renewals.get_mut(&group) else { continue };
            if let Some(pending) = renewal.pending {
                match shared.engine(move |engine| engine.commit_state(pending)).await? {
                    CommitState::Waiting => continue,
                    CommitState::Confirmed => {}
                    CommitState::Lost | CommitState::Refused { .. } => renewal.failures += 1,
                }
                renewal.pending = None;
                let pause = shared.options.retry_min;
                renewal.at =
                    Instant::now() + backoff(pause, shared.options.retry_max, renewal.failures);
                continue;
            }
            if renewal.at > Instant::now() {
                continue;
            }
            let options = &shared.options;
            let waited = required || renewal.since.elapsed() >= options.renew_at_latest;
            let quiet = if waited { options.speak_after } else { options.renew_when_quiet_for };
            let connected = shared.connected.borrow().clone();
            let renewed =
                shared.engine(move |engine| stage(engine, &group, quiet, &connected)).await;
            match renewed {
                Ok(Renewed::Staged(pending)) => {
                    renewal.pending = Some(pending);
                    shared.wake.outbox.notify_one();
                    shared.active();
                    shared.bump();
                }
                Ok(Renewed::Later(pause)) => renewal.at = Instant::now() + pause,
                Ok(Renewed::Away) => {
                    renewal.away = true;
                    renewal.at = Instant::now() + shared.options.retry_max;
                }
                Err(ClientError::Engine(error)) => {
                    tracing::debug!("a leaf is not renewed now: {error}");
                    renewal.failures += 1;
                    let (least, most) = (shared.options.retry_min, shared.options.retry_max);
                    renewal.at = Instant::now() + backoff(least, most, renewal.failures);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Stages a self-update, if the group is quiet and one of its relays is connected.
fn stage(
    engine: &mut Engine,
    group: &GroupId,
    quiet: Duration,
    connected: &HashSet<String>,
) -> mdk_core::Result<Renewed> {
    if let Some(pause) = still_busy(engine, group, quiet)? {
        return Ok(Renewed::Later(pause));
    }
    // While a commit waits for a relay nobody can write in the group.
    let reached = |url: &String| normal_url(url).is_ok_and(|url| connected.contains(&url));
    if !engine.group(group)?.relays.iter().any(reached) {
        return Ok(Renewed::Away);
    }
    Ok(Renewed::Staged(engine.self_update(group)?.id))
}

// rule: OB-22 a leaf is renewed when its group has been quiet, never while a commit is young
/// How long the group is to be left alone yet, after `quiet` without a message or a commit.
fn still_busy(
    engine: &mut Engine,
    group: &GroupId,
    quiet: Duration,
) -> mdk_core::Result<Option<Duration>> {
    let since = engine.quiet_since(group)?;
    // A clock that was set back holds it up no longer.
    let age = engine.time_millis().checked_sub(since).map_or(quiet, Duration::from_millis);
    Ok(quiet.checked_sub(age).filter(|left| !left.is_zero()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use mdk_core::{ManualClock, NewGroup, NewMessage};
    use mdk_wire::Keys;

    use super::*;
    use crate::client::shared::Shared;
    use crate::options::{ClientOptions, PoolOptions, SharedEngine};
    use crate::relay_pool::Pool;

    // shows: OB-22
    #[test]
    fn a_group_is_left_alone_for_a_while_after_a_message_or_a_commit() {
        const BEGIN: u64 = 1_790_000_000;
        let clock = ManualClock::at(BEGIN);
        let mut engine =
            Engine::in_memory(Keys::generate(), Config::default(), Arc::new(clock.clone()))
                .unwrap();
        let relays = vec!["wss://relay.example".to_owned()];
        let founding = engine.create_group(NewGroup { relays, ..NewGroup::default() }).unwrap();
        let group = engine.confirm(founding.id).unwrap().id;
        let left = |engine: &mut Engine, at: u64| {
            clock.set(BEGIN + at);
            still_busy(engine, &group, Duration::from_secs(30)).unwrap().map(|d| d.as_secs())
        };
        assert_eq!(left(&mut engine, 10), Some(20));
        assert_eq!(left(&mut engine, 30), None);
        clock.set(BEGIN + 100);
        let message = NewMessage { text: "a".to_owned(), kind: 9, ..NewMessage::default() };
        engine.create_message(&group, message).unwrap();
        assert_eq!(left(&mut engine, 101), Some(29));
        assert_eq!(left(&mut engine, 130), None);
        clock.set(BEGIN + 200);
        let update = engine.self_update(&group).unwrap();
        engine.confirm(update.id).unwrap();
        assert_eq!(left(&mut engine, 229), Some(1));
        assert_eq!(left(&mut engine, 150), None, "a clock that was set back holds nothing up");
    }

    #[tokio::test]
    async fn a_leaf_is_renewed_when_its_group_is_quiet() {
        const RELAY: &str = "wss://relay.example";
        let clock = ManualClock::at(1_790_000_000);
        let keys = Keys::generate();
        let mut engine =
            Engine::in_memory(keys.clone(), Config::default(), Arc::new(clock.clone())).unwrap();
        engine.enable_outbox();
        let relays = vec![RELAY.to_owned()];
        let founding = engine.create_group(NewGroup { relays, ..NewGroup::default() }).unwrap();
        let group = engine.confirm(founding.id).unwrap().id;
        clock.advance_millis(8 * 86_400_000);
        let message = NewMessage { text: "a".to_owned(), kind: 9, ..NewMessage::default() };
        engine.create_message(&group, message).unwrap();
        let options =
            ClientOptions { self_update_after_join: Duration::ZERO, ..ClientOptions::default() };
        let quiet = options.renew_when_quiet_for;
        let pool = Pool::new(PoolOptions::default());
        let (shared, _inlets, _) = Shared::new(SharedEngine::new(engine), keys, options, pool);
        let mut upkeep = Upkeep::new(shared.clone());
        // (the relay counts as connected: nothing is sent here)
        shared.connected.send_modify(|there| {
            there.insert(normal_url(RELAY).unwrap());
        });
        let commits = async |upkeep: &mut Upkeep| {
            upkeep.renewals.values_mut().for_each(|renewal| renewal.at = Instant::now());
            upkeep.renew().await.unwrap();
            upkeep.renewals[&group].pending.is_some()
        };
        assert!(!commits(&mut upkeep).await, "somebody has just spoken");
        assert!(upkeep.renewals[&group].at > Instant::now());
        clock.advance_millis(u64::try_from(quiet.as_millis()).unwrap() + 2_000);
        assert!(commits(&mut upkeep).await);
    }
}
