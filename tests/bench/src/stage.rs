//! Everything that plays a part in a row: a control plane, the providers, and the operator when it is its turn.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::error::Result;
use crate::operator::Operator;
use crate::provider::client::Providers;
use crate::provider::server::Delays;
use crate::settings::Settings;
use crate::targets::{Kind, world};

/// A control plane and both providers of their own, so that no row inherits anything from another.
pub struct Stage<'a> {
    /// What is asked for.
    pub settings: &'a Settings,
    /// The API server.
    pub cluster: Cluster,
    /// The providers.
    pub providers: Providers,
}

impl<'a> Stage<'a> {
    /// Starts both, with so many projects and subjects.
    pub async fn set(settings: &'a Settings, projects: usize, subjects: usize) -> Result<Self> {
        let cluster = Cluster::start().await?;
        let delays = Delays { infisical: settings.delay, zitadel: settings.delay / 2 };
        let providers = Providers::start(cluster.plane.dir(), &delays).await?;
        providers.load(&world(projects, subjects)).await?;
        Ok(Self { settings, cluster, providers })
    }

    /// Creates the provider object, without a resync that would disturb the measurements.
    pub async fn add_provider(&self, kind: Kind, limits: &Value) -> Result<()> {
        let spec = json!({"limits": limits, "resyncInterval": "12h"});
        self.cluster.add_provider(kind, self.providers.url(kind), &spec).await
    }

    /// Starts the operator.
    pub async fn operator(&self) -> Result<Operator> {
        Operator::start(&self.cluster, &self.settings.operator).await
    }

    /// Ends everything.
    pub async fn strike(self) -> Result<()> {
        self.providers.stop().await?;
        self.cluster.stop().await
    }
}
