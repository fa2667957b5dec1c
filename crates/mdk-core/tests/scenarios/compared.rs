//! Listens to what the engine says of its comparisons. It names the rule and numbers, nothing else, and so it is heard
//! where a user would hear it: in the log.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// One comparison of branches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    pub rule: String,
    pub tip: Option<u64>,
    pub quorum: Option<bool>,
    pub score: Option<u64>,
}

thread_local! {
    static LAST: RefCell<Option<Compared>> = const { RefCell::new(None) };
}

const MESSAGE: &str = "branches were compared";

#[derive(Default)]
struct Reader {
    compared: Compared,
    meant: bool,
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.meant = format!("{value:?}") == MESSAGE,
            "rule" => self.compared.rule = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "tip" => self.compared.tip = Some(value),
            "score" => self.compared.score = Some(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "quorum" {
            self.compared.quorum = Some(value);
        }
    }
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && metadata.target().starts_with("mdk_core::operations::settle_branches")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut reader = Reader::default();
        event.record(&mut reader);
        if reader.meant {
            LAST.with(|last| *last.borrow_mut() = Some(reader.compared));
        }
    }
}

/// Starts to listen, once per process.
pub fn listen() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
    });
}

/// The last comparison on this thread since the last call.
pub fn take() -> Option<Compared> {
    LAST.with(|last| last.borrow_mut().take())
}

/// The scenario format's name of a rule.
pub fn rule_name(rule: &str) -> &str {
    match rule {
        "EffectiveDepth" => "effective_commit_depth",
        "Quorum" => "witness_quorum_met",
        "WitnessScore" => "app_witness_score",
        "Priority" => "tip_priority",
        "Committer" => "tip_committer",
        "Digest" => "tip_digest",
        other => other,
    }
}
