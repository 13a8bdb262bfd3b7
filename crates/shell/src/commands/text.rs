//! Programs that filter text.

use super::storage::copying;
use super::{Command, Context, Outcome, arguments, flags, size};

pub(super) fn find(name: &str) -> Option<Command> {
    Some(match name {
        "cat" => cat,
        "head" => head,
        "tail" => tail,
        "grep" | "egrep" | "fgrep" => grep,
        "wc" => wc,
        "seq" => seq,
        "sort" => sort,
        "uniq" => uniq,
        "tr" => tr,
        "cut" => cut,
        "tee" => tee,
        "sed" => sed,
        "yes" => |context, _| {
            context.out(&"y\n".repeat(512));
            Outcome::Forever
        },
        "basename" => |context, argv| {
            let name = argv.get(1).map_or("", |p| p.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
            let name = argv.get(2).and_then(|suffix| name.strip_suffix(suffix.as_str())).unwrap_or(name).to_owned();
            context.out(&format!("{name}\n"));
            Outcome::Done(0)
        },
        "dirname" => |context, argv| {
            let name = argv
                .get(1)
                .and_then(|p| p.rsplit_once('/'))
                .map_or(".", |(d, _)| if d.is_empty() { "/" } else { d })
                .to_owned();
            context.out(&format!("{name}\n"));
            Outcome::Done(0)
        },
        "expr" => expr,
        _ => return None,
    })
}

fn cat(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (_, names) = flags(argv);
    if names.iter().any(|name| matches!(*name, "/dev/zero" | "/dev/urandom")) {
        return Outcome::Forever;
    }
    match context.inputs("cat", &names) {
        Ok((data, status)) => {
            context.out_bytes(&data);
            Outcome::Done(status)
        }
        Err(pipe) => Outcome::Input(pipe),
    }
}

/// `-n N`, `-nN`, `-N`; the number and what is left.
fn count(argv: &[String], letter: char) -> (Option<&str>, Vec<&str>) {
    let (mut number, mut rest) = (None, Vec::new());
    let mut words = argv.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some(flag) if flag.starts_with(letter) => {
                number = if flag.len() > 1 { flag.get(1..) } else { words.next() };
            }
            Some(flag) if flag.starts_with(|c: char| c.is_ascii_digit()) => number = Some(flag),
            Some(flag) if !flag.is_empty() => {}
            _ => rest.push(word),
        }
    }
    (number, rest)
}

fn head(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (bytes, rest) = count(argv, 'c');
    if argv.iter().any(|word| word.starts_with("-c")) {
        let Some(bytes) = bytes.and_then(size) else { return context.fail("head: invalid number", 1) };
        if rest.iter().any(|name| matches!(*name, "/dev/zero" | "/dev/urandom")) {
            context.out_bytes(&vec![0; bytes.min(64 * 1024) as usize]);
            return Outcome::After(copying(bytes), 0);
        }
        return match context.inputs("head", &rest) {
            Ok((data, status)) => {
                context.out_bytes(&data[..data.len().min(bytes as usize)]);
                Outcome::Done(status)
            }
            Err(pipe) => Outcome::Input(pipe),
        };
    }
    let (number, rest) = count(argv, 'n');
    let number = number.and_then(|n| n.parse().ok()).unwrap_or(10);
    match context.inputs("head", &rest) {
        Ok((data, status)) => {
            let text = String::from_utf8_lossy(&data);
            let shown: String = text.split_inclusive('\n').take(number).collect();
            context.out(&shown);
            Outcome::Done(status)
        }
        Err(pipe) => Outcome::Input(pipe),
    }
}

