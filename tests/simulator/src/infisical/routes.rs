//! Which routes a server has, by its age (`docs/reference/infisical.md`, Three generations; Users and groups).

use serde::{Deserialize, Serialize};

/// Which generations of the paths exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Generations {
    /// Only the paths below `/workspace`: a server before September 2025.
    G1,
    /// Those, and the ones that September 2025 added below `/api/v1/projects`: `identity-memberships`, `memberships`,
    /// `groups`, and the project itself.
    #[default]
    G1AndG2,
    /// Those, and `/api/v1/projects/{p}/memberships/identities` and `…/groups`, `…/user/{u}/membership`: a server since
    /// about October 2025. Its DELETE removes one of several memberships of an identity or a group, where older ones
    /// remove them all.
    All,
    /// A server that has dropped every path with a newer one.
    G3,
}

impl Generations {
    fn workspace(self) -> bool {
        self != Self::G3
    }

    fn projects(self) -> bool {
        self != Self::G1
    }

    fn second(self) -> bool {
        matches!(self, Self::G1AndG2 | Self::All)
    }

    /// Whether the third generation is there.
    pub(crate) fn third(self) -> bool {
        matches!(self, Self::All | Self::G3)
    }

    /// Whether a server of these generations has a route for this path.
    pub(crate) fn have(self, path: &str) -> bool {
        let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(2).collect();
        match segments[..] {
            ["v1" | "v2", "workspace", ..] => self.workspace(),
            ["v1", "projects", _, "identity-memberships" | "groups", ..] => self.second(),
            // One segment less would be a user's membership whose id is "identities": see `users::taken_for_a_user`.
            ["v1", "projects", _, "memberships", "identities" | "groups", _] => self.third(),
            ["v1", "projects", _, "user", ..] => self.third(),
            ["v1", "projects", ..] => self.projects(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn each_generation_has_its_paths() {
        let (g1, g2, all, g3) = (Generations::G1, Generations::G1AndG2, Generations::All, Generations::G3);
        for (path, having) in [
            ("/api/v2/workspace/p/identity-memberships/i", vec![g1, g2, all]),
            ("/api/v1/workspace/p/memberships", vec![g1, g2, all]),
            ("/api/v1/projects/p/identity-memberships/", vec![g2, all]),
            ("/api/v1/projects/p/groups/g", vec![g2, all]),
            ("/api/v1/projects/p/memberships", vec![g2, all, g3]),
            ("/api/v1/projects/p/memberships/m", vec![g2, all, g3]),
            ("/api/v1/projects/slug/web", vec![g2, all, g3]),
            ("/api/v1/projects/p/memberships/identities/i", vec![all, g3]),
            ("/api/v1/projects/p/memberships/groups/g", vec![all, g3]),
            ("/api/v1/projects/p/user/u/membership", vec![all, g3]),
            ("/api/v1/auth/token/renew", vec![g1, g2, all, g3]),
        ] {
            for server in [g1, g2, all, g3] {
                assert_eq!(server.have(path), having.contains(&server), "{path} of {server:?}");
            }
        }
    }
}
