//! Which instance a request is for, and how it sees the instance's address (zitadel/auth.json, 80 to 97).

use axum::http::header::{FORWARDED, HOST};
use axum::http::{HeaderMap, Uri};

/// The address under which a request reached the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    /// With the port, where the request named one.
    instance_host: String,
    /// What the instance is to be called in answers, if that was set.
    public_host: String,
}

impl Origin {
    /// Reads it from the headers. `Forwarded` counts for the OIDC endpoints only, `x-zitadel-forwarded` for all.
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let first = |values: &str| values.split(',').next().unwrap_or_default().trim().to_owned();
        let mut forwarded = vec![parameter(text("x-zitadel-forwarded"), "host")];
        if is_oidc(uri.path()) {
            forwarded.push(parameter(text(FORWARDED.as_str()), "host"));
        }
        let host = [text("x-zitadel-instance-host").trim().to_owned()]
            .into_iter()
            .chain(forwarded)
            .chain([first(text("x-forwarded-host")), text(HOST.as_str()).to_owned()])
            .find(|host| !host.is_empty());
        let scheme = [parameter(text("x-zitadel-forwarded"), "proto"), first(text("x-forwarded-proto"))]
            .into_iter()
            .find(|scheme| !scheme.is_empty());
        Self {
            scheme: scheme.unwrap_or_else(|| "http".to_owned()),
            instance_host: host.unwrap_or_default(),
            public_host: text("x-zitadel-public-host").trim().to_owned(),
        }
    }

    /// The issuer of the tokens that are asked for under this address; an assertion must name it exactly.
    pub(crate) fn issuer(&self) -> String {
        let host = if self.public_host.is_empty() { &self.instance_host } else { &self.public_host };
        format!("{}://{host}", self.scheme)
    }

    /// Checks that the instance has this host name, with any port; an instance without host names accepts all.
    pub(crate) fn check(&self, domains: &[String]) -> Result<(), String> {
        let Some(external) = domains.first() else {
            return Ok(());
        };
        let known = |host: &str| domains.iter().any(|domain| domain == without_port(host));
        let origin = format!("&{{{} {} {}}}", self.instance_host, self.public_host, self.scheme);
        let error = |id: &str, more: &str| {
            format!(
                "unable to set instance using origin {origin} (ExternalDomain is {external}): ID={id} Message=Instance \
                 not found. Make sure you got the domain right. Check out \
                 https://zitadel.com/docs/apis/introduction#domains{more}"
            )
        };
        if !known(&self.instance_host) {
            return Err(error("QUERY-1kIjX", ""));
        }
        if !self.public_host.is_empty() && !known(&self.public_host) {
            let public = &self.public_host;
            return Err(error("QUERY-IuGh1", &format!(" Parent=(public domain \"{public}\" not trusted)")));
        }
        Ok(())
    }
}

/// Whether a path is one of the OIDC endpoints, which have rules and errors of their own.
pub(crate) fn is_oidc(path: &str) -> bool {
    path.starts_with("/oauth/") || path.starts_with("/.well-known/")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A parameter of the first element of a `Forwarded` header.
fn parameter(header: &str, name: &str) -> String {
    let first = header.split(',').next().unwrap_or_default();
    let pairs = first.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().trim_matches('"').to_owned()).unwrap_or_default()
}
