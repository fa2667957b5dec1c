//! Proposals and commits of real members that break exactly one rule of D4 (or of B5, in the state they lead to).
//!
//! Three rules have no commit here, because OpenMLS makes none that gets as far: D4-3a and D4-3b (it refuses to
//! commit the committer's own leaving, and a SelfRemove of an admin is refused before anything could refer to it),
//! D4-5c (both sides compute the dictionary from the operations). Their cases are those of `policy/tests`.

use mdk_core::RejectCode::{
    AuthorizationFailed as Forbidden, InvalidEncoding as Encoding, InvalidSignature as Signature,
    UnsupportedRequiredFeature as Unsupported,
};
use mdk_core::{DeferredReason as Wait, GroupState, Verdict};
use mdk_wire::v2::{IdentityProof, component_id as id};
use mdk_wire::{Event, Keys};
use openmls::group::MlsGroup;
use openmls::messages::external_proposals::{ExternalProposal, JoinProposal};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    BasicCredential, Extension, ExtensionType, LeafNodeIndex, LeafNodeParameters, MlsMessageBodyIn,
    MlsMessageIn, Proposal, ProposalType, Propose, RequiredCapabilitiesExtension,
    SenderExtensionIndex,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider;

use crate::kit::foreign::{Change, Foreign, LIST, list, remove, update};
use crate::kit::foreign_commits::{
    Handmade, World, admins, by_value, commits_context, context_with, profile, rename, self_update,
    vlbytes,
};

fn ann(w: &mut World, proposals: Vec<Proposal>) -> Event {
    w.ann.commit_event(by_value(proposals))
}

fn adds(w: &mut World, new: &Foreign) -> Event {
    w.ann.commit_event(Change { adds: vec![new.key_package()], ..self_update() })
}

fn by_hand(peer: &Foreign, proposal: Vec<u8>) -> Event {
    peer.seals(&Handmade::proposal(peer, proposal).bytes(peer))
}

#[test]
fn standalone_proposals() {
    let mut w = World::new();
    w.breaks("D4-1a", Forbidden, |w| {
        let new = Foreign::new();
        let join = JoinProposal::new::<<OpenMlsRustCrypto as OpenMlsProvider>::StorageProvider>(
            new.key_package(),
            w.ann.mls().group_id().clone(),
            w.ann.mls().epoch(),
            &new.signer,
        );
        w.ann.seals(&join.unwrap().tls_serialize_detached().unwrap())
    });
    w.breaks("D4-0", Forbidden, |w| {
        let removal = ExternalProposal::new_remove::<OpenMlsRustCrypto>(
            LeafNodeIndex::new(2),
            w.ann.mls().group_id().clone(),
            w.ann.mls().epoch(),
            &Foreign::new().signer,
            SenderExtensionIndex::new(0),
        );
        w.ann.seals(&removal.unwrap().tls_serialize_detached().unwrap())
    });
    // (who may propose what, kind by kind, is the table of `policy/tests`)
    w.breaks("D4-1b", Forbidden, |w| w.max.proposal_event(Propose::Remove(1)));
    w.breaks("D4-1b", Forbidden, |w| w.max.update_event(id::PROFILE, Some(&profile("x"))));
    w.breaks("D4-1c", Forbidden, |w| w.ann.update_event(id::LIFECYCLE, Some(&[1])));
    // ReInit, ExternalInit, AppEphemeral, custom, and PreSharedKey (external, id "psk", nonce): OpenMLS would not send them.
    let kinds = [
        [&[0, 5][..], &vlbytes(&[1; 16]), &[0, 1, 0, 1, 0]].concat(),
        [&[0, 6][..], &vlbytes(&[9; 32])].concat(),
        [&[0, 9, 0x80, 1][..], &vlbytes(b"data")].concat(),
        [&[0xF0, 0][..], &vlbytes(b"data")].concat(),
        [&[0, 4, 1][..], &vlbytes(b"psk"), &vlbytes(&[5; 32])].concat(),
    ];
    for body in kinds {
        w.breaks("D4-1d", Unsupported, |w| by_hand(&w.ann, body));
    }
    w.breaks("D4-5b", Encoding, |w| {
        let context = context_with(&w.ann, |all| {
            all.retain(|e| !matches!(e, Extension::AppDataDictionary(_)))
        });
        w.ann.proposal_event(Propose::GroupContextExtensions(context))
    });
    w.breaks("D4-5d", Encoding, |w| w.ann.update_event(id::ADMIN_POLICY, None));
    w.breaks("D4-5f", Encoding, |w| w.ann.update_event(id::RETENTION, Some(&[0; 7])));
    w.breaks("D4-7b", Signature, |w| {
        let new = Foreign::with_leaf(|leaf| drop(leaf.entries().remove(&id::IDENTITY_PROOF)));
        w.ann.proposal_event(Propose::Add(new.key_package()))
    });
    w.breaks("D4-7e", Signature, |w| {
        let mut leaf = w.ann.leaf.clone();
        leaf.entries().remove(&id::IDENTITY_PROOF);
        w.ann.proposal_event(Propose::Update(leaf.parameters()))
    });
    w.goes_on();
}

