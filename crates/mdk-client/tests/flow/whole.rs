//! Nothing that is younger is read before what is older: after it that may not be readable any more.

use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_core::{Engine, GroupState};
use mdk_relay::{Faults, LocalRelay};
use mdk_wire::{GroupId, Keys};

use super::kit::{Person, options, relay, soon, until};
use super::line::{Count, Line, is_page, plain};

/// Alice, and bob, who is away; his database and his keys.
struct Away {
    relay: LocalRelay,
    line: Line,
    alice: Person,
    group: GroupId,
    dir: tempfile::TempDir,
    keys: Keys,
}

impl Away {
    async fn new() -> Self {
        let relay = relay().await;
        let line = Line::to(&relay).await;
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::generate();
        let alice = Person::new(options(&[&line.url])).await;
        let bob =
            Person::open(&dir.path().join("bob.db"), keys.clone(), options(&[&line.url])).await;
        alice.ready().await;
        bob.ready().await;
        let group = alice.founds(&[&line.url], &[&bob]).await;
        alice.settles_with(&group, &[&bob]).await;
        drop(bob.close().await);
        Self { relay, line, alice, group, dir, keys }
    }

    async fn comes_back(&self, options: ClientOptions) -> Person {
        Person::open(&self.dir.path().join("bob.db"), self.keys.clone(), options).await
    }

    /// So many messages, all of which the relay has.
    async fn says(&self, name: &str, count: usize) -> Vec<String> {
        let before = self.relay.events(445).len();
        let texts: Vec<String> = (0..count).map(|n| format!("{name} {n}")).collect();
        for text in &texts {
            self.alice.says(&self.group, text).await;
        }
        until(&self.relay, "all of them", || self.relay.events(445).len() >= before + count).await;
        texts
    }

    /// Waits for the first pages of his catch-up, which the engine does not have yet.
    async fn fetches(&self, bob: &Person, count: u64) {
        soon("a page", async {
            while bob.client.stats().backlog_fetched < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn reads_all(bob: &Person, group: &GroupId, texts: &[String]) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    bob.reads(group, &texts).await;
    assert_eq!(bob.told(), texts);
}

/// breaks: a relay is silent in the middle of a catch-up, for longer than it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_relay_fell_silent_is_not_read_before_the_rest() {
    let away = Away::new().await;
    let texts = away.says("old", 250).await;
    let paging = Faults { page_limit: Some(50), ..Faults::default() };
    let delayed = |millis| Faults { delay: Some(Duration::from_millis(millis)), ..paging.clone() };
    away.relay.faults(delayed(50));
    let short =
        ClientOptions { request_timeout: Duration::from_millis(400), ..options(&[&away.line.url]) };
    let asked = Count::default();
    let asks = asked.clone();
    away.line.rule(Duration::ZERO, move |message, of_relay| {
        if !of_relay && is_page(&message) {
            asks.add();
        }
        plain(message, of_relay)
    });
    let bob = away.comes_back(short).await;
    away.fetches(&bob, 50).await;
    away.relay.faults(delayed(60_000));
    // What was on its way, what is asked twice and given up once; and that it is tried again.
    asked.reaches(asked.count() + 4).await;
    away.relay.faults(paging);
    // (what it holds back would come a minute later)
    away.relay.cut().await;
    reads_all(&bob, &away.group, &texts).await;
}

/// breaks: a few at a time, each a little later, while the other relay has given everything.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_giving_does_not_hold_up_what_is_said() {
    let (good, slow) = (relay().await, relay().await);
    let urls = [good.url(), slow.url()];
    let dir = tempfile::tempdir().unwrap();
    let (path, keys) = (dir.path().join("bob.db"), Keys::generate());
    let alice = Person::new(options(&urls)).await;
    let bob = Person::open(&path, keys.clone(), options(&urls)).await;
    alice.ready().await;
    bob.ready().await;
    let group = alice.founds(&urls, &[&bob]).await;
    alice.settles_with(&group, &[&bob]).await;
    drop(bob.close().await);
    for n in 0..120 {
        alice.says(&group, &n.to_string()).await;
    }
    alice.sent().await;
    let delay = Some(Duration::from_millis(1_500));
    slow.faults(Faults { delay, page_limit: Some(10), ..Faults::default() });
    let waited_for = Duration::from_millis(300);
    let bob = Person::open(&path, keys, ClientOptions { waited_for, ..options(&urls) }).await;
    bob.until("all of the good one", |engine| {
        (engine.messages(&group, 200, None, None).unwrap().len() >= 120).then_some(())
    })
    .await;
    let before = good.events(445).len();
    bob.says(&group, "here").await;
    until(&good, "what he says", || good.events(445).len() > before).await;
    assert!(bob.client.stats().backlog_fetched < 240, "the other one is still giving");
}

/// breaks: removed while away, and invited again after two starts.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_again_hears_the_group() {
    let away = Away::new().await;
    let (of, who) = (away.group.clone(), away.keys.public_key());
    let remove = move |engine: &mut Engine| engine.remove_members(&of, &[who]);
    soon("a removal", away.alice.commit(remove)).await.unwrap();
    for _ in 0..2 {
        let bob = away.comes_back(options(&[&away.line.url])).await;
        bob.ready().await;
        bob.until("the removal", |engine| {
            (engine.group(&away.group).unwrap().state == GroupState::Removed).then_some(())
        })
        .await;
        drop(bob.close().await);
    }
    let bob = away.comes_back(options(&[&away.line.url])).await;
    bob.ready().await;
    let package = away.alice.key_package_of(&bob).await;
    let of = away.group.clone();
    let add =
        move |engine: &mut Engine| engine.add_members(&of, std::slice::from_ref(&package), false);
    soon("an addition", away.alice.commit(add)).await.unwrap();
    assert_eq!(bob.joins().await, away.group);
    bob.renewed(&away.group).await;
    away.alice.says(&away.group, "back").await;
    bob.reads(&away.group, &["back"]).await;
}
