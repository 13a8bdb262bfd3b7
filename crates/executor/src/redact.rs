//! Keeps values that were passed to a process out of everything that it leaves behind.

/// What stands for a redacted value.
const MARK: &[u8] = b"[redacted]";

/// Shorter values would blot out ordinary words.
const SHORTEST: usize = 6;

/// Replaces secret values in bytes.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Vec<Vec<u8>>);

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.0.len())
    }
}

impl Redactor {
    pub(crate) fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<Vec<u8>> =
            values.into_iter().map(|v| v.trim().as_bytes().to_vec()).filter(|v| v.len() >= SHORTEST).collect();
        // The longest first: a value may contain another.
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        values.dedup();
        Self(values)
    }

    /// The length of the longest value.
    pub(crate) fn longest(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The bytes without the values.
    pub(crate) fn clean(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.iter().fold(bytes, |bytes, value| replace(bytes, value))
    }
}

fn replace(bytes: Vec<u8>, value: &[u8]) -> Vec<u8> {
    let Some(first) = find(&bytes, value) else { return bytes };
    let mut out = Vec::with_capacity(bytes.len());
    let (mut rest, mut at) = (bytes.as_slice(), Some(first));
    while let Some(found) = at {
        out.extend_from_slice(&rest[..found]);
        out.extend_from_slice(MARK);
        rest = &rest[found + value.len()..];
        at = find(rest, value);
    }
    out.extend_from_slice(rest);
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(offset) = haystack.get(from..)?.iter().position(|b| *b == first) {
        let at = from + offset;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_vanish_wherever_they_stand() {
        let redactor = Redactor::new(["sk-secret-1".to_owned(), "sk-secret-1-longer".to_owned(), "abc".to_owned()]);
        let clean = |s: &str| String::from_utf8(redactor.clean(s.as_bytes().to_vec())).expect("text");
        assert_eq!(clean("key=sk-secret-1;sk-secret-1"), "key=[redacted];[redacted]");
        assert_eq!(clean("sk-secret-1-longer"), "[redacted]");
        assert_eq!(clean("abc stays, too short to be a secret"), "abc stays, too short to be a secret");
        assert_eq!(clean("sk-secret-"), "sk-secret-");
    }
}
