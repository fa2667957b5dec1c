//! Released peers and OpenMLS: what they do, as recorded or as made again.

mod inbound_variants;
mod openmls_facts;
mod seen_by_foreign;
mod welcome_variants;