#[test]
fn who_commits_what() {
    let mut w = World::new();
    w.breaks("D4-1a", Forbidden, |w| {
        // An external commit, with a GroupInfo that a member leaked.
        let info =
            w.ann.mls().export_group_info(w.ann.provider.crypto(), &w.ann.signer, true).unwrap();
        let bytes = info.tls_serialize_detached().unwrap();
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&bytes).unwrap();
        let MlsMessageBodyIn::GroupInfo(info) = message.extract() else { panic!("no GroupInfo") };
        let new = Foreign::new();
        let (_, bundle) = MlsGroup::external_commit_builder()
            .build_group(&new.provider, info, new.credential())
            .unwrap()
            .leaf_node_parameters(new.leaf.parameters())
            .load_psks(new.provider.storage())
            .unwrap()
            .build(new.provider.rand(), new.provider.crypto(), &new.signer, |_| true)
            .unwrap()
            .finalize(&new.provider)
            .unwrap();
        w.ann.seals(&bundle.into_commit().tls_serialize_detached().unwrap())
    });
    w.breaks("D4-1b", Forbidden, |w| w.max.commit_event(by_value(vec![rename("x")])));
    w.breaks("D4-1b", Forbidden, |w| {
        w.max.commit_event(Change { removes: vec![1], ..self_update() })
    });
    w.breaks("D4-1b", Forbidden, |w| {
        let adds = vec![Foreign::new().key_package()];
        w.max.commit_event(Change { adds, ..self_update() })
    });
    w.breaks("2.6-1", Encoding, |w| {
        w.ann.commit_event(Change { removes: vec![1], ..self_update() })
    });
    w.breaks("D4-4", Encoding, |w| {
        let policy = admins(&[w.ann.key(), w.ada.key(), Keys::generate().public_key()]);
        ann(w, vec![update(id::ADMIN_POLICY, &policy)])
    });
    w.breaks("D4-7d", Forbidden, |w| {
        let mut credential = w.max.credential();
        credential.credential = BasicCredential::new(w.ann.key().as_bytes().to_vec()).into();
        let leaf = LeafNodeParameters::builder().with_credential_with_key(credential).build();
        w.max.commit_event(Change { leaf: Some(leaf), ..self_update() })
    });
    w.breaks("D4-7e", Signature, |w| {
        let mut leaf = w.max.leaf.clone();
        leaf.entries().remove(&id::IDENTITY_PROOF);
        w.max.commit_event(Change { leaf: Some(leaf.parameters()), ..self_update() })
    });
    w.breaks("D4-7e", Signature, |w| {
        // A proof of the right account for another key.
        let proof = IdentityProof::sign(&w.max.keys, w.ann.signer.public(), 1).encode().unwrap();
        let mut leaf = w.max.leaf.clone();
        leaf.entries().insert(id::IDENTITY_PROOF, proof);
        w.max.commit_event(Change { leaf: Some(leaf.parameters()), ..self_update() })
    });
    // The dictionary that the commit really makes is not what its proposal says: the tag tells.
    w.breaks("D4-7", Signature, |w| {
        let updates = Some(vec![(id::PROFILE, Some(profile("other")))]);
        w.ann.commit_event(Change { updates, path: false, ..by_value(vec![rename("x")]) })
    });
    w.breaks("D4-2", Forbidden, |w| {
        // An admin's proposal, which our engine has verified, committed by somebody who is none.
        let proposal = w.ann.update_event(id::PROFILE, Some(&profile("x")));
        w.us.applies(&proposal);
        w.max.follows(&proposal);
        w.max.commit_event(Change::by_reference())
    });
    w.goes_on();
}

#[test]
fn added_leaves() {
    let mut w = World::new();
    w.breaks("D4-7a", Encoding, |w| {
        adds(
            w,
            &Foreign::with_leaf(|leaf| leaf.credential = BasicCredential::new(vec![2; 31]).into()),
        )
    });
    w.breaks("D4-7a", Encoding, |w| {
        // 32 bytes that are no point of the curve.
        adds(
            w,
            &Foreign::with_leaf(|leaf| {
                leaf.credential = BasicCredential::new(vec![0xff; 32]).into()
            }),
        )
    });
    w.breaks("D4-7b", Signature, |w| {
        adds(w, &Foreign::with_leaf(|leaf| drop(leaf.entries().remove(&id::IDENTITY_PROOF))))
    });
    w.breaks("D4-7b", Signature, |w| {
        let stolen = w.max.leaf.entries()[&id::IDENTITY_PROOF].clone();
        adds(w, &Foreign::with_leaf(|leaf| drop(leaf.entries().insert(id::IDENTITY_PROOF, stolen))))
    });
    w.breaks("D4-7c", Unsupported, |w| {
        let listed: Vec<u16> = [1].into_iter().chain(LIST).filter(|id| *id != 0x8001).collect();
        adds(w, &Foreign::with_leaf(|leaf| leaf.set_list(&listed)))
    });
    w.goes_on();
}

