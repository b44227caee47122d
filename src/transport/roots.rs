//! The certificate authorities that are compiled in, for systems without any.

use rustls::pki_types::CertificateDer;

/// The authorities that Mozilla trusted when this binary was built.
pub fn compiled_in() -> impl Iterator<Item = &'static CertificateDer<'static>> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter()
}

/// Logs that they are used instead of the system's. `servers` names the servers whose certificates are verified with
/// them.
pub fn report_fallback(servers: &str) {
    tracing::warn!(
        authorities = compiled_in().count(),
        "the system has no CA certificates: those compiled into this binary are used for {servers}, and age with it; to use \
         your own, mount a bundle and name it in SSL_CERT_FILE"
    );
}
