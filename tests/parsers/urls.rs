//! URLs of provider objects.

use membership_operator::provider::http::{Endpoint, Policy};
use proptest::prelude::*;

/// Texts that begin like URLs, with all that may go wrong in one.
fn text() -> impl Strategy<Value = String> {
    let scheme = "(https?|HTTPS|ftp|file|gopher|https?:|)";
    let user = "(|hunter2@|a:hunter2@|%40@)";
    let host = "([a-z0-9.-]{0,12}|[A-Z]{1,4}\\.Example\\.|0x[0-9a-f]{1,8}|[0-9]{1,11}|[0-9]{1,3}(\\.[0-9]{1,3}){0,4}|\\[[0-9a-f:.]{0,20}\\]|bücher|%31%32|\u{ff10}\u{3002}1)";
    let port = "(|:[0-9]{0,6}|:x)";
    let path = "(|/[a-z0-9/.%~ -]{0,12})";
    let rest = "(|\\?[a-z=]{0,6}|#[a-z]{0,4})";
    prop_oneof![
        8 => (scheme, "(://|:/|:|//|\\\\\\\\)", user, host, port, path, rest)
            .prop_map(|(a, b, c, d, e, f, g)| format!("{a}{b}{c}{d}{e}{f}{g}")),
        1 => "(.|\n|\t){0,60}",
        1 => (0_usize..5000).prop_map(|n| format!("https://{}", "a".repeat(n))),
    ]
}

proptest! {
    /// What is read once is read the same again, and has one form: two spellings of a server are one endpoint.
    #[test]
    fn an_endpoint_is_its_own_spelling(text in text()) {
        if let Ok(endpoint) = Endpoint::parse(&text) {
            prop_assert_eq!(&Endpoint::parse(endpoint.as_str()).unwrap(), &endpoint);
            prop_assert_eq!(endpoint.as_str(), endpoint.as_str().trim_end_matches('/'));
            prop_assert!(!endpoint.host().is_empty());
            prop_assert!(endpoint.as_str().starts_with("https://") || endpoint.as_str().starts_with("http://"));
            prop_assert!(!endpoint.as_str().contains(['?', '#', '@', ' ', '\n', '\\']), "{}", endpoint);
        }
    }

    /// A refusal never repeats what may be a password.
    #[test]
    fn a_refusal_repeats_no_password(text in text()) {
        if let Err(error) = Endpoint::parse(&text) {
            let error = error.to_string();
            prop_assert!(!error.contains("hunter2"), "{error}");
            prop_assert!(error.chars().count() < 300, "{error}");
        }
    }

    /// Without `--allow-http` nothing is spoken to that isn't encrypted, and no host that isn't one of `--allowed-hosts`,
    /// however it is spelt.
    #[test]
    fn what_passes_is_encrypted_and_named(text in text()) {
        let named = Policy { allowed_hosts: Some(vec!["a.example".into()]), restrict_addresses: true, ..Policy::default() };
        if let Ok(endpoint) = Endpoint::parse(&text) {
            if Policy::default().check(&endpoint).is_ok() {
                prop_assert!(endpoint.is_https());
            }
            if named.check(&endpoint).is_ok() {
                prop_assert_eq!(endpoint.host(), "a.example");
            }
        }
    }
}
