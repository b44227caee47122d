//! The kinds of providers that there are, one line each.
//!
//! A provider object's kind is known when the operator runs, and the traits have methods that are `async`: so there is one
//! enum of all providers, and what it does with each is written once.

use jiff::SignedDuration;

use super::http::Endpoint;
use super::{Backend, Error, Listing, Permit, Provider, Receipt, Verified, infisical, zitadel};
use crate::api::SubjectKind;
use crate::api::provider::Limits;
use crate::member::{Capabilities, Change, Member, Project, Target};

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

            /// [`Backend::default_limits`].
            pub fn default_limits(&self, endpoint: &Endpoint) -> Limits {
                match self { $(Self::$kind(_) => <$backend as Backend>::default_limits(endpoint),)+ }
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

            fn clock_skew(&self) -> Option<SignedDuration> {
                match self { $(Self::$kind(provider) => provider.clock_skew(),)+ }
            }
        }
    };
}

providers! {
    /// Infisical.
    Infisical: infisical::Infisical,
    /// ZITADEL.
    Zitadel: zitadel::Zitadel,
}
