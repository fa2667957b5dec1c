//! `IdentityProof::decode` and `verify`; then a proof of our own with single bytes altered.

use std::sync::LazyLock;

use crate::shared::keys;
use mdk_wire::v2::IdentityProof;

static PROOF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    IdentityProof::sign(keys(1), &[5; 32], 1_700_000_000).encode().expect("valid time")
});

/// Runs it on one input.
pub fn run(data: &[u8]) {
    let account = keys(1).public_key();
    if let Ok(proof) = IdentityProof::decode(data) {
        assert_eq!(proof.encode().expect("what was read can be written"), data);
        if proof.verify(&proof.signer, &[5; 32]).is_ok() {
            assert!(
                proof.signer != account
                    || data[..40] == PROOF[..40]
                    || proof.created_at != 1_700_000_000
            );
        }
    }
    // Pairs of position and mask.
    let mut altered = PROOF.clone();
    for pair in data.chunks_exact(2) {
        let at = usize::from(pair[0]) % altered.len();
        altered[at] ^= pair[1];
    }
    if let Ok(proof) = IdentityProof::decode(&altered) {
        assert_eq!(proof.verify(&account, &[5; 32]).is_ok(), altered == *PROOF);
    }
}
