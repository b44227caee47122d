//! Decides which declarations of a target are evaluated: at most 64 for each provider object. Pure.
//!
//! Every pass evaluates all declarations of its target. Any user who may create ProjectMemberships can create thousands
//! that name one target. Without a bound, each of thousands of passes would read thousands of objects.

use jiff::Timestamp;

/// How many declarations of one target through one provider object are evaluated.
pub const MOST_DECLARATIONS: usize = 64;

/// The claim of a declaration to a place, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It has recorded access. It always has a place: without its record the owner of that access would be unknown.
    HoldsAccess,
    /// It may be carried out.
    MayCount,
    /// It may not be carried out, or has not been evaluated yet. It takes no place from one that may.
    Other,
}

/// The key of a declaration: namespace and name.
pub type DeclarationKey = (String, String);

/// The order of declarations: by claim, then by age with the oldest first.
pub type Rank = (Claim, Timestamp);

/// The declarations of one target through one provider object, in their order.
#[derive(Debug, Default)]
pub struct Places(Vec<(Rank, DeclarationKey)>);

impl Places {
    /// Enters a declaration. It must not have been entered, or was removed.
    pub fn put(&mut self, key: &DeclarationKey, rank: Rank) {
        let entry = (rank, key.clone());
        if let Err(at) = self.0.binary_search(&entry) {
            // Most targets have a single declaration.
            self.0.reserve_exact(usize::from(self.0.is_empty()));
            self.0.insert(at, entry);
        }
    }

    /// Removes a declaration that was entered with this rank.
    pub fn remove(&mut self, key: &DeclarationKey, rank: Rank) {
        if let Ok(at) = self.0.binary_search(&(rank, key.clone())) {
            self.0.remove(at);
        }
    }

    /// Whether there is no declaration.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The declarations that have a place: all that hold access, and up to the bound the others in their order.
    pub fn placed(&self) -> impl Iterator<Item = &DeclarationKey> {
        let holds_access = |claim: &Claim| *claim == Claim::HoldsAccess;
        let ranked = self.0.iter().enumerate();
        ranked
            .take_while(move |(place, ((claim, _), _))| *place < MOST_DECLARATIONS || holds_access(claim))
            .map(|(_, (_, key))| key)
    }

    /// Whether a declaration has a place.
    pub fn has_place(&self, key: &DeclarationKey) -> bool {
        self.0.len() <= MOST_DECLARATIONS || self.placed().any(|placed| placed == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> DeclarationKey {
        ("team".to_owned(), format!("object-{number:04}"))
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    /// This number of declarations that may count, each a second younger than the one before.
    fn full(declarations: usize) -> Places {
        let mut places = Places::default();
        // The youngest is entered first: only age decides, not the order of entry.
        (0..declarations).rev().for_each(|number| places.put(&key(number), (Claim::MayCount, at(number))));
        places
    }

    fn without_place(places: &Places, of: usize) -> Vec<usize> {
        (0..of).filter(|number| !places.has_place(&key(*number))).collect()
    }

    /// Seen failing with a place for every declaration.
    #[test]
    fn the_youngest_declarations_beyond_the_bound_have_no_place() {
        assert_eq!(without_place(&full(64), 64), Vec::<usize>::new());
        assert_eq!(without_place(&full(67), 67), [64, 65, 66]);
        let mut places = full(67);
        places.remove(&key(3), (Claim::MayCount, at(3)));
        assert_eq!(without_place(&places, 67), [3, 65, 66], "the oldest of those that waited comes next");
        assert_eq!(places.placed().count(), MOST_DECLARATIONS);
    }

    /// Seen failing when only age decided.
    #[test]
    fn a_declaration_that_holds_access_keeps_its_place_and_one_that_may_not_count_takes_none() {
        let mut places = full(64);
        // Those that hold access are the youngest.
        (64..70).for_each(|number| places.put(&key(number), (Claim::HoldsAccess, at(number))));
        assert_eq!(without_place(&places, 70), [58, 59, 60, 61, 62, 63]);
        // Older declarations that no rule allows.
        (0..1000).for_each(|number| places.put(&key(5000 + number), (Claim::Other, at(0))));
        assert_eq!(without_place(&places, 70), [58, 59, 60, 61, 62, 63]);
        // The access that it held has ended.
        places.remove(&key(69), (Claim::HoldsAccess, at(69)));
        places.put(&key(69), (Claim::MayCount, at(69)));
        assert_eq!(without_place(&places, 70), [59, 60, 61, 62, 63, 69]);
        // More declarations than the bound hold access, as those of a version without the bound may.
        let mut places = Places::default();
        (0..100).for_each(|number| places.put(&key(number), (Claim::HoldsAccess, at(number))));
        (0..1000).for_each(|number| places.put(&key(5000 + number), (Claim::Other, at(0))));
        assert_eq!((places.placed().count(), without_place(&places, 100)), (100, Vec::new()));
    }
}