fn tail(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (number, rest) = count(argv, 'n');
    let follow =
        argv.iter().any(|word| matches!(word.as_str(), "-f" | "-F") || (word.starts_with('-') && word.contains('f')));
    if rest.iter().any(|name| matches!(*name, "/dev/zero" | "/dev/urandom")) {
        // No line ever ends, so it keeps all of it: memory without bound.
        context.shared.allocate(u64::MAX / 4);
        return Outcome::Forever;
    }
    let number: usize = number.and_then(|n| n.trim_start_matches('+').parse().ok()).unwrap_or(10);
    let (data, status) = match context.inputs("tail", &rest) {
        Ok(read) => read,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let text = String::from_utf8_lossy(&data);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let shown: String = lines[lines.len().saturating_sub(number)..].concat();
    context.out(&shown);
    if follow && status == 0 { Outcome::Forever } else { Outcome::Done(status) }
}

fn grep(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, mut rest) = flags(argv);
    if rest.is_empty() {
        return context.fail("Usage: grep PATTERN [FILE]...", 2);
    }
    let pattern = rest.remove(0).to_owned();
    let (data, missing) = match context.inputs("grep", &rest) {
        Ok(read) => read,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let fold = letters.contains('i');
    let wanted = if fold { pattern.to_lowercase() } else { pattern };
    let fixed = letters.contains('F') || argv[0] == "fgrep";
    let (mut text, mut hits) = (String::new(), 0);
    for line in String::from_utf8_lossy(&data).lines() {
        let shown = if fold { line.to_lowercase() } else { line.to_owned() };
        let hit = if fixed { shown.contains(&wanted) } else { regular(&wanted, &shown) };
        if hit != letters.contains('v') {
            hits += 1;
            text.push_str(&format!("{line}\n"));
        }
    }
    if letters.contains('c') {
        context.out(&format!("{hits}\n"));
    } else if !letters.contains('q') {
        context.out(&text);
    }
    Outcome::Done(if missing > 0 { 2 } else { i32::from(hits == 0) })
}

/// Basic regular expressions as far as scripts need them: anchors, `.`, `*`, `|`; everything else is literal.
fn regular(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|alternative| {
        let alternative = alternative.trim_end_matches('\\');
        let (anchored, body) = alternative.strip_prefix('^').map_or((false, alternative), |rest| (true, rest));
        let (ended, body) = body.strip_suffix('$').map_or((false, body), |rest| (true, rest));
        let mut glob = String::new();
        let mut chars = body.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '.' if chars.next_if_eq(&'*').is_some() => glob.push('*'),
                '.' => glob.push('?'),
                '\\' => {
                    if let Some(c) = chars.next() {
                        glob.push('\\');
                        glob.push(c);
                    }
                }
                '*' | '?' => {
                    glob.push('\\');
                    glob.push(c);
                }
                c => glob.push(c),
            }
        }
        let before = if anchored { "" } else { "*" };
        let after = if ended { "" } else { "*" };
        crate::pattern::matches(&format!("{before}{glob}{after}"), text)
    })
}

fn wc(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, rest) = flags(argv);
    let (data, status) = match context.inputs("wc", &rest) {
        Ok(read) => read,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let text = String::from_utf8_lossy(&data);
    let counts = [('l', text.matches('\n').count()), ('w', text.split_whitespace().count()), ('c', data.len())];
    let shown: Vec<String> = counts
        .iter()
        .filter(|(letter, _)| letters.is_empty() || letters.contains(*letter))
        .map(|(_, n)| n.to_string())
        .collect();
    let name = rest.first().map(|name| format!(" {name}")).unwrap_or_default();
    context.out(&format!("{}{name}\n", shown.join(" ")));
    Outcome::Done(status)
}

fn seq(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let numbers: Vec<i64> = arguments(argv).iter().filter_map(|n| n.parse().ok()).collect();
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] => (*first, *step, *last),
        _ => return context.fail("seq: invalid number", 1),
    };
    let (mut text, mut at) = (String::new(), first);
    while step != 0 && (if step > 0 { at <= last } else { at >= last }) && text.len() < 200_000 {
        text.push_str(&format!("{at}\n"));
        at = at.saturating_add(step);
        if at == i64::MAX || at == i64::MIN {
            break;
        }
    }
    context.out(&text);
    Outcome::Done(0)
}

fn lines_of(context: &mut Context<'_>, argv: &[String], change: impl Fn(Vec<&str>, &str) -> Vec<String>) -> Outcome {
    let (letters, rest) = flags(argv);
    match context.inputs(&argv[0].clone(), &rest) {
        Ok((data, status)) => {
            let text = String::from_utf8_lossy(&data);
            let mut shown = change(text.lines().collect(), &letters).join("\n");
            if !shown.is_empty() {
                shown.push('\n');
            }
            context.out(&shown);
            Outcome::Done(status)
        }
        Err(pipe) => Outcome::Input(pipe),
    }
}

fn sort(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    lines_of(context, argv, |mut lines, letters| {
        if letters.contains('n') {
            lines.sort_by_key(|line| line.trim().parse::<i64>().unwrap_or(0));
        } else {
            lines.sort_unstable();
        }
        if letters.contains('r') {
            lines.reverse();
        }
        if letters.contains('u') {
            lines.dedup();
        }
        lines.into_iter().map(str::to_owned).collect()
    })
}

