//! Welcomes to groups whose state breaks one invariant each (protocol/welcomes.md B5).

use mdk_core::RejectCode::{
    InvalidEncoding as Encoding, InvalidSignature as Signature,
    UnsupportedRequiredFeature as Unsupported,
};
use mdk_wire::{Event, Keys};

use crate::kit::foreign::{Foreign, agent_stream, listed};
use crate::kit::welcomes::{Invited, founded_by, founder, group, third};

fn admins(package: &Event, data: impl FnOnce([u8; 32], [u8; 32]) -> Vec<u8>) -> Event {
    let founder = Foreign::new();
    let data = data(*founder.key().as_bytes(), *package.pubkey().as_bytes());
    founded_by(founder, package, |c| c.set(0x8003, data))
}

#[test]
fn the_invariants_of_a_joined_group() {
    let mut bob = Invited::bob();
    bob.breaks("B5-1a", Encoding)
        .by("no RequiredCapabilities", |p| group(p, |c| c.required = None));
    bob.breaks("B5-1b", Encoding)
        .by("0x0006 not required", |p| group(p, |c| c.required = Some((vec![], vec![8]))));
    bob.breaks("B5-1c", Encoding)
        .by("0x0008 not required", |p| group(p, |c| c.required = Some((vec![6], vec![10]))));
    bob.breaks("B5-2a", Encoding).by("no dictionary", |p| group(p, |c| c.entries = None));
    bob.breaks("B5-2b", Signature)
        .by("no component list", |p| group(p, |c| drop(c.entries().remove(&1))))
        .by("0x8009 not required", |p| group(p, |c| c.set_list(&[0x8001, 0x8003, 0x8004])));
    bob.breaks("B5-2c", Encoding)
        .by("0x8003 not required", |p| group(p, |c| c.set_list(&[0x8001, 0x8004, 0x8009])));
    bob.breaks("B5-3a", Encoding)
        .by("a proof in the GroupContext", |p| group(p, |c| c.set(0x8009, [0; 104])));
    bob.breaks("B5-3b", Encoding)
        .by("0x8008 has state", |p| group(p, |c| c.set(0x8008, [1])))
        .by("0x8008 is required", |p| {
            founder(p, |l| l.set_list(&listed(0x8008)), |c| c.set_list(&listed(0x8008)))
        });
    bob.breaks("B5-3c", Encoding)
        .by("0x0002", |p| group(p, |c| c.set(2, [0])))
        .by("0x0004", |p| group(p, |c| c.set(4, [])));
    bob.breaks("B5-4a", Encoding)
        .by("no admin list", |p| group(p, |c| drop(c.entries().remove(&0x8003))))
        .by("an empty one", |p| group(p, |c| c.set(0x8003, [0])))
        .by("unsorted", |p| admins(p, |a, b| [&[0x40, 64][..], &a.max(b), &a.min(b)].concat()))
        .by("an admin twice", |p| admins(p, |a, _| [&[0x40, 64][..], &a, &a].concat()))
        .by("half a key", |p| admins(p, |a, _| [&[16][..], &a[..16]].concat()))
        .by("a longer varint than needed", |p| admins(p, |a, _| [&[0x40, 32][..], &a].concat()));
    bob.breaks("B4-10", Encoding).told_as("B5-4b").by("an admin without a leaf", |p| {
        admins(p, |a, _| {
            let other = *Keys::generate().public_key().as_bytes();
            [&[0x40, 64][..], &a.min(other), &a.max(other)].concat()
        })
    });
    bob.breaks("B5-5a", Encoding)
        .by("0x0001 unsorted", |p| group(p, |c| c.set_list(&[0x8003, 0x8001, 0x8009])))
        .by("profile not UTF-8", |p| group(p, |c| c.set(0x8001, [2, 0xff, 0xff, 0])))
        .by("profile with a byte more", |p| group(p, |c| c.set(0x8001, [0, 0, 0])))
        .by("image of half a form", |p| group(p, |c| c.set(0x8002, [1, 7, 0, 0, 0, 0])))
        .by("routing without relay", |p| {
            group(p, |c| c.set(0x8004, [[9; 32].as_slice(), &[0]].concat()))
        })
        .by("retention of 7 bytes", |p| group(p, |c| c.set(0x8005, [0; 7])))
        .by("agent stream without roles", |p| group(p, |c| c.set(0x8006, [0; 12])))
        .by("avatar of http", |p| {
            group(p, |c| c.set(0x8007, [&[10][..], b"http://a/b", &[0, 0]].concat()))
        })
        .by("media of another format", |p| group(p, |c| c.set(0x800b, [1, b'x', 0, 0])))
        .by("lifecycle 2", |p| group(p, |c| c.set(0x800c, [2])));
    bob.breaks("B5-5b", Unsupported).by("an unknown component is required", |p| {
        founder(
            p,
            |l| l.set_list(&listed(0x9abc)),
            |c| {
                c.set(0x9abc, [1]);
                c.set_list(&listed(0x9abc));
            },
        )
    });
    bob.breaks("B5-5c", Encoding)
        .by("a required component has no state", |p| group(p, |c| c.set_list(&listed(0x8005))));
    bob.breaks("B5-5d", Encoding)
        .by("4097 bytes", |p| group(p, |c| c.set(0xF000, [7; 4097])))
        .by("33 entries", |p| group(p, |c| (0..33).for_each(|n| c.set(0xF000 + n, [1]))));
    // B5-6a and B5-7 have their cases among the policy's own: OpenMLS makes no such group.
    bob.breaks("B5-6b", Unsupported)
        .by("the founder lacks a required component", |p| {
            founder(p, |l| l.set_list(&[0x8001, 0x8003, 0x8004, 0x8006, 0x8009, 0x800c]), |_| ())
        })
        .by("a third member lacks one", |p| third(p, |l| l.set_list(&[0x8003, 0x8009]), |_| ()));
    bob.breaks("B4-8", Unsupported).told_as("B5-6c").by("we lack a required role", |p| {
        founder(p, |l| l.extensions.push(0xF2D2), |c| c.set(0x8006, agent_stream(2)))
    });
    bob.breaks("B5-6c", Unsupported)
        .by("a third member lacks one", |p| third(p, |l| l.extensions = vec![6], |_| ()));
    bob.still_joins();
}
