//! `_Pool`: the connections of a process.

use std::net::SocketAddr;

use mdk_client::PoolOptions;
use pyo3::prelude::*;

use crate::args::time_of;
use crate::errors::{Class, Raise};
use crate::futures::{runtime, spawn};
use crate::process::OfProcess;
use crate::text::Text;
use crate::views;

/// Connections to relays, shared by accounts. Private: `mdk.RelayPool` is what people use.
#[pyclass(frozen, name = "_Pool", module = "mdk._mdk")]
pub(crate) struct Pool(OfProcess<mdk_client::Pool>);

impl Pool {
    pub(crate) fn pool(&self) -> Result<mdk_client::Pool, Raise> {
        self.0.get().cloned()
    }
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (*, proxy=None, allow_loopback=false, allow_plaintext=false, reconnect_min=None))]
    fn new(
        py: Python<'_>,
        proxy: Option<Text>,
        allow_loopback: bool,
        allow_plaintext: bool,
        reconnect_min: Option<f64>,
    ) -> PyResult<Self> {
        let proxy = proxy.as_ref().map(address).transpose()?;
        let mut options =
            PoolOptions { proxy, allow_loopback, allow_plaintext, ..PoolOptions::default() };
        if let Some(pause) = reconnect_min {
            options.reconnect_min = time_of(pause);
        }
        let runtime = runtime()?;
        let pool = py.detach(|| {
            let _inside = runtime.enter();
            mdk_client::Pool::new(options)
        });
        Ok(Self(OfProcess::new(pool)))
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        views::list(py, self.0.get()?.status())
    }

    /// Waits until something was told in the log of what relays do not do for us, and hands the log out with it. `seen` is
    /// what it returned before, at first 0.
    fn troubled<'py>(&self, py: Python<'py>, seen: u64) -> PyResult<Bound<'py, PyAny>> {
        let mut count = self.pool()?.troubles();
        spawn(py, async move {
            let told = count.wait_for(|told| *told != seen).await;
            told.map(|told| *told).map_err(|_| Raise::new(Class::Closed, "the pool is closed"))
        })
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let pool = self.pool()?;
        spawn(py, async move {
            pool.close().await;
            Ok(())
        })
    }
}

/// `socks5://IP:PORT`, or without the scheme.
fn address(proxy: &Text) -> Result<SocketAddr, Raise> {
    let text = proxy.get("proxy")?;
    let text =
        text.strip_prefix("socks5h://").or_else(|| text.strip_prefix("socks5://")).unwrap_or(text);
    text.trim_end_matches('/').parse().map_err(|_| {
        Raise::input("proxy", "not socks5://IP:PORT, for example socks5://127.0.0.1:9050")
    })
}
