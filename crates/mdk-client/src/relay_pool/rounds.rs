//! Reconciliations of a connection (NIP-77): one message of ours at a time, and the answer to it.

use std::collections::HashMap;

use mdk_wire::PublicKey;
use tokio::sync::oneshot;

use super::filters::Filter;
use super::frames;

/// Its number among `supported_nips`.
pub(super) const NIP: u16 = 77;

/// One round of a reconciliation.
pub(super) struct Round {
    pub(super) account: PublicKey,
    pub(super) name: String,
    pub(super) step: Step,
}

type Reply = oneshot::Sender<std::result::Result<String, String>>;

pub(super) enum Step {
    Open(Filter, String, Reply),
    GoOn(String, Reply),
    /// It is over; `failed`: the relay is not to be asked again on this connection.
    Close {
        failed: bool,
    },
}

/// Those of a connection that wait for an answer.
#[derive(Default)]
pub(super) struct Reconciling {
    waiting: HashMap<String, (PublicKey, Reply)>,
    /// The relay has failed at one.
    failed: bool,
}

impl Reconciling {
    /// What is to be sent for this round. Without it the caller knows at once, because its reply is dropped.
    pub(super) fn take(&mut self, round: Round, offered: bool) -> Option<String> {
        let Round { account, name, step } = round;
        if let Step::Close { failed } = step {
            self.failed |= failed;
            self.waiting.remove(&name);
            return Some(frames::reconcile_close(&name));
        }
        if self.failed || !offered {
            return None;
        }
        let (frame, reply) = match step {
            Step::Open(filter, message, reply) => {
                (frames::reconcile_open(&name, &filter, &message), reply)
            }
            Step::GoOn(message, reply) => (frames::reconcile(&name, &message), reply),
            Step::Close { .. } => return None,
        };
        self.waiting.insert(name, (account, reply));
        Some(frame)
    }

    /// Passes on an answer; false if nobody waits for it.
    pub(super) fn answered(
        &mut self,
        name: &str,
        message: std::result::Result<String, String>,
    ) -> bool {
        let Some((_, reply)) = self.waiting.remove(name) else { return false };
        // (the caller may have given up)
        let _ = reply.send(message);
        true
    }

    /// A relay that does not know the message says so in a notice, without its name.
    pub(super) fn noticed(&mut self) {
        for (_, (_, reply)) in self.waiting.drain() {
            let _ = reply.send(Err("a notice".to_owned()));
        }
    }

    pub(super) fn remove(&mut self, account: &PublicKey) {
        self.waiting.retain(|_, (of, _)| of != account);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mdk_wire::Keys;

    use super::*;

    #[test]
    fn a_notice_is_an_answer() {
        let mut open = Reconciling::default();
        let (reply, mut answer) = oneshot::channel();
        let account = Keys::generate().public_key();
        let step = Step::GoOn("61".to_owned(), reply);
        let frame = open.take(Round { account, name: "n1".to_owned(), step }, true);
        assert_eq!(frame.as_deref(), Some(r#"["NEG-MSG","n1","61"]"#));
        assert!(!open.answered("n2", Ok(String::new())));
        open.noticed();
        assert!(answer.try_recv().unwrap().is_err());
        assert!(!open.answered("n1", Ok(String::new())), "once");
    }
}
