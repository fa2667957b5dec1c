use super::*;
use mdk_wire::Keys;
use tokio::sync::mpsc;

fn account(sink: usize) -> (Account, mpsc::Receiver<Arrived>) {
    let (sink, receiver) = mpsc::channel(sink);
    let public_key = Keys::generate().public_key();
    let sign = Arc::new(|_: mdk_wire::UnsignedEvent| None);
    let (room, false_events) = Default::default();
    (Account { public_key, sink, room, sign, false_events }, receiver)
}

fn event(n: u64, bytes: usize) -> Arrived {
    Arrived::Event {
        relay: "r".into(),
        subscription: n,
        event: crate::testing::event_with(1, n, "[]", bytes),
        held: Held::default(),
    }
}

fn number(arrived: Option<Arrived>) -> u64 {
    let Some(Arrived::Event { subscription, .. }) = arrived else { panic!("an event") };
    subscription
}

async fn resume(accounts: &mut Accounts) {
    let room = tokio::time::timeout(Duration::from_secs(5), accounts.room()).await.expect("room");
    accounts.resume(room);
}

#[tokio::test]
async fn order_is_kept_and_the_backlog_is_counted() {
    let (of, mut sink) = account(2);
    let mut accounts = Accounts::new("r".into());
    accounts.insert(of.clone());
    for n in 0..100 {
        accounts.deliver(&of.public_key, event(n, 10));
    }
    assert_eq!((accounts.backlog, accounts.backlog_bytes), (98, 98 * size(&event(0, 10))));
    for n in 0..98 {
        assert_eq!(number(sink.recv().await), n);
        resume(&mut accounts).await;
    }
    assert_eq!(number(sink.recv().await), 98);
    assert_eq!(number(sink.recv().await), 99);
    assert_eq!((accounts.backlog, accounts.backlog_bytes), (0, 0));
}

#[tokio::test]
async fn a_removed_account_frees_its_backlog() {
    let (of, sink) = account(1);
    let mut accounts = Accounts::new("r".into());
    for gone in [false, true] {
        accounts.insert(of.clone());
        for n in 0..MAX_BACKLOG as u64 + 2 {
            accounts.deliver(&of.public_key, event(n, 1));
        }
        assert!(accounts.is_full());
        if gone {
            break;
        }
        accounts.remove(&of.public_key);
        assert!(!accounts.is_full());
    }
    drop(sink);
    accounts.sweep();
    assert!(accounts.is_empty() && !accounts.is_full());
}

#[tokio::test]
async fn one_account_alone_is_waited_for_but_does_not_hold_up_others_forever() {
    let ((slow, mut slow_sink), (quick, mut quick_sink)) = (account(1), account(1_000));
    let mut accounts = Accounts::new("r".into());
    accounts.connected = true;
    accounts.insert(slow.clone());
    accounts.deliver(&slow.public_key, event(0, 10));
    accounts.deliver(&slow.public_key, event(1, MAX_BACKLOG_BYTES));
    assert!(accounts.is_full());
    assert_eq!(accounts.patience(), None, "nobody else is held up");
    accounts.insert(quick.clone());
    let patience = accounts.patience().expect("the other one is");
    assert!(accounts.drop_late(patience - Duration::from_millis(1)).is_empty());
    assert_eq!(accounts.drop_late(patience), [slow.public_key]);
    assert!(!accounts.is_full());
    assert_eq!(accounts.patience(), None);
    accounts.deliver(&slow.public_key, event(2, 10));
    accounts.deliver(&quick.public_key, event(3, 10));
    assert_eq!(number(quick_sink.recv().await), 3);
    // What was taken before is there; then it hears that it has to fetch again.
    assert_eq!(number(slow_sink.recv().await), 0);
    resume(&mut accounts).await;
    assert!(matches!(slow_sink.recv().await, Some(Arrived::Disconnected { .. })));
    resume(&mut accounts).await;
    assert!(matches!(slow_sink.recv().await, Some(Arrived::Connected { .. })));
    accounts.deliver(&slow.public_key, event(4, 10));
    assert_eq!(number(slow_sink.recv().await), 4);
}

#[tokio::test]
async fn connections_that_come_and_go_behind_a_full_sink_are_bounded() {
    let (of, mut sink) = account(1);
    let mut accounts = Accounts::new("r".into());
    accounts.insert(of.clone());
    accounts.deliver(&of.public_key, event(0, 10));
    for _ in 0..10_000 {
        let reason = None;
        accounts.deliver_all(&Arrived::Disconnected { relay: "r".into(), reason });
        accounts.deliver_all(&Arrived::Connected { relay: "r".into() });
    }
    assert!(accounts.backlog <= 4, "{}", accounts.backlog);
    assert_eq!(number(sink.recv().await), 0);
    resume(&mut accounts).await;
    let mut last = sink.recv().await;
    assert!(matches!(last, Some(Arrived::Disconnected { .. })));
    while accounts.backlog > 0 {
        resume(&mut accounts).await;
        last = sink.recv().await;
    }
    assert!(matches!(last, Some(Arrived::Connected { .. })));
}

/// Of events as large as they may be, few wait, from however many relays.
#[tokio::test]
async fn what_waits_for_the_engine_is_weighed() {
    let (of, mut sink) = account(512);
    let large = mdk_wire::budget::relay::EVENT_FRAME_BYTES;
    let fit = QUEUED_BYTES / large;
    let mut relays = [Accounts::new("a".into()), Accounts::new("b".into())];
    for accounts in &mut relays {
        accounts.insert(of.clone());
    }
    for n in 0..fit as u64 + 2 {
        relays[n as usize % 2].deliver(&of.public_key, event(n, large));
    }
    assert_eq!((sink.len(), relays[0].backlog + relays[1].backlog), (fit, 2));
    // A small item waits behind a large one: the order of a relay is kept.
    relays[0].deliver(&of.public_key, event(100, 10));
    assert_eq!(sink.len(), fit);
    // An item that is taken out makes room.
    for _ in 0..fit {
        assert!(number(sink.recv().await) <= fit as u64);
    }
    for accounts in &mut relays {
        resume(accounts).await;
        assert_eq!(accounts.backlog, 0);
    }
    let mut last = [sink.recv().await, sink.recv().await, sink.recv().await].map(number);
    last.sort_unstable();
    assert_eq!(last, [fit as u64, fit as u64 + 1, 100]);
    // One that is larger than all the room takes all of it, and is not stuck.
    relays[0].deliver(&of.public_key, event(0, QUEUED_BYTES + 1));
    assert_eq!(number(sink.recv().await), 0);
    assert_eq!(of.room.0.available_permits(), QUEUED_BYTES);
}

/// Two connections of one account.
#[tokio::test]
async fn a_relay_that_floods_leaves_room_for_others() {
    let (of, mut sink) = account(512);
    let [mut loud, mut quiet] = ["loud", "quiet"].map(|relay| Accounts::new(relay.into()));
    loud.insert(of.clone());
    quiet.insert(of.clone());
    let share = QUEUE_SHARE as u64;
    for n in 0..3 * share {
        loud.deliver(&of.public_key, event(n, 10));
    }
    quiet.deliver(&of.public_key, event(1_000, 10));
    for n in (0..share).chain([1_000]) {
        assert_eq!(number(sink.recv().await), n);
    }
    // It goes on when its own are taken.
    resume(&mut loud).await;
    assert_eq!(number(sink.recv().await), share);
}
