//! What becomes of members, devices and groups in the ordinary course of things.

mod accounts;
mod deleting;
mod devices;
mod idle;
mod leaving;
mod lifecycle;
mod readding;
mod requirements;
mod rotation;
mod settings;
