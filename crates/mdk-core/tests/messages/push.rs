//! The tokens that wake phones: whose count, and who tells them to whom.

use mdk_core::{Clock, NewMessage, testing};
use mdk_wire::push::{
    EncryptedToken, Platform, Token, TokenKey, TokenRecord, TokenRemoval, records_content,
    removals_content,
};
use mdk_wire::{Event, GroupId, Keys, OsRandom, PublicKey, Secret, SecretVec, kind};

use crate::kit::fork::Filed;
use crate::kit::{Member, at_once, event, folder, received, refused_for};

/// Of the same account, whose phone is in the group.
fn phone(name: &'static str, number: u8) -> (Member, Keys) {
    (Member::of(name, keys(number), at_once()), keys(number))
}

fn keys(number: u8) -> Keys {
    Keys::from_secret(Secret::new([number; 32])).unwrap()
}

/// What an owner says about a token, for one group.
struct Owner<'a> {
    keys: &'a Keys,
    group: &'a GroupId,
    leaf: u32,
}

impl Owner<'_> {
    fn key(&self, server: u8) -> TokenKey {
        let (member, server) = (self.keys.public_key(), keys(server).public_key());
        TokenKey { member, leaf: self.leaf, platform: Platform::Apns, server }
    }

    fn record(&self, server: u8, owner_ts: u64) -> TokenRecord {
        let key = self.key(server);
        let token = Token { platform: key.platform, bytes: SecretVec::new(vec![1; 32]) };
        let mut record = TokenRecord {
            key,
            fingerprint: token.fingerprint(),
            relay_hint: String::new(),
            token: EncryptedToken::seal(&token, &key.server, &mut OsRandom).unwrap(),
            owner_ts,
            signature: [0; 64],
        };
        record.sign(self.group, self.keys);
        record
    }

    fn removal(&self, server: u8, owner_ts: u64) -> TokenRemoval {
        let TokenRecord { key, fingerprint, .. } = self.record(server, owner_ts);
        let mut removal = TokenRemoval { key, fingerprint, owner_ts, signature: [0; 64] };
        removal.sign(self.group, self.keys);
        removal
    }
}

/// What somebody says about tokens, as a message of this kind.
fn gossip(who: &mut Member, group: &GroupId, kind: u16, content: String) -> Event {
    testing::say_of_tokens(&mut who.engine, group, kind, &content).unwrap()
}

fn tokens(who: &mut Member, group: &GroupId, records: &[TokenRecord]) -> Event {
    gossip(who, group, kind::PUSH_TOKENS, records_content(records))
}

fn leaf(who: &mut Member, group: &GroupId, of: PublicKey) -> u32 {
    let members = who.engine.members(group).unwrap();
    members.iter().find(|member| member.public_key == of).unwrap().leaf_indexes[0]
}

/// Whose tokens a message of this member wakes, and of when they are.
fn wakes(who: &mut Member, group: &GroupId) -> Vec<(PublicKey, u64)> {
    let said = who.utters(group, "wake up").message.id;
    let records = who.engine.push_targets(group, &said).unwrap();
    records.iter().map(|record| (record.key.member, record.owner_ts)).collect()
}

/// Alice with a phone, bob with another; of her, what she signs with.
fn two() -> (Member, Keys, Member, GroupId, u32) {
    let ((mut alice, alices), (mut bob, _)) = (phone("alice", 11), phone("bob", 12));
    let group = alice.founds("g", &mut [&mut bob]);
    let at = leaf(&mut bob, &group, alice.key());
    (alice, alices, bob, group, at)
}

