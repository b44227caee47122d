//! The certificate authorities of a provider's own.

use std::sync::Arc;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::transport::roots;

/// The most bytes of a bundle: what a Secret or ConfigMap can hold.
const LONGEST: usize = 1 << 20;

/// Certificates of authorities that are trusted instead of the system's. Clones share them.
#[derive(Clone, Debug)]
pub struct Trust {
    certificates: Arc<Vec<Certificate>>,
    compiled_in: bool,
}

/// Why a text is no bundle of certificates, and what to write.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0}")]
pub struct TrustError(String);

impl Trust {
    /// The authorities that are compiled in, for a system that has none.
    pub(super) fn compiled_in() -> Self {
        let certificates = roots::compiled_in().filter_map(|root| Certificate::from_der(root).ok()).collect();
        Self { certificates: Arc::new(certificates), compiled_in: true }
    }

    pub(super) fn is_compiled_in(&self) -> bool {
        self.compiled_in
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = Certificate> {
        self.certificates.iter().cloned()
    }

    /// Reads certificates in PEM. Texts between them are comments, as in the bundles of distributions.
    pub fn parse(pem: &[u8]) -> Result<Self, TrustError> {
        let refused = |what: String| Err(TrustError(what));
        if pem.len() > LONGEST {
            return refused(format!(
                "it has more than {} MiB: name only the authorities that are needed",
                LONGEST >> 20
            ));
        }
        if pem.windows(12).any(|part| part == b"PRIVATE KEY-") {
            return refused(
                "it holds a private key: leave only the certificates, and take the key for known".to_owned(),
            );
        }
        let mut checked = RootCertStore::empty();
        let mut certificates = Vec::new();
        for (index, found) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let number = index + 1;
            // Neither the text nor what the parser says of it is repeated: it may be anything.
            let Ok(der) = found else {
                return refused(format!(
                    "certificate {number} isn't whole PEM: copy it again, with its BEGIN and END lines"
                ));
            };
            let certificate = Certificate::from_der(&der);
            match (checked.add(der), certificate) {
                (Ok(()), Ok(certificate)) => certificates.push(certificate),
                _ => {
                    return refused(format!(
                        "certificate {number} can't be read: check that it is an X.509 certificate"
                    ));
                }
            }
        }
        if certificates.is_empty() {
            return refused(
                "it has no certificate: write PEM, lines between -----BEGIN CERTIFICATE----- and -----END \
                 CERTIFICATE-----, not in base64 once more"
                    .to_owned(),
            );
        }
        Ok(Self { certificates: Arc::new(certificates), compiled_in: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority() -> String {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn a_bundle_is_read_with_its_comments() {
        let bundle = format!("# ours\n{}\nAnother one\n{}", authority(), authority());
        assert_eq!(Trust::parse(bundle.as_bytes()).unwrap().certificates().count(), 2);
    }

    #[test]
    fn what_is_no_bundle_says_what_to_write() {
        let good = authority();
        let cut = &good[..good.len() / 2];
        let other = good.replace("CERTIFICATE", "PUBLIC KEY");
        let nonsense = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for (text, says) in [
            (String::new(), "it has no certificate"),
            ("hunter2".to_owned(), "it has no certificate"),
            (other, "it has no certificate"),
            (cut.to_owned(), "certificate 1 isn't whole PEM"),
            (format!("{good}{cut}"), "certificate 2 isn't whole PEM"),
            (format!("{good}{nonsense}"), "certificate 2 can't be read"),
            (format!("{good}{key}"), "a private key"),
            (" ".repeat(LONGEST + 1), "more than 1 MiB"),
        ] {
            let error = Trust::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("aHVudGVyMg"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_stop_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..600), text in "(-----(BEGIN|END) CERTIFICATE-----|[A-Za-z0-9+/=]{0,70}|\n){0,12}") {
            let _ = Trust::parse(&bytes);
            if let Err(error) = Trust::parse(text.as_bytes()) {
                prop_assert!(error.to_string().len() < 200);
            }
        }
    }
}
