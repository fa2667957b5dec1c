//! Proposals and commits: D4, 2.6, 2.7.

use super::*;
use RejectCode::{
    AuthorizationFailed as Forbidden, InvalidEncoding as Encoding, InvalidSignature as Signature,
    UnsupportedRequiredFeature as Unsupported,
};

pub(super) const CASES: &[Case] = &[
    case("D4-1a", Forbidden, |bad| standalone(if bad { 99 } else { ADMIN }, rename("x"))),
    case("D4-1b", Forbidden, |bad| standalone(if bad { MEMBER } else { ADMIN }, rename("x"))),
    case("D4-1c", Forbidden, |bad| {
        let disband = set(id::LIFECYCLE, vec![1]);
        let other = set(id::RETENTION, vec![0; 8]);
        standalone(ADMIN, if bad { disband } else { other })
    }),
    case("D4-1d", Unsupported, |bad| {
        standalone(ADMIN, if bad { ProposalKind::Psk } else { ProposalKind::Remove(2) })
    }),
    case("2.7-1", Forbidden, |bad| {
        standalone(if bad { ADMIN } else { MEMBER }, ProposalKind::SelfRemove)
    }),
    case("D4-2", Forbidden, |bad| {
        // An empty commit without path; with a path it is a self-update, which anybody may do.
        let path = (!bad).then(|| Arc::new(leaf(3)));
        let commit =
            CommitView { has_path: path.is_some(), path_leaf: path, ..commit(MEMBER, vec![]) };
        judge(&group(), &commit).map(|_| ())
    }),
    case("D4-3a", Forbidden, |bad| {
        let sender = if bad { OTHER_ADMIN } else { MEMBER };
        verdict(ADMIN, vec![by_reference(sender, ProposalKind::SelfRemove)])
    }),
    case("D4-3b", Forbidden, |bad| {
        let committer = if bad { MEMBER } else { 3 };
        verdict(committer, vec![by_reference(MEMBER, ProposalKind::SelfRemove)])
    }),
    case("D4-4", Encoding, |bad| {
        // 5 is in the group only if the same commit adds it.
        let mut proposals = vec![by_value(set(id::ADMIN_POLICY, admins(&[1, 5])))];
        if !bad {
            proposals.push(by_value(add(5)));
        }
        verdict(ADMIN, proposals)
    }),
    case("2.6-1", Encoding, |bad| {
        let mut proposals = vec![by_value(ProposalKind::Remove(OTHER_ADMIN))];
        if !bad {
            proposals.push(by_value(set(id::ADMIN_POLICY, admins(&[1]))));
        }
        verdict(ADMIN, proposals)
    }),
    case("D4-5a", Encoding, |bad| {
        let second = if bad { rename("b") } else { set(id::RETENTION, vec![0; 8]) };
        verdict(ADMIN, vec![by_value(rename("a")), by_reference(OTHER_ADMIN, second)])
    }),
    case("D4-5b", Encoding, |bad| {
        let mut dictionary = group().components;
        if bad {
            dictionary.remove(&id::PROFILE);
        }
        let kind = ProposalKind::GroupContextExtensions { dictionary: Some(dictionary) };
        verdict(ADMIN, vec![by_value(kind)])
    }),
    case("D4-5c", Encoding, |bad| {
        let commit = commit(ADMIN, vec![by_value(rename("a"))]);
        let mut result = apply(&group(), &commit);
        if bad {
            result.components.insert(0x9abc, vec![1]);
        }
        judge_commit(&group(), &commit, &result).map(|_| ())
    }),
    case("D4-5d", Encoding, |bad| {
        let mut parent = group();
        parent.components.insert(0x9abc, vec![1]);
        // 0x800c is not required any more, and yet it stays.
        let optional = REQUIRED.into_iter().filter(|c| *c != id::LIFECYCLE).collect::<Vec<_>>();
        parent.components.insert(id::APP_COMPONENTS, list(&optional));
        let component = if bad { id::LIFECYCLE } else { 0x9abc };
        judge(&parent, &commit(ADMIN, vec![by_value(unset(component))])).map(|_| ())
    }),
    case("D4-5e", Encoding, |bad| {
        // Un-require and remove may share a commit.
        let mut proposals = vec![by_value(unset(id::PROFILE))];
        if !bad {
            proposals.push(by_value(set(id::APP_COMPONENTS, list(&REQUIRED[1..]))));
        }
        verdict(ADMIN, proposals)
    }),
    case("D4-5f", Encoding, |bad| {
        standalone(ADMIN, set(id::RETENTION, vec![0; if bad { 7 } else { 8 }]))
    }),
    case("D4-6a", Forbidden, |bad| {
        let mut parent = group();
        parent.components.insert(id::LIFECYCLE, vec![u8::from(bad)]);
        judge(&parent, &with_path(MEMBER, leaf(3), vec![])).map(|_| ())
    }),
    case("D4-6b", Encoding, |bad| {
        let mut parent = group();
        if bad {
            parent.components.remove(&id::LIFECYCLE);
        }
        judge(&parent, &commit(ADMIN, disband(ADMIN, 1))).map(|_| ())
    }),
    case("D4-6c", Encoding, |bad| {
        if bad {
            verdict(ADMIN, vec![by_value(set(id::LIFECYCLE, vec![0]))])
        } else {
            verdict(ADMIN, disband(ADMIN, 1))
        }
    }),
    case("D4-6d", Encoding, |bad| {
        let mut proposals = disband(ADMIN, 1);
        if bad {
            proposals.push(by_value(rename("the end")));
        }
        verdict(ADMIN, proposals)
    }),
    case("D4-6e", Encoding, |bad| {
        let mut proposals = vec![
            by_value(set(id::APP_COMPONENTS, list(&REQUIRED))),
            by_value(set(id::LIFECYCLE, vec![0])),
        ];
        if bad {
            proposals.push(by_value(rename("x")));
        }
        judge(&without_lifecycle(), &commit(ADMIN, proposals)).map(|_| ())
    }),
    case("D4-7a", Encoding, |bad| add_changed(|leaf| leaf.account = leaf.account.filter(|_| !bad))),
    case("D4-7b", Signature, |bad| {
        add_changed(|leaf| leaf.proof = if bad { ProofState::Missing } else { ProofState::Valid })
    }),
    case("D4-7c", Unsupported, |bad| {
        // 0x8007 is not required; 0x8001 is.
        let component = if bad { id::PROFILE } else { id::AVATAR };
        add_changed(|leaf| assert!(leaf.components.remove(&component)))
    }),
    case("D4-7d", Forbidden, |bad| {
        let path = leaf(if bad { 4 } else { 3 });
        judge(&group(), &with_path(MEMBER, path, vec![])).map(|_| ())
    }),
    case("D4-7e", Signature, |bad| {
        let proof = if bad { ProofState::Invalid } else { ProofState::Valid };
        judge(&group(), &with_path(MEMBER, LeafView { proof, ..leaf(3) }, vec![])).map(|_| ())
    }),
];

