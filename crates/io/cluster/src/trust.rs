//! How services know one another on gRPC: by certificates of one authority, shown by both ends.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// The name that every service's certificate bears. Which service it is says the registry; that it is one of this
/// cluster says the authority.
pub const NAME: &str = "node.darktower.internal";

/// The file in which the development authority keeps its key.
const KEY_FILE: &str = "cluster-authority-key.pem";

/// Why there is no such trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read or made.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What the files hold is no certificate, no key, or they do not belong together.
    #[error("the certificates of the cluster cannot be used: {0}")]
    Unusable(String),
}

/// Whom gRPC is spoken with. The default is everybody who can reach it, in clear: for one machine.
#[derive(Clone, Default)]
pub struct Trust(Option<Arc<Shown>>);

struct Shown {
    server: ServerTlsConfig,
    client: ClientTlsConfig,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("is_checked", &self.is_checked())
            .finish()
    }
}

impl Trust {
    /// By PEM files: the chain that this process shows, its key, and the authority whose certificates are believed.
    pub fn of_files(chain: &Path, key: &Path, authority: &Path) -> Result<Self, TrustError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| file(path, source));
        Self::of(&read(chain)?, &read(key)?, &read(authority)?)
    }

    /// By an authority whose key is kept in `directory`, made where it is missing: for processes that share it.
    pub fn development(directory: &Path) -> Result<Self, TrustError> {
        let unusable = |error: rcgen::Error| TrustError::Unusable(error.to_string());
        let key = KeyPair::from_pem(&authority_key(directory)?).map_err(unusable)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        // The same key and name each time: what one process issues, all believe.
        let authority = CertifiedIssuer::self_signed(params, key).map_err(unusable)?;
        let params = CertificateParams::new([NAME.to_owned()]).map_err(unusable)?;
        let key = KeyPair::generate().map_err(unusable)?;
        let certificate = params.signed_by(&key, &authority).map_err(unusable)?;
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Self::of(chain.as_bytes(), key.as_bytes(), authority.pem().as_bytes())
    }

    fn of(chain: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, TrustError> {
        let identity = Identity::from_pem(chain, key);
        let authority = Certificate::from_pem(authority);
        let shown = Shown {
            server: ServerTlsConfig::new()
                .identity(identity.clone())
                .client_ca_root(authority.clone())
                // One that shows none is told so by a code, not by a broken connection.
                .client_auth_optional(true),
            client: ClientTlsConfig::new()
                .identity(identity)
                .ca_certificate(authority)
                .domain_name(NAME),
        };
        let unusable = |error: tonic::transport::Error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            TrustError::Unusable(why.unwrap_or_else(|| error.to_string()))
        };
        // Both ends are made once, so that what is wrong is said now.
        let server = tonic::transport::Server::builder();
        server.tls_config(shown.server.clone()).map_err(unusable)?;
        let client = tonic::transport::Endpoint::from_static("https://node");
        client.tls_config(shown.client.clone()).map_err(unusable)?;
        Ok(Self(Some(Arc::new(shown))))
    }

    /// Whether both ends have to show who they are.
    pub fn is_checked(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn server(&self) -> Option<ServerTlsConfig> {
        self.0.as_ref().map(|shown| shown.server.clone())
    }

    pub(crate) fn client(&self) -> Option<ClientTlsConfig> {
        self.0.as_ref().map(|shown| shown.client.clone())
    }
}

fn file(path: &Path, source: io::Error) -> TrustError {
    let path = path.display().to_string();
    TrustError::File { path, source }
}

/// The authority's key: the first that anybody has put there whole.
fn authority_key(directory: &Path) -> Result<String, TrustError> {
    let path = directory.join(KEY_FILE);
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        outcome => return outcome.map_err(|source| file(&path, source)),
    }
    let key = KeyPair::generate().map_err(|error| TrustError::Unusable(error.to_string()))?;
    let text = key.serialize_pem();
    let mine = directory.join(format!("{KEY_FILE}.{}", std::process::id()));
    let write = || {
        std::fs::create_dir_all(directory)?;
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&mine)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        let first = std::fs::hard_link(&mine, &path);
        std::fs::remove_file(&mine)?;
        match first {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => std::fs::read_to_string(&path),
        }
    };
    write().map_err(|source| file(&path, source))
}
