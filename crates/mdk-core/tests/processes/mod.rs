//! Members in processes of their own: killed half-way, or two that talk through files.

mod kill;
mod two_sides;
