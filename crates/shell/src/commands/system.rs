//! Programs about time, identity and other programs.

use std::time::Duration;

use super::{Command, Context, Outcome, arguments, duration, flags};
use crate::image::Program;
use crate::task::Frame;

pub(super) fn find(name: &str) -> Option<Command> {
    Some(match name {
        "sleep" => sleep,
        "usleep" => |_, argv| {
            let micros = argv.get(1).and_then(|n| n.parse().ok()).unwrap_or(0);
            Outcome::After(Duration::from_micros(micros), 0)
        },
        "sh" | "ash" | "bash" | "dash" => shell,
        "busybox" => |_, argv| if argv.len() > 1 { Outcome::Again(argv[1..].to_vec()) } else { Outcome::Done(0) },
        "nohup" | "setsid" | "nice" => {
            |_, argv| if argv.len() > 1 { Outcome::Again(argv[1..].to_vec()) } else { Outcome::Done(125) }
        }
        "env" => env,
        "printenv" => printenv,
        "date" => date,
        "hostname" => |context, argv| {
            let text = if argv.get(1).is_some_and(|f| f == "-i") {
                context.shared.ip.clone()
            } else {
                context.shared.hostname.clone()
            };
            context.out(&format!("{text}\n"));
            Outcome::Done(0)
        },
        "id" => id,
        "whoami" => |context, _| {
            let name = if context.shared.user.0 == 0 { "root".to_owned() } else { context.shared.user.0.to_string() };
            context.out(&format!("{name}\n"));
            Outcome::Done(0)
        },
        "uname" => |context, argv| {
            let hostname = context.shared.hostname.clone();
            let text = match argv.get(1).map(String::as_str) {
                Some("-a") => format!("Linux {hostname} 6.1.0 #1 SMP x86_64 GNU/Linux"),
                Some("-n") => hostname,
                Some("-r") => "6.1.0".to_owned(),
                Some("-m") => "x86_64".to_owned(),
                _ => "Linux".to_owned(),
            };
            context.out(&format!("{text}\n"));
            Outcome::Done(0)
        },
        "nproc" => |context, _| {
            context.out("2\n");
            Outcome::Done(0)
        },
        "which" => which,
        "timeout" => timeout,
        "ps" => |context, _| {
            context.out("PID   USER     TIME  COMMAND\n    1 root      0:00 sh\n");
            Outcome::Done(0)
        },
        "uptime" => |context, _| {
            let seconds = context.now.saturating_sub(context.shared.started).as_secs();
            context.out(&format!(" up {} min\n", seconds / 60));
            Outcome::Done(0)
        },
        "free" | "df" | "du" | "mount" | "sync" | "stty" | "sysctl" | "clear" | "reset" => |_, _| Outcome::Done(0),
        _ => return None,
    })
}

fn sleep(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    if argv.len() < 2 {
        return context.fail("BusyBox v1.36.1 multi-call binary.\n\nUsage: sleep [N]...", 1);
    }
    let mut total = Duration::ZERO;
    for word in arguments(argv) {
        match duration(word) {
            Some(pause) => total = total.saturating_add(pause),
            None => return context.fail(&format!("sleep: invalid number '{word}'"), 1),
        }
    }
    if total > Duration::from_secs(10 * 365 * 86_400) { Outcome::Forever } else { Outcome::After(total, 0) }
}

/// A shell in place of this program: `-c script`, a file, or standard input.
fn shell(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut at = 1;
    let (mut command, mut error_exit, mut unset, mut trace) = (false, false, false, false);
    while let Some(cluster) = argv.get(at).and_then(|word| word.strip_prefix(['-', '+'])) {
        command |= cluster.contains('c');
        error_exit |= cluster.contains('e');
        unset |= cluster.contains('u');
        trace |= cluster.contains('x');
        at += if cluster.contains('o') { 2 } else { 1 };
    }
    let (text, rest) = if command {
        let Some(text) = argv.get(at) else { return context.fail("sh: -c requires an argument", 2) };
        (text.clone(), argv.get(at + 1..).unwrap_or_default())
    } else if let Some(file) = argv.get(at) {
        let path = context.path(file);
        let read = context.files().read(&path).map(<[u8]>::to_vec);
        match read {
            Ok(data) => (String::from_utf8_lossy(&data).into_owned(), argv.get(at..).unwrap_or_default()),
            Err(reason) => return context.fail(&format!("sh: can't open '{file}': {reason}"), 2),
        }
    } else {
        match context.input() {
            Ok(data) => (String::from_utf8_lossy(&data).into_owned(), [].as_slice()),
            Err(pipe) => return Outcome::Input(pipe),
        }
    };
    let node = match crate::parse::parse(&text) {
        Ok(node) => node,
        Err(message) => return context.fail(&format!("sh: {message}"), 2),
    };
    if context.task.frames.is_empty() && !context.task.is_shell {
        // Process 1 becomes a shell.
        context.task.is_shell = true;
        context.task.exit_on_error = error_exit;
        context.task.fail_unset = unset;
        context.task.trace = trace;
        let (name, words) = split_name(rest);
        context.task.name = name;
        context.task.arguments = words;
        return Outcome::Script(node);
    }
    // A shell of its own below this one: a subshell, so that `exit` and variables stay inside.
    let (_, words) = split_name(rest);
    let options = if error_exit { "set -e\n" } else { "set +e\n" };
    let Ok(prefix) = crate::parse::parse(options) else { return Outcome::Done(2) };
    let body = crate::syntax::Node::Sequence(vec![prefix, node]);
    let saved = std::mem::replace(&mut context.task.arguments, words);
    context.task.frames.push(Frame::RestoreArguments(saved));
    Outcome::Script(std::sync::Arc::new(crate::syntax::Node::Subshell(std::sync::Arc::new(body))))
}

