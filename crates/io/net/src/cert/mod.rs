//! Certificates: what every server shows, and how it changes without a restart.
//!
//! Development certificates are self-signed ECDSA P-256 of 13 days, because a browser accepts a certificate by hash
//! only if it is ECDSA and lives for at most 14 (W3C WebTransport, `serverCertificateHashes`). The *next* one is made
//! together with the current one, so that a page which learned both hashes before a rotation still connects after it.

mod development;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::CertError;
use crate::tls;
use development::Pair;

/// How often certificate files are looked at for a renewal, and how late a rotation may come when the clock jumps.
const LOOK: Duration = Duration::from_secs(3600);

/// SHA-256 of a certificate's DER, as `serverCertificateHashes` takes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// The fingerprint of a certificate in DER.
pub fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, der).as_ref());
    Fingerprint(hash)
}

/// The certificate that servers show now. Clones share one state: rotate once, and all servers follow.
#[derive(Clone)]
pub struct Certs(Arc<Inner>);

struct Inner {
    source: Source,
    state: RwLock<State>,
}

enum Source {
    Development {
        names: Vec<String>,
        file: Option<PathBuf>,
    },
    Files {
        chain: PathBuf,
        key: PathBuf,
    },
}

struct State {
    shown: Arc<CertifiedKey>,
    /// Present for development certificates.
    pair: Option<Pair>,
}

impl Certs {
    /// A development certificate for `localhost`, the loopback addresses and `names`. With a directory it is kept
    /// there (readable by the owner only), so that a restart keeps its hash.
    pub fn development(
        names: &[String],
        dir: Option<&Path>,
        now: SystemTime,
    ) -> Result<Self, CertError> {
        let names = development::names(names);
        let file = dir.map(|d| d.join("development-certificate.pem"));
        let pair = development_pair(&names, file.as_deref(), now)?;
        let state = RwLock::new(State {
            shown: pair.shown()?,
            pair: Some(pair),
        });
        let source = Source::Development { names, file };
        Ok(Self(Arc::new(Inner { source, state })))
    }

    /// A certificate chain and its private key from PEM files; [`Certs::keep_fresh`] follows their renewal.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, CertError> {
        let state = RwLock::new(State {
            shown: load(chain, key)?,
            pair: None,
        });
        let source = Source::Files {
            chain: chain.to_owned(),
            key: key.to_owned(),
        };
        Ok(Self(Arc::new(Inner { source, state })))
    }

    /// The hashes a page should accept: the current certificate, then the next one. Empty for certificates from
    /// files, which browsers verify the usual way.
    pub fn hashes(&self) -> Vec<Fingerprint> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        state.pair.as_ref().map(Pair::hashes).unwrap_or_default()
    }

    /// The certificate shown now, in PEM: what a client can take as its only root.
    pub fn shown_pem(&self) -> String {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .shown
            .cert
            .iter()
            .map(|c| development::pem("CERTIFICATE", c))
            .collect()
    }

    /// Whether a development certificate should be replaced at `now`.
    pub fn due(&self, now: SystemTime) -> bool {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        state.pair.as_ref().is_some_and(|p| p.due(now))
    }

    /// Shows the next development certificate if it is time, or what the files now hold. Open connections are not
    /// touched. Returns whether the certificate changed.
    pub fn rotate(&self, now: SystemTime) -> Result<bool, CertError> {
        let fresh = match &self.0.source {
            Source::Development { .. } if !self.due(now) => return Ok(false),
            Source::Development { names, file } => {
                // Another process on the same directory may have rotated already: then follow it.
                let pair = match file.as_deref().and_then(|f| read_pair(f, names)) {
                    Some(pair) if !pair.due(now) => pair,
                    _ => {
                        let held = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
                        let pair = match &held.pair {
                            Some(pair) => pair.rotated(now)?,
                            None => Pair::issue(names, now)?,
                        };
                        drop(held);
                        if let Some(file) = file {
                            write_pair(file, &pair)?;
                        }
                        pair
                    }
                };
                State {
                    shown: pair.shown()?,
                    pair: Some(pair),
                }
            }
            Source::Files { chain, key } => State {
                shown: load(chain, key)?,
                pair: None,
            },
        };
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = state.shown.cert != fresh.shown.cert;
        *state = fresh;
        Ok(changed)
    }

    /// Rotates whenever it is time, for ever: spawn it beside the servers. An error is logged and tried again; the
    /// old certificate stays in use meanwhile.
    pub async fn keep_fresh(self) {
        loop {
            let due_in = {
                let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
                state
                    .pair
                    .as_ref()
                    .map(|p| p.due_at().duration_since(SystemTime::now()))
            };
            // Overdue: the last attempt failed, so not at once again.
            let wait = match due_in {
                Some(Ok(left)) => left.min(LOOK),
                Some(Err(_)) => Duration::from_secs(60),
                None => LOOK,
            };
            tokio::time::sleep(wait).await;
            match self.rotate(SystemTime::now()) {
                Ok(true) => tracing::info!("certificate rotated"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "certificate not rotated"),
            }
        }
    }

    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.0.clone()
    }
}

impl fmt::Debug for Certs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certs").field(&self.hashes()).finish()
    }
}

impl ResolvesServerCert for Inner {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Some(state.shown.clone())
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate resolver")
    }
}

/// Binds key and chain, refusing a pair that does not belong together.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, CertError> {
    Ok(Arc::new(CertifiedKey::from_der(
        chain,
        key,
        &tls::provider(),
    )?))
}

fn load(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, CertError> {
    let pem = |path: &Path, what: String| CertError::Pem {
        path: path.to_owned(),
        what,
    };
    let certs = CertificateDer::pem_slice_iter(&read(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| pem(chain, e.to_string()))?;
    if certs.is_empty() {
        return Err(pem(chain, "holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| pem(key, e.to_string()))?;
    certified(certs, key)
}

fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    std::fs::read(path).map_err(|source| CertError::File {
        path: path.to_owned(),
        source,
    })
}

fn development_pair(
    names: &[String],
    file: Option<&Path>,
    now: SystemTime,
) -> Result<Pair, CertError> {
    let kept = file.and_then(|f| read_pair(f, names));
    let pair = match kept {
        Some(pair) if !pair.due(now) => return Ok(pair),
        Some(pair) => pair.rotated(now)?,
        None => Pair::issue(names, now)?,
    };
    if let Some(file) = file {
        write_pair(file, &pair)?;
    }
    Ok(pair)
}

/// `None` where there is no file, or it is damaged, or for other names: then a new certificate is made.
fn read_pair(file: &Path, names: &[String]) -> Option<Pair> {
    let text = std::fs::read_to_string(file).ok()?;
    let pair = Pair::decode(&text);
    if pair.is_none() {
        tracing::warn!(file = %file.display(), "damaged certificate file, replacing it");
    }
    pair.filter(|p| p.names() == names)
}

/// Written beside and renamed, so that a reader never sees half of it.
fn write_pair(file: &Path, pair: &Pair) -> Result<(), CertError> {
    use std::io::Write;
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| CertError::File { path, source }
    };
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).map_err(fail(dir))?;
    }
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&new).map_err(fail(&new))?;
    out.write_all(pair.encode().as_bytes())
        .and_then(|()| out.sync_all())
        .map_err(fail(&new))?;
    std::fs::rename(&new, file).map_err(fail(file))
}