fn add_changed(change: impl FnOnce(&mut LeafView)) -> Result<(), Rejection> {
    let mut new = leaf(5);
    change(&mut new);
    verdict(ADMIN, vec![by_value(ProposalKind::Add(Arc::new(new)))])
}

fn without_lifecycle() -> GroupView {
    let mut parent = group();
    parent.components.remove(&id::LIFECYCLE);
    parent.components.insert(id::APP_COMPONENTS, list(&REQUIRED[..4]));
    parent
}

/// The exact shape; account `n` is the committer's.
fn disband(committer: u32, n: u8) -> Vec<ProposalView> {
    let removes = (0..5).filter(|leaf| *leaf != committer).map(ProposalKind::Remove);
    [set(id::LIFECYCLE, vec![1]), set(id::ADMIN_POLICY, admins(&[n]))]
        .into_iter()
        .chain(removes)
        .map(by_value)
        .collect()
}

#[test]
fn the_disband_shape_is_exact() {
    let class = judge(&group(), &commit(ADMIN, disband(ADMIN, 1))).unwrap();
    let CommitClass { privileged, self_update, self_remove_only, disband: disbands } = class;
    assert_eq!((privileged, self_update, self_remove_only, disbands), (true, false, false, true));
    type Change = fn(&mut Vec<ProposalView>);
    let refused: &[(&str, Change)] = &[
        ("a leaf stays", |p| drop(p.pop())),
        ("the admins stay", |p| drop(p.remove(1))),
        ("a leaf twice", |p| p.push(by_value(ProposalKind::Remove(4)))),
        ("a leaf that is not there", |p| p.push(by_value(ProposalKind::Remove(77)))),
        ("a Remove by reference", |p| {
            p.pop();
            p.push(by_reference(OTHER_ADMIN, ProposalKind::Remove(4)));
        }),
        ("somebody joins", |p| p.push(by_value(add(5)))),
    ];
    for (what, change) in refused {
        let mut proposals = disband(ADMIN, 1);
        change(&mut proposals);
        let refusal = verdict(ADMIN, proposals).expect_err(what);
        // If the admin list keeps a member who goes, the coupling speaks first.
        let rule = if *what == "the admins stay" { "2.6-1" } else { "D4-6d" };
        assert_eq!(refusal.rule, rule, "{what}");
    }
}

