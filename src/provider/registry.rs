//! The kinds of providers that there are, one line each.
//!
//! A provider object's kind is known when the operator runs, and the traits have methods that are `async`: so there is one
//! enum of all providers, and what it does with each is written once.

use super::http::Endpoint;
use super::{Backend, Error, Listing, Permit, Provider, Receipt, Verified, infisical, zitadel};
use crate::api::SubjectKind;
use crate::api::provider::Limits;
use crate::core::clocks::ProviderClock;
use crate::core::member::{Capabilities, Change, Member, Project, Target};

/// Makes [`AnyProvider`] of the kinds.
macro_rules! providers {
    ($($(#[$doc:meta])* $kind:ident: $backend:ty,)+) => {
        /// The provider of a provider object.
        #[allow(clippy::large_enum_variant, reason = "there is one for each provider object, and it stays where it is")]
        pub enum AnyProvider {
            $($(#[$doc])* $kind($backend),)+
        }

        $(impl From<$backend> for AnyProvider {
            fn from(provider: $backend) -> Self {
                Self::$kind(provider)
            }
        })+

        impl AnyProvider {
            /// [`Backend::ONE_WRITER`].
            pub fn one_writer(&self) -> bool {
                match self { $(Self::$kind(_) => <$backend as Backend>::ONE_WRITER,)+ }
            }

            /// [`Backend::limits`].
            pub fn limits(&self, set: Limits, endpoint: &Endpoint) -> Limits {
                match self { $(Self::$kind(_) => <$backend as Backend>::limits(set, endpoint),)+ }
            }
        }

        impl Provider for AnyProvider {
            fn capabilities(&self, kind: SubjectKind) -> Capabilities {
                match self { $(Self::$kind(provider) => provider.capabilities(kind),)+ }
            }

            async fn verify(&self, permit: &Permit) -> Result<Verified, Error> {
                match self { $(Self::$kind(provider) => provider.verify(permit).await,)+ }
            }

            async fn find_project(
                &self,
                permit: &Permit,
                name: &str,
                organization_id: Option<&str>,
            ) -> Result<Vec<String>, Error> {
                match self { $(Self::$kind(provider) => provider.find_project(permit, name, organization_id).await,)+ }
            }

            async fn find_subject(
                &self,
                permit: &Permit,
                project: &Project,
                kind: SubjectKind,
                name: &str,
            ) -> Result<Vec<String>, Error> {
                match self { $(Self::$kind(provider) => provider.find_subject(permit, project, kind, name).await,)+ }
            }

            async fn list(&self, permit: &Permit, project: &Project, kind: SubjectKind) -> Result<Listing, Error> {
                match self { $(Self::$kind(provider) => provider.list(permit, project, kind).await,)+ }
            }

            async fn apply(
                &self,
                permit: &Permit,
                target: &Target,
                name: Option<&str>,
                change: &Change,
            ) -> Result<Receipt, Error> {
                match self { $(Self::$kind(provider) => provider.apply(permit, target, name, change).await,)+ }
            }

            async fn invite(&self, permit: &Permit, project: &Project, name: &str) -> Result<String, Error> {
                match self { $(Self::$kind(provider) => provider.invite(permit, project, name).await,)+ }
            }

            async fn repair(
                &self,
                permit: &Permit,
                target: &Target,
                name: Option<&str>,
                wanted: &Change,
                shown: Option<&Member>,
            ) -> Result<Receipt, Error> {
                match self { $(Self::$kind(provider) => provider.repair(permit, target, name, wanted, shown).await,)+ }
            }

            async fn explain_absence(&self, permit: &Permit, target: &Target) -> Result<(), Error> {
                match self { $(Self::$kind(provider) => provider.explain_absence(permit, target).await,)+ }
            }

            fn signed_in_as(&self) -> Option<String> {
                match self { $(Self::$kind(provider) => provider.signed_in_as(),)+ }
            }

            fn forget_unused(&self, in_use: &dyn Fn(&str) -> bool) {
                match self { $(Self::$kind(provider) => provider.forget_unused(in_use),)+ }
            }

            fn clock(&self) -> Option<ProviderClock> {
                match self { $(Self::$kind(provider) => provider.clock(),)+ }
            }
        }
    };
}

providers! {
    Infisical: infisical::Infisical,
    Zitadel: zitadel::Zitadel,
}

#[cfg(test)]
mod tests {
    use super::*;

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
