//! Tests of all combinations, and the rules for each.

use std::collections::HashSet;

use super::*;

const METADATA: [Metadata; 7] = [
    Metadata::Missing,
    Metadata::Unreadable,
    Metadata::Creating,
    Metadata::Filling,
    Metadata::Encrypting,
    Metadata::Ready,
    Metadata::ReadyWithPlainCopy,
];
const FILES: [FileState; 5] =
    [FileState::Absent, FileState::Empty, FileState::Cut, FileState::Plain, FileState::Whole];
const LOGS: [LogState; 3] = [LogState::Missing, LogState::Sound, LogState::Damaged];
const INTENTS: [Intent; 3] = [Intent::Open, Intent::Make, Intent::EncryptInPlace];

fn all() -> impl Iterator<Item = (Seen, Intent, Result<Next, Refusal>)> {
    FILES.into_iter().flat_map(|file| {
        LOGS.into_iter().flat_map(move |log| {
            METADATA.into_iter().flat_map(move |metadata| {
                INTENTS.into_iter().map(move |intent| {
                    let seen = Seen { file, log, metadata };
                    (seen, intent, before_keys(seen, intent))
                })
            })
        })
    })
}

#[test]
fn nothing_is_made_where_something_stands_and_nothing_is_opened_where_nothing_does() {
    for (seen, intent, next) in all() {
        let at = format!("{seen:?} {intent:?}");
        match next {
            Ok(Next::Make) => {
                assert_eq!((seen.file, seen.log), (FileState::Absent, LogState::Missing), "{at}");
                // A key that counts is not taken for the key of a new database, and neither is unreadable metadata.
                assert!(
                    !matches!(
                        seen.metadata,
                        Metadata::Ready | Metadata::ReadyWithPlainCopy | Metadata::Unreadable
                    ),
                    "{at}"
                );
                // An empty database is not taken for the result of a restore.
                assert!(seen.metadata != Metadata::Filling || intent == Intent::Make, "{at}");
            }
            Ok(Next::Connect) => {
                assert_eq!((seen.file, intent), (FileState::Whole, Intent::Open), "{at}");
                assert_ne!(
                    seen.log,
                    LogState::Damaged,
                    "what is lost in a log is not opened over: {at}"
                );
                assert_ne!(seen.metadata, Metadata::Unreadable, "{at}");
            }
            Ok(Next::Export) => {
                assert_eq!((seen.file, intent), (FileState::Plain, Intent::EncryptInPlace), "{at}");
            }
            Ok(Next::Finish) => {
                assert_eq!((seen.file, intent), (FileState::Whole, Intent::EncryptInPlace), "{at}");
                assert_ne!(seen.log, LogState::Damaged, "{at}");
            }
            Err(_) => {}
        }
    }
}

#[test]
fn every_answer_of_the_first_part_is_given() {
    let given: HashSet<String> = all().map(|(_, _, next)| format!("{next:?}")).collect();
    for next in [Next::Make, Next::Connect, Next::Export, Next::Finish] {
        assert!(given.contains(&format!("{:?}", Ok::<_, Refusal>(next))), "{next:?}");
    }
    for refusal in [
        Refusal::SourceMissing,
        Refusal::LogWithoutDatabase,
        Refusal::MetadataUnreadable,
        Refusal::KeyWithoutDatabase,
        Refusal::RestoreInterrupted,
        Refusal::DestinationExists,
        Refusal::Empty,
        Refusal::NotEncrypted,
        Refusal::Cut,
        Refusal::LogDamaged,
        Refusal::AlreadyEncrypted,
    ] {
        assert!(given.contains(&format!("{:?}", Err::<Next, _>(refusal))), "{refusal:?}");
    }
}

#[test]
fn a_key_of_somebody_is_never_used_for_a_new_database_nor_replaced() {
    for may_create in [true, false] {
        assert_eq!(begin(AtLocation::Another, may_create), Err(Refusal::KeyWithoutDatabase));
        assert_eq!(begin(AtLocation::Given, may_create), Ok(Begin::Use));
        assert_eq!(begin(AtLocation::Begun, may_create), Ok(Begin::GoOn));
    }
    for at in [AtLocation::Nothing, AtLocation::OtherPassphrase] {
        assert_eq!(begin(at, false), Err(Refusal::KeyMissing));
        assert!(matches!(begin(at, true), Ok(Begin::Fresh | Begin::Replace)));
    }
}

#[test]
fn a_key_goes_only_in_a_rekey_and_the_one_that_has_opened_the_database_never() {
    let mut given = HashSet::new();
    for metadata in METADATA {
        for keys in [Keys::One, Keys::Two] {
            for role in [KeyRole::Recorded, KeyRole::Other, KeyRole::Moved, KeyRole::Another] {
                let step = after_opening(metadata, keys, role);
                let at = format!("{metadata:?} {keys:?} {role:?}");
                match step {
                    Step::TakeOther => {
                        assert_eq!((keys, role), (Keys::Two, KeyRole::Other), "{at}")
                    }
                    Step::DropOther => {
                        assert_eq!((keys, role), (Keys::Two, KeyRole::Recorded), "{at}");
                    }
                    Step::NoteSalt | Step::NoteMove | Step::Adopt => {}
                }
                given.insert(format!("{step:?}"));
            }
        }
    }
    assert_eq!(given.len(), 5, "{given:?}");
}

#[test]
fn a_database_is_called_none_only_where_every_key_that_it_may_have_was_found() {
    let mut given = HashSet::new();
    for keys in [Keys::One, Keys::Two] {
        for bits in 0..16 {
            let bit = |n: u32| bits >> n & 1 == 1;
            let (recorded, other) = (bit(0), bit(1));
            let found = KeysFound { recorded, other, another: bit(2), unreachable: bit(3) };
            let why = none_fits(keys, found);
            let at = format!("{keys:?} {found:?}");
            let all = recorded && (other || keys == Keys::One);
            assert_eq!(why == NoKey::NotADatabase, all, "{at}");
            let one_of_two = keys == Keys::Two && recorded != other;
            assert_eq!(why == NoKey::OtherNeeded, one_of_two, "{at}");
            if !all && !one_of_two {
                assert_eq!(why == NoKey::Unreachable, found.unreachable, "{at}");
                assert!(why != NoKey::Missing || !found.another, "{at}");
            }
            given.insert(format!("{why:?}"));
        }
    }
    assert_eq!(given.len(), 5, "{given:?}");
}

#[test]
fn a_key_that_nothing_shows_to_be_ours_stays() {
    for counts in [true, false] {
        for shared in [true, false] {
            for bound in [true, false] {
                let fate = fate(OtherKey { counts, shared, bound });
                assert!(!counts || fate == Fate::Kept);
                assert!(fate != Fate::Ours || bound || shared);
                assert!(fate != Fate::Foreign || !(bound || shared || counts));
            }
        }
    }
}