// shows: 2.11-11, 2.11-14
#[test]
fn a_token_that_a_member_tells_is_woken_and_nothing_is_shown_of_it() {
    let (mut alice, alices, mut bob, group, leaf) = two();
    let owner = Owner { keys: &alices, group: &group, leaf };
    let told = tokens(&mut alice, &group, &[owner.record(21, 7)]);
    let outcome = bob.applies(&told);
    assert!(outcome.events.is_empty() && received(&outcome).is_empty());
    assert_eq!(bob.texts(&group), Vec::<String>::new());
    assert_eq!(bob.info(&group).unread_count, 0);
    assert_eq!(wakes(&mut bob, &group), [(alice.key(), 7)]);
    assert_eq!(bob.engine.push_dropped(), 0);
    // A reaction wakes nobody, and neither does a message that is deleted before a relay has it.
    let said = bob.utters(&group, "hello").message.id;
    let reaction = bob.engine.react(&group, &said, "+").unwrap().message.id;
    assert!(bob.engine.push_targets(&group, &reaction).unwrap().is_empty());
    bob.engine.delete(&group, &said).unwrap();
    assert!(bob.engine.push_targets(&group, &said).unwrap().is_empty());
    // Somebody else's message is for others to wake; one's own phone sleeps.
    let heard = alice.utters(&group, "hello");
    bob.applies(&heard.event);
    assert!(bob.engine.push_targets(&group, &heard.message.id).unwrap().is_empty());
    let back = tokens(&mut bob, &group, &[owner.record(21, 7)]);
    alice.applies(&back);
    assert_eq!(wakes(&mut alice, &group), []);
}

// shows: 2.11-17
#[test]
fn an_app_says_nothing_of_tokens_itself() {
    let (mut alice, _, _, group, _) = two();
    for kind in [446, 447, 448, 449] {
        let message = NewMessage { kind, ..NewMessage::default() };
        refused_for(alice.engine.create_message(&group, message), "kind");
    }
}

