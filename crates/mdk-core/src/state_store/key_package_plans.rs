//! The times at which our KeyPackages are to be replaced.

use std::collections::BTreeMap;

use mdk_store::{KeyPackageRow, Tx};
use mdk_wire::{EventId, KeyPackageRef, OsRandom, Random as _};
use serde::{Deserialize, Serialize};

use crate::model::call::Call;
use crate::model::error::{Error, Result};

const DAY: u64 = 86_400;

/// A KeyPackage is replaced this long before its end, at least and at most: clients that were made on one day do not
/// all come on one day.
const BEFORE_THE_END: (u64, u64) = (14 * DAY, 21 * DAY);

const META: &str = "key_package_upkeep";

/// The plan for a KeyPackage. Times are Unix seconds.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The time at which it is to be replaced.
    pub(crate) rotate_at: u64,
    /// It is to replace another one as soon as a relay has it.
    pub(crate) staged: bool,
    /// The number of times that it was handed out.
    pub(crate) tries: u32,
    pub(crate) next_try: u64,
}

/// A relay has the event: the KeyPackage before it is replaced now. Nothing happens for any other event.
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

pub(crate) fn plan_of(tx: &Tx<'_>, row: &KeyPackageRow) -> Result<Plan> {
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
