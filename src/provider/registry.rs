//! A provider whose kind is known only at run time.

use std::ops::Deref;

use super::http::Endpoint;
use super::{Backend, Provider};
use crate::api::provider::Limits;

/// The provider of a provider object, with what its kind determines.
pub struct AnyProvider {
    provider: Box<dyn Provider>,
    one_writer: bool,
    limits: fn(Limits, &Endpoint) -> Limits,
}

impl<B: Backend + 'static> From<B> for AnyProvider {
    fn from(provider: B) -> Self {
        Self { provider: Box::new(provider), one_writer: B::ONE_WRITER, limits: B::limits }
    }
}

impl AnyProvider {
    /// [`Backend::ONE_WRITER`].
    pub fn one_writer(&self) -> bool {
        self.one_writer
    }

    /// [`Backend::limits`].
    pub fn limits(&self, set: Limits, endpoint: &Endpoint) -> Limits {
        (self.limits)(set, endpoint)
    }
}

impl Deref for AnyProvider {
    type Target = dyn Provider;

    fn deref(&self) -> &Self::Target {
        &*self.provider
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{infisical, zitadel};

    fn per_minute<B: Backend>(url: &str, set: Limits) -> (Option<u32>, Option<u32>, Option<u32>) {
        let limits = B::limits(set, &Endpoint::parse(url).unwrap());
        (limits.reads_per_minute, limits.writes_per_minute, limits.max_in_flight)
    }

    #[test]
    fn the_known_clouds_have_limits_where_a_provider_object_sets_none() {
        type I = infisical::Infisical;
        type Z = zitadel::Zitadel;
        let none = Limits::default;
        for url in ["https://app.infisical.com", "https://us.infisical.com/", "https://eu.infisical.com"] {
            assert_eq!(per_minute::<I>(url, none()), (Some(200), Some(90), None), "{url}");
        }
        assert_eq!(per_minute::<Z>("https://acme-x7.eu1.zitadel.cloud", none()), (Some(1500), Some(1500), None));
        for url in
            ["https://infisical.example.com", "https://app.infisical.com.example.com", "https://notzitadel.cloud"]
        {
            assert_eq!(per_minute::<I>(url, none()), (None, None, None), "{url}");
            assert_eq!(per_minute::<Z>(url, none()), (None, None, None), "{url}");
        }
        let set = Limits { reads_per_minute: Some(10), max_in_flight: Some(2), ..none() };
        assert_eq!(per_minute::<I>("https://app.infisical.com", set), (Some(10), Some(90), Some(2)));
    }
}
