//! Members whose branches race, part and meet again: all end in the same state.

mod catchup;
mod comes_back;
mod crowds;
mod ends;
mod epochs;
mod floods;
mod gaps;
mod invites;
mod key_packages;
mod left_behind;
mod noise;
mod order;
mod passes;
mod races;
mod removals;
mod restarts;
mod stuck;
mod two_groups;
mod waits;
mod welcomes;
