//! Phones are woken by what is said: by a server that reads triggers as a real one does.

use std::sync::Arc;
use std::time::Duration;

use mdk_client::{ClientOptions, push};
use mdk_core::{Engine, NewMessage, testing};
use mdk_relay::LocalRelay;
use mdk_wire::push::{
    EncryptedToken, Platform, Token, TokenKey, TokenRecord, read_trigger, records_content,
};
use mdk_wire::{Event, GroupId, Keys, OsRandom, SecretVec, gift_wrap, kind};

use super::kit::*;

/// The notification server of an app.
struct Server {
    keys: Keys,
    relay: LocalRelay,
}

impl Server {
    async fn new() -> Self {
        Self { keys: Keys::generate(), relay: relay().await }
    }

    /// The tokens of each trigger that came, in the order of the triggers.
    fn rung(&self) -> Vec<Vec<Vec<u8>>> {
        rung(&self.relay, &self.keys)
    }

    async fn rings(&self, times: usize) {
        until(&self.relay, "a trigger", || self.rung().len() >= times).await;
        assert_eq!(self.rung().len(), times);
    }
}

fn rung(relay: &LocalRelay, server: &Keys) -> Vec<Vec<Vec<u8>>> {
    let wraps =
        relay.events(1_059).into_iter().map(|json| Event::from_json(json.as_bytes()).unwrap());
    let opened = wraps.filter_map(|wrap| gift_wrap::unwrap(&wrap, server).ok());
    opened
        .map(|opened| {
            let pieces = read_trigger(&opened.rumor).unwrap().into_iter();
            let tokens = pieces.filter_map(|piece| piece.open(server).ok());
            tokens.map(|token| token.bytes.expose().to_vec()).collect()
        })
        .collect()
}

/// The person's phone tells its token, and something else after it: who has read that has the token.
async fn tells_token(person: &Person, group: &GroupId, token: &[u8], server: &Keys, hint: &str) {
    let members = person.with(|engine| engine.members(group)).unwrap();
    let me = members.iter().find(|member| member.is_me).unwrap();
    let token = Token { platform: Platform::Fcm, bytes: SecretVec::new(token.to_vec()) };
    let key = TokenKey {
        member: person.key(),
        leaf: me.leaf_indexes[0],
        platform: token.platform,
        server: server.public_key(),
    };
    let mut record = TokenRecord {
        key,
        fingerprint: token.fingerprint(),
        relay_hint: hint.to_owned(),
        token: EncryptedToken::seal(&token, &key.server, &mut OsRandom).unwrap(),
        owner_ts: 1_700_000_000_000,
        signature: [0; 64],
    };
    record.sign(group, &person.keys);
    let told = records_content(&[record]);
    let say = |engine: &mut Engine| testing::say_of_tokens(engine, group, kind::PUSH_TOKENS, &told);
    person.with(say).unwrap();
    person.client.nudge();
    person.sent().await;
    person.says(group, "told").await;
}

async fn counts(
    person: &Person,
    what: &str,
    enough: impl Fn(&mdk_client::PushStats) -> bool + Send,
) {
    let client = person.client.clone();
    person.until(what, move |_: &mut Engine| enough(&client.push_stats()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_wakes_the_phones_of_others_and_waits_for_no_server() {
    let (relay, server) = (relay().await, Server::new().await);
    let [alice, bob] = people(&[relay.url()]).await;
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.settles_with(&group, &[&bob]).await;
    tells_token(&bob, &group, b"bob's phone", &server.keys, server.relay.url()).await;
    alice.reads(&group, &["told"]).await;
    alice.says(&group, "wake up").await;
    server.rings(1).await;
    assert_eq!(server.rung(), [[b"bob's phone".to_vec()]]);
    counts(&alice, "the count", |stats| stats.sent == 1).await;

    // A server that nobody reaches costs a number, and the message is there before it.
    server.relay.pause().await;
    alice.says(&group, "still there?").await;
    bob.reads(&group, &["told", "wake up", "still there?"]).await;
    counts(&alice, "the failure", |stats| stats.failed == 1).await;
    assert_eq!(alice.client.push_stats().sent, 1);

    // Who tells no token has none to be woken by.
    assert_eq!(bob.client.push_stats().sent + bob.client.push_stats().failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_message_and_a_quiet_account_wake_nobody() {
    let (relay, server) = (relay().await, Server::new().await);
    let [alice, bob] = people(&[relay.url()]).await;
    let silent = ClientOptions { push: false, ..options(&[relay.url()]) };
    let carol = ready(Person::new(silent)).await;
    let group = alice.founds(&[relay.url()], &[&bob, &carol]).await;
    alice.settles_with(&group, &[&bob, &carol]).await;
    tells_token(&bob, &group, b"bob's phone", &server.keys, server.relay.url()).await;
    alice.reads(&group, &["told"]).await;
    carol.reads(&group, &["told"]).await;
    carol.says(&group, "from carol").await;
    alice.reads(&group, &["told", "from carol"]).await;

    let new = NewMessage { text: "quiet".to_owned(), kind: 9, ..NewMessage::default() };
    alice.with(|engine| {
        let said = engine.create_message(&group, new).unwrap();
        push::keep_quiet(engine, &said.message.id).unwrap();
    });
    alice.client.nudge();
    bob.reads(&group, &["told", "from carol", "quiet"]).await;
    // The mark is gone once it was heeded.
    alice
        .until("the mark", |engine| engine.states("quiet/").unwrap().is_empty().then_some(()))
        .await;
    alice.says(&group, "loud").await;
    server.rings(1).await;
    counts(&alice, "the count", |stats| stats.sent == 1).await;
    assert_eq!(carol.client.push_stats().sent + carol.client.push_stats().failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_late_learns_the_tokens_and_finds_the_server_by_its_list() {
    let relay = relay().await;
    let clock = Arc::new(Paced::default());
    let at = || Person::at(clock.clone(), options(&[relay.url()]));
    let [alice, bob, carol, server] = [at().await, at().await, at().await, at().await];
    for person in [&alice, &bob, &carol, &server] {
        person.ready().await;
        person.sent().await;
    }
    let group = alice.founds(&[relay.url()], &[&bob]).await;
    alice.settles_with(&group, &[&bob]).await;
    let open = |engine: &mut Engine| testing::open_push_requests(engine).unwrap();
    // What is due is said, and a relay has it.
    let after = async |person: &Person| {
        // It may become due only after the clock was set: the clock goes on until it is done.
        let done = async {
            while person.with(open) > 0 {
                clock.pass(Duration::from_secs(10));
                person.client.nudge();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), done).await.unwrap();
        person.sent().await;
    };
    tells_token(&bob, &group, b"bob's phone", &server.keys, "").await;
    alice.reads(&group, &["told"]).await;

    let package = alice.key_package_of(&carol).await;
    alice.adds(&group, &package).await.unwrap();
    assert_eq!(carol.joins().await, group);
    after(&carol).await;
    carol.says(&group, "I asked").await;
    alice.reads(&group, &["told", "I asked"]).await;
    after(&alice).await;
    alice.says(&group, "who wakes bob?").await;
    until(&relay, "alice's trigger", || rung(&relay, &server.keys).len() == 1).await;
    carol.reads(&group, &["I asked", "who wakes bob?"]).await;
    carol.says(&group, "I do").await;
    until(&relay, "carol's trigger", || rung(&relay, &server.keys).len() == 2).await;
    assert_eq!(rung(&relay, &server.keys), [[b"bob's phone".to_vec()], [b"bob's phone".to_vec()]]);
}