#[test]
fn components() {
    let mut w = World::new();
    fn requires(w: &mut World, ids: &[u16]) -> Event {
        ann(w, vec![update(id::APP_COMPONENTS, &list(ids))])
    }
    fn context(w: &mut World, extensions: &[ExtensionType], proposals: &[ProposalType]) -> Event {
        let required = RequiredCapabilitiesExtension::new(extensions, proposals, &[]);
        let context =
            context_with(&w.ann, |all| all[0] = Extension::RequiredCapabilities(required));
        let bytes = commits_context(&mut w.ann, context).unwrap();
        w.ann.seals(&bytes)
    }
    w.breaks("D4-5a", Encoding, |w| ann(w, vec![rename("a"), rename("b")]));
    w.breaks("D4-5d", Encoding, |w| ann(w, vec![remove(id::LIFECYCLE)]));
    // The admin list is read first.
    w.breaks("B5-4a", Encoding, |w| ann(w, vec![remove(id::ADMIN_POLICY)]));
    w.breaks("D4-5d", Encoding, |w| ann(w, vec![remove(id::APP_COMPONENTS)]));
    w.breaks("D4-5e", Encoding, |w| ann(w, vec![remove(id::PROFILE)]));
    w.breaks("D4-5f", Encoding, |w| ann(w, vec![update(id::RETENTION, &[0; 9])]));
    w.breaks("B5-4a", Encoding, |w| ann(w, vec![update(id::ADMIN_POLICY, &[0])]));
    w.breaks("D4-6c", Encoding, |w| ann(w, vec![update(id::LIFECYCLE, &[0])]));
    w.breaks("B5-1c", Encoding, |w| context(w, &[ExtensionType::AppDataDictionary], &[]));
    w.breaks("B5-2b", Signature, |w| requires(w, &[0x8001, 0x8003]));
    w.breaks("B5-2c", Encoding, |w| requires(w, &[0x8001, 0x8009]));
    w.breaks("B5-3a", Encoding, |w| ann(w, vec![update(id::IDENTITY_PROOF, &[0; 104])]));
    w.breaks("B5-3b", Encoding, |w| ann(w, vec![update(id::MEDIA_V1, &[0])]));
    w.breaks("B5-3c", Encoding, |w| ann(w, vec![update(id::SAFE_AAD, &[0])]));
    w.breaks("B5-5b", Unsupported, |w| requires(w, &[0x8001, 0x8003, 0x8009, 0x9abc]));
    w.breaks("B5-5c", Encoding, |w| requires(w, &[0x8001, 0x8003, 0x8005, 0x8009]));
    w.breaks("D4-5a", Encoding, |w| {
        // One by reference, one by value.
        let proposal = w.ann.update_event(id::PROFILE, Some(&profile("a")));
        w.us.applies(&proposal);
        w.ann.commit_event(Change { by_reference: true, ..by_value(vec![rename("b")]) })
    });
    w.goes_on();
}

fn disband(w: &World) -> Change {
    let proposals =
        vec![update(id::LIFECYCLE, &[1]), update(id::ADMIN_POLICY, &admins(&[w.ann.key()]))];
    Change { removes: vec![1, 2, 3], ..by_value(proposals) }
}

fn without_lifecycle() -> World {
    World::with(|context, _| context.omit(id::LIFECYCLE))
}

fn enabling() -> Vec<Proposal> {
    vec![update(id::APP_COMPONENTS, &list(&LIST)), update(id::LIFECYCLE, &[0])]
}

#[test]
fn lifecycle() {
    let mut w = World::new();
    w.breaks("D4-6d", Encoding, |w| {
        let mut change = disband(w);
        change.proposals.push(rename("the end"));
        w.ann.commit_event(change)
    });
    w.breaks("D4-6d", Encoding, |w| {
        // A leaf stays: ours.
        let change = Change { removes: vec![1, 2], ..disband(w) };
        w.ann.commit_event(change)
    });
    w.breaks("D4-6d", Encoding, |w| {
        let mut change = disband(w);
        change.adds.push(Foreign::new().key_package());
        w.ann.commit_event(change)
    });
    w.breaks("D4-1b", Forbidden, |w| {
        w.max.commit_event(by_value(vec![update(id::LIFECYCLE, &[1])]))
    });
    w.goes_on();
    let mut w = without_lifecycle();
    w.breaks("D4-6b", Encoding, |w| {
        let change = disband(w);
        w.ann.commit_event(change)
    });
    w.breaks("D4-6e", Encoding, |w| {
        let mut proposals = enabling();
        proposals.push(rename("x"));
        ann(w, proposals)
    });
    w.goes_on();
}

