//! What was asked of a provider, counted from its own log.

use std::collections::{BTreeMap, BTreeSet};

use super::server::Request;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// The members of a project are listed.
    List {
        /// The project's id.
        project: &'a str,
    },
    /// A membership is created, changed or removed.
    Write {
        /// The project's id.
        project: &'a str,
    },
    /// Anything else: a sign-in, a check of the server, a name.
    Other,
}

/// Says what a request is about.
pub fn call<'a>(method: &str, path: &'a str) -> Call<'a> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", ["api", _, "projects" | "workspace", project, "identity-memberships"])
        | ("GET", ["api", _, "projects", project, "memberships", "identities"])
        | ("POST", ["management", "v1", "projects", project, "members", "_search"]) => Call::List { project },
        ("POST" | "PATCH" | "DELETE", ["api", _, "projects" | "workspace", project, "identity-memberships", _])
        | ("POST" | "PATCH" | "DELETE", ["api", _, "projects", project, "memberships", "identities", _])
        | ("POST", ["management", "v1", "projects", project, "members"])
        | ("PUT" | "DELETE", ["management", "v1", "projects", project, "members", _]) => Call::Write { project },
        _ => Call::Other,
    }
}

/// How many requests of each kind there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lists of members.
    pub lists: usize,
    /// The projects that were listed.
    pub listed: usize,
    /// The most lists of one project.
    pub most_lists: usize,
    /// Writes of memberships.
    pub writes: usize,
    /// Everything else.
    pub others: usize,
}

impl Counts {
    /// Counts requests.
    pub fn of(requests: &[Request]) -> Self {
        let mut counts = Self::default();
        let mut lists: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, method, path, _) in requests {
            match call(method, path) {
                Call::List { project } => *lists.entry(project).or_default() += 1,
                Call::Write { .. } => counts.writes += 1,
                Call::Other => counts.others += 1,
            }
        }
        counts.lists = lists.values().sum();
        counts.listed = lists.len();
        counts.most_lists = lists.values().copied().max().unwrap_or_default();
        counts
    }

    /// Lists for each project that was listed.
    pub fn lists_per_project(&self) -> f64 {
        self.lists as f64 / self.listed.max(1) as f64
    }
}

/// How many writes of other memberships were received after the instant `due` and before the last of `due_paths` was.
pub fn overtaking(requests: &[Request], due: i64, due_paths: &BTreeSet<String>) -> usize {
    let is_due = |request: &&Request| request.1 == "DELETE" && due_paths.contains(&request.2);
    let Some(last) = requests.iter().filter(is_due).map(|request| request.0).max() else {
        return 0;
    };
    let others = requests.iter().filter(|request| {
        let (at, method, path, _) = request;
        matches!(call(method, path), Call::Write { .. }) && !is_due(request) && *at > due && *at < last
    });
    others.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at: i64, method: &str, path: &str) -> Request {
        (at, method.to_owned(), path.to_owned(), Some(200))
    }

    #[test]
    fn requests_are_distinguished() {
        for (method, path, expected) in [
            ("GET", "/api/v1/projects/p/identity-memberships", Call::List { project: "p" }),
            ("GET", "/api/v2/workspace/p/identity-memberships", Call::List { project: "p" }),
            ("GET", "/api/v1/projects/p/memberships/identities", Call::List { project: "p" }),
            ("POST", "/management/v1/projects/7/members/_search", Call::List { project: "7" }),
            ("POST", "/api/v1/projects/p/identity-memberships/i", Call::Write { project: "p" }),
            ("DELETE", "/api/v1/projects/p/memberships/identities/i", Call::Write { project: "p" }),
            ("POST", "/management/v1/projects/7/members", Call::Write { project: "7" }),
            ("PUT", "/management/v1/projects/7/members/8", Call::Write { project: "7" }),
            ("GET", "/api/v1/projects/p/identity-memberships/i", Call::Other),
            ("POST", "/api/v1/auth/universal-auth/login", Call::Other),
        ] {
            assert_eq!(call(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn lists_are_counted_by_project() {
        let list = |project: &str| request(0, "GET", &format!("/api/v1/projects/{project}/identity-memberships"));
        let write = request(0, "POST", "/api/v1/projects/a/identity-memberships/i");
        let login = request(0, "POST", "/api/v1/auth/universal-auth/login");
        let counts = Counts::of(&[list("a"), list("a"), list("b"), write, login]);
        assert_eq!(counts, Counts { lists: 3, listed: 2, most_lists: 2, writes: 1, others: 1 });
        assert!((counts.lists_per_project() - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_grant_between_an_end_and_its_revocation_overtakes_it() {
        let path = |subject: &str| format!("/api/v1/projects/p/identity-memberships/{subject}");
        let due = BTreeSet::from([path("due")]);
        let before = request(5, "POST", &path("a"));
        let between = request(15, "POST", &path("b"));
        let revoked = request(20, "DELETE", &path("due"));
        let after = request(25, "POST", &path("c"));
        assert_eq!(overtaking(&[before.clone(), between, revoked.clone(), after.clone()], 10, &due), 1);
        assert_eq!(overtaking(&[before, revoked, after], 10, &due), 0);
    }
}
