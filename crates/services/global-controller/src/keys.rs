//! The keys that sign tokens, and the one way to replace them while running.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use darktower_cluster::token::{Jwks, KeyFiles, KeyFilesError, Signer};

#[derive(Debug)]
pub(crate) struct Keys {
    files: Mutex<KeyFiles>,
    signer: RwLock<Arc<Signer>>,
}

impl Keys {
    pub(crate) fn open(directory: &Path, now_s: u64) -> Result<Self, KeyFilesError> {
        let files = KeyFiles::open(directory, now_s)?;
        let signer = RwLock::new(Arc::new(files.signer()?));
        Ok(Self {
            files: Mutex::new(files),
            signer,
        })
    }

    pub(crate) fn signer(&self) -> Arc<Signer> {
        let signer = self.signer.read().unwrap_or_else(PoisonError::into_inner);
        signer.clone()
    }

    pub(crate) fn jwks(&self) -> Jwks {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.jwks()
    }

    /// Makes a new key. It signs from the next [`Self::sign_with_newest`] on,
    /// so that it can be published before.
    pub(crate) fn rotate(&self, now_s: u64) -> Result<(), KeyFilesError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.rotate(now_s)
    }

    pub(crate) fn sign_with_newest(&self) -> Result<(), KeyFilesError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = Arc::new(files.signer()?);
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = newest;
        Ok(())
    }
}
