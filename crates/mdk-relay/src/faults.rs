//! A layer around a connection that makes the relay bad, as it is told at any time.
//!
//! It looks into messages only where a fault needs it, so that a calm relay is about as fast as one without the layer.

mod bucket;
mod forgery;
mod line;
mod noise;
mod options;
mod queue;
mod reorder;
mod requests;
mod rules;
mod throttle;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use self::line::serve;
pub use self::options::Faults;
pub(crate) use self::rules::{Refusal, Rules};

use self::bucket::Bucket;

/// The state that all connections of a relay share.
pub(crate) struct Layer {
    rules: watch::Receiver<Arc<Rules>>,
    bucket: Bucket,
}

impl Layer {
    pub(crate) fn new(rules: watch::Receiver<Arc<Rules>>) -> Self {
        Self { rules, bucket: Bucket::default() }
    }

    /// The rules of this moment.
    fn now(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }
}
