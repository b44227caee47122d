//! Many deleted objects leave nothing behind in memory.

use simulation::churn::{Entries, churn};

const AT_A_TIME: usize = 100;
/// The remaining provider objects are permanently marked as in use.
const STAYS: &str = "provider objects in use";

/// `CHURN`: how many objects (see `make churn`).
#[test]
fn what_is_remembered_of_objects_projects_and_endpoints_goes_with_them() {
    let count = std::env::var("CHURN").map_or(100, |count| count.parse().unwrap());
    let remembered = churn(count, AT_A_TIME).unwrap();
    let counted = |entries: &Entries| entries.iter().filter(|(what, _)| *what != STAYS).copied().collect::<Vec<_>>();
    assert_eq!(counted(&remembered.after), counted(&remembered.before), "{remembered:#?}");
    let of = |entries: &Entries, about: &str| entries.iter().find(|(what, _)| *what == about).unwrap().1;
    assert!(of(&remembered.after, STAYS) <= 2, "{remembered:#?}");
    for about in ["own writes", "finalizers", "targets", "connections and rules", "rosters", "endpoints"] {
        assert!(
            of(&remembered.meanwhile, about) >= of(&remembered.before, about) + AT_A_TIME,
            "{about}: {remembered:#?}"
        );
    }
}
