//! Whoever cannot follow the others any more is brought back by a new invitation, and nobody else is led away by one.

use mdk_core::{OutboxItem, OutboxPurpose, RelayVerdict};
use mdk_wire::Event;

use crate::kit::acts::invited;
use crate::kit::strays::{gaps_in, noise, route};
use crate::kit::tale::{Tale, story};
use crate::kit::{self, CLOSED, received};

/// All of a tale follow a line of commits by one, and hear what each says, until nothing is retained of when they came.
fn lived(members: &'static str, admin: &str, case: &str) -> Tale {
    let mut tale = Tale::of(members, case);
    lives(&mut tale, admin);
    tale
}

fn lives(tale: &mut Tale, admin: &str) {
    for n in 0..8 {
        let commit = tale.cast.renames(admin, &format!("name {n}"));
        tale.cast.hears_all_but(admin, [&commit]);
        tale.cast.rest(5_000);
        for who in tale.cast.names() {
            let said = tale.cast.says(who, &format!("{n} by {who}"));
            tale.cast.hears_all_but(who, [&said]);
            tale.cast.rest(5_000);
        }
    }
}

fn clock(tale: &mut Tale, who: &str) -> u64 {
    mdk_core::Clock::now(&tale.cast.at(who).member.clock)
}

// shows: B4-25
/// One commit never comes. What was said before that is read late, after the Welcome has come, and keeps nobody from it; nor
/// does a clock that was a day ahead when something was heard.
#[test]
fn who_missed_a_commit_for_good_is_led_back_by_an_invitation() {
    let (member, founder) = ("admin other* gone", "gone admin* other");
    for (members, case) in
        [(member, ""), (member, "restart"), (founder, ""), (founder, "restart"), (member, "ahead")]
    {
        let mut tale = lived(members, "admin", case);
        if case == "ahead" {
            tale.plays("gone waits 1d; soon: other says; admin,gone take soon; all wait 5s");
            let right = clock(&mut tale, "admin");
            tale.cast.at("gone").member.clock.set(right);
        }
        story!(tale; "
            late: other says; admin takes late; all wait 5s
            missed: admin renames; other takes missed; all wait 5s
            removal: admin removes gone; other,gone take removal; all wait 5s
            added: admin adds gone; gone takes added.w =waits; other,gone take added; all wait 5s
            said: other says; admin,gone take said; all wait 5s
            gone reads late; gone waits 119s unasked -- more may come
            [restart] gone restarts
            gone is active; gone waits 1s led; gone accepts admin; gone waits 1s
        ");
        let said = tale.cast.end("gone").said;
        assert_eq!(said.len(), 8 * 3 + 2 + usize::from(case == "ahead"), "{said:?}");
        assert!(said.iter().all(|(_, marked)| !marked) && said.contains(&("said".into(), false)));
        tale.plays("all agree; gone speaks admin other");
    }
}

/// What waits to be said.
fn queued(tale: &mut Tale) -> Vec<OutboxItem> {
    let mut items = tale.cast.engine("carol").outbox(99).unwrap();
    items.retain(|item| matches!(item.purpose, OutboxPurpose::Message { .. }));
    items
}

// shows: OB-17, B4-25
/// What she says on a state that nobody else was ever in has not left yet: it is said to those whom she is led to, when she
/// has accepted, and is read once.
#[test]
fn what_waits_when_one_is_led_back_is_said_again_where_the_others_are() {
    let mut tale = lived("alice bob* carol", "alice", "");
    story!(tale; "
        missed: alice renames; bob takes missed; all wait 5s
        carol renews; carol waits 5s
    ");
    tale.cast.engine("carol").enable_outbox();
    tale.plays("queued: carol says");
    let [before] = queued(&mut tale).try_into().unwrap();
    // An attempt that brought nothing.
    let later = RelayVerdict::Later { reason: "unreachable".to_owned(), next_at: 0 };
    tale.cast.engine("carol").outbox_result(before.seq, kit::RELAY, later).unwrap();
    story!(tale; "
        removal: alice removes carol; bob,carol take removal; all wait 5s
        added: alice adds carol; carol takes added.w =waits; bob,carol take added; all wait 5s
        said: bob says; alice,carol take said; all wait 5s; carol waits 120s led
    ");
    assert!(queued(&mut tale).is_empty(), "nobody could read it");
    tale.plays("carol accepts alice; update: carol renews; alice,bob take update; all wait 5s");
    tale.plays("carol waits 5s");
    let [item] = queued(&mut tale).try_into().unwrap();
    assert_ne!(item.event_id, before.event_id);
    let [old, new] = [&before, &item].map(|i| Event::from_json(i.event.as_bytes()).unwrap());
    for reader in ["alice", "bob"] {
        assert_eq!(received(&tale.cast.takes(reader, &new)), ["queued"]);
        assert!(received(&tale.cast.takes(reader, &old)).is_empty());
    }
    let said = tale.cast.end("carol").said;
    assert_eq!(said.iter().filter(|(text, _)| text == "queued").count(), 1);
}

// shows: B4-25
/// The answer to a leave never comes, and the admin who gave it asks back.
#[test]
fn who_has_left_without_an_answer_is_asked_back() {
    let mut tale = lived("alice bob* carol", "alice", "");
    story!(tale; "
        leave: carol leaves; answer: alice answers leave; alice takes answer; carol waits 120s
        added: alice adds carol; carol takes added.w =waits; said: alice says; carol takes said
        carol waits 119s unasked; carol is leaving; carol waits 1s led
        carol accepts; carol is active; alice speaks carol
    ");
}

// What follows is of those who are where others are, and are not led away.

// rule: B4-25
/// A founder who alone says and changes anything is where the others are, whatever an old copy of another admin comes to.
#[test]
fn a_founder_who_speaks_alone_is_not_led_away_by_a_shorter_branch() {
    let mut tale = Tale::of("alice bob* carol", "");
    tale.plays("bob copies copy");
    for _ in 0..9 {
        story!(tale; "
            on: alice renames; bob,carol take on; all wait 5s
            news: alice says; bob,carol take news; all wait 5s
        ");
    }
    tale.plays("
        copy waits 210s; copy removes alice; stray: copy adds alice; elsewhere: copy says
        alice takes elsewhere; alice takes stray.w =waits; alice waits 1000s unasked; alice is active
    ");
}

// rule: B4-25
/// Others go on where carol is, if only by a word or by a commit, since an invitation of another branch came: she stays.
#[test]
fn who_is_where_others_go_on_is_not_led_away() {
    for case in ["", "restart", "commits", "commits restart"] {
        let mut tale = lived("alice bob* carol", "alice", case);
        tale.plays("alice copies copy; copy removes carol");
        tale.repeats(20, "copy renames");
        story!(tale; "
            stray: copy adds carol; elsewhere: copy says
            carol takes elsewhere; carol takes stray.w =waits; all wait 60s
            [commits] here: bob renames
            [!commits] here: bob says
            alice,carol take here; all wait 5s
            [restart] carol restarts
            carol waits 130s x4 unasked; carol takes stray.w =waits; carol is active
            bob speaks carol
        ");
    }
}

// rule: B4-25
/// What leads no further than we are by ourselves waits on, however still it is; a commit more, and it leads there.
#[test]
fn a_branch_that_is_no_longer_leads_nobody_away() {
    for (between, case) in [(0, ""), (2, ""), (3, ""), (4, "leads")] {
        let mut tale = lived("alice bob* carol", "alice", case);
        tale.plays("alice copies copy");
        for _ in 0..4 {
            tale.plays("ours: alice renames; bob,carol take ours; all wait 5s");
        }
        story!(tale; "
            one: alice says; bob,carol take one; all wait 5s
            two: bob says; alice,carol take two; all wait 5s -- two who speak outweigh a commit more
            copy waits 270s; carol waits 300s; copy removes carol
        ");
        tale.repeats(between, "copy renames");
        story!(tale; "
            stray: copy adds carol; elsewhere: copy says
            carol takes elsewhere; carol takes stray.w =waits
            [leads] carol waits 130s asked
            [!leads] carol waits 130s unasked; carol waits 1000s unasked; carol is active
        ");
    }
}

// rule: B4-25
/// Whoever invites is nobody who may, as far as we know: it waits on.
#[test]
fn an_invitation_of_no_admin_that_is_known_leads_nobody_away() {
    let mut tale = Tale::of("alice bob* carol", "");
    tale.plays("added: alice adds dave; dave joins added.w; bob,carol take added; all wait 5s");
    lives(&mut tale, "alice");
    // Carol misses that dave becomes an admin.
    story!(tale; "
        promoted: alice promotes dave; bob,dave take promoted; all wait 5s
        dave removes carol; m1 m2 m3 m4: dave renames; added: dave adds carol
        carol takes added.w =waits; carol waits 130s x4 unasked; carol is active
    ");
}

// What follows is of what shows that the others are elsewhere: when it has to have come, and from when.

/// All three follow a line of commits until nothing is retained of when they came, and were last heard now.
fn settled(case: &str) -> Tale {
    let mut tale = Tale::of("alice bob* carol", case);
    for _ in 0..8 {
        story!(tale; "
            on: alice renames; said: bob says
            bob takes on; carol takes on said; alice takes said; all wait 5s
        ");
    }
    tale
}

// shows: B4-25, F1-13
/// The relay of the group answers only when the invitation has waited for long: what comes then leads to the others. Until
/// then the invitation is not opened at every tick.
#[test]
fn an_invitation_that_waited_in_vain_is_taken_up_when_a_sign_of_the_others_comes() {
    for case in ["", "restart"] {
        let mut tale = settled(case);
        let heard = clock(&mut tale, "carol") - 5;
        story!(tale; "
            missed: alice renames; all wait 200s; removal: alice removes carol
            added: alice adds carol; bob takes missed removal added
        ");
        let made = clock(&mut tale, "alice");
        tale.plays("carol takes added.w =waits; carol waits 130s unasked");
        // (to open it writes: what it is addressed to is used up and put back)
        let log = format!("{}-wal", tale.cast.at("carol").path.display());
        let before = std::fs::read(&log).unwrap();
        tale.plays("carol waits 10s x20 unasked");
        assert!(std::fs::read(&log).unwrap() == before, "opened again");
        // Of long before the invitation: it may be anybody's.
        let old = noise(&route(&tale.event("missed")), 64, made - 121);
        assert_eq!(tale.cast.takes("carol", &old).verdict, CLOSED);
        story!(tale; "
            carol waits 200s unasked
            [restart] carol restarts; carol waits 10s unasked
            carol takes added =closed; carol waits 1s asked
        ");
        let told = gaps_in(tale.told("carol").events.iter().map(|e| &e.body));
        assert_eq!(told, [(0, heard, made)]);
        tale.plays("carol accepts; carol speaks alice bob");
    }
}

// rule: B4-25
/// Carol is where the others are, and may hold what a stranger sent, however it was dated. The relay of the group is away for
/// some minutes in which she is removed and invited again: what was said to her before that is still for her.
#[test]
fn what_a_stranger_sent_before_leads_nobody_away_from_a_relay_that_is_silent() {
    for ahead in [None, Some(0), Some(86_400)] {
        let mut tale = settled("");
        tale.plays("heard: bob says; alice,carol take heard; all wait 5s");
        if let Some(ahead) = ahead {
            let at = clock(&mut tale, "carol") + ahead;
            let stray = noise(&route(&tale.event("heard")), 64, at);
            assert_eq!(tale.cast.takes("carol", &stray).verdict, CLOSED);
        }
        story!(tale; "
            all wait 300s; said: bob says; alice takes said
            removal: alice removes carol; added: alice adds carol; bob takes removal added
            carol takes added.w =waits; carol waits 10s x30 unasked; carol waits 1000s unasked
            carol reads said; carol takes removal
        ");
        let at_once = invited(tale.told("carol"));
        assert!(at_once || invited(&tale.cast.waits("carol", 10_000)), "{ahead:?}");
        tale.plays("carol accepts; carol takes added; carol speaks alice bob");
    }
}