fn uniq(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    lines_of(context, argv, |mut lines, _| {
        lines.dedup();
        lines.into_iter().map(str::to_owned).collect()
    })
}

fn tr(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, sets) = flags(argv);
    let data = match context.input() {
        Ok(data) => data,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let from = set(sets.first().copied().unwrap_or_default());
    let to = set(sets.get(1).copied().unwrap_or_default());
    let text: String = String::from_utf8_lossy(&data)
        .chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(_) if letters.contains('d') => None,
            Some(i) => to.get(i).or(to.last()).copied().or(Some(c)),
            None => Some(c),
        })
        .collect();
    context.out(&text);
    Outcome::Done(0)
}

fn set(text: &str) -> Vec<char> {
    let text = text.replace("[:upper:]", "A-Z").replace("[:lower:]", "a-z").replace("\\n", "\n").replace("\\t", "\t");
    let chars: Vec<char> = text.chars().collect();
    let (mut set, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        if chars.get(i + 1) == Some(&'-') && i + 2 < chars.len() {
            set.extend((chars[i]..=chars[i + 2]).take(256));
            i += 3;
        } else {
            set.push(chars[i]);
            i += 1;
        }
    }
    set
}

fn cut(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (mut delimiter, mut field, mut names) = ("\t".to_owned(), 1_usize, Vec::new());
    let mut words = argv.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        match word.get(..2) {
            Some("-d") => {
                delimiter = if word.len() > 2 { word[2..].to_owned() } else { words.next().unwrap_or("\t").to_owned() }
            }
            Some("-f") => {
                let list = if word.len() > 2 { &word[2..] } else { words.next().unwrap_or("1") };
                field = list.trim_end_matches('-').parse().unwrap_or(1);
            }
            _ => names.push(word),
        }
    }
    let (data, status) = match context.inputs("cut", &names) {
        Ok(read) => read,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let mut text = String::new();
    for line in String::from_utf8_lossy(&data).lines() {
        let shown = if line.contains(&delimiter) {
            line.split(&delimiter).nth(field.saturating_sub(1)).unwrap_or("")
        } else {
            line
        };
        text.push_str(&format!("{shown}\n"));
    }
    context.out(&text);
    Outcome::Done(status)
}

fn tee(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, names) = flags(argv);
    let data = match context.input() {
        Ok(data) => data,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let mut status = 0;
    for name in names {
        let path = context.path(name);
        let written = {
            let mut files = context.files();
            let opened = if letters.contains('a') { Ok(()) } else { files.truncate(&path) };
            opened.and_then(|()| files.append(&path, &data, 0))
        };
        if let Err(reason) = written {
            context.err(&format!("tee: {name}: {reason}"));
            status = 1;
        }
    }
    context.out_bytes(&data);
    Outcome::Done(status)
}

/// `s/from/to/` with literal text, which is what start-up scripts do with templates.
fn sed(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, mut rest) = flags(argv);
    if rest.is_empty() {
        return context.fail("Usage: sed [-i] SCRIPT [FILE]...", 1);
    }
    let script = rest.remove(0).to_owned();
    let separator = script.chars().nth(1).unwrap_or('/');
    let parts: Vec<&str> = script.split(separator).collect();
    let ["s", from, to, options] = parts.as_slice() else {
        return context.fail(&format!("sed: unsupported command {script}"), 1);
    };
    let (data, status) = match context.inputs("sed", &rest) {
        Ok(read) => read,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let text = String::from_utf8_lossy(&data);
    let changed: String = text
        .split_inclusive('\n')
        .map(|line| if options.contains('g') { line.replace(from, to) } else { line.replacen(from, to, 1) })
        .collect();
    match rest.first().filter(|_| letters.contains('i')) {
        Some(name) => {
            let path = context.path(name);
            let mut files = context.files();
            let written = files.truncate(&path).and_then(|()| files.append(&path, changed.as_bytes(), 0));
            drop(files);
            Outcome::Done(if written.is_err() { 1 } else { status })
        }
        None => {
            context.out(&changed);
            Outcome::Done(status)
        }
    }
}

fn expr(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let text = argv[1..].join(" ").replace("\\*", "*");
    match crate::arithmetic::evaluate(&text.replace(" = ", " == "), &|_| String::new(), &mut |_, _| {}) {
        Ok(value) => {
            context.out(&format!("{value}\n"));
            Outcome::Done(i32::from(value == 0))
        }
        Err(_) => context.fail("expr: syntax error", 2),
    }
}
