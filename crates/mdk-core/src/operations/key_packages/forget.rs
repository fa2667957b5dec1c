//! The end of our KeyPackages (protocol/key-packages.md A4).

use mdk_store::{KeyPackageRow, Tx};
use mdk_wire::KeyPackageRef;
use openmls_traits::storage::StorageProvider as _;

use crate::mls::key_packages::{REPLACED_GRACE, USED_GRACE, mls_reference};
use crate::model::error::{Error, Result};
use crate::model::values::KeyPackageInfo;
use crate::state_store::key_package_plans;
use crate::state_store::records::Records;

/// Ours, newest first; replaced ones as long as a Welcome to them can still be joined.
pub(crate) fn key_packages(tx: &Tx<'_>) -> Result<Vec<KeyPackageInfo>> {
    Ok(tx.key_packages()?.into_iter().map(info).collect())
}

/// Forgets a KeyPackage: Welcomes to it cannot be joined any more.
///
/// # Errors
/// `NotFound` when it is not ours or already gone.
pub(crate) fn delete_key_package(
    records: &mut Records<'_>,
    reference: &KeyPackageRef,
) -> Result<()> {
    if records.tx.key_package(reference)?.is_none() {
        return Err(Error::NotFound("KeyPackage"));
    }
    forget_key_package(records, reference)
}

/// Forgets the KeyPackages whose time is over. Called by `tick`.
pub(crate) fn expire_key_packages(records: &mut Records<'_>) -> Result<()> {
    let now = records.now();
    let rows = records.tx.key_packages()?;
    let mut over = rows.iter().filter(|row| now >= private_part_ends(row)).peekable();
    if over.peek().is_none() {
        return Ok(());
    }
    // rule: A4-9 a Welcome that waits can be taken up as long as its KeyPackage lives
    let named = records.welcomes().key_packages_of_welcomes()?;
    for row in over {
        if now >= row.not_after || !named.contains(&row.event_id) {
            forget_key_package(records, &row.reference)?;
        }
    }
    Ok(())
}

fn forget_key_package(records: &mut Records<'_>, reference: &KeyPackageRef) -> Result<()> {
    if let Some(row) = records.tx.key_package(reference)? {
        records.outbox().withdraw_event(&row.event_id)?;
    }
    // The bundle holds the init key and the leaf's encryption key; OpenMLS stores no other row for it.
    records.tx.mls().delete_key_package(&mls_reference(reference)?)?;
    records.tx.delete_key_package(reference)?;
    key_package_plans::keep_plan(records.tx, reference, None)?;
    Ok(())
}

/// rule: A4-3 a replaced one stays for the Welcomes that are under way, at most until its lifetime ends: for a week if it
/// was never used, for an hour if it was
fn private_part_ends(row: &KeyPackageRow) -> u64 {
    let grace = if row.used { USED_GRACE } else { REPLACED_GRACE };
    let replaced = row.replaced_at.map_or(u64::MAX, |at| at.saturating_add(grace));
    row.not_after.min(replaced)
}

fn info(row: KeyPackageRow) -> KeyPackageInfo {
    KeyPackageInfo {
        reference: row.reference,
        event_id: row.event_id,
        slot: row.slot,
        created_at: row.created_at,
        expires_at: row.not_after,
        relays: row.relays,
        last_resort: row.last_resort,
        used: row.used,
    }
}
