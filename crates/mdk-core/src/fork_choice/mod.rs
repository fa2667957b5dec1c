//! The choice of the branch that a group follows. Pure: rows in, a choice out.

pub(crate) mod branch_order;
pub(crate) mod branches_by_removed_accounts;
pub(crate) mod choose;
pub(crate) mod own_removal;
#[cfg(test)]
mod removal_depth_vectors;
pub(crate) mod sealing;
pub(crate) mod settling;
pub(crate) mod state_tree;
pub(crate) mod switch_plan;
pub(crate) mod untrusted_branches;
