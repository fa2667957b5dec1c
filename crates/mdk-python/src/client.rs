//! The client of `mdk-client`, thin: arguments in, futures of the caller's loop out.

mod local_relay;
mod media;
mod pool;
mod views;

use std::sync::Arc;

use mdk_client::{
    BlossomOptions, ClientError, ClientOptions, EngineAccess, KnownGroups, with_engine,
};
use mdk_wire::GroupId;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::sync::watch;

pub(crate) use self::local_relay::LocalRelay;
pub(crate) use self::media::{_normal_server, _read_file, GroupImage};
pub(crate) use self::pool::Pool;
use crate::args::{self, time_of};
use crate::engine::Mdk;
use crate::engine_guard::Guard;
use crate::errors::Raise;
use crate::futures::{runtime, spawn};
use crate::pending::PendingCommit;
use crate::process::OfProcess;
use crate::public_key;
use crate::views::ToPy;

/// An account at work. Private: `mdk.Client` is what people use.
#[pyclass(frozen, name = "_Client", module = "mdk._mdk")]
pub(crate) struct Client {
    alive: OfProcess<Alive>,
    engine: Arc<Guard>,
}

/// What works on by itself.
struct Alive {
    client: mdk_client::Client,
    pool: mdk_client::Pool,
    files: Arc<media::Files>,
    groups: Arc<KnownGroups>,
    /// Counts what Python itself did to the engine, so that it is looked at like anything else.
    used: watch::Sender<u64>,
}

