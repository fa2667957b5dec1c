//! What is published while a history is fetched is read after it, whatever becomes of the line meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mdk_client::ClientOptions;
use mdk_relay::Faults;
use mdk_wire::Keys;
use serde_json::{Value, json};

use super::away::{Away, says};
use super::kit::*;
use super::line::{Count, Fate, Line, down, is_listening, is_live, is_of_groups, is_page, plain};

/// More than can be read of one sender after something younger.
const MANY: usize = 250;

/// A relay whose store is down, until it is told otherwise: it answers subscriptions and no request for what is stored.
/// Counts such requests, and subscriptions that hear what is said.
fn store_is_down(line: &Line) -> (Count, Count, Arc<Mutex<bool>>) {
    let (asked, listening, broken) =
        (Count::default(), Count::default(), Arc::new(Mutex::new(true)));
    let (asks, listens, is_broken) = (asked.clone(), listening.clone(), broken.clone());
    line.rule(Duration::from_millis(5), move |message, of_relay| {
        if is_page(&message) && !of_relay && *is_broken.lock().unwrap() {
            asks.add();
            return down([json!(["CLOSED", message[1], "error: database is locked"])]);
        }
        is_listening(&message).then(|| listens.add());
        plain(message, of_relay)
    });
    (asked, listening, broken)
}

/// breaks: a relay that does not give what is stored for longer than what is new waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_that_is_stored_is_not_read_before_the_rest() {
    let away = Away::new().await;
    let texts = away.says("old", MANY).await;
    let (asked, _, broken) = store_is_down(&away.line);
    let bob = away.comes_back(away.options()).await;
    // Two requests, each made seven times; and more attempts than what is new waits for.
    asked.reaches(14 * 5).await;
    *broken.lock().unwrap() = false;
    bob.reads(&away.group, &texts).await;
    assert_eq!(bob.told(), texts);
}

/// breaks: a relay that never gives what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_history_is_not_deaf_for_ever() {
    let away = Away::new().await;
    let old = away.says("old", 5).await;
    let (asked, listening, broken) = store_is_down(&away.line);
    let bob = away.comes_back(away.options()).await;
    asked.reaches(1).await;
    listening.reaches(1).await;
    let new = away.says("new", 1).await;
    bob.reads(&away.group, &new).await;
    *broken.lock().unwrap() = false;
    bob.reads(&away.group, &[new, old].concat()).await;
}

/// breaks: a relay that gives what is live, and leaves every request for what is stored without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn who_gets_no_answer_is_not_deaf_for_ever() {
    let away = Away::new().await;
    let old = away.says("old", 5).await;
    let (asked, listening, silent) =
        (Count::default(), Count::default(), Arc::new(Mutex::new(true)));
    let (asks, listens, is_silent) = (asked.clone(), listening.clone(), silent.clone());
    away.line.rule(Duration::ZERO, move |message, of_relay| {
        if is_page(&message) && !of_relay && *is_silent.lock().unwrap() {
            asks.add();
            return Fate::default();
        }
        is_listening(&message).then(|| listens.add());
        plain(message, of_relay)
    });
    let short = ClientOptions { request_timeout: Duration::from_millis(50), ..away.options() };
    // (a quiet group: that there is a line is known by the answers to pings)
    let pool = pool_with(Duration::from_millis(200));
    let engine = away.account.engine(Arc::new(mdk_core::SystemClock));
    let bob = Person::start(engine, away.account.keys.clone(), short, pool).await;
    asked.reaches(1).await;
    listening.reaches(1).await;
    let new = away.says("new", 1).await;
    // (the subscription to what is new may bring some of the old ones, too: they are of the same seconds)
    bob.until("hearing what is new", |engine| {
        let messages = engine.messages(&away.group, 100, None, None).unwrap();
        messages.iter().any(|message| message.text == new[0]).then_some(())
    })
    .await;
    *silent.lock().unwrap() = false;
    bob.reads(&away.group, &[new, old].concat()).await;
}

