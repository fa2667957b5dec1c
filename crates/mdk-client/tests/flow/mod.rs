//! Whole clients over real engines and the local relay.

mod accounts;
mod away;
mod backlog;
mod beside;
mod clocks;
mod cursors;
mod faults;
mod found;
mod gate;
mod huge;
mod invites;
mod kit;
mod late;
mod line;
mod moves;
mod noise;
mod outages;
mod outcome;
mod reachable;
mod reconciled;
mod rotation;
mod speed;
mod talk;
mod together;
mod whole;
mod worlds;
