//! A part of a run, for machines that share a matrix among them: `--partition`. What is dealt out are cases; those that a
//! control guards stay together with it, so that each part judges as the whole would, and parts can simply be joined.

use std::fmt;
use std::str::FromStr;

use matrix::{CaseSpec, Group};
use sha2::{Digest, Sha256};

/// How is dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dealt {
    /// One after another, as cards are: parts differ by one hand at most, and a new one moves those behind it.
    Slice,
    /// By their ids: a case stays in its part when others come or go. Only a failure's first control moves it, or the last.
    Hash,
}

/// Part `M` of `N`, as in `slice:1/3` and `hash:2/3`. All parts together are every case, and no case is in two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    dealt: Dealt,
    /// From 1.
    part: u64,
    of: u64,
}

/// A partition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no partition: write `slice:M/N` or `hash:M/N`, with M from 1 to N")]
pub struct PartitionError(String);

impl Partition {
    /// Whether this part holds what is dealt out in this place, from 0, under this id.
    fn holds(&self, place: u64, id: &str) -> bool {
        let dealt_to = match self.dealt {
            Dealt::Slice => place % self.of,
            Dealt::Hash => spread(id) % self.of,
        };
        dealt_to + 1 == self.part
    }
}

/// Deals the selected cases out, in their order.
#[derive(Debug)]
pub(crate) struct Dealing {
    partition: Partition,
    /// How often was dealt.
    places: u64,
    /// The guarded group that was dealt out last, and whether it is in the part.
    together: Option<(u64, bool)>,
}

impl Dealing {
    pub(crate) fn of(partition: Partition) -> Self {
        Self { partition, places: 0, together: None }
    }

    /// Whether the next selected case, which is of this group, is in the part.
    pub(crate) fn holds(&mut self, group: Group<'_>, case: &CaseSpec<'_>) -> bool {
        if let Some((_, held)) = self.together.filter(|(number, _)| *number == group.number) {
            return held;
        }
        let place = self.places;
        self.places += 1;
        let guarded = group.is_guarded();
        let held = if guarded {
            self.partition.holds(place, &format!("{}--{}", group.cluster.id, group.failure.name))
        } else {
            self.partition.holds(place, case.id.as_str())
        };
        self.together = guarded.then_some((group.number, held));
        held
    }
}

/// A number that follows from the id alone, on every machine and in every version.
fn spread(id: &str) -> u64 {
    Sha256::digest(id.as_bytes()).iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        let read = || {
            let (dealt, parts) = text.split_once(':')?;
            let dealt = match dealt {
                "slice" => Dealt::Slice,
                "hash" => Dealt::Hash,
                _ => return None,
            };
            let (part, of) = parts.split_once('/')?;
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
            let (part, of) = (number(part)?, number(of)?);
            (1..=of).contains(&part).then_some(Self { dealt, part, of })
        };
        read().ok_or_else(|| PartitionError(text.to_owned()))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dealt = match self.dealt {
            Dealt::Slice => "slice",
            Dealt::Hash => "hash",
        };
        write!(f, "{dealt}:{}/{}", self.part, self.of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(text: &str) -> Partition {
        text.parse().expect("a partition")
    }

    fn of_part(partition: &Partition, ids: &[String]) -> Vec<String> {
        let held = ids.iter().enumerate().filter(|(place, id)| partition.holds(*place as u64, id));
        held.map(|(_, id)| id.clone()).collect()
    }

    #[test]
    fn partitions_are_written_as_nextest_writes_them() {
        for text in ["slice:1/1", "hash:3/3", "slice:2/18446744073709551615"] {
            assert_eq!(part(text).to_string(), text);
        }
        for text in
            ["", "slice", "slice:1", "slice:0/2", "slice:3/2", "hash:1/0", "hash:+1/2", "hash:1/2/3", "count:1/2"]
        {
            let error = text.parse::<Partition>().expect_err("not a partition");
            assert!(error.to_string().contains("slice:M/N"), "{error}");
        }
    }

    #[test]
    fn a_slice_is_every_nth_case_in_order() {
        let ids: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(of_part(&part("slice:1/2"), &ids), ["a", "c", "e"]);
        assert_eq!(of_part(&part("slice:2/2"), &ids), ["b", "d"]);
    }

    #[test]
    fn a_hash_is_the_same_on_every_machine() {
        // printf local--oom-killed--triage | sha256sum: the first 8 bytes.
        assert_eq!(spread("local--oom-killed--triage"), 0x2c24_fc9e_769c_5b3e);
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete(
            ids in prop::collection::hash_set("[a-z]{1,8}", 0..60),
            of in 1u64..40,
            hash in any::<bool>(),
        ) {
            let ids: Vec<String> = ids.into_iter().collect();
            let kind = if hash { "hash" } else { "slice" };
            let parts: Vec<Vec<String>> =
                (1..=of).map(|m| of_part(&part(&format!("{kind}:{m}/{of}")), &ids)).collect();
            let mut all: Vec<&String> = parts.iter().flatten().collect();
            prop_assert_eq!(all.len(), ids.len(), "no case twice, none lost");
            all.sort();
            let mut sorted: Vec<&String> = ids.iter().collect();
            sorted.sort();
            prop_assert_eq!(all, sorted);
            if !hash {
                let sizes = parts.iter().map(Vec::len);
                prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
            }
        }

        #[test]
        fn a_new_case_moves_no_other_in_a_hash(
            ids in prop::collection::vec("[a-z]{1,8}", 0..30),
            new in "[A-Z]{1,8}",
            at in any::<prop::sample::Index>(),
            of in 1u64..10,
        ) {
            let mut more = ids.clone();
            more.insert(at.index(ids.len() + 1), new.clone());
            for m in 1..=of {
                let partition = part(&format!("hash:{m}/{of}"));
                let mut held = of_part(&partition, &more);
                held.retain(|id| *id != new);
                prop_assert_eq!(held, of_part(&partition, &ids));
            }
        }
    }
}
