//! TLS 1.3 configurations. The crypto provider is always passed, never taken from the process.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::cert::{Certs, Fingerprint, fingerprint};
use crate::client::ServerTrust;
use crate::error::BindError;

/// ALPN of HTTP/3, which WebTransport rides on.
pub(crate) const H3: &[u8] = b"h3";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A server that shows `certs` and offers `alpn`.
pub(crate) fn server(certs: &Certs, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, BindError> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| BindError::Tls(e.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(certs.resolver());
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    // Early data can be replayed, and CONNECT carries a token: never.
    config.max_early_data_size = 0;
    Ok(config)
}

/// A client that trusts `trust`.
pub(crate) fn client(trust: ServerTrust) -> Result<rustls::ClientConfig, BindError> {
    let tls = match trust {
        ServerTrust::Hashes(hashes) => client_hashes(hashes),
        ServerTrust::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "a system certificate was not read");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            client_roots(roots)
        }
        ServerTrust::Pem(text) => {
            let mut roots = RootCertStore::empty();
            for cert in CertificateDer::pem_slice_iter(text.as_bytes()) {
                let cert = cert.map_err(|e| BindError::Tls(e.to_string()))?;
                roots.add(cert).map_err(|e| BindError::Tls(e.to_string()))?;
            }
            client_roots(roots)
        }
    };
    tls.map_err(|e| BindError::Tls(e.to_string()))
}

/// A client that trusts certification authorities.
fn client_roots(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![H3.to_vec()];
    Ok(config)
}

/// A client that trusts exactly the certificates with these hashes, as `serverCertificateHashes` does in a browser.
fn client_hashes(hashes: Vec<Fingerprint>) -> Result<rustls::ClientConfig, rustls::Error> {
    let verifier = HashVerifier {
        hashes,
        provider: provider(),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![H3.to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct HashVerifier {
    hashes: Vec<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.hashes.contains(&fingerprint(end_entity)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
