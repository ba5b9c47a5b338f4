//! TLS from PEM files, which are read again when they are renewed.
//!
//! The provider is ring, as everywhere in the workspace, and named here, so that it does not
//! depend on who installed one for the process first.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::TlsFiles;
use crate::error::Error;

/// HTTP/2, as it is called in the handshake.
pub(crate) const H2: &[u8] = b"h2";

/// The certificate that a server shows; a copy shows the same one, also when it is renewed.
#[derive(Clone, Debug)]
pub struct Tls {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
}

/// What is shown from the next handshake on.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or the two do not belong together.
    pub async fn load(files: TlsFiles) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let certified = read(&files, &provider).await?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        Ok(Self { files, provider, current })
    }

    /// Reads the files again, and tells whether the certificate is another one.
    ///
    /// # Errors
    /// As [`Tls::load`]; the certificate stays what it was.
    pub async fn reload(&self) -> Result<bool, Error> {
        let certified = read(&self.files, &self.provider).await?;
        if self.current.get().cert == certified.cert {
            return Ok(false);
        }
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(true)
    }

    /// How handshakes are made: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(&self) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        config
    }
}

async fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let path = &files.certificate;
    let chain = CertificateDer::pem_slice_iter(&contents(path).await?)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|source| Error::Pem { path: path.clone(), what: "certificate", source })?;
    let key = PrivateKeyDer::from_pem_slice(&contents(&files.key).await?)
        .map_err(|source| Error::Pem { path: files.key.clone(), what: "private key", source })?;
    let refused = |source| Error::Certificate { path: path.clone(), source };
    CertifiedKey::from_der(chain, key, provider).map_err(refused)
}

async fn contents(path: &Path) -> Result<Vec<u8>, Error> {
    let refused = |source| Error::Read { path: path.to_owned(), source };
    tokio::fs::read(path).await.map_err(refused)
}
