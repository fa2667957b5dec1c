//! Replacing our KeyPackages in time (protocol/key-packages.md A4): the engine names the events, the caller publishes
//! them.

use mdk_store::KeyPackageRow;

use crate::mls::work::Work;
use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event;
use crate::operations::key_packages::make;
use crate::state_store::key_package_plans::{Plan, keep_plan, plan_of, promote_key_package};
use crate::state_store::outbox::Letter;

/// First wait before a successor that no relay has taken is handed out again; it doubles.
const RETRY: u64 = 30;
/// Longest such wait.
const RETRY_AT_MOST: u64 = 3_600;

/// Makes the KeyPackages that are due and hands them out, until a relay has each. Called by `tick`.
pub(crate) fn upkeep_key_packages(work: &mut Work<'_>) -> Result<()> {
    if !work.records.call.config.rotate_key_packages {
        return Ok(());
    }
    let now = work.records.now();
    let rows = work.records.tx.key_packages()?;
    // Slots that get a successor now.
    let mut served: Vec<&str> = Vec::new();
    // One without relays was never to be found by anybody.
    for row in rows.iter().filter(|r| r.replaced_at.is_none() && !r.relays.is_empty()) {
        let mut plan = plan_of(work.records.tx, row)?;
        if plan.staged {
            // A Welcome names it, so it was published.
            if row.used {
                promote_key_package(work.records.tx, work.records.call, &row.event_id)?;
            } else if now >= plan.rotate_at {
                give_up_staged(work, row, plan)?;
                served.push(&row.slot);
            } else if now >= plan.next_try {
                let event = stored_event::stored_event(&row.event_json)?;
                work.records.outbox().post(&Letter {
                    purpose: OutboxPurpose::KeyPackage,
                    group: None,
                    event: &event,
                    relays: &row.relays,
                })?;
                work.records.effects.publish.push(event);
                plan.next_try = now.saturating_add(wait(plan.tries));
                plan.tries = plan.tries.saturating_add(1);
                keep_plan(work.records.tx, &row.reference, Some(&plan))?;
            }
            continue;
        }
        // rule: A4-4 replaced in time, and when a Welcome has used it
        if !row.used && now < plan.rotate_at {
            continue;
        }
        let mut staged = served.contains(&row.slot.as_str());
        for other in rows.iter().filter(|o| o.slot == row.slot && o.replaced_at.is_none()) {
            staged |= plan_of(work.records.tx, other)?.staged;
        }
        if !staged {
            stage_successor(work, row)?;
        }
    }
    Ok(())
}

// rule: A4-7 a successor that nobody confirmed has a successor in time, or the account could not be invited any more
fn give_up_staged(work: &mut Work<'_>, row: &KeyPackageRow, mut plan: Plan) -> Result<()> {
    if stage_successor(work, row)? {
        plan.staged = false;
        keep_plan(work.records.tx, &row.reference, Some(&plan))?;
        // It may be on a relay all the same: its private part stays for a while.
        let replaced_at = Some(work.records.now());
        work.records.tx.put_key_package(&KeyPackageRow { replaced_at, ..row.clone() })?;
    }
    Ok(())
}

// rule: A4-5 the old one stays until a relay has the new one
/// False when none can be made now.
fn stage_successor(work: &mut Work<'_>, old: &KeyPackageRow) -> Result<bool> {
    let row = match make::make_key_package(work, &old.relays, old.slot.clone()) {
        Ok(row) => row,
        // rule: A4-6 a clock that is behind must not date events ahead: later
        Err(Error::NotAllowed(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut plan = plan_of(work.records.tx, &row)?;
    plan.staged = true;
    plan.tries = 1;
    plan.next_try = work.records.now().saturating_add(wait(0));
    keep_plan(work.records.tx, &row.reference, Some(&plan))?;
    work.records.effects.publish.push(stored_event::stored_event(&row.event_json)?);
    Ok(true)
}

/// The wait after so many tries.
fn wait(tries: u32) -> u64 {
    RETRY.saturating_mul(1_u64.checked_shl(tries).unwrap_or(u64::MAX)).min(RETRY_AT_MOST)
}
