//! The metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::exposition::{self, Format};
use super::{ObservedRequest, Observer};
use crate::api::Reason;

/// The operator's metrics. Their names have the prefix `membership_`.
pub struct Metrics {
    registry: Registry,
    passes: Family<ResultLabel, Counter>,
    pass_time: Histogram,
    outcomes: Family<ReasonLabel, Counter>,
    requests: Family<RequestLabel, Counter>,
    request_time: Family<ProviderLabel, Histogram>,
    lateness: Histogram,
    repaired: Counter,
    unrevoked: Family<ReasonLabel, Counter>,
    overdue: Gauge,
    missed: Counter,
    abandoned: Counter,
    undecodable: Counter,
    events_dropped: Counter,
    events_refused: Family<ReasonLabel, Counter>,
    leader: Gauge,
    api_server_timeouts: Family<KindLabel, Counter>,
    api_server_unanswered: Gauge<f64, AtomicU64>,
    oldest_due_pass: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    request: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProviderLabel {
    provider: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabel {
    provider: &'static str,
    method: &'static str,
    route: &'static str,
    code: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("membership");
        let passes = Family::default();
        registry.register("passes", "Passes of the reconciler, by result", passes.clone());
        let pass_time = Histogram::new(exponential_buckets(0.001, 3.0, 11));
        registry.register_with_unit("pass", "Time of a pass, waiting included", Unit::Seconds, pass_time.clone());
        let outcomes = Family::default();
        registry.register("outcomes", "What passes came to, by the reason of the Ready condition", outcomes.clone());
        let requests = Family::default();
        registry.register("provider_requests", "Requests to providers", requests.clone());
        let request_time = Family::new_with_constructor(time as fn() -> Histogram);
        registry.register_with_unit("provider_request", "Time of a request", Unit::Seconds, request_time.clone());
        let lateness = Histogram::new(exponential_buckets(0.01, 3.0, 11));
        registry.register_with_unit(
            "expiry_lateness",
            "From a grant's end until its removal was confirmed",
            Unit::Seconds,
            lateness.clone(),
        );
        let repaired = Counter::default();
        registry.register("writes_healed", "Writes that a provider answered with yes and lost", repaired.clone());
        let unrevoked = Family::default();
        let unrevoked_help = "Reports of access that could not be revoked and is tried again, by reason";
        registry.register("unrevoked", unrevoked_help, unrevoked.clone());
        let overdue = Gauge::default();
        let overdue_help = "ProjectMemberships with access that should have ended and may still be in force";
        registry.register("overdue_revocations", overdue_help, overdue.clone());
        let missed = Counter::default();
        let missed_help = "Temporary grants that were not given because their windows ended before they could be";
        registry.register("missed_grants", missed_help, missed.clone());
        let abandoned = Counter::default();
        registry.register("abandoned", "Objects released without a revocation", abandoned.clone());
        let undecodable = Counter::default();
        registry.register("undecodable", "Objects seen that can't be read", undecodable.clone());
        let events_dropped = Counter::default();
        registry.register("events_dropped", "Events not sent because too many waited", events_dropped.clone());
        let events_refused = Family::default();
        let refused_help = "Events that the API server did not store, by its reason";
        registry.register("events_refused", refused_help, events_refused.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 in the replica that acts, 0 in those that stand by", leader.clone());
        let api_server_timeouts = Family::default();
        registry.register(
            "apiserver_request_timeouts",
            "Requests to the Kubernetes API server that were given up without an answer, and watches that went silent",
            api_server_timeouts.clone(),
        );
        let api_server_unanswered = Gauge::default();
        registry.register_with_unit(
            "apiserver_unanswered",
            "For how long the Kubernetes API server has answered no request, 0 if it answered the last one",
            Unit::Seconds,
            api_server_unanswered.clone(),
        );
        let oldest_due_pass = Gauge::default();
        registry.register_with_unit(
            "oldest_due_pass",
            "For how long the oldest pass that is due has not finished, waiting for a quota included, 0 if none is due",
            Unit::Seconds,
            oldest_due_pass.clone(),
        );
        Self {
            registry,
            passes,
            pass_time,
            outcomes,
            requests,
            request_time,
            lateness,
            repaired,
            unrevoked,
            overdue,
            missed,
            abandoned,
            undecodable,
            events_dropped,
            events_refused,
            leader,
            api_server_timeouts,
            api_server_unanswered,
            oldest_due_pass,
        }
    }
}

fn time() -> Histogram {
    Histogram::new(exponential_buckets(0.002, 3.0, 10))
}

impl Metrics {
    /// Counts a finished pass.
    pub fn pass(&self, elapsed: Duration, ok: bool) {
        self.passes.get_or_create(&ResultLabel { result: if ok { "ok" } else { "fault" } }).inc();
        self.pass_time.observe(elapsed.as_secs_f64());
    }

    /// Counts the reason that a pass reported.
    pub fn count_reason(&self, reason: Reason) {
        self.outcomes.get_or_create(&ReasonLabel { reason: reason.to_string() }).inc();
    }

    /// Observes how long after its end a role was removed.
    pub fn lateness(&self, late: SignedDuration) {
        self.lateness.observe(late.as_secs_f64().max(0.0));
    }

    /// Counts a repeated write that the provider had lost.
    pub fn repaired(&self) {
        self.repaired.inc();
    }

    /// Sets how many memberships have access that should have ended.
    pub fn overdue(&self, memberships: usize) {
        self.overdue.set(i64::try_from(memberships).unwrap_or(i64::MAX));
    }

    /// Counts a report of access that could not be revoked.
    pub fn unrevoked(&self, reason: Reason) {
        self.unrevoked.get_or_create(&ReasonLabel { reason: reason.to_string() }).inc();
    }

    /// Counts temporary grants that were not given before their windows ended.
    pub fn missed(&self, grants: usize) {
        self.missed.inc_by(u64::try_from(grants).unwrap_or(u64::MAX));
    }

    /// Counts an object that was released without revoking its access.
    pub fn abandoned(&self) {
        self.abandoned.inc();
    }

    /// Counts an object that cannot be read.
    pub fn undecodable(&self) {
        self.undecodable.inc();
    }

    /// Counts an event that was not sent.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts an event that the API server did not store, by this reason.
    pub fn event_refused(&self, reason: &str) {
        self.events_refused.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
    }

    /// Sets whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Counts a request to the API server that was given up without a response, or a watch that went silent.
    pub fn api_server_timed_out(&self, request: &'static str) {
        self.api_server_timeouts.get_or_create(&KindLabel { request }).inc();
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
        self.requests.get_or_create(&RequestLabel { provider, method, route, code: outcome.code() }).inc();
        self.request_time.get_or_create(&ProviderLabel { provider }).observe(elapsed.as_secs_f64());
    }
}
