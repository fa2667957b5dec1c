//! The place of a message among its sender's others.

use mdk_wire::GroupId;

/// Place of a message among those of its sender.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) group: GroupId,
    pub(crate) leaf: u32,
    pub(crate) epoch: u64,
    pub(crate) generation: u32,
}

impl Place {
    /// The owner of the ratchet that it is in, in one group.
    pub(crate) const fn sender(&self) -> (u32, u64) {
        (self.leaf, self.epoch)
    }
}
