//! The proxy between the operator and the servers, as the environment names it.

use reqwest::NoProxy;
use url::Url;

/// Which proxy leads to which servers: the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy to servers whose URL is https, as `http://proxy.example.com:3128`.
    pub https: Option<String>,
    /// The proxy to servers whose URL is http.
    pub http: Option<String>,
    /// Where none is used: names with the domains below them, addresses and ranges, parted by commas; `*` is everything.
    pub except: Option<String>,
}

impl Proxies {
    /// What the environment says; names in lower case go before, as curl has it.
    pub fn from_environment() -> Self {
        let value = |name: &str| {
            let values = [name.to_ascii_lowercase(), name.to_owned()].into_iter().filter_map(|n| std::env::var(n).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        Self { https: value("HTTPS_PROXY"), http: value("HTTP_PROXY"), except: value("NO_PROXY") }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }

    /// Whether none is used for any server. The HTTP client itself takes the `*` for names only, not for addresses.
    pub fn except_all(&self) -> bool {
        self.except.iter().flat_map(|except| except.split(',')).any(|except| except.trim() == "*")
    }

    /// The hosts of the proxies themselves, which are the operator's own choice, not a tenant's.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let urls = [&self.https, &self.http].into_iter().flatten().filter_map(|proxy| url(proxy).ok());
        urls.filter_map(|url| url.host_str().map(str::to_owned)).collect()
    }

    /// As the HTTP client takes them.
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
            // A proxy's URL may carry a password: nothing of it is repeated.
            let refused = || format!("{name} can't be read: write it as http://proxy.example.com:3128");
            let proxy = make(url(proxy).map_err(|_| refused())?).map_err(|_| refused())?;
            built.push(proxy.no_proxy(except()));
        }
        Ok(built)
    }
}

/// A proxy's URL; `proxy:3128` is one as well, as curl has it.
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
