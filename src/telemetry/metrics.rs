//! The metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::exposition::{self, Format};
use super::{ObservedRequest, Observer};
use crate::api::Reason;

/// The names and values of labels.
type Labels<const N: usize> = [(&'static str, String); N];

/// The operator's metrics. Their names have the prefix `membership_`.
pub struct Metrics {
    registry: Registry,
    passes: Family<Labels<1>, Counter>,
    pass_time: Histogram,
    outcomes: Family<Labels<1>, Counter>,
    requests: Family<Labels<4>, Counter>,
    request_time: Family<Labels<1>, Histogram>,
    lateness: Histogram,
    /// Repeated writes that the provider had lost.
    pub repaired: Counter,
    unrevoked: Family<Labels<1>, Counter>,
    overdue: Gauge,
    missed: Counter,
    /// Objects that were released without revoking their access.
    pub abandoned: Counter,
    /// Objects that cannot be decoded.
    pub undecodable: Counter,
    /// Events that were not sent.
    pub events_dropped: Counter,
    events_refused: Family<Labels<1>, Counter>,
    leader: Gauge,
    api_server_timeouts: Family<Labels<1>, Counter>,
    api_server_unanswered: Gauge<f64, AtomicU64>,
    oldest_due_pass: Gauge<f64, AtomicU64>,
    memory_limit: Gauge,
    sheds: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("membership");
        let all = &mut registry;
        Self {
            passes: registered(all, "passes", "Passes of the reconciler, by result"),
            pass_time: in_seconds(all, "pass", "Time of a pass, waiting included", times(0.001, 11)),
            outcomes: registered(all, "outcomes", "Results of passes, by the reason of the Ready condition"),
            requests: registered(all, "provider_requests", "Requests to providers"),
            request_time: in_seconds(
                all,
                "provider_request",
                "Time of a request",
                Family::new_with_constructor(|| times(0.002, 10)),
            ),
            lateness: in_seconds(
                all,
                "expiry_lateness",
                "Time from a grant's end until its removal was confirmed",
                times(0.01, 11),
            ),
            repaired: registered(all, "writes_healed", "Writes that a provider confirmed and lost"),
            unrevoked: registered(
                all,
                "unrevoked",
                "Reports of access that could not be revoked and whose revocation is retried, by reason",
            ),
            overdue: registered(
                all,
                "overdue_revocations",
                "ProjectMemberships with access that should have ended and may still be in force",
            ),
            missed: registered(
                all,
                "missed_grants",
                "Temporary grants that were not made because their windows ended first",
            ),
            abandoned: registered(all, "abandoned", "Objects released without a revocation"),
            undecodable: registered(all, "undecodable", "Objects that can't be decoded"),
            events_dropped: registered(all, "events_dropped", "Events not sent because too many waited"),
            events_refused: registered(
                all,
                "events_refused",
                "Events that the API server did not store, by its reason",
            ),
            leader: registered(all, "leader", "1 in the leader, 0 in the replicas on standby"),
            api_server_timeouts: registered(
                all,
                "apiserver_request_timeouts",
                "Requests to the Kubernetes API server that timed out, and watches that stopped responding",
            ),
            api_server_unanswered: in_seconds(
                all,
                "apiserver_unanswered",
                "Time for which the Kubernetes API server has not responded, 0 if it responded to the last request",
                Gauge::default(),
            ),
            oldest_due_pass: in_seconds(
                all,
                "oldest_due_pass",
                "Time for which the oldest due pass has not finished, waiting for a quota included, 0 if none is due",
                Gauge::default(),
            ),
            memory_limit: in_bytes(
                all,
                "memory_limit",
                "The memory limit that --memory-limit states, 0 if there is none",
            ),
            sheds: registered(
                all,
                "load_shedding",
                "1 while no new grant begins because the memory is near its limit, otherwise 0",
            ),
            registry,
        }
    }
}

fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn in_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn in_bytes<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register_with_unit(name, help, Unit::Bytes, metric.clone());
    metric
}

/// A histogram of times whose smallest bucket ends at `first`.
fn times(first: f64, buckets: u16) -> Histogram {
    Histogram::new(exponential_buckets(first, 3.0, buckets))
}

impl Metrics {
    /// Counts a finished pass.
    pub fn pass(&self, elapsed: Duration, ok: bool) {
        self.passes.get_or_create(&[("result", if ok { "ok" } else { "fault" }.to_owned())]).inc();
        self.pass_time.observe(elapsed.as_secs_f64());
    }

    /// The memory limit in bytes.
    pub fn memory_limit(&self, bytes: u64) {
        self.memory_limit.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether grants wait because of the memory.
    pub fn sheds(&self, sheds: bool) {
        self.sheds.set(i64::from(sheds));
    }

    /// Counts the reason that a pass reported.
    pub fn count_reason(&self, reason: Reason) {
        self.outcomes.get_or_create(&[("reason", reason.to_string())]).inc();
    }

    /// Observes how long after its end a role was removed.
    pub fn lateness(&self, late: SignedDuration) {
        self.lateness.observe(late.as_secs_f64().max(0.0));
    }

    /// Sets how many memberships have access that should have ended.
    pub fn overdue(&self, memberships: usize) {
        self.overdue.set(i64::try_from(memberships).unwrap_or(i64::MAX));
    }

    /// Counts a report of access that could not be revoked.
    pub fn unrevoked(&self, reason: Reason) {
        self.unrevoked.get_or_create(&[("reason", reason.to_string())]).inc();
    }

    /// Counts temporary grants that were not made before their windows ended.
    pub fn missed(&self, grants: usize) {
        self.missed.inc_by(u64::try_from(grants).unwrap_or(u64::MAX));
    }

    /// Counts an event that the API server did not store, by this reason.
    pub fn event_refused(&self, reason: &str) {
        self.events_refused.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// Sets whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Counts a request to the API server that timed out, or a watch that stopped responding.
    pub fn api_server_timed_out(&self, request: &'static str) {
        self.api_server_timeouts.get_or_create(&[("request", request.to_owned())]).inc();
    }

    /// Sets the values that are measured at the time of a scrape.
    pub fn measured(&self, api_server_unanswered: Duration, oldest_due_pass: Duration) {
        self.api_server_unanswered.set(api_server_unanswered.as_secs_f64());
        self.oldest_due_pass.set(oldest_due_pass.as_secs_f64());
    }

    /// All metrics in this format.
    pub fn text(&self, format: Format) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Classic => exposition::classic(&text),
        })
    }
}

impl Observer for Metrics {
    fn request(&self, observed: &ObservedRequest<'_>) {
        let ObservedRequest { provider, method, route, outcome, elapsed, .. } = *observed;
        let labels = [("provider", provider), ("method", method), ("route", route), ("code", &outcome.code())];
        self.requests.get_or_create(&labels.map(|(name, value)| (name, value.to_owned()))).inc();
        self.request_time.get_or_create(&[("provider", provider.to_owned())]).observe(elapsed.as_secs_f64());
    }
}