/// breaks: a line that is open and brings nothing for longer than some attempts take.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_brings_nothing_opens_no_gate() {
    let away = Away::new().await;
    let mut texts = away.says("old", MANY).await;
    let held = Arc::new(Mutex::new(Some(Vec::new())));
    let (holds, asked) = (held.clone(), Count::default());
    let asks = asked.clone();
    away.line.rule(Duration::ZERO, move |message, of_relay| {
        let mut held = holds.lock().unwrap();
        let Some(held) = held.as_mut() else { return plain(message, of_relay) };
        if !of_relay && is_page(&message) {
            asks.add();
            return Fate::default();
        }
        let mut fate = plain(message, of_relay);
        held.append(&mut fate.down);
        fate
    });
    let short = ClientOptions { request_timeout: Duration::from_millis(200), ..away.options() };
    let bob = away.comes_back(short).await;
    asked.reaches(1).await;
    texts.extend(away.says("new", 1).await);
    // Each of two tries.
    asked.reaches(2 * 6).await;
    for message in held.lock().unwrap().take().unwrap() {
        away.line.say(&message);
    }
    bob.reads(&away.group, &texts).await;
}

/// breaks: a relay that wants to know who asks when the history is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_authentication_in_the_middle_opens_no_gate() {
    let away = Away::new().await;
    let mut texts = away.says("old", MANY).await;
    let (asked, live, mut auth, mut known) = (Count::default(), Count::default(), None, false);
    let (asks, lives) = (asked.clone(), live.clone());
    away.relay.faults(Faults { page_limit: Some(50), ..Faults::default() });
    away.line.rule(Duration::from_millis(400), move |message, of_relay| {
        if message[0] == "CONNECTED" {
            return down([json!(["AUTH", "challenge"])]);
        }
        if message[0] == "AUTH" {
            auth = Some(message[1]["id"].clone());
            return Fate::default();
        }
        let ends = message[0] == "EOSE" && message[1].as_str().unwrap().starts_with('q');
        if let Some(id) = auth.take_if(|_| ends) {
            known = true;
            return down([message, json!(["OK", id, true, ""])]);
        }
        if is_live(&message) && asks.count() >= 2 {
            lives.add();
        }
        // The first it asks for after that may have been on its way; before the second it had the answer to the first.
        let second = !of_relay && known && is_page(&message) && asks.add() == 2;
        Fate { holds_pages: second, ..plain(message, of_relay) }
    });
    let bob = away.comes_back(away.options()).await;
    asked.reaches(2).await;
    texts.extend(away.says("now", 1).await);
    live.reaches(1).await;
    away.line.has_what_is_live().await;
    away.line.holds_pages(false);
    bob.reads(&away.group, &texts).await;
    assert_eq!(bob.told(), texts);
}

/// breaks: a relay that ends a subscription of its own accord, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_after_a_subscription_was_closed_is_read_in_order() {
    let away = Away::new().await;
    let (live, asked) = (Arc::new(Mutex::new(Value::Null)), Count::default());
    let (is_live, asks) = (live.clone(), asked.clone());
    let closed = Arc::new(Mutex::new(Value::Null));
    let is_closed = closed.clone();
    away.line.rule(Duration::from_millis(200), move |message, of_relay| {
        if message[0] == "REQ" && !is_page(&message) {
            *is_live.lock().unwrap() = message[1].clone();
        } else if !of_relay && is_page(&message) && is_of_groups(&message) {
            (!is_closed.lock().unwrap().is_null()).then(|| asks.add());
        }
        // The relay behind it knows nothing of that.
        if of_relay && message[0] == "EVENT" && message[1] == *is_closed.lock().unwrap() {
            return Fate::default();
        }
        plain(message, of_relay)
    });
    let bob = ready(away.comes_back(away.options())).await;
    let mut texts = away.says("before", 5).await;
    bob.reads(&away.group, &texts).await;
    let id = live.lock().unwrap().clone();
    *closed.lock().unwrap() = id.clone();
    away.line.say(&json!(["CLOSED", id, "error: housekeeping"]));
    asked.reaches(1).await;
    away.line.holds_pages(true);
    texts.extend(away.says("after", MANY).await);
    away.line.holds_pages(false);
    bob.reads(&away.group, &texts).await;
}

