//! The certificate authorities of a provider object.

use std::sync::Arc;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::transport::roots;

/// The most bytes of a bundle: the limit of a Secret or ConfigMap.
const LONGEST: usize = 1 << 20;

/// Certificates of authorities that are trusted instead of the system's. Clones share them.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Vec<Certificate>>);

/// Why a text is not a certificate bundle, and what to write.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0}")]
pub struct TrustError(String);

impl Trust {
    /// The compiled-in authorities, for a system that has none.
    pub(super) fn compiled_in() -> Self {
        Self(Arc::new(roots::compiled_in().filter_map(|root| Certificate::from_der(root).ok()).collect()))
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = Certificate> {
        self.0.iter().cloned()
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
                "it contains a private key: keep only the certificates, and consider the key compromised".to_owned(),
            );
        }
        let mut checked = RootCertStore::empty();
        let mut certificates = Vec::new();
        for (index, found) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let number = index + 1;
            // Neither the text nor the parser's error is repeated: either may contain anything.
            let Ok(der) = found else {
                return refused(format!(
                    "certificate {number} isn't complete PEM: copy it again, with its BEGIN and END lines"
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
                 CERTIFICATE-----, not base64-encoded again"
                    .to_owned(),
            );
        }
        Ok(Self(Arc::new(certificates)))
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
        for (text, expected) in [
            (String::new(), "it has no certificate"),
            ("hunter2".to_owned(), "it has no certificate"),
            (other, "it has no certificate"),
            (cut.to_owned(), "certificate 1 isn't complete PEM"),
            (format!("{good}{cut}"), "certificate 2 isn't complete PEM"),
            (format!("{good}{nonsense}"), "certificate 2 can't be read"),
            (format!("{good}{key}"), "a private key"),
            (" ".repeat(LONGEST + 1), "more than 1 MiB"),
        ] {
            let error = Trust::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
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
