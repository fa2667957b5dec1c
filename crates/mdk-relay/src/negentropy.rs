//! Set reconciliation (NIP-77): which events only one of the two sides has.

use std::collections::BTreeMap;

use ::negentropy::{Id, Negentropy, NegentropyStorageVector};
use mdk_wire::Timestamp;
use mdk_wire::budget::client::RECONCILIATIONS;

/// Largest message, bytes; twice as many on the wire, which is hex.
const MESSAGE: u64 = 30_000;

/// Those of a connection that are open, by their names.
#[derive(Default)]
pub(crate) struct Reconciliations(BTreeMap<String, Negentropy<'static, NegentropyStorageVector>>);

impl Reconciliations {
    /// Opens one over these items, in place of one of the same name, and answers its first message. An error is the
    /// reason for NEG-ERR.
    pub(crate) fn open(
        &mut self,
        name: &str,
        items: Vec<(Timestamp, [u8; 32])>,
        message: &str,
    ) -> Result<String, String> {
        self.0.remove(name);
        if self.0.len() >= RECONCILIATIONS {
            return Err(format!("blocked: more than {RECONCILIATIONS} reconciliations"));
        }
        let mut storage = NegentropyStorageVector::with_capacity(items.len());
        for (time, id) in items {
            storage.insert(time, Id::from_byte_array(id)).map_err(reason)?;
        }
        storage.seal().map_err(reason)?;
        let mut reconciliation = Negentropy::owned(storage, MESSAGE).map_err(reason)?;
        let answer = answer(&mut reconciliation, message)?;
        self.0.insert(name.to_owned(), reconciliation);
        Ok(answer)
    }

    /// Answers another message; an error ends it.
    pub(crate) fn go_on(&mut self, name: &str, message: &str) -> Result<String, String> {
        let open = self.0.get_mut(name).ok_or("closed: no such reconciliation")?;
        let answer = answer(open, message);
        if answer.is_err() {
            self.0.remove(name);
        }
        answer
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.0.remove(name);
    }
}

fn answer(
    reconciliation: &mut Negentropy<'static, NegentropyStorageVector>,
    message: &str,
) -> Result<String, String> {
    let message = hex::decode(message).map_err(|_| "invalid: the message is not hex")?;
    Ok(hex::encode(reconciliation.reconcile(&message).map_err(reason)?))
}

fn reason(error: ::negentropy::Error) -> String {
    format!("invalid: {error}")
}
