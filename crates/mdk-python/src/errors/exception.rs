//! What is to be raised as an exception of Python.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::raise::{Class, Detail, Raise};
use crate::interrupts;
use crate::public_key::PublicKey;

impl Raise {
    pub(crate) fn into_err(self, py: Python<'_>) -> PyErr {
        if matches!(self.class, Class::CallbackFailed)
            && let Some(interrupt) = interrupts::interrupt()
        {
            return interrupt;
        }
        self.build(py).unwrap_or_else(|error| error)
    }

    fn build(self, py: Python<'_>) -> PyResult<PyErr> {
        let class = py.import("mdk.errors")?.getattr(self.class.name())?;
        let details = PyDict::new(py);
        for (name, value) in self.details {
            match value {
                Detail::Number(value) => details.set_item(name, value)?,
                Detail::Signed(value) => details.set_item(name, value)?,
                Detail::Object(value) => details.set_item(name, value)?,
                Detail::Text(value) => details.set_item(name, value)?,
                Detail::Owned(value) => details.set_item(name, value)?,
                Detail::Accounts(value) => {
                    let accounts: Vec<PublicKey> = value.into_iter().map(PublicKey).collect();
                    details.set_item(name, accounts)?
                }
                Detail::Reasons(value) => {
                    details.set_item(name, value.into_iter().collect::<HashMap<_, _>>())?
                }
            }
        }
        Ok(PyErr::from_value(class.call((self.message,), Some(&details))?))
    }
}

impl From<Raise> for PyErr {
    fn from(raise: Raise) -> Self {
        Python::attach(|py| raise.into_err(py))
    }
}
