//! Sources: where objects come from.
//!
//! A source loads everything once before the first generation and then yields the whole again whenever something
//! changed. It never yields less than it knew because of an error of its own: what cannot be read stays as it was.

mod folder;
pub mod kube;
pub mod names;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ringress_translate::manifest::{Folder, Loaded};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use folder::FolderSource;
pub use text::read_text;

/// Where objects come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of manifests, watched.
    Folder(PathBuf),
    /// Manifests that are part of the program, by name.
    Texts(BTreeMap<String, Arc<str>>),
    /// An API server, watched.
    Cluster(Box<kube::KubeSource>),
}

/// What a source knows after a change.
#[derive(Debug)]
pub struct Change {
    /// When the change was noticed.
    pub seen: Instant,
    /// Everything that the source knows.
    pub loaded: Loaded,
    /// How far the watches of an API server had come.
    pub reached: kube::Reached,
}

impl Source {
    /// Loads everything, and goes on watching. The receiver's end says that the source has died.
    ///
    /// # Errors
    /// The folder cannot be read, or nothing says where the API server is. One that does not answer is waited for.
    pub async fn open(self) -> Result<(Change, mpsc::Receiver<Change>), SourceError> {
        match self {
            Self::Folder(root) => open_folder(root).await,
            Self::Cluster(source) => {
                let mut changes = source.watch().await?;
                let first = changes.recv().await.ok_or(SourceError::Ended)?;
                Ok((first, changes))
            }
            Self::Texts(texts) => {
                let change = Change {
                    seen: Instant::now(),
                    loaded: Folder::default().update(texts),
                    reached: kube::Reached::default(),
                };
                let (sender, changes) = mpsc::channel(1);
                // There is nothing to come, and a sender that is gone would say that the source has died.
                tokio::spawn(async move { sender.closed().await });
                Ok((change, changes))
            }
        }
    }
}

async fn open_folder(root: PathBuf) -> Result<(Change, mpsc::Receiver<Change>), SourceError> {
    let at = root.clone();
    let blame = move |source| SourceError::Folder { folder: at.clone(), source };
    let opened = tokio::task::spawn_blocking(move || FolderSource::open(&root)).await;
    let opened = opened.map_err(std::io::Error::other).and_then(|opened| opened);
    let (folder, change) = opened.map_err(&blame)?;
    let changes = folder.watch().map_err(&blame)?;
    Ok((change, changes))
}

/// A source that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder that cannot be read at the start.
    #[error("cannot read the folder {}: {source}; give a folder of manifests", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Nothing says where the API server is.
    #[error(transparent)]
    Access(#[from] kube::AccessError),
    /// The source ended by itself.
    #[error("what reads the objects has ended; this is a defect of ringress")]
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn texts_have_nothing_to_come_and_never_end() {
        let (_, mut changes) = Source::Texts(BTreeMap::new()).open().await.unwrap();
        let coming = tokio::time::timeout(std::time::Duration::from_secs(60), changes.recv()).await;
        assert!(coming.is_err(), "{coming:?}");
    }
}
