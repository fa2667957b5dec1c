//! `welcome::recipients` and `welcome::for_recipient` on raw bytes.

use mdk_wire::{KeyPackageRef, welcome};

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let unknown = KeyPackageRef::from_bytes([0xee; 32]);
    let Ok(recipients) = welcome::recipients(data) else {
        assert!(welcome::for_recipient(data, &unknown).is_err());
        return;
    };
    for reference in recipients.iter().take(8) {
        let unique = recipients.iter().filter(|other| *other == reference).count() == 1;
        match welcome::for_recipient(data, reference) {
            Ok(short) => {
                assert!(unique && short.len() <= data.len());
                assert_eq!(
                    welcome::recipients(&short).expect("own Welcome is valid"),
                    [*reference]
                );
                if recipients.len() == 1 {
                    assert_eq!(short, data);
                }
            }
            Err(_) => assert!(!unique),
        }
    }
}
