//! A relay of ill will beside a good one, in the pauses and patience that a program has: what the good one can do is
//! done at once, whichever of the two is named first.

use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_core::{Delivery, Message};
use mdk_relay::Faults;

use super::kit::*;

/// Less than any wait for an answer, and far less than the pauses between attempts add up to.
const PROMPT: Duration = Duration::from_secs(12);

/// A client with the pauses of a real one. An answer takes as long as it likes, so that nothing hides behind its end.
fn patient(relays: &[&str]) -> ClientOptions {
    ClientOptions {
        request_timeout: LONG,
        retry_min: ClientOptions::default().retry_min,
        retry_max: ClientOptions::default().retry_max,
        ..options(relays)
    }
}

async fn promptly<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PROMPT, future).await.unwrap_or_else(|_| panic!("held up: {what}"))
}

async fn talk(faults: Faults, bad_first: bool) {
    let (good, bad) = (relay().await, relay().await);
    bad.faults(faults);
    let mut relays = [good.url(), bad.url()];
    if bad_first {
        relays.reverse();
    }
    let alice = Person::new(patient(&relays)).await;
    let bob = Person::new(patient(&relays)).await;
    let lists = || good.events(30443).len() == 2 && good.events(10_050).len() == 2;
    until(&good, "both can be invited", lists).await;
    let group = alice.founds(&relays, &[&bob]).await;
    let mut said = Vec::new();
    for text in ["one", "two"] {
        let id = promptly("a message", alice.says(&group, text)).await;
        said.push(text);
        promptly("reading", bob.reads(&group, &said)).await;
        let delivered = |engine: &mut mdk_core::Engine| {
            let messages = engine.messages(&group, 10, None, None).unwrap();
            let accepted = |m: &Message| m.id == id && m.fate.delivery == Delivery::Accepted;
            messages.iter().any(accepted).then_some(())
        };
        promptly("the delivery", alice.until("the delivery", delivered)).await;
    }
}

/// More than the first look at the outbox finds: what the bad one is owed is not in the way of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn many_messages_pass_one_that_swallows_them() {
    const MANY: usize = 100;
    let (good, bad) = (relay().await, relay().await);
    let relays = [bad.url(), good.url()];
    let alice = ready(Person::new(patient(&relays))).await;
    let group = alice.founds(&relays, &[]).await;
    alice.sent().await;
    bad.faults(Faults { drop_silently_over: Some(100), ..Faults::default() });
    let from = good.events(445).len();
    for n in 0..MANY {
        alice.says(&group, &n.to_string()).await;
    }
    // Less than the answer of one that says nothing is waited for.
    let all = until(&good, "all of them", || good.events(445).len() - from == MANY);
    tokio::time::timeout(LONG / 2, all).await.expect("held up");
}

async fn beside(faults: Faults) {
    tokio::join!(talk(faults.clone(), true), talk(faults, false));
}

macro_rules! beside {
    ($($name:ident: $fault:ident = $value:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            beside(Faults { $fault: $value, ..Faults::default() }).await;
        }
    )*};
}

beside! {
    one_that_is_never_content_with_an_authentication: auth_loop = true;
    one_that_keeps_nothing: lie_ok = true;
    one_whose_answers_are_lost: lose_ok = true;
    one_that_gives_what_nobody_asked_for: false_events = true;
    one_that_never_comes_to_an_end: endless = true;
    one_that_talks_all_the_time: notice_flood = true;
    one_whose_answers_are_too_large: huge_frames = true;
    one_whose_events_have_too_many_tags: huge_tags = true;
    one_that_dribbles: slow_bytes = true;
    one_that_takes_a_minute_for_everything: delay = Some(Duration::from_secs(60));
    one_that_swallows_events: drop_silently_over = Some(100);
    one_that_slows_us_down: rate_limit = Some(1);
}
