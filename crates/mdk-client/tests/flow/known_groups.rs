//! The groups that are known without asking the engine.

use mdk_client::KnownGroups;
use mdk_core::GroupState;
use mdk_wire::GroupId;

use super::kit::*;

#[tokio::test]
async fn groups_are_known_as_they_were_last_read_and_in_the_order_of_the_engine() {
    let relay = relay().await;
    let alice = Person::new(options(&[relay.url()])).await;
    let known = KnownGroups::default();
    let ids =
        |known: &KnownGroups| known.all().into_iter().map(|group| group.id).collect::<Vec<_>>();
    let (first, second) =
        (alice.creates(&[relay.url()], []).await, alice.creates(&[relay.url()], []).await);
    alice.with(|engine| {
        let last = known.read_all(engine).unwrap();
        assert_eq!(last, engine.last_cursor().unwrap());
        assert_eq!(known.all(), engine.groups(None).unwrap());
    });
    let third = alice.creates(&[relay.url()], []).await;
    assert!(!known.contains(&third));

    // A change is not known before it is read; reading keeps the place.
    let before = ids(&known);
    alice.renames(&before[0], "Dinner").await.unwrap();
    assert_eq!(known.get(&before[0]).unwrap().profile.name, "group");
    alice.with(|engine| {
        assert_eq!(known.read(engine, &before[0]).unwrap().unwrap().profile.name, "Dinner");
        known.read(engine, &third).unwrap();
    });
    assert_eq!(known.get(&before[0]).unwrap().profile.name, "Dinner");
    assert_eq!(ids(&known), [&before[..], std::slice::from_ref(&third)].concat());
    assert!(before.contains(&first) && before.contains(&second));
}

#[tokio::test]
async fn a_group_that_is_not_there_any_more_is_forgotten_when_it_is_read() {
    let relay = relay().await;
    let alice = Person::new(options(&[relay.url()])).await;
    let known = KnownGroups::default();
    let group = alice.creates(&[relay.url()], []).await;
    let disband = {
        let group = group.clone();
        move |engine: &mut mdk_core::Engine| engine.disband(&group)
    };
    alice.commit(disband).await.unwrap();
    alice.with(|engine| {
        let info = known.read(engine, &group).unwrap().unwrap();
        assert_eq!(info.state, GroupState::Disbanded);
    });
    let deleted = |engine: &mut mdk_core::Engine| engine.delete_group(&group).ok();
    alice.until("its end is final", deleted).await;
    assert!(known.contains(&group));
    alice.with(|engine| assert_eq!(known.read(engine, &group).unwrap(), None));
    assert!(!known.contains(&group) && known.all().is_empty());
    let nobody = GroupId::from_hex(&"ab".repeat(16)).unwrap();
    alice.with(|engine| assert_eq!(known.read(engine, &nobody).unwrap(), None));
}
