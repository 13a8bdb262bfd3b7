//! Near matches for words that people mistyped.

/// The closest of the candidates, where one is close enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('_', "-");
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = candidate.to_lowercase().replace('_', "-");
        let distance = if lower.len() > 200 { usize::MAX } else { strsim::damerau_levenshtein(&lower, &other) };
        let longer = lower.chars().count().max(other.chars().count());
        let near = distance <= (longer / 3).max(1) && distance < longer;
        let part = lower.len() >= 3 && (other.starts_with(&lower) || lower.starts_with(&other) && other.len() >= 3);
        if (near || part) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// `did you mean …?` where there is a near match, else what there is to choose from.
pub fn did_you_mean<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const SHOWN: usize = 20;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(word, candidates.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    if candidates.is_empty() {
        return None;
    }
    let shown: Vec<String> = candidates.iter().take(SHOWN).map(|c| format!("`{c}`")).collect();
    let more = candidates.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{what}: {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["failures", "agents", "parallel_clusters", "oom-killed"];
        let near = |word| nearest(word, words);
        assert_eq!(near("falures"), Some("failures"));
        assert_eq!(near("agent"), Some("agents"));
        assert_eq!(near("parallel-cluster"), Some("parallel_clusters"));
        assert_eq!(near("oom"), Some("oom-killed"));
        assert_eq!(near("OOM_KILLED"), Some("oom-killed"));
        assert_eq!(near("zzz"), None);
        assert_eq!(nearest("a", ["b"]), None, "one letter is near to every other");
    }

    #[test]
    fn lists_the_choice_when_nothing_is_near() {
        assert_eq!(did_you_mean("zzz", "words", ["a", "b"]).as_deref(), Some("words: `a`, `b`"));
        assert_eq!(did_you_mean("zzz", "words", []), None);
    }
}
