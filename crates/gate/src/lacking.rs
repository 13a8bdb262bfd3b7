//! What somebody declares and nobody granted, as rules: told before anything is run, and as the lines to add.

use crate::rule::{covers_resource, covers_url};
use crate::{Power, Rule};

impl Power {
    /// The part of this power that `granted` does not have. What of a rule is covered is left out exactly, so that
    /// nothing in the answer is granted already; a wildcard is covered by a wildcard alone.
    #[must_use]
    pub fn lacking(&self, granted: &Self) -> Self {
        let rules = self.rules.iter().flat_map(|rule| uncovered(rule, &granted.rules)).collect();
        Self { rules, hazards: self.hazards.difference(&granted.hazards).copied().collect() }
    }

    /// Whether it allows nothing.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.hazards.is_empty()
    }
}

fn uncovered(rule: &Rule, granted: &[Rule]) -> Vec<Rule> {
    let mut left = Vec::new();
    let names: Vec<Option<&String>> = match rule.resource_names.as_slice() {
        [] => vec![None],
        names => names.iter().map(Some).collect(),
    };
    for namespace in &rule.namespaces {
        for group in &rule.api_groups {
            for resource in &rule.resources {
                for name in &names {
                    let covers = |g: &&Rule| {
                        covers_word(&g.namespaces, namespace)
                            && covers_word(&g.api_groups, group)
                            && g.resources.iter().any(|wide| covers_resource(wide, resource))
                            && (g.resource_names.is_empty() || name.is_some_and(|n| g.resource_names.contains(n)))
                    };
                    let by: Vec<&Rule> = granted.iter().filter(covers).collect();
                    let verbs = lacking_verbs(&rule.verbs, &by);
                    if !verbs.is_empty() {
                        left.push(Rule {
                            api_groups: vec![group.clone()],
                            resources: vec![resource.clone()],
                            resource_names: name.map(Clone::clone).into_iter().collect(),
                            verbs,
                            namespaces: vec![namespace.clone()],
                            non_resource_urls: Vec::new(),
                        });
                    }
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        let by: Vec<&Rule> =
            granted.iter().filter(|g| g.non_resource_urls.iter().any(|wide| covers_url(wide, url))).collect();
        let verbs = lacking_verbs(&rule.verbs, &by);
        if !verbs.is_empty() {
            left.push(Rule { non_resource_urls: vec![url.clone()], verbs, ..Rule::default() });
        }
    }
    merged(left)
}

fn covers_word(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word == "*" || word == wanted)
}

fn lacking_verbs(verbs: &[String], by: &[&Rule]) -> Vec<String> {
    verbs.iter().filter(|verb| !by.iter().any(|rule| covers_word(&rule.verbs, verb))).cloned().collect()
}

/// Rules that differ in one list only become one rule; each pass does one list.
fn merged(rules: Vec<Rule>) -> Vec<Rule> {
    let lists: [fn(&mut Rule) -> &mut Vec<String>; 5] = [
        |rule| &mut rule.resource_names,
        |rule| &mut rule.resources,
        |rule| &mut rule.api_groups,
        |rule| &mut rule.namespaces,
        |rule| &mut rule.non_resource_urls,
    ];
    lists.into_iter().fold(rules, |rules, list| {
        let mut out: Vec<Rule> = Vec::new();
        for mut rule in rules {
            let words = std::mem::take(list(&mut rule));
            let same = out.iter_mut().find(|other| {
                let mut other = (*other).clone();
                // An empty list means everything here, nothing there: it is never a part of another.
                !std::mem::take(list(&mut other)).is_empty() && !words.is_empty() && other == rule
            });
            match same {
                Some(other) => {
                    let there = list(other);
                    words.into_iter().for_each(|word| {
                        if !there.contains(&word) {
                            there.push(word);
                        }
                    });
                }
                None => {
                    *list(&mut rule) = words;
                    out.push(rule);
                }
            }
        }
        out
    })
}
