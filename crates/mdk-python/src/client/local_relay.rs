//! `_LocalRelay`: the relay of `mdk.testing`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mdk_client::ClientError;
use mdk_relay::{Faults, LocalRelayOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::Raise;
use crate::futures::spawn;
use crate::process::OfProcess;
use crate::views::ToPy;

/// A relay on loopback. Private: `mdk.testing.LocalRelay` is what people use.
#[pyclass(frozen, name = "_LocalRelay", module = "mdk._mdk")]
pub(crate) struct LocalRelay(OfProcess<Arc<mdk_relay::LocalRelay>>);

struct Started(mdk_relay::LocalRelay);

impl<'py> ToPy<'py> for Started {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, LocalRelay(OfProcess::new(Arc::new(self.0))))?.into_any())
    }
}

#[pymethods]
impl LocalRelay {
    #[staticmethod]
    #[pyo3(signature = (*, port, max_event_bytes, require_auth, page_limit, faults))]
    fn start(
        py: Python<'_>,
        port: u16,
        max_event_bytes: usize,
        require_auth: bool,
        page_limit: Option<usize>,
        faults: bool,
    ) -> PyResult<Bound<'_, PyAny>> {
        let options = LocalRelayOptions {
            port,
            max_event_bytes,
            require_auth,
            page_limit,
            faults,
            ..LocalRelayOptions::default()
        };
        spawn(py, async move { Ok(Started(mdk_relay::LocalRelay::start(options).await?)) })
    }

    #[getter]
    fn url(&self) -> PyResult<&str> {
        Ok(self.0.get()?.url())
    }

    #[getter]
    fn connections(&self) -> PyResult<usize> {
        Ok(self.0.get()?.connections())
    }

    fn pause<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let relay = self.0.get()?.clone();
        spawn(py, async move {
            relay.pause().await;
            Ok(())
        })
    }

    fn resume<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let relay = self.0.get()?.clone();
        spawn(py, async move { relay.resume().await.map_err(Raise::from) })
    }

    fn cut<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let relay = self.0.get()?.clone();
        spawn(py, async move {
            relay.cut().await;
            Ok(())
        })
    }

    fn wipe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let relay = self.0.get()?.clone();
        spawn(py, async move {
            relay.wipe().await;
            Ok(())
        })
    }

    #[pyo3(signature = (kinds, reason))]
    fn refuse(&self, kinds: Option<BTreeSet<u16>>, reason: &str) -> PyResult<()> {
        self.0.get()?.refuse(kinds, reason);
        Ok(())
    }

    fn faults(&self, faults: &Bound<'_, PyDict>) -> PyResult<()> {
        self.0.get()?.faults(read_faults(faults)?);
        Ok(())
    }

    fn count(&self, kind: u16) -> PyResult<usize> {
        Ok(self.0.get()?.count(kind))
    }

    fn events(&self, kind: u16) -> PyResult<Vec<String>> {
        Ok(self.0.get()?.events(kind))
    }

    /// Waits until something was stored, or a connection came or went, since the count `seen`; returns the new one.
    fn changed<'py>(&self, py: Python<'py>, seen: u64) -> PyResult<Bound<'py, PyAny>> {
        let mut changes = self.0.get()?.changes();
        spawn(py, async move {
            let now = changes.wait_for(|now| *now != seen).await;
            let now = now.map(|now| *now).map_err(|_| ClientError::Closed)?;
            Ok(now)
        })
    }
}

/// The faults that are named, by their names in `mdk.testing.Faults`.
fn read_faults(given: &Bound<'_, PyDict>) -> PyResult<Faults> {
    let mut faults = Faults::default();
    for (name, value) in given {
        match name.extract::<String>()?.as_str() {
            "drop_silently_over" => faults.drop_silently_over = value.extract()?,
            "delay" => faults.delay = value.extract::<Option<Duration>>()?,
            "duplicate" => faults.duplicate = value.extract()?,
            "reorder" => faults.reorder = value.extract()?,
            "page_limit" => faults.page_limit = value.extract()?,
            "rate_limit" => faults.rate_limit = value.extract()?,
            "lie_ok" => faults.lie_ok = value.extract()?,
            "lose_ok" => faults.lose_ok = value.extract()?,
            "false_events" => faults.false_events = value.extract()?,
            "endless" => faults.endless = value.extract()?,
            "notice_flood" => faults.notice_flood = value.extract()?,
            "auth_loop" => faults.auth_loop = value.extract()?,
            "huge_frames" => faults.huge_frames = value.extract()?,
            "huge_tags" => faults.huge_tags = value.extract()?,
            "slow_bytes" => faults.slow_bytes = value.extract()?,
            _ => return Err(Raise::input("faults", "no such fault").into()),
        }
    }
    Ok(faults)
}
