//! Replacing our KeyPackages in time (protocol/key-packages.md A4): the engine says what to publish, somebody else
//! does.

use std::collections::BTreeMap;

use mdk_store::KeyPackageRow;
use mdk_store::Tx;
use mdk_wire::OsRandom;
use mdk_wire::{EventId, KeyPackageRef, Random as _};
use serde::{Deserialize, Serialize};

use crate::mls::work::Work;
use crate::model::call::Call;
use crate::model::error::{Error, Result};
use crate::model::outbox::OutboxPurpose;
use crate::model::stored_event;
use crate::operations::key_packages::make;
use crate::state_store::outbox::Letter;

const DAY: u64 = 86_400;
/// A KeyPackage is replaced this long before its end, at least and at most: clients that were made on one day do not
/// all come on one day.
const BEFORE_THE_END: (u64, u64) = (14 * DAY, 21 * DAY);
/// First wait before a successor that no relay has taken is handed out again; it doubles.
const RETRY: u64 = 30;
/// Longest such wait.
const RETRY_AT_MOST: u64 = 3_600;
const META: &str = "key_package_upkeep";

/// What is planned for a KeyPackage. Times are Unix seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// When it is to be replaced.
    rotate_at: u64,
    /// It is to replace another one as soon as a relay has it.
    staged: bool,
    /// How often it was handed out.
    tries: u32,
    next_try: u64,
}

/// Makes what is due and hands it out, until a relay has it. Called by `tick`.
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

/// A relay has the event: what it replaces is replaced now. Nothing happens for any other event.
pub(crate) fn promote_key_package(tx: &Tx<'_>, call: Call<'_>, event: &EventId) -> Result<()> {
    let rows = tx.key_packages()?;
    let Some(row) = rows.iter().find(|row| row.event_id == *event) else { return Ok(()) };
    // (an echo of one that has no plan leaves no trace)
    let Some(mut plan) = plans(tx)?.remove(row.reference.as_bytes()) else { return Ok(()) };
    if !plan.staged {
        return Ok(());
    }
    plan.staged = false;
    keep_plan(tx, &row.reference, Some(&plan))?;
    let now = call.now();
    for old in &rows {
        let earlier = old.slot == row.slot && old.event_id != row.event_id;
        if earlier && old.replaced_at.is_none() {
            tx.put_key_package(&KeyPackageRow { replaced_at: Some(now), ..old.clone() })?;
        }
    }
    Ok(())
}

fn plan_of(tx: &Tx<'_>, row: &KeyPackageRow) -> Result<Plan> {
    if let Some(plan) = plans(tx)?.remove(row.reference.as_bytes()) {
        return Ok(plan);
    }
    let mut random = [0; 8];
    OsRandom.fill(&mut random);
    let (least, most) = BEFORE_THE_END;
    let early = least + u64::from_be_bytes(random) % (most - least);
    // A short lifetime is used for two thirds.
    let life = row.not_after.saturating_sub(row.created_at);
    let rotate_at = row.not_after.saturating_sub(early.min(life / 3));
    let plan = Plan { rotate_at, staged: false, tries: 0, next_try: 0 };
    keep_plan(tx, &row.reference, Some(&plan))?;
    Ok(plan)
}

fn plans(tx: &Tx<'_>) -> Result<BTreeMap<[u8; 32], Plan>> {
    let stored = tx.meta(META)?;
    stored.map_or_else(
        || Ok(BTreeMap::new()),
        |stored| postcard::from_bytes(&stored).map_err(Error::bug("stored plans")),
    )
}

/// Replaces the plan, or forgets it.
pub(crate) fn keep_plan(tx: &Tx<'_>, reference: &KeyPackageRef, plan: Option<&Plan>) -> Result<()> {
    let mut plans = plans(tx)?;
    match plan {
        Some(plan) => plans.insert(*reference.as_bytes(), plan.clone()),
        None if !plans.contains_key(reference.as_bytes()) => return Ok(()),
        None => plans.remove(reference.as_bytes()),
    };
    let stored = postcard::to_stdvec(&plans).map_err(Error::bug("encoding plans"))?;
    Ok(tx.set_meta(META, &stored)?)
}

/// The wait after so many tries.
fn wait(tries: u32) -> u64 {
    RETRY.saturating_mul(1_u64.checked_shl(tries).unwrap_or(u64::MAX)).min(RETRY_AT_MOST)
}
