//! Where a global controller keeps its token keys.
//!
//! One file a key, `<unix seconds of its making>-<kid>.pk8`, readable by the owner alone. The newest signs; older ones
//! are published until the last token they signed has expired, then removed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use darktower_wire::token::LIFETIME_S;

use super::{BadKey, Jwks, Signer, SigningKey};

/// How long a replaced key stays published, in seconds.
const RETIRED_S: u64 = 2 * LIFETIME_S;

/// The directory of token keys, and what it holds.
#[derive(Debug)]
pub struct KeyFiles {
    directory: PathBuf,
    /// Oldest first, never empty; with the time each was made.
    keys: Vec<(u64, SigningKey)>,
}

/// Why token keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFilesError {
    /// The file system refuses.
    #[error("token keys in {path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds no key.
    #[error("{0} is {BadKey}; remove it and a new one is made")]
    Bad(PathBuf),
    /// No key could be made.
    #[error("no token key could be made: the system's random number generator failed")]
    NoKey,
}

impl KeyFiles {
    /// Reads the keys in `directory`; makes it, and a first key, where there is none.
    pub fn open(directory: &Path, now_s: u64) -> Result<Self, KeyFilesError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| KeyFilesError::Io { path, error }
        };
        create_private_directory(directory).map_err(failed(directory))?;
        let mut keys = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            let path = entry.map_err(failed(directory))?.path();
            let Some(made_s) = made(&path) else { continue };
            let pkcs8 = fs::read(&path).map_err(failed(&path))?;
            let key = SigningKey::from_pkcs8(&pkcs8).map_err(|_| KeyFilesError::Bad(path))?;
            keys.push((made_s, key));
        }
        keys.sort_by(|a, b| (a.0, a.1.kid()).cmp(&(b.0, b.1.kid())));
        let mut files = Self {
            directory: directory.to_owned(),
            keys,
        };
        if files.keys.is_empty() {
            files.rotate(now_s)?;
        }
        Ok(files)
    }

    /// Makes a new key, which signs from now on.
    pub fn rotate(&mut self, now_s: u64) -> Result<(), KeyFilesError> {
        let key = SigningKey::generate().map_err(|_| KeyFilesError::NoKey)?;
        // Never older than the one it replaces, whatever the clock did.
        let newest = self.keys.last().map_or(0, |(made_s, _)| *made_s + 1);
        let made_s = now_s.max(newest);
        let path = self.path(made_s, &key);
        let failed = |error| KeyFilesError::Io {
            path: path.clone(),
            error,
        };
        write_private(&path, key.pkcs8()).map_err(failed)?;
        self.keys.push((made_s, key));
        self.remove_retired(now_s);
        Ok(())
    }

    /// A signer with the newest key.
    pub fn signer(&self) -> Result<Signer, KeyFilesError> {
        let newest = self.keys.last().ok_or(KeyFilesError::NoKey)?;
        Ok(Signer::new(newest.1.clone()))
    }

    /// The public halves of all keys whose tokens may still be valid.
    pub fn jwks(&self) -> Jwks {
        let keys = self.keys.iter().map(|(_, key)| key.jwk().clone());
        Jwks {
            keys: keys.collect(),
        }
    }

    fn path(&self, made_s: u64, key: &SigningKey) -> PathBuf {
        self.directory.join(format!("{made_s}-{}.pk8", key.kid()))
    }

    fn remove_retired(&mut self, now_s: u64) {
        // A key is retired when the one after it is made.
        while let [(made_s, key), (replaced_s, _), ..] = &self.keys[..] {
            if replaced_s + RETIRED_S > now_s {
                break;
            }
            let path = self.path(*made_s, key);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "an old token key could not be removed");
            }
            self.keys.remove(0);
        }
    }
}

fn made(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".pk8")?;
    name.split('-').next()?.parse().ok()
}

fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The file is whole or not there: a crash leaves at most a `.new` behind.
fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}