/// rule: D4-6a: a group that was disbanded before we came takes no commit.
#[test]
fn disbanded_parent() {
    let mut w = World::with(|context, _| context.set(id::LIFECYCLE, [1]));
    let event = w.max.commit_event(self_update());
    let found = w.judges(&event);
    assert_eq!(found, Ok((Forbidden, "D4-6a")));
}

/// rule: B5-6b by a commit: what is newly required must be understood by all who stay.
#[test]
fn requiring_more() {
    let (mut ann, mut us) = (Foreign::new(), crate::kit::Member::new("us"));
    let old = Foreign::with_leaf(|leaf| leaf.set_list(&[&[1][..], &LIST].concat()));
    let context = ann.context();
    ann.founds(&context);
    let events = [old.key_package_event(), us.key_package()];
    let welcome = ann.invites(&events.each_ref());
    us.joins(&[ann.wraps(&welcome, &events[1])]);
    let mut longer = LIST.to_vec();
    longer.insert(3, id::RETENTION);
    let more = vec![update(id::APP_COMPONENTS, &list(&longer)), update(id::RETENTION, &[0; 8])];
    let event = ann.commit_event(by_value(more));
    let Verdict::Rejected(rejection) = us.takes(&event).verdict else { panic!("applied") };
    assert_eq!((rejection.code, rejection.rule), (Unsupported, "B5-6b"));
}

/// The same shapes without the fault apply.
// shows: the quoted rules
#[test]
fn faultless_twins_apply() {
    type Good = (&'static str, fn() -> World, fn(&mut World) -> Event);
    let cases: &[Good] = &[
        ("D4-2", World::new, |w| w.max.commit_event(self_update())),
        ("D4-4", World::new, |w| {
            let policy = admins(&[w.ann.key(), w.max.key()]);
            ann(w, vec![update(id::ADMIN_POLICY, &policy)])
        }),
        ("2.6-1", World::new, |w| {
            let policy = update(id::ADMIN_POLICY, &admins(&[w.ann.key()]));
            w.ann.commit_event(Change { removes: vec![1], ..by_value(vec![policy]) })
        }),
        ("D4-5a", World::new, |w| ann(w, vec![rename("a"), update(id::RETENTION, &[0; 8])])),
        ("D4-5e", World::new, |w| {
            let fewer: Vec<u16> = LIST.into_iter().filter(|id| *id != 0x8001).collect();
            ann(w, vec![remove(id::PROFILE), update(id::APP_COMPONENTS, &list(&fewer))])
        }),
        ("D4-6e", without_lifecycle, |w| ann(w, enabling())),
        ("D4-7b", World::new, |w| adds(w, &Foreign::new())),
        ("D4-7b", World::new, |w| {
            // A second leaf of an account that is there.
            let again = Foreign::of(w.max.keys.clone());
            adds(w, &again)
        }),
        ("B5-1b", World::new, |w| {
            let context = context_with(&w.ann, |_| ());
            let bytes = commits_context(&mut w.ann, context).unwrap();
            w.ann.seals(&bytes)
        }),
        ("D4-1c", World::new, |w| {
            w.ann.commit_event(Change { path: false, ..by_value(vec![rename("no path")]) })
        }),
    ];
    for (rule, world, make) in cases {
        let mut w = world();
        let event = make(&mut w);
        assert_eq!(w.us.takes(&event).verdict, Verdict::Applied, "{rule}");
        assert_eq!(w.epoch(), 2, "{rule}");
    }
    let mut w = World::new();
    let change = disband(&w);
    let event = w.ann.commit_event(change);
    w.us.applies(&event);
    assert_ne!(w.us.info(&w.id).state, GroupState::Active);
}

/// D4-3a as far as it goes: we never have what such a commit refers to.
#[test]
fn leaving_in_commits() {
    let mut w = World::new();
    // ada is an admin: her SelfRemove is refused, so a commit with it cannot be followed.
    let leave = w.ada.leave_event();
    assert_eq!(w.refuses(&leave), (Forbidden, "2.7-1"));
    w.max.follows(&leave);
    let commit = w.max.commit_event(Change::by_reference());
    assert_eq!(w.us.takes(&commit).verdict, Verdict::Deferred(Wait::MissingParent));
    assert_eq!(w.epoch(), 1);
}
