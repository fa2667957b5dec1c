//! Files and pictures of groups: encrypted, moved, and opened, in one future each.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mdk_client::{
    Blossom, BlossomOptions, ClientError, EngineAccess, LOCATOR_KIND, Origin, Server, with_engine,
};
use mdk_core::{Attachment, Engine, Error, GroupUpdate};
use mdk_wire::v2::components::Image;
use mdk_wire::{GroupId, Keys};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::Client;
use crate::args;
use crate::engine::Mdk;
use crate::errors::Raise;
use crate::futures::spawn;
use crate::pending::PendingCommit;
use crate::text::Text;
use crate::views::ToPy;

/// Bytes that encryption adds to a file.
const TAG: u64 = 16;

/// How long a picture's second place may take, beside the one that it needs.
const BESIDE: Duration = Duration::from_secs(20);

/// The file servers of one account.
pub(super) struct Files {
    blossom: Blossom,
    own: Vec<Server>,
    /// Where other apps keep the pictures of groups, whatever a group names.
    picture: Option<Server>,
    max_bytes: u64,
}

impl Files {
    pub(super) fn new(
        pool: &mdk_client::Pool,
        options: BlossomOptions,
        own: &[String],
        picture: Option<&String>,
        max_bytes: u64,
    ) -> Result<Self, ClientError> {
        let server = |url: &String, origin| {
            Result::<_, ClientError>::Ok(Server { root: mdk_client::normal_server(url)?, origin })
        };
        let own = own.iter().map(|url| server(url, Origin::User)).collect::<Result<_, _>>()?;
        let picture = picture.map(|url| server(url, Origin::Peer)).transpose()?;
        let blossom = Blossom::new(pool, options);
        Ok(Self { blossom, own, picture, max_bytes: max_bytes + TAG })
    }

    /// Where a group's files are looked for, and put: the account's own servers; `group`, named by others, only without any
    /// for an upload, and behind them otherwise.
    fn with(&self, group: Vec<(String, String)>) -> Vec<Server> {
        let named = group.into_iter().filter(|(kind, _)| kind == LOCATOR_KIND);
        let named = named.map(|(_, root)| Server { root, origin: Origin::Peer });
        self.own.iter().cloned().chain(named.filter(|server| is_new(&self.own, server))).collect()
    }

    async fn store(
        &self,
        engine: &Arc<dyn EngineAccess>,
        group: GroupId,
        blob: Vec<u8>,
        key: Option<&Keys>,
    ) -> Result<Vec<(String, String)>, ClientError> {
        let servers = self.servers(engine, group).await?;
        let urls = self.blossom.upload(&servers, blob, key).await?;
        Ok(urls.into_iter().map(|url| (LOCATOR_KIND.to_owned(), url)).collect())
    }

    /// Where something is put.
    async fn servers(
        &self,
        engine: &Arc<dyn EngineAccess>,
        group: GroupId,
    ) -> Result<Vec<Server>, ClientError> {
        Ok(match self.own.is_empty() {
            false => self.own.clone(),
            true => self.with(with_engine(engine, move |e| e.media_endpoints(&group)).await?),
        })
    }

    /// As [`Files::store`], and also where other apps look for the picture of a group. That one may fail.
    async fn store_picture(
        &self,
        engine: &Arc<dyn EngineAccess>,
        group: GroupId,
        blob: Vec<u8>,
        key: Option<&Keys>,
    ) -> Result<(), ClientError> {
        let servers = self.servers(engine, group).await?;
        let beside: Vec<Server> =
            self.picture.iter().filter(|p| is_new(&servers, p)).cloned().collect();
        let copy = blob.clone();
        let second = async {
            if !beside.is_empty() {
                let put = self.blossom.upload(&beside, copy, key);
                let _ = tokio::time::timeout(BESIDE, put).await;
            }
        };
        let (first, ()) = tokio::join!(self.blossom.upload(&servers, blob, key), second);
        first.map(|_| ())
    }
}

fn is_new(servers: &[Server], server: &Server) -> bool {
    let root = |server: &Server| server.root.trim_end_matches('/').to_owned();
    servers.iter().all(|known| root(known) != root(server))
}

/// The one form of a server's URL, or `InvalidInput`.
#[pyfunction]
pub(crate) fn _normal_server(url: Text) -> PyResult<String> {
    let url = url.get("blossom")?;
    Ok(mdk_client::normal_server(url).map_err(Raise::from)?)
}

/// The bytes of a file, at most `limit`. Python's own `open` would end the locks of a database that is open here, if it is
/// that file.
#[pyfunction]
pub(crate) fn _read_file(py: Python<'_>, path: PathBuf, limit: u64) -> PyResult<Py<PyBytes>> {
    let read = || {
        let mut bytes = Vec::new();
        mdk_store::open_to_read(&path)?.take(limit).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    Ok(PyBytes::new(py, &py.detach(read)?).unbind())
}

/// A picture that is uploaded, and that a group does not have yet.
#[pyclass(frozen, name = "_GroupImage", module = "mdk._mdk")]
pub(crate) struct GroupImage(Image);

impl<'py> ToPy<'py> for GroupImage {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(Bound::new(py, self)?.into_any())
    }
}