/// Settings of the client that have no place in `mdk.Config`; seconds.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Timing {
    request_timeout: f64,
    retry_min: f64,
    retry_max: f64,
    tick_every: f64,
    speak_after: f64,
    self_update_after_join: f64,
    renew_when_quiet_for: f64,
    blob_first_byte: f64,
    blob_stall: f64,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (mdk, pool, *, relays, blossom, picture_server, name, reachable, push, timing))]
    #[allow(clippy::too_many_arguments)] // of Python, by name
    fn new(
        py: Python<'_>,
        mdk: &Mdk,
        pool: &Pool,
        relays: Vec<String>,
        blossom: Vec<String>,
        picture_server: Option<String>,
        name: Option<String>,
        reachable: bool,
        push: bool,
        timing: Timing,
    ) -> PyResult<Self> {
        let engine = mdk.guard.clone();
        let look =
            |engine: &mut mdk_core::Engine| Ok((engine.keys().clone(), engine.max_media_bytes()));
        let (keys, max_media) = engine.call(py, look)?;
        let times = BlossomOptions {
            first_byte: time_of(timing.blob_first_byte),
            stall: time_of(timing.blob_stall),
            ..BlossomOptions::default()
        };
        let files =
            media::Files::new(&pool.pool()?, times, &blossom, picture_server.as_ref(), max_media);
        let files = Arc::new(files.map_err(|error| Raise::from(error).into_err(py))?);
        let options = ClientOptions {
            relays,
            name,
            reachable,
            push,
            request_timeout: time_of(timing.request_timeout),
            retry_min: time_of(timing.retry_min),
            retry_max: time_of(timing.retry_max),
            tick_every: time_of(timing.tick_every),
            speak_after: time_of(timing.speak_after),
            self_update_after_join: time_of(timing.self_update_after_join),
            renew_when_quiet_for: time_of(timing.renew_when_quiet_for),
            ..ClientOptions::default()
        };
        let (access, pool): (Arc<dyn EngineAccess>, _) = (engine.clone(), pool.pool()?);
        let shared = pool.clone();
        let runtime = runtime()?;
        let client = py.detach(|| {
            let _inside = runtime.enter();
            mdk_client::Client::new(access, keys, options, shared)
        });
        let client = client.map_err(|error| Raise::from(error).into_err(py))?;
        let (groups, used) = (Arc::default(), watch::Sender::new(0));
        let alive = Alive { client, pool, files, groups, used };
        Ok(Self { alive: OfProcess::new(alive), engine })
    }

    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.start().await })
    }

    /// Relays that the user names for a group: they may be dialled wherever they are.
    fn name_relays<'py>(
        &self,
        py: Python<'py>,
        relays: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.name_relays(relays).await })
    }

    /// The relays of a group that was deleted: those that were named for it alone are forgotten.
    fn forget_relays<'py>(
        &self,
        py: Python<'py>,
        relays: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.forget_relays(relays).await })
    }

    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.ready().await })
    }

    fn caught_up<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.caught_up().await })
    }

    /// Whether others can invite the account; False once each of its own relays has refused its KeyPackage for good.
    fn reachable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.reachable().await })
    }

    /// Waits until a relay of a group was read for this routing id.
    fn read<'py>(&self, py: Python<'py>, route: crate::text::Text) -> PyResult<Bound<'py, PyAny>> {
        let route = args::route("route", &route)?;
        self.spawn(py, move |client| async move { client.read(&route).await })
    }

    /// What the account's own relays that refuse its KeyPackage for good said, by URL.
    fn refusals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let said = PyDict::new(py);
        for (relay, words) in self.alive.get()?.client.refusals() {
            said.set_item(relay, words)?;
        }
        Ok(said)
    }

    fn sync<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.spawn(py, |client| async move { client.sync().await })
    }

    fn close<'py>(&self, py: Python<'py>, drain: f64) -> PyResult<Bound<'py, PyAny>> {
        let drain = time_of(drain);
        self.spawn(py, move |client| async move {
            client.close(drain).await;
            Ok(())
        })
    }

    fn nudge(&self) -> PyResult<()> {
        let alive = self.alive.get()?;
        alive.client.nudge();
        alive.used.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Events behind `after`, at most `limit`, as soon as there is one. The groups they are about are read first.
    fn poll<'py>(&self, py: Python<'py>, after: i64, limit: u32) -> PyResult<Bound<'py, PyAny>> {
        let alive = self.alive.get()?;
        let (mut changes, mut used) = (alive.client.changes(), alive.used.subscribe());
        let engine: Arc<dyn EngineAccess> = self.engine.clone();
        let (client, groups) = (alive.client.clone(), alive.groups.clone());
        spawn(py, async move {
            loop {
                // Before looking, so that nothing comes between looking and waiting.
                changes.borrow_and_update();
                used.borrow_and_update();
                let groups = groups.clone();
                let look = move |e: &mut _| look(e, &groups, after, limit);
                let polled = with_engine(&engine, look).await?;
                if !polled.0.is_empty() {
                    return Ok(polled);
                }
                if let Some(why) = client.why_stopped() {
                    return Err(Raise::from(why));
                }
                wait(&mut changes, &mut used).await?;
            }
        })
    }

    /// Reads every group; the cursor of the last event that they have seen. Blocks.
    fn read_groups(&self, py: Python<'_>) -> PyResult<i64> {
        let groups = &self.alive.get()?.groups;
        self.engine.call(py, |e| groups.read_all(e))
    }

    /// Reads one group, to be found by `group()` from now on; None if there is none with this id. Blocks.
    fn read_group<'py>(
        &self,
        py: Python<'py>,
        group_id: crate::text::Text,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (groups, id) = (&self.alive.get()?.groups, args::group(&group_id)?);
        self.engine.call(py, |e| groups.read(e, &id))?.to_py(py)
    }

    /// One group as it was last read; None if there is none with this id.
    fn group<'py>(
        &self,
        py: Python<'py>,
        group_id: crate::text::Text,
    ) -> PyResult<Bound<'py, PyAny>> {
        let groups = &self.alive.get()?.groups;
        args::group(&group_id).ok().and_then(|id| groups.get(&id)).to_py(py)
    }

    /// Whether there is a group with this id.
    fn has_group(&self, group_id: crate::text::Text) -> PyResult<bool> {
        let groups = &self.alive.get()?.groups;
        Ok(args::group(&group_id).is_ok_and(|id| groups.contains(&id)))
    }

    /// Every group as it was last read, the oldest first.
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        crate::views::list(py, self.alive.get()?.groups.all())
    }

    /// A number that grows when the event log or the outbox may have changed.
    #[getter]
    fn version(&self) -> PyResult<u64> {
        let alive = self.alive.get()?;
        Ok(*alive.client.changes().borrow() + *alive.used.borrow())
    }

    /// Waits until `version` is another one than `seen`.
    fn changed<'py>(&self, py: Python<'py>, seen: u64) -> PyResult<Bound<'py, PyAny>> {
        let alive = self.alive.get()?;
        let (mut changes, mut used) = (alive.client.changes(), alive.used.subscribe());
        spawn(py, async move {
            loop {
                let now = *changes.borrow_and_update() + *used.borrow_and_update();
                if now != seen {
                    return Ok(now);
                }
                wait(&mut changes, &mut used).await?;
            }
        })
    }

    fn commit_done<'py>(
        &self,
        py: Python<'py>,
        pending: &PendingCommit,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = pending.id();
        self.spawn(py, move |client| async move { client.commit_done(id).await })
    }

    /// `hints`: relays that somebody named for this account. `group_id`: into which it is to be invited.
    #[pyo3(signature = (who, hints = Vec::new(), group_id = None))]
    fn find_key_packages<'py>(
        &self,
        py: Python<'py>,
        who: &Bound<'_, PyAny>,
        hints: Vec<String>,
        group_id: Option<crate::text::Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let who = public_key::argument("who", who)?;
        let group = group_id.as_ref().map(args::group).transpose()?;
        let client = self.alive.get()?.client.clone();
        spawn(py, async move {
            Ok(views::List(client.find_invitee(&who, &hints, group.as_ref()).await?))
        })
    }

    /// Name, about, picture and when they were said; None if there is no profile.
    #[pyo3(signature = (who, hints = Vec::new()))]
    fn find_profile<'py>(
        &self,
        py: Python<'py>,
        who: &Bound<'_, PyAny>,
        hints: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let who = public_key::argument("who", who)?;
        self.spawn(py, move |client| async move { client.find_profile(&who, &hints).await })
    }

    /// The largest invites that these relays announce to take (NIP-11), bytes of the event; of those that say so.
    fn invite_limits<'py>(
        &self,
        py: Python<'py>,
        relays: Vec<String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let pool = self.alive.get()?.pool.clone();
        spawn(py, async move {
            let mut limits = Vec::new();
            for relay in &relays {
                let info = pool.info(relay).await;
                limits.extend(info.and_then(|info| info.largest_invite()));
            }
            Ok(views::List(limits))
        })
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        crate::views::list(py, self.alive.get()?.client.status())
    }

    /// Where a KeyPackage of the account goes.
    fn key_package_relays(&self) -> PyResult<Vec<String>> {
        Ok(self.alive.get()?.client.key_package_relays())
    }

    /// The counters by name.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, pyo3::types::PyDict>> {
        let client = &self.alive.get()?.client;
        views::stats(py, &client.stats(), &client.push_stats())
    }

    /// Events of one group (None: of none) behind `after` and not behind `upto`, at most `limit`. Blocks.
    #[pyo3(signature = (after, upto, group_id, limit))]
    fn events_of<'py>(
        &self,
        py: Python<'py>,
        after: i64,
        upto: i64,
        group_id: Option<crate::text::Text>,
        limit: usize,
    ) -> PyResult<(Vec<Bound<'py, PyAny>>, i64)> {
        let group = group_id.as_ref().map(args::group).transpose()?;
        let (events, seen) =
            self.engine.call(py, |e| views::events_of(e, after, upto, group.as_ref(), limit))?;
        Ok((crate::views::list(py, events)?, seen))
    }
}

impl Client {
    fn spawn<'py, T, F>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(mdk_client::Client) -> F,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'a> crate::views::ToPy<'a> + Send + 'static,
        F: Future<Output = mdk_client::Result<T>> + Send + 'static,
    {
        let work = work(self.alive.get()?.client.clone());
        spawn(py, async move { work.await.map_err(Raise::from) })
    }
}

async fn wait(
    changes: &mut watch::Receiver<u64>,
    used: &mut watch::Receiver<u64>,
) -> Result<(), ClientError> {
    tokio::select! {
        changed = changes.changed() => changed,
        changed = used.changed() => changed,
    }
    .map_err(|_| ClientError::Closed)
}

/// Events, after the groups they are about were read: who sees an event finds its group at least as new.
fn look(
    engine: &mut mdk_core::Engine,
    groups: &KnownGroups,
    after: i64,
    limit: u32,
) -> mdk_core::Result<views::Polled> {
    let events = engine.events(after, limit)?;
    let last = events.last().map_or(after, |event| event.cursor);
    let mut ids: Vec<&GroupId> = events.iter().filter_map(|e| e.group_id.as_ref()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        groups.read(engine, id)?;
    }
    Ok((events, last))
}
