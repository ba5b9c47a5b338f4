//! TLS of a Redis connection, by rustls with ring.
//!
//! A file of its own because Feast's options (`ssl_cert_reqs`, `ssl_check_hostname`, …) are those
//! of Python's `ssl`, which rustls only gives through a verifier.

use std::path::Path;
use std::sync::Arc;

use feast::config::RedisTls;
use fred::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use fred::rustls::client::verify_server_cert_signed_by_trust_anchor;
use fred::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use fred::rustls::server::ParsedCertificate;
use fred::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use fred::rustls_native_certs::load_native_certs;
use fred::types::config::TlsConnector;

use crate::error::Error;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Builds the connector for one server.
pub(super) fn connector(tls: &RedisTls, address: &str) -> Result<TlsConnector, Error> {
    let config = client_config(tls).map_err(|(what, source)| Error::Tls {
        address: address.to_owned(),
        what,
        source,
    })?;
    Ok(config.into())
}

fn client_config(tls: &RedisTls) -> Result<ClientConfig, (String, Option<Cause>)> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ("no protocol version is usable".to_owned(), Some(error.into())))?;
    let builder = if tls.verify && tls.verify_hostname {
        builder.with_root_certificates(roots(tls)?)
    } else {
        let roots = if tls.verify { Some(Arc::new(roots(tls)?)) } else { None };
        let verifier = Arc::new(Lenient { roots, provider });
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    match (&tls.certfile, &tls.keyfile) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certfile), keyfile) => {
            // Python's ssl looks for the key in the certificate's file when none is named.
            let keyfile = keyfile.as_ref().unwrap_or(certfile);
            let certs = certificates(certfile, "ssl_certfile")?;
            let key = PrivateKeyDer::from_pem_file(keyfile)
                .map_err(|error| unreadable(keyfile, "ssl_keyfile", error.into()))?;
            builder
                .with_client_auth_cert(certs, key)
                .map_err(|error| unreadable(keyfile, "ssl_keyfile", error.into()))
        }
        (None, Some(_)) => Err(("`ssl_keyfile` is set without `ssl_certfile`".to_owned(), None)),
    }
}

fn roots(tls: &RedisTls) -> Result<RootCertStore, (String, Option<Cause>)> {
    let certs = match &tls.ca_certs {
        Some(path) => certificates(path, "ssl_ca_certs")?,
        None => load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certs);
    if roots.is_empty() {
        let what = "no certificate authority is known: name a PEM file in `ssl_ca_certs`";
        return Err((what.to_owned(), None));
    }
    Ok(roots)
}

fn certificates(
    path: &Path,
    setting: &str,
) -> Result<Vec<CertificateDer<'static>>, (String, Option<Cause>)> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, setting, error.into()))
}

fn unreadable(path: &Path, setting: &str, cause: Cause) -> (String, Option<Cause>) {
    (format!("`{setting}` names `{}`, which is no usable PEM file", path.display()), Some(cause))
}

/// Checks less than rustls does by itself: any name, and without roots any certificate.
#[derive(Debug)]
struct Lenient {
    roots: Option<Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
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
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
