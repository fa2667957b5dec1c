//! Our KeyPackages: made, rotated, forgotten.

pub(crate) mod forget;
pub(crate) mod make;
pub(crate) mod rotate;
