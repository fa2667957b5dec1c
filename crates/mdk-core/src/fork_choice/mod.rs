//! The choice of the branch that a group follows. Pure: rows in, a choice out.

pub(crate) mod branch_order;
pub(crate) mod branches_of_removed;
pub(crate) mod choose;
#[cfg(test)]
mod removal_proposal;
pub(crate) mod removal_reach;
pub(crate) mod removals_of_us;
pub(crate) mod settling;
pub(crate) mod state_tree;
pub(crate) mod switch_plan;
pub(crate) mod untrusted_branches;
