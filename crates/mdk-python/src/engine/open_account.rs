//! Opens accounts whose keys may be in their database. For `mdk.Client`.

use mdk_core::Engine;
use mdk_store::OpenOptions;
use pyo3::prelude::*;

use super::Mdk;
use crate::clock::Clock;
use crate::config::Config;
use crate::database_key::{self, DatabaseKey};
use crate::keys::Keys;
use crate::text::PathText;

/// As Mdk.open(); without `keys` the account is the one whose keys the database keeps, or a new one that it keeps from now on.
#[pyfunction]
#[pyo3(signature = (path, *, keys, key, config, clock))]
pub(crate) fn _open_account(
    py: Python<'_>,
    path: PathText,
    keys: Option<&Keys>,
    key: Option<&DatabaseKey>,
    config: Option<Config>,
    clock: Option<&Clock>,
) -> PyResult<Mdk> {
    let path = path.get()?;
    let clock = Clock::for_engine(clock);
    let keys = keys.map(|keys| keys.0.clone());
    Mdk::open_with(py, config, |config| {
        let key = database_key::or_recorded(key, &path)?;
        Engine::open_account(&path, keys, &key, &OpenOptions::default(), config, clock)
    })
}
