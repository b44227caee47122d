//! The proxy between the operator and the servers, as the environment variables define it.

use reqwest::NoProxy;
use url::Url;

/// Which proxy is used for which servers: the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for servers whose URL is https, as `http://proxy.example.com:3128`.
    pub https: Option<String>,
    /// The proxy for servers whose URL is http.
    pub http: Option<String>,
    /// The servers without a proxy: names with their subdomains, addresses and ranges, separated by commas; `*` is all.
    pub except: Option<String>,
}

impl Proxies {
    /// Reads the environment. Names in lower case take precedence, as in curl.
    pub fn from_environment() -> Self {
        let value = |name: &str| {
            let values = [name.to_ascii_lowercase(), name.to_owned()].into_iter().filter_map(|n| std::env::var(n).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        Self { https: value("HTTPS_PROXY"), http: value("HTTP_PROXY"), except: value("NO_PROXY") }
    }

    /// Whether there is no proxy.
    pub fn is_empty(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }

    /// Whether no server uses a proxy. The HTTP client itself applies the `*` to names only, not to addresses.
    pub fn except_all(&self) -> bool {
        self.except.iter().flat_map(|except| except.split(',')).any(|except| except.trim() == "*")
    }

    /// The hosts of the proxies themselves, which the operator's configuration chooses, not a tenant.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = [&self.https, &self.http].into_iter().flatten().filter_map(|proxy| url(proxy).ok());
        urls.filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// The proxies in the form that the HTTP client accepts.
    pub(crate) fn build(&self) -> Result<Vec<reqwest::Proxy>, String> {
        let except = || self.except.as_deref().and_then(NoProxy::from_string);
        let mut built = Vec::new();
        if self.except_all() {
            return Ok(built);
        }
        for (name, proxy, make) in [
            ("HTTPS_PROXY", &self.https, reqwest::Proxy::https::<Url> as fn(Url) -> reqwest::Result<reqwest::Proxy>),
            ("HTTP_PROXY", &self.http, reqwest::Proxy::http::<Url>),
        ] {
            let Some(proxy) = proxy else { continue };
            // The URL of a proxy may contain a password: no part of it is repeated.
            let refused = || format!("{name} can't be read: write it as http://proxy.example.com:3128");
            let proxy = make(url(proxy).map_err(|_| refused())?).map_err(|_| refused())?;
            built.push(proxy.no_proxy(except()));
        }
        Ok(built)
    }
}

/// The URL of a proxy. `proxy:3128` is accepted too, as in curl.
fn url(proxy: &str) -> Result<Url, url::ParseError> {
    if proxy.contains("://") { Url::parse(proxy) } else { Url::parse(&format!("http://{proxy}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_and_without_its_scheme() {
        for (text, host) in [
            ("http://proxy.lab:3128", "proxy.lab"),
            ("proxy.lab:3128", "proxy.lab"),
            ("https://me:pw@10.0.0.1/", "10.0.0.1"),
        ] {
            let proxies = Proxies { https: Some(text.to_owned()), ..Proxies::default() };
            assert_eq!(proxies.hosts(), [host], "{text}");
            assert_eq!(proxies.build().unwrap().len(), 1, "{text}");
        }
        assert!(Proxies::default().build().unwrap().is_empty());
    }

    #[test]
    fn an_asterisk_among_the_exceptions_is_every_server() {
        for (except, used) in [("*", 0), ("10.0.0.0/8, *", 0), ("*.example.com", 1), ("", 1)] {
            let except = Some(except.to_owned());
            let proxies = Proxies { https: Some("proxy.lab:3128".to_owned()), except, ..Proxies::default() };
            assert_eq!(proxies.build().unwrap().len(), used, "{:?}", proxies.except);
        }
    }

    #[test]
    fn a_proxy_that_cant_be_read_is_named_without_its_password() {
        let proxies = Proxies { http: Some("http://me:hunter2@:bad:port".to_owned()), ..Proxies::default() };
        let error = proxies.build().unwrap_err().to_string();
        assert!(error.starts_with("HTTP_PROXY can't be read"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