/// `bytes` of Python.
struct Blob(Vec<u8>);

impl<'py> ToPy<'py> for Blob {
    fn to_py(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, &self.0).into_any())
    }
}

#[pymethods]
impl Client {
    /// Encrypts a file for the present epoch and uploads it: the Attachment to send.
    fn upload<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        data: PyBackedBytes,
        filename: Text,
        mime_type: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let group = args::group(&group_id)?;
        let filename = filename.get("filename")?.to_owned();
        let mime_type = mime_type.map(|t| t.get("mime_type").map(str::to_owned)).transpose()?;
        let (engine, files) = (self.access(), self.alive.get()?.files.clone());
        spawn(py, async move {
            let of = group.clone();
            let encrypt =
                move |e: &mut Engine| e.encrypt_media(&of, &data, &filename, mime_type.as_deref());
            let media = with_engine(&engine, encrypt).await?;
            let mut attachment = media.attachment;
            attachment.locators = files.store(&engine, group, media.data, None).await?;
            Ok(attachment)
        })
    }

    /// Fetches the file of an attachment and opens it.
    fn download<'py>(
        &self,
        py: Python<'py>,
        attachment: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let attachment = crate::engine::media::attachment(attachment)?;
        let (engine, files) = (self.access(), self.alive.get()?.files.clone());
        spawn(py, async move {
            let asked = attachment.clone();
            // Whoever cannot open it need not fetch it.
            let groups = with_engine(&engine, move |e| e.groups_of_file(&asked)).await?;
            let hash = attachment.ciphertext_sha256;
            let (places, own) = (&attachment.locators, &files.own);
            let blob = files.blossom.download(places, own, &hash, files.max_bytes).await?;
            let open = move |e: &mut Engine| open(e, &groups, &attachment, &blob);
            Ok(Blob(with_engine(&engine, open).await?))
        })
    }

    /// Encrypts a picture for a group and uploads it.
    fn upload_image<'py>(
        &self,
        py: Python<'py>,
        group_id: Text,
        data: PyBackedBytes,
    ) -> PyResult<Bound<'py, PyAny>> {
        let group = args::group(&group_id)?;
        let (engine, files) = (self.access(), self.alive.get()?.files.clone());
        spawn(py, async move {
            let encrypt = move |e: &mut Engine| e.encrypt_group_image(&data, None);
            let (blob, image) = with_engine(&engine, encrypt).await?;
            let key = image.0.as_ref().map(|image| Keys::from_secret(image.upload_key.clone()));
            let key = key.transpose().map_err(|_| ClientError::Internal("the key of an upload"))?;
            files.store_picture(&engine, group, blob, key.as_ref()).await?;
            Ok(GroupImage(image))
        })
    }

    /// Stages the commit that gives a group the picture, or takes its picture away. Blocks.
    fn stage_image(
        &self,
        mdk: &Bound<'_, Mdk>,
        group_id: Text,
        image: Option<&GroupImage>,
    ) -> PyResult<PendingCommit> {
        let group = args::group(&group_id)?;
        let update =
            GroupUpdate { image: Some(image.map(|i| i.0.clone())), ..GroupUpdate::default() };
        let commit = self.engine.call(mdk.py(), |e| e.update_group(&group, update))?;
        Ok(PendingCommit::new(mdk, commit))
    }

    /// Fetches the picture of a group and opens it; None without one.
    fn download_image<'py>(&self, py: Python<'py>, group_id: Text) -> PyResult<Bound<'py, PyAny>> {
        let group = args::group(&group_id)?;
        let (engine, files) = (self.access(), self.alive.get()?.files.clone());
        spawn(py, async move {
            let look =
                move |e: &mut Engine| Ok((e.group_image(&group)?, e.media_endpoints(&group)?));
            let (image, named) = with_engine(&engine, look).await?;
            let Some((image, hash)) = image.and_then(|image| {
                let hash = image.0.as_ref()?.hash;
                Some((image, hash))
            }) else {
                return Ok(None);
            };
            let mut servers = files.with(named);
            let last = files.picture.iter().filter(|server| is_new(&servers, server)).cloned();
            servers.extend(last.collect::<Vec<_>>());
            let blob = files.blossom.download(&[], &servers, &hash, files.max_bytes).await?;
            let open = move |e: &mut Engine| e.decrypt_group_image(&image, &blob);
            Ok(Some(Blob(with_engine(&engine, open).await?)))
        })
    }
}

impl Client {
    fn access(&self) -> Arc<dyn EngineAccess> {
        self.engine.clone()
    }
}

/// With the key of the first group in which a message carries it and that fits: a copy of the message's tag may stand in
/// another group.
fn open(
    engine: &mut Engine,
    groups: &[GroupId],
    attachment: &Attachment,
    blob: &[u8],
) -> mdk_core::Result<Vec<u8>> {
    let mut failed = Error::Media("no message that is still there carries this file");
    for group in groups {
        match engine.decrypt_media(group, attachment, blob) {
            Ok(file) => return Ok(file),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
