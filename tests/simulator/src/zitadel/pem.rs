//! Keys as text: PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The bytes of a PEM text with this label, such as `RSA PUBLIC KEY`; none if it has another one or isn't PEM.
pub(crate) fn decoded(pem: &str, label: &str) -> Option<Vec<u8>> {
    let inner = pem.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let inner = inner.strip_suffix(&format!("-----END {label}-----"))?;
    STANDARD.decode(inner.split_whitespace().collect::<String>()).ok()
}
