//! TLS on the gateway's own listeners, by rustls, where a certificate is set.
//!
//! HTTP/1.1 alone is offered: it carries everything that the gateway serves, sockets included. The files are read once, at
//! the start; a new certificate takes a restart, which drains.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tls_listener::rustls::{TlsAcceptor, server::TlsStream};
use tokio::net::{TcpListener, TcpStream};

use crate::config::TlsSettings;

/// How long a client may take to agree on a key.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What listeners encrypt with.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

impl Tls {
    /// Reads the certificate and its key; none where none is set.
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

    /// Encrypts the connections of a listener.
    pub(crate) fn over(&self, listener: TcpListener) -> TlsListener {
        let mut builder = tls_listener::builder(self.0.clone());
        TlsListener(builder.handshake_timeout(HANDSHAKE).listen(listener))
    }
}

/// The certificate, and those that lead from it to one that clients know.
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

/// A listener whose connections are encrypted. Handshakes go on beside each other.
pub(crate) struct TlsListener(tls_listener::TlsListener<TcpListener, TlsAcceptor>);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(tls_listener::Error::ListenerError(error)) => recover(&error).await,
                // Somebody speaks something else, or does not trust the certificate: theirs to know.
                Err(error) => tracing::debug!(%error, "no TLS with a client"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// As `axum::serve` does for plain listeners: where there are too many open files, others may close meanwhile.
async fn recover(error: &std::io::Error) {
    let of_client = [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
    ];
    if !of_client.contains(&error.kind()) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
