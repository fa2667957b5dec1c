//! The invariants of every epoch, and a joiner's checks: B5, B4.

use super::*;
use RejectCode::{
    AuthorizationFailed as Forbidden, InvalidEncoding as Encoding, InvalidSignature as Signature,
    UnsupportedRequiredFeature as Unsupported,
};

pub(super) const CASES: &[Case] = &[
    case("B4-7", Signature, |bad| {
        let mut group = group();
        let proof = if bad { ProofState::Missing } else { ProofState::Valid };
        change_leaf(&mut group, MEMBER, |leaf| leaf.proof = proof);
        judge_welcome(&group, ADMIN)
    }),
    case("B4-9", Forbidden, |bad| judge_welcome(&group(), if bad { MEMBER } else { OTHER_ADMIN })),
    case("B5-1a", Encoding, |bad| state(|group| group.has_required_capabilities = !bad)),
    case("B5-1b", Encoding, |bad| {
        state(|group| group.required_extensions.retain(|id| !bad || *id != 0x0006))
    }),
    case("B5-1c", Encoding, |bad| {
        // We ask for SelfRemove, but others need not (recorded: accepted without 0x000A).
        state(|group| assert!(group.required_proposals.remove(if bad { &0x0008 } else { &0x000A })))
    }),
    case("B5-2a", Encoding, |bad| state(|group| group.has_dictionary = !bad)),
    case("B5-2b", Signature, |bad| {
        require_all_but(if bad { id::IDENTITY_PROOF } else { id::LIFECYCLE })
    }),
    case("B5-2c", Encoding, |bad| {
        require_all_but(if bad { id::ADMIN_POLICY } else { id::PROFILE })
    }),
    case("B5-3a", Encoding, |bad| {
        entry(if bad { id::IDENTITY_PROOF } else { 0x9abc }, vec![0; 104])
    }),
    case("B5-3b", Encoding, |bad| entry(if bad { id::MEDIA_V1 } else { 0x9abc }, vec![])),
    case("B5-3c", Encoding, |bad| entry(if bad { id::SAFE_AAD } else { 0x9abc }, vec![0])),
    case("B5-4a", Encoding, |bad| {
        let mut data = admins(&[1, 2]);
        data[1..].rotate_left(if bad { 32 } else { 0 });
        entry(id::ADMIN_POLICY, data)
    }),
    case("B5-4b", Encoding, |bad| entry(id::ADMIN_POLICY, admins(&[1, if bad { 9 } else { 3 }]))),
    case("B5-5a", Encoding, |bad| entry(id::RETENTION, vec![0; if bad { 9 } else { 8 }])),
    case("B5-5b", Unsupported, |bad| {
        state(|group| {
            group.components.insert(0x9abc, vec![1]);
            if bad {
                require(group, 0x9abc);
            }
        })
    }),
    case("B5-5c", Encoding, |bad| {
        state(|group| {
            require(group, id::RETENTION);
            if !bad {
                group.components.insert(id::RETENTION, vec![0; 8]);
            }
        })
    }),
    case("B5-5d", Encoding, |bad| entry(0xF000, vec![0; if bad { 4097 } else { 4096 }])),
    case("B5-6a", Unsupported, |bad| {
        // 0x0003 belongs to the base protocol: nobody lists it.
        let extension = if bad { 0xF123 } else { 0x0003 };
        state(|group| assert!(group.required_extensions.insert(extension)))
    }),
    case("B5-6b", Unsupported, |bad| {
        let component = if bad { id::PROFILE } else { id::AVATAR };
        state(|group| {
            change_leaf(group, MEMBER, |leaf| assert!(leaf.components.remove(&component)))
        })
    }),
    case("B5-6c", Unsupported, |bad| {
        // Every leaf here has the role "receive", and none has "send".
        let role = if bad { 2 } else { 1 };
        entry(id::AGENT_STREAM, vec![role, 7, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0])
    }),
    case("B5-7", Encoding, |bad| {
        let extension = if bad { 0xF2EE } else { 0xF123 };
        state(|group| assert!(group.context_extensions.insert(extension)))
    }),
];

fn state(change: impl FnOnce(&mut GroupView)) -> Result<(), Rejection> {
    let mut group = group();
    change(&mut group);
    check_invariants(&group)
}

fn entry(component: u16, data: Vec<u8>) -> Result<(), Rejection> {
    state(|group| drop(group.components.insert(component, data)))
}

fn require_all_but(component: u16) -> Result<(), Rejection> {
    let rest: Vec<u16> = REQUIRED.into_iter().filter(|id| *id != component).collect();
    entry(id::APP_COMPONENTS, list(&rest))
}

fn require(group: &mut GroupView, component: u16) {
    let ids: Vec<u16> = REQUIRED.into_iter().chain([component]).collect();
    group.components.insert(id::APP_COMPONENTS, list(&ids));
}

fn change_leaf(group: &mut GroupView, index: u32, change: impl FnOnce(&mut LeafView)) {
    change(Arc::make_mut(group.leaves.get_mut(&index).unwrap()));
}

#[test]
fn each_role_bit_has_its_extension() {
    for (bit, extension) in [(1u8, 0xF2D1u16), (2, 0xF2D2), (4, 0xF2D4)] {
        for present in [false, true] {
            let verdict = state(|group| {
                let policy = vec![bit, 7, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0];
                group.components.insert(id::AGENT_STREAM, policy);
                for index in 0..5 {
                    change_leaf(group, index, |leaf| {
                        leaf.extensions = [0x0006].into();
                        if present {
                            leaf.extensions.insert(extension);
                        }
                    });
                }
            });
            assert_eq!(verdict.is_ok(), present, "role {bit}");
        }
    }
}

#[test]
fn a_required_list_may_name_itself() {
    // A leaf whose list does not name 0x0001 still has a list.
    let verdict = state(|group| {
        require(group, id::APP_COMPONENTS);
        change_leaf(group, MEMBER, |leaf| assert!(leaf.components.remove(&id::APP_COMPONENTS)));
    });
    assert_eq!(verdict, Ok(()));
}
