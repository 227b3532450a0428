//! TLS on the gateway's own listeners, by rustls, where a certificate is set.
//!
//! Only HTTP/1.1 is offered: it carries everything that the gateway serves, `WebSocket`s included. The files are read once,
//! at the start, so a new certificate takes a restart, which drains.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::TlsSettings;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The certificate and key of a listener.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl Tls {
    /// Reads the certificate and its key; `None` where neither is set. Fails where a file cannot be read, or the two do not
    /// belong together.
    pub(crate) fn load(settings: &TlsSettings) -> anyhow::Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&settings.cert_file, &settings.key_file) else {
            return Ok(None);
        };
        let chain = chain(certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).with_context(|| {
            let file = key.display();
            format!("cannot read a private key from {file} (tls.key_file)")
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot offer TLS")?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .context("cannot use the certificate and key of tls.cert_file and tls.key_file")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self(TlsAcceptor::from(Arc::new(config)))))
    }

    /// Encrypts a connection. Fails where the handshake fails or takes longer than ten seconds.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let handshake = timeout(HANDSHAKE, self.0.accept(stream));
        handshake
            .await
            .unwrap_or_else(|_elapsed| Err(Error::from(ErrorKind::TimedOut)))
    }
}

/// Reads the certificate, and those that lead from it to one that clients trust.
fn chain(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || {
        let file = file.display();
        format!("cannot read certificates from {file} (tls.cert_file)")
    };
    let certificates = CertificateDer::pem_file_iter(file).with_context(read)?;
    let chain = certificates.collect::<Result<Vec<_>, _>>();
    let chain = chain.with_context(read)?;
    anyhow::ensure!(!chain.is_empty(), "{}: there is none in it", read());
    Ok(chain)
}