fn split_name(rest: &[String]) -> (String, Vec<String>) {
    match rest.split_first() {
        Some((name, words)) => (name.clone(), words.to_vec()),
        None => ("sh".to_owned(), Vec::new()),
    }
}

fn env(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut words = argv.iter().skip(1).filter(|word| *word != "-i" && *word != "-").peekable();
    let mut saved = Vec::new();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        saved.push((name.to_owned(), context.task.variables.get(name).cloned(), context.task.exported.contains(name)));
        context.task.exported.insert(name.to_owned());
        context.task.variables.insert(name.to_owned(), value.to_owned());
        words.next();
    }
    let command: Vec<String> = words.cloned().collect();
    if command.is_empty() {
        let mut text = String::new();
        for (name, value) in context.task.environment() {
            text.push_str(&format!("{name}={value}\n"));
        }
        context.out(&text);
        return Outcome::Done(0);
    }
    if context.task.is_shell {
        context.task.frames.push(Frame::RestoreVariables(saved));
    }
    Outcome::Again(command)
}

fn printenv(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let Some(name) = argv.get(1) else { return env(context, &argv[..1]) };
    match context.task.environment().get(name) {
        Some(value) => {
            context.out(&format!("{value}\n"));
            Outcome::Done(0)
        }
        None => Outcome::Done(1),
    }
}

fn id(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (user, group) = context.shared.user;
    let text = match argv.get(1).map(String::as_str) {
        Some("-u") => user.to_string(),
        Some("-g") => group.to_string(),
        Some("-un") if user == 0 => "root".to_owned(),
        _ if user == 0 => "uid=0(root) gid=0(root) groups=0(root),10(wheel)".to_owned(),
        _ => format!("uid={user} gid={group} groups={group}"),
    };
    context.out(&format!("{text}\n"));
    Outcome::Done(0)
}

fn which(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut status = 0;
    for name in arguments(argv) {
        let found = matches!(context.shared.image.find(name, &context.files()), Program::Known(_) | Program::Script(_));
        if found {
            let shown = if name.contains('/') { name.to_owned() } else { format!("/bin/{name}") };
            context.out(&format!("{shown}\n"));
        } else if super::is_builtin(name) || context.task.functions.contains_key(name) {
            context.out(&format!("{name}\n"));
        } else {
            status = 1;
        }
    }
    Outcome::Done(status)
}

/// `timeout N command`: only for what sleeps or serves for ever is the time needed; others end in no time anyway.
fn timeout(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (_, rest) = flags(&argv[..argv.len().min(3)]);
    let at = argv.iter().position(|word| rest.first() == Some(&word.as_str()));
    let (Some(limit), Some(at)) = (rest.first().and_then(|n| duration(n)), at) else {
        return context.fail("timeout: invalid number", 125);
    };
    let command = argv.get(at + 1..).unwrap_or_default().to_vec();
    if command.is_empty() {
        return Outcome::Done(125);
    }
    if command[0] == "sleep" {
        let total =
            command[1..].iter().filter_map(|word| duration(word)).fold(Duration::ZERO, Duration::saturating_add);
        return if total > limit { Outcome::After(limit, 143) } else { Outcome::After(total, 0) };
    }
    Outcome::Again(command)
}

fn date(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let format = argv.iter().skip(1).find_map(|word| word.strip_prefix('+'));
    let text = format_date(context.now, format.unwrap_or("%a %b %e %H:%M:%S UTC %Y"));
    context.out(&format!("{text}\n"));
    Outcome::Done(0)
}

/// strftime in UTC, the fields that scripts use.
fn format_date(now: Duration, format: &str) -> String {
    let seconds = now.as_secs();
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => text.push_str(&year.to_string()),
            Some('m') => text.push_str(&format!("{month:02}")),
            Some('d') => text.push_str(&format!("{day:02}")),
            Some('e') => text.push_str(&format!("{day:2}")),
            Some('H') => text.push_str(&format!("{hour:02}")),
            Some('M') => text.push_str(&format!("{minute:02}")),
            Some('S') => text.push_str(&format!("{second:02}")),
            Some('s') => text.push_str(&seconds.to_string()),
            Some('N') => text.push_str(&format!("{:09}", now.subsec_nanos())),
            Some('F') => text.push_str(&format!("{year}-{month:02}-{day:02}")),
            Some('T') => text.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('Z') => text.push_str("UTC"),
            Some('z') => text.push_str("+0000"),
            Some('a') => text.push_str(DAYS[(days % 7) as usize]),
            Some('b' | 'h') => text.push_str(MONTHS[(month - 1) as usize]),
            Some('%') | None => text.push('%'),
            Some(other) => {
                text.push('%');
                text.push(other);
            }
        }
    }
    text
}

/// Days since 1970-01-01 to year, month, day (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}
