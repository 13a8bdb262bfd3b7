//! Shell patterns: `*`, `?` and `[...]`, for `case`, `${x%...}` and file names.

/// Whether the whole text matches.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The usual two-pointer walk: linear but for one backtrack per star, so a hostile pattern cannot explode.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = one(&pattern, p, text[t]);
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(width) = step {
            p += width;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How many pattern characters match this one text character.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(1),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(2),
        '[' => class(pattern, at, c).or_else(|| (c == '[').then_some(1)),
        other => (*other == c).then_some(1),
    }
}

fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let mut i = at + 1;
    let negated = matches!(pattern.get(i), Some('!' | '^'));
    if negated {
        i += 1;
    }
    let first = i;
    let mut hit = false;
    loop {
        let low = *pattern.get(i)?;
        if low == ']' && i > first {
            break;
        }
        if pattern.get(i + 1) == Some(&'-') && pattern.get(i + 2).is_some_and(|c| *c != ']') {
            hit |= (low..=pattern[i + 2]).contains(&c);
            i += 3;
        } else {
            hit |= low == c;
            i += 1;
        }
    }
    (hit != negated).then_some(i + 1 - at)
}

/// Whether the text has pattern characters at all.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}
