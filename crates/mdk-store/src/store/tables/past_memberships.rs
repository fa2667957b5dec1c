//! The record of a deleted group: how its membership ended, under a hash of its id.
//!
//! Each deleted group has a row of `meta`. Only a reader who knows the id already learns from it which group that was.

use mdk_wire::{GroupId, NostrGroupId, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::store::columns::guarded_debug;
use crate::{Result, StoreError, Tx};

/// The end of a membership whose group was deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EndedRow {
    /// The group had ended for everybody.
    pub disbanded: bool,
    /// The last epoch of the group that this account knew.
    pub epoch: u64,
    /// First epoch that this account could read.
    pub join_epoch: u64,
    /// The time at which it was added, as the Welcome gave it, Unix seconds.
    pub joined_at: Timestamp,
}
guarded_debug!(EndedRow { disbanded });

fn name(group: &GroupId) -> String {
    let mut hash = Sha256::new_with_prefix(b"mdk deleted group");
    hash.update(group.as_bytes());
    let mark = hash.finalize();
    let hex: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("deleted {hex}")
}

impl Tx<'_> {
    /// Notes how the membership of a group that is being deleted has ended. A later one takes the place of an earlier
    /// one.
    pub fn keep_ended(&self, group: &GroupId, row: &EndedRow) -> Result<()> {
        let mut value = [0; 25];
        value[0] = u8::from(row.disbanded);
        value[1..9].copy_from_slice(&row.epoch.to_be_bytes());
        value[9..17].copy_from_slice(&row.join_epoch.to_be_bytes());
        value[17..].copy_from_slice(&row.joined_at.to_be_bytes());
        self.set_meta(&name(group), &value)
    }

    /// The end of the last membership of a deleted group.
    pub fn ended(&self, group: &GroupId) -> Result<Option<EndedRow>> {
        let Some(value) = self.meta(&name(group))? else { return Ok(None) };
        let damaged = || StoreError::Decode { what: "deleted group" };
        let value: [u8; 25] = value.try_into().map_err(|_| damaged())?;
        let number = |at: usize| value[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        Ok(Some(EndedRow {
            disbanded: match value[0] {
                0 => false,
                1 => true,
                _ => return Err(damaged()),
            },
            epoch: number(1),
            join_epoch: number(9),
            joined_at: number(17),
        }))
    }

    /// Removes the client's values whose keys name the group, by its id or by one of its routing ids in hex, and those
    /// that contain one of its routing ids in hex.
    pub fn drop_client_states_of(&self, id: &GroupId) -> Result<()> {
        self.erase("DELETE FROM client_state WHERE instr(key, ?1) > 0", [id.to_hex()])?;
        for route in self.routes(id)?.iter().map(NostrGroupId::to_hex) {
            let sql = "DELETE FROM client_state WHERE instr(key, ?1) > 0 OR instr(value, CAST(?1 AS BLOB)) > 0";
            self.erase(sql, [route])?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn the_end_of_a_membership_is_found_by_the_id_of_its_group() {
        let [one, other] = [1, 2].map(|n| GroupId::from_bytes(&[n; 16]).unwrap());
        let row = EndedRow { disbanded: true, epoch: u64::MAX, join_epoch: 1 << 40, joined_at: 7 };
        let later = EndedRow { disbanded: false, epoch: 3, join_epoch: 2, joined_at: 1 };
        Store::in_memory()
            .unwrap()
            .write(|tx| {
                assert!(tx.ended(&one)?.is_none());
                tx.keep_ended(&one, &row)?;
                assert!(tx.ended(&one)? == Some(row) && tx.ended(&other)?.is_none());
                tx.keep_ended(&one, &later)?;
                assert!(tx.ended(&one)? == Some(later));
                let named = name(&one);
                assert!(!named.contains(&one.to_hex()));
                tx.set_meta(&named, &[2; 25])?;
                assert!(tx.ended(&one).is_err());
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }
}
