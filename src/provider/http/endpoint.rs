//! A provider's URL in its canonical form, and which URLs may be used.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::provider::address::{self, Cidr};
use crate::transport::Proxies;

/// A provider's URL in its canonical form: `https://host[:port][/path]`, the host in lower case, no default port, no
/// slash at the end. Two spellings of one server are one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    text: String,
    url: Url,
}

/// Why a URL can't be used, and what to write instead.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
#[error("{0}")]
pub struct UrlError(String);

impl UrlError {
    /// A refusal in one sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl Endpoint {
    /// Reads a URL as a user wrote it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let url = Url::parse(text).map_err(|error| {
            UrlError(format!(
                "the URL can't be read ({error}): write the scheme and the host, as https://app.example.com"
            ))
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(UrlError("the URL's scheme is neither https nor http: write https://…".to_owned()));
        }
        // Checked before anything of the URL is shown: this part may be a password.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError(
                "the URL has a user name or password: write it without, the credential belongs in auth".to_owned(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError("the URL has a query or fragment: remove what follows ? or #".to_owned()));
        }
        Self::normal(url)
    }

    fn normal(mut url: Url) -> Result<Self, UrlError> {
        let no_host = || UrlError("the URL has no host: write it as https://app.example.com".to_owned());
        // `host.` and `host` are one server.
        if let Some(Host::Domain(name)) = url.host()
            && let Some(bare) = name.strip_suffix('.').map(str::to_owned)
        {
            url.set_host(Some(&bare)).map_err(|_| no_host())?;
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(no_host());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let text = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { text, url })
    }

    /// The URL as text, as in `status.target.endpoint`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, without port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        }
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The URL with `segments` appended to its own path, each encoded so that it remains one segment.
    pub(super) fn with_path<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Result<Url, UrlError> {
        let mut url = self.url.clone();
        {
            let mut path = url.path_segments_mut().map_err(|()| UrlError("the URL can't have a path".to_owned()))?;
            path.pop_if_empty();
            for segment in segments {
                // The URL standard gives these a special meaning, encoded or not.
                if segment.is_empty() || segment == "." || segment == ".." {
                    return Err(UrlError(format!("{segment:?} can't be part of a path: write the id")));
                }
                path.push(segment);
            }
        }
        Ok(url)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which URLs may be used (docs/security.md, "What stops them").
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Hosts that may be called without TLS (`--allow-http=HOST`), without port.
    pub allow_http: Vec<String>,
    /// Ranges that may be called although they would be refused (`--allow-address=CIDR`).
    pub allow_address: Vec<Cidr>,
    /// The only hosts that may be called (`--allowed-hosts`); `None`: any.
    pub allowed_hosts: Option<Vec<String>>,
    /// The proxies. If addresses are restricted, a proxy is used only if hosts are named above: behind it no address
    /// can be checked.
    pub proxies: Proxies,
    /// Whether loopback, link-local, metadata and such addresses are refused: true for namespaced providers.
    pub restrict_addresses: bool,
}

impl Policy {
    /// The proxies that are used under this policy.
    pub(super) fn usable_proxies(&self) -> Option<&Proxies> {
        let usable = !self.restrict_addresses || self.allowed_hosts.is_some();
        Some(&self.proxies).filter(|proxies| usable && !proxies.is_empty())
    }

    /// Whether `endpoint` may be used, as far as this can be determined without resolving a name. The addresses of a
    /// name are checked when it is resolved.
    pub fn check(&self, endpoint: &Endpoint) -> Result<(), UrlError> {
        let host = endpoint.host();
        if !endpoint.is_https() && !names(&self.allow_http, host) {
            return Err(UrlError(format!(
                "{endpoint} is not encrypted: write https://, or start the operator with --allow-http={host}"
            )));
        }
        if self.allowed_hosts.as_deref().is_some_and(|hosts| !names(hosts, host)) {
            return Err(UrlError(format!("the host {host} is not one of the operator's --allowed-hosts")));
        }
        endpoint.address().map_or(Ok(()), |address| self.check_address(host, address))
    }