// shows: 2.11-5
#[test]
fn the_greatest_stamp_counts_in_every_order() {
    for order in permutations(4) {
        let (mut alice, alices, mut bob, group, leaf) = two();
        let owner = Owner { keys: &alices, group: &group, leaf };
        let twins = [owner.record(21, 20), owner.record(21, 20)];
        let (early, removal) = (owner.record(21, 10), owner.removal(21, 15));
        let said = [
            tokens(&mut alice, &group, &[early]),
            gossip(&mut alice, &group, kind::PUSH_REMOVALS, removals_content(&[removal])),
            tokens(&mut alice, &group, &twins[..1]),
            tokens(&mut alice, &group, &twins[1..]),
        ];
        for at in order {
            bob.applies(&said[at]);
        }
        let message = bob.utters(&group, "wake up").message.id;
        let kept = bob.engine.push_targets(&group, &message).unwrap();
        let greater = twins.iter().max_by_key(|twin| twin.digest(&group)).unwrap();
        assert_eq!(kept, std::slice::from_ref(greater));
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    (0..count).fold(vec![Vec::new()], |all, next| {
        let with = |one: &Vec<usize>| {
            let one = one.clone();
            (0..=one.len()).map(move |at| {
                let mut one = one.clone();
                one.insert(at, next);
                one
            })
        };
        all.iter().flat_map(with).collect()
    })
}

// shows: 2.11-5
#[test]
fn a_removal_holds_against_what_was_signed_before_it() {
    let (mut alice, alices, mut bob, group, leaf) = two();
    let owner = Owner { keys: &alices, group: &group, leaf };
    let (removal, again) = (owner.removal(21, 20), owner.removal(21, 20));
    let removed = gossip(&mut alice, &group, kind::PUSH_REMOVALS, removals_content(&[removal]));
    bob.applies(&removed);
    // (a removal has no random part: the second one is the first)
    let twice = gossip(&mut alice, &group, kind::PUSH_REMOVALS, removals_content(&[again]));
    bob.applies(&twice);
    let earlier = tokens(&mut alice, &group, &[owner.record(21, 19)]);
    bob.applies(&earlier);
    assert_eq!(wakes(&mut bob, &group), []);
    let equal = owner.record(21, 20);
    let wins = equal.digest(&group) > owner.removal(21, 20).digest(&group);
    let told = tokens(&mut alice, &group, &[equal]);
    bob.applies(&told);
    assert_eq!(wakes(&mut bob, &group).len(), usize::from(wins));
    // Of several with one key in one message the latest counts, wherever it stands.
    let both = [owner.record(21, 22), owner.record(21, 21)];
    let told = tokens(&mut alice, &group, &both);
    bob.applies(&told);
    assert_eq!(wakes(&mut bob, &group), [(alice.key(), 22)]);
}

// shows: 2.11-9, 2.11-3, 2.11-4
#[test]
fn an_entry_counts_by_its_owner_and_not_by_who_sends_it() {
    let ((mut alice, alices), (mut bob, _)) = (phone("alice", 11), phone("bob", 12));
    let (mut carol, carols) = phone("carol", 13);
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    let alice_at = leaf(&mut bob, &group, alice.key());
    let carol_at = leaf(&mut bob, &group, carol.key());
    let owner = Owner { keys: &alices, group: &group, leaf: alice_at };
    let ahead = Clock::now_millis(&bob.clock) + 3_600_000;
    let elsewhere = GroupId::from_bytes(&[7; 16]).unwrap();
    let mut forged = owner.record(21, 5);
    forged.sign(&group, &carols);
    let wrong = [
        Owner { leaf: carol_at, ..owner }.record(21, 1),
        Owner { leaf: 77, ..owner }.record(21, 2),
        Owner { keys: &keys(14), ..owner }.record(21, 3),
        Owner { group: &elsewhere, ..owner }.record(21, 4),
        forged,
        owner.record(21, ahead + 1),
    ];
    for one in &wrong {
        let before = bob.engine.push_dropped();
        let told = gossip(
            &mut carol,
            &group,
            kind::PUSH_KNOWN_TOKENS,
            records_content(std::slice::from_ref(one)),
        );
        assert!(bob.applies(&told).events.is_empty());
        assert_eq!(bob.engine.push_dropped(), before + 1);
    }
    assert_eq!(wakes(&mut bob, &group), []);
    // Nothing of a message with too many counts; the one good entry among bad ones does.
    let full: Vec<_> = (0..31).map(|n| wrong[n % wrong.len()].clone()).collect();
    let good = [owner.record(21, ahead)];
    let told = |carol: &mut Member, records: &[TokenRecord]| {
        gossip(carol, &group, kind::PUSH_KNOWN_TOKENS, records_content(records))
    };
    let (most, more) = ([&full[..], &good].concat(), [&full[..], &good, &good].concat());
    let crowded = told(&mut carol, &more);
    bob.applies(&crowded);
    assert_eq!(wakes(&mut bob, &group), []);
    let fitting = told(&mut carol, &most);
    bob.applies(&fitting);
    assert_eq!(wakes(&mut bob, &group), [(alice.key(), ahead)]);
}

// shows: 2.11-9
#[test]
fn tokens_go_with_their_leaf() {
    let ((mut alice, _), (mut bob, _)) = (phone("alice", 11), phone("bob", 12));
    let (mut carol, carols) = phone("carol", 13);
    let group = alice.founds("g", &mut [&mut bob, &mut carol]);
    let leaf = leaf(&mut bob, &group, carol.key());
    let owner = Owner { keys: &carols, group: &group, leaf };
    let told = tokens(&mut carol, &group, &[owner.record(21, 7)]);
    bob.applies(&told);
    alice.applies(&told);
    assert_eq!(wakes(&mut bob, &group), [(carol.key(), 7)]);
    alice.removes(&group, carol.key(), &mut [&mut bob]);
    assert_eq!(wakes(&mut bob, &group), []);
    // Who remembers it may tell it again, before and after somebody else has the leaf.
    let again = |alice: &mut Member| {
        gossip(alice, &group, kind::PUSH_KNOWN_TOKENS, records_content(&[owner.record(21, 8)]))
    };
    let told = again(&mut alice);
    bob.applies(&told);
    let (mut dave, _) = phone("dave", 14);
    let package = dave.key_package();
    let added = alice.adds(&group, package, &mut [&mut bob]);
    dave.joins(&added.welcomes);
    let told = again(&mut alice);
    bob.applies(&told);
    assert_eq!(wakes(&mut bob, &group), []);
    assert_eq!(bob.engine.push_dropped(), 2);
    // Who comes back to the same leaf tells its tokens anew.
    alice.removes(&group, dave.key(), &mut [&mut bob]);
    let (mut returned, _) = phone("carol", 13);
    let package = returned.key_package();
    alice.adds(&group, package, &mut [&mut bob]);
    assert_eq!(self::leaf(&mut bob, &group, returned.key()), leaf);
    assert_eq!(wakes(&mut bob, &group), []);
}

// shows: 2.11-10
#[test]
fn of_one_device_the_eight_newest_are_kept() {
    let (mut alice, alices, mut bob, group, leaf) = two();
    let owner = Owner { keys: &alices, group: &group, leaf };
    let records: Vec<_> = (0..9).map(|n| owner.record(21 + n, 100 + u64::from(n))).collect();
    for record in &records {
        let told = tokens(&mut alice, &group, std::slice::from_ref(record));
        bob.applies(&told);
    }
    let kept = |bob: &mut Member| {
        let mut kept: Vec<_> = wakes(bob, &group).into_iter().map(|(_, when)| when).collect();
        kept.sort_unstable();
        kept
    };
    assert_eq!(kept(&mut bob), (101..=108).collect::<Vec<_>>());
    let back = tokens(&mut alice, &group, &records[..1]);
    bob.applies(&back);
    assert_eq!(kept(&mut bob), (101..=108).collect::<Vec<_>>());
    // A removal has a place too, so what it removed does not come back.
    let removal = [owner.removal(28, 200)];
    let removed = gossip(&mut alice, &group, kind::PUSH_REMOVALS, removals_content(&removal));
    bob.applies(&removed);
    let back = tokens(&mut alice, &group, &records);
    bob.applies(&back);
    assert_eq!(kept(&mut bob), [101, 102, 103, 104, 105, 106, 108]);
}

// shows: 2.11-12, 2.11-13
#[test]
fn who_joins_asks_and_is_answered_once() {
    let folder = folder();
    let ((mut alice, alices), mut bob) = (phone("alice", 11), Filed::new(folder.path(), "bob", 12));
    let (mut carol, _) = phone("carol", 13);
    let group = alice.founds("g", &mut [&mut bob.member, &mut carol]);
    let leaf = leaf(&mut carol, &group, alice.key());
    let owner = Owner { keys: &alices, group: &group, leaf };
    let told = tokens(&mut alice, &group, &[owner.record(21, 7)]);
    bob.takes(&told);
    carol.applies(&told);
    let tell = |member: &mut Member| member.engine.tell_push_tokens().unwrap();
    assert!(tell(&mut alice).is_empty(), "a founder has nobody to ask");
    // Time passes before somebody joins; what was asked at the founding is asked by then.
    let asked = [&mut bob.member, &mut carol].map(|member| {
        member.clock.advance_millis(60_000);
        member.engine.tick().unwrap();
        let [asked] = tell(member).try_into().unwrap();
        asked
    });
    alice.clock.advance_millis(60_000);
    for question in &asked {
        alice.applies(question);
    }
    bob.takes(&asked[1]);
    carol.applies(&asked[0]);
    // Alice knows no token, and the two others know of no other than those that were told.
    for member in [&mut alice, &mut bob.member, &mut carol] {
        member.clock.advance_millis(10_000);
        let answer = tell(member);
        assert_eq!(answer.len(), usize::from(member.name != "alice"), "{}", member.name);
    }

    let (mut dave, _) = phone("dave", 14);
    dave.clock.advance_millis(70_000);
    let package = dave.key_package();
    let added = alice.adds(&group, package, &mut [&mut carol]);
    bob.takes(event(&added));
    bob.waits(10_000);
    dave.joins(&added.welcomes);
    assert!(tell(&mut dave).is_empty(), "not at once");
    dave.clock.advance_millis(10_000);
    let [question] = tell(&mut dave).try_into().unwrap();
    assert!(tell(&mut dave).is_empty(), "once");
    bob.takes(&question);
    carol.applies(&question);
    assert!(tell(&mut bob.member).is_empty(), "not at once");
    bob.restarts();
    bob.member.clock.advance_millis(10_000);
    let [answer] = tell(&mut bob.member).try_into().unwrap();
    assert!(dave.applies(&answer).events.is_empty());
    assert_eq!(wakes(&mut dave, &group), [(alice.key(), 7)]);
    // Carol hears the answer before hers is due.
    carol.clock.advance_millis(1_000);
    carol.applies(&answer);
    carol.clock.advance_millis(9_000);
    assert!(tell(&mut carol).is_empty());
    // Asking again is answered after ten minutes, not sooner.
    for (after, answers) in [(500_000, 0), (200_000, 1)] {
        for clock in [&dave.clock, &bob.member.clock] {
            clock.advance_millis(after);
        }
        let question = gossip(&mut dave, &group, kind::PUSH_TOKENS, records_content(&[]));
        bob.takes(&question);
        bob.member.clock.advance_millis(10_000);
        assert_eq!(tell(&mut bob.member).len(), answers);
    }
}
