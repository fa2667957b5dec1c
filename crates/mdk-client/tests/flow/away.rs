//! Somebody who was away and comes back over a line of which the test sees everything.

use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_relay::LocalRelay;
use mdk_wire::GroupId;

use super::kit::*;
use super::line::Line;

/// Alice, and bob's account. He is away.
pub struct Away {
    pub relay: LocalRelay,
    pub line: Line,
    pub alice: Person,
    pub group: GroupId,
    pub account: Account,
}

impl Away {
    pub async fn new() -> Self {
        let relay = relay().await;
        let line = Line::to(&relay).await;
        let account = Account::new();
        let alice = ready(Person::new(options(&[&line.url]))).await;
        let bob = ready(account.opens(options(&[&line.url]))).await;
        let group = alice.founds(&[&line.url], &[&bob]).await;
        alice.settles_with(&group, &[&bob]).await;
        drop(bob.close().await);
        Self { relay, line, alice, group, account }
    }

    pub fn options(&self) -> ClientOptions {
        ClientOptions { request_timeout: Duration::from_secs(20), ..options(&[&self.line.url]) }
    }

    pub async fn comes_back(&self, options: ClientOptions) -> Person {
        self.account.opens(options).await
    }

    /// So many messages, all of which the relay has.
    pub async fn says(&self, name: &str, count: usize) -> Vec<String> {
        says(&self.relay, &self.alice, &self.group, name, count).await
    }
}

/// So many messages of somebody, all of which the relay has.
pub async fn says(
    relay: &LocalRelay,
    who: &Person,
    group: &GroupId,
    name: &str,
    count: usize,
) -> Vec<String> {
    let before = relay.events(445).len();
    let texts: Vec<String> = (0..count).map(|n| format!("{name} {n}")).collect();
    for text in &texts {
        who.says(group, text).await;
    }
    until(relay, "all of them", || relay.events(445).len() >= before + count).await;
    texts
}