    /// Whether `host` may be called at `address`.
    pub(super) fn check_address(&self, host: &str, address: IpAddr) -> Result<(), UrlError> {
        if !self.restrict_addresses {
            return Ok(());
        }
        match address::refusal(address, &self.allow_address) {
            None => Ok(()),
            Some(what) => Err(UrlError(format!(
                "the host {host} is at {address}, {what}, which a namespaced provider may not use: \
                 start the operator with --allow-address={address} if that is intended"
            ))),
        }
    }
}

/// Whether `host` is one of `hosts`, ignoring case, a trailing dot and brackets.
fn names(hosts: &[String], host: &str) -> bool {
    let bare = |h: &str| h.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    hosts.iter().any(|allowed| bare(allowed) == bare(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_server_are_one_endpoint() {
        let cases = [
            ("https://app.infisical.com", "https://app.infisical.com"),
            ("  https://APP.Infisical.com:443/ ", "https://app.infisical.com"),
            ("https://app.infisical.com.", "https://app.infisical.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://LOCALHOST:8080//", "http://localhost:8080"),
            ("https://example.com/infisical/", "https://example.com/infisical"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("http://127.1", "http://127.0.0.1"),
            ("http://0x7f000001:81", "http://127.0.0.1:81"),
        ];
        for (text, normal) in cases {
            assert_eq!(Endpoint::parse(text).unwrap().as_str(), normal, "{text}");
        }
    }

    #[test]
    fn a_refused_url_says_what_to_write() {
        let cases = [
            ("app.infisical.com", "https://app.example.com"),
            ("", "https://app.example.com"),
            ("ftp://example.com", "write https://"),
            ("https://me:hunter2@example.com", "user name or password"),
            ("https://example.com?x=hunter2", "query or fragment"),
            ("https://example.com/#hunter2", "query or fragment"),
            ("https://", "https://app.example.com"),
        ];
        for (text, expected) in cases {
            let error = Endpoint::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn the_policy_decides_by_scheme_host_and_address() {
        let tenant = Policy { restrict_addresses: true, ..Policy::default() };
        let lab = Policy {
            allow_http: vec!["127.0.0.1".into(), "Infisical.Lab".into(), "::1".into()],
            allow_address: vec!["127.0.0.1".parse().unwrap()],
            restrict_addresses: true,
            ..Policy::default()
        };
        let narrow = Policy { allowed_hosts: Some(vec!["app.infisical.com".into()]), ..Policy::default() };
        let cases = [
            (&tenant, "https://app.infisical.com", None),
            (&tenant, "http://app.infisical.com", Some("--allow-http=app.infisical.com")),
            (&tenant, "https://169.254.169.254", Some("--allow-address=169.254.169.254")),
            (&tenant, "https://[::ffff:127.0.0.1]", Some("loopback")),
            (&tenant, "https://2130706433", Some("loopback")),
            (&tenant, "https://10.0.0.1", None),
            (&lab, "http://127.0.0.1:9000", None),
            (&lab, "http://infisical.lab", None),
            (&lab, "http://[::1]:9000", Some("loopback")),
            (&lab, "http://127.0.0.2", Some("--allow-http")),
            (&narrow, "https://app.infisical.com", None),
            (&narrow, "https://127.0.0.1", Some("--allowed-hosts")),
        ];
        for (policy, url, refused) in cases {
            let answer = policy.check(&Endpoint::parse(url).unwrap());
            match refused {
                None => assert_eq!(answer, Ok(()), "{url}"),
                Some(expected) => assert!(answer.unwrap_err().to_string().contains(expected), "{url}"),
            }
        }
    }

    #[test]
    fn an_id_stays_one_segment() {
        let endpoint = Endpoint::parse("https://example.com/base").unwrap();
        let url = endpoint.with_path(["api", "a/b?c#d", "é%2e"].into_iter()).unwrap();
        assert_eq!(url.as_str(), "https://example.com/base/api/a%2Fb%3Fc%23d/%C3%A9%252e");
        for bad in ["", ".", ".."] {
            assert!(endpoint.with_path([bad].into_iter()).is_err(), "{bad:?}");
        }
    }
}