/// breaks: much is said in a group, and in another one, while the history of that is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_group_misses_nothing_of_it_or_of_another() {
    joins(None).await;
}

/// breaks: a relay that allows one subscription, and one request beside it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_to_end_one_subscription_for_another_misses_nothing() {
    joins(Some(2)).await;
}

async fn joins(most: Option<u64>) {
    let away = Away::new().await;
    if let Some(most) = most {
        away.line.announces(json!({ "limitation": { "max_subscriptions": most } }));
    }
    let carol = ready(Person::new(away.options())).await;
    let asked = Count::default();
    let (asks, joins) = (asked.clone(), Arc::new(Mutex::new(false)));
    let is_joining = joins.clone();
    away.line.rule(Duration::from_millis(200), move |message, of_relay| {
        let page = !of_relay && is_page(&message) && is_of_groups(&message);
        if page && *is_joining.lock().unwrap() {
            asks.add();
        }
        plain(message, of_relay)
    });
    let bob = ready(away.comes_back(away.options())).await;
    let package = carol.key_package_of(&bob).await;
    let other = carol.creates(&[&away.line.url], [package]).await;
    let invite = bob.until("invite", |engine| engine.invites().unwrap().pop()).await;
    // These are on their way when he does.
    away.line.live_delay(Duration::from_secs(2));
    let mut before = away.says("before", 20).await;
    *joins.lock().unwrap() = true;
    bob.with(|engine| engine.accept(&invite.id)).unwrap();
    bob.client.nudge();
    asked.reaches(1).await;
    away.line.holds_pages(true);
    away.line.live_delay(Duration::from_secs(6));
    let (here, there) = tokio::join!(
        says(&away.relay, &away.alice, &away.group, "here", MANY),
        says(&away.relay, &carol, &other, "there", MANY),
    );
    away.line.holds_pages(false);
    before.extend(here);
    bob.reads(&away.group, &before).await;
    bob.reads(&other, &there).await;
}

/// breaks: a stranger's junk with the address of the group, while the history is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn what_there_was_no_room_for_is_read_before_what_follows() {
    let away = Away::new().await;
    let mut texts = away.says("old", 10).await;
    let (asked, came) = (Count::default(), Count::default());
    let live = Arc::new(Mutex::new(Value::Null));
    let (asks, comes, listens) = (asked.clone(), came.clone(), live.clone());
    away.line.rule(Duration::from_millis(700), move |message, of_relay| {
        if message[0] == "REQ" && !is_page(&message) {
            *listens.lock().unwrap() = message.clone();
        } else if !of_relay && is_page(&message) && is_of_groups(&message) {
            asks.add();
        } else if is_live(&message) && asks.count() >= 1 {
            comes.add();
        }
        plain(message, of_relay)
    });
    let bob = away.comes_back(away.options()).await;
    asked.reaches(1).await;
    let live = live.lock().unwrap().clone();
    let filters = live.as_array().unwrap();
    let route = filters.iter().find_map(|filter| filter["#h"][0].as_str()).unwrap();
    away.line.holds_pages(true);
    // As much as fits, and then not even a little.
    let sizes = [(9, 1_000_000), (4, 100_000), (9, 10_000), (9, 1_000), (30, 10)];
    for size in sizes.into_iter().flat_map(|(count, size)| vec![size; count]) {
        let stranger = Keys::generate();
        let junk = by(&stranger, 445, 1_700_000_000, &[&["h", route]], &"x".repeat(size));
        let junk: Value = serde_json::from_str(&junk.to_json()).unwrap();
        away.line.say(&json!(["EVENT", live[1], junk]));
    }
    texts.extend(away.says("much", MANY).await);
    came.reaches(MANY as u64).await;
    away.line.has_what_is_live().await;
    away.line.holds_pages(false);
    // While it fetches the rest of the history, and when it asks for everything again.
    for pages in 1..=4 {
        asked.reaches(pages).await;
        texts.extend(away.says(&format!("later {pages}"), 10).await);
    }
    bob.reads(&away.group, &texts).await;
}