#[test]
fn classes_of_commits() {
    let class = |commit: &CommitView| judge(&group(), commit).unwrap();
    let ordinary = CommitClass {
        privileged: false,
        self_update: true,
        self_remove_only: false,
        disband: false,
    };
    assert_eq!(class(&with_path(MEMBER, leaf(3), vec![])), ordinary);
    // An admin's self-update needs no admin.
    assert_eq!(class(&with_path(ADMIN, leaf(1), vec![])), ordinary);
    let answer = vec![by_reference(MEMBER, ProposalKind::SelfRemove)];
    assert_eq!(
        class(&with_path(3, leaf(4), answer)),
        CommitClass { self_update: false, self_remove_only: true, ..ordinary }
    );
    let privileged = CommitClass { privileged: true, self_update: false, ..ordinary };
    assert_eq!(class(&commit(ADMIN, vec![])), privileged);
    assert_eq!(class(&commit(ADMIN, vec![by_value(rename("x"))])), privileged);
    assert_eq!(
        class(&commit(ADMIN, vec![by_value(add(4))])),
        privileged,
        "a third leaf of one account"
    );
}

#[test]
fn a_non_admin_combines_nothing() {
    // A rename that an admin proposed, an Add next to a SelfRemove: each needs an admin as committer.
    let leave = || by_reference(MEMBER, ProposalKind::SelfRemove);
    for proposals in
        [vec![by_reference(ADMIN, rename("x"))], vec![leave(), by_reference(ADMIN, add(5))]]
    {
        assert_eq!(verdict(3, proposals).unwrap_err().rule, "D4-2");
    }
    assert_eq!(verdict(3, vec![leave(), by_value(rename("x"))]).unwrap_err().rule, "D4-1b");
    // A proposal of a non-admin is not healed by an admin's commit.
    assert_eq!(verdict(ADMIN, vec![by_reference(MEMBER, add(5))]).unwrap_err().rule, "D4-1b");
}

#[test]
fn the_table_of_standalone_proposals() {
    let dictionary = || Some(group().components);
    type Make = fn() -> ProposalKind;
    let kinds: &[(Make, bool)] = &[
        (|| add(5), true),
        (|| ProposalKind::Remove(3), true),
        (|| ProposalKind::Update(Arc::new(leaf(1))), true),
        (|| rename("x"), true),
        (|| set(0x9abc, vec![1, 2]), true),
        (|| set(id::LIFECYCLE, vec![1]), false),
        (|| ProposalKind::Psk, false),
        (|| ProposalKind::ReInit, false),
        (|| ProposalKind::ExternalInit, false),
        (|| ProposalKind::AppEphemeral, false),
        (|| ProposalKind::Custom, false),
    ];
    for (position, (kind, admin)) in kinds.iter().enumerate() {
        assert_eq!(standalone(ADMIN, kind()).is_ok(), *admin, "row {position}");
        assert!(standalone(MEMBER, kind()).is_err(), "row {position}");
    }
    let untouched = || ProposalKind::GroupContextExtensions { dictionary: dictionary() };
    assert!(standalone(ADMIN, untouched()).is_ok());
    assert!(standalone(MEMBER, untouched()).is_err());
    let external = ProposalView { sender: None, by_reference: true, kind: add(5) };
    assert_eq!(judge_proposal(&group(), &external).unwrap_err().rule, "D4-1a");
}
