//! What the shell itself does.

use super::{Command, Context, Outcome, arguments};
use crate::process::MAIN;
use crate::task::{Frame, Input, State};

pub(super) fn find(name: &str) -> Option<Command> {
    Some(match name {
        ":" | "true" => |_, _| Outcome::Done(0),
        "false" => |_, _| Outcome::Done(1),
        "exit" => exit,
        "export" | "readonly" | "local" | "declare" => export,
        "unset" => unset,
        "set" => set,
        "cd" => cd,
        "pwd" => |context, _| {
            let cwd = context.task.cwd.clone();
            context.out(&format!("{cwd}\n"));
            Outcome::Done(0)
        },
        "echo" => echo,
        "printf" => printf,
        "read" => read,
        "test" | "[" => super::condition::test,
        "shift" => shift,
        "return" => give_back,
        "break" | "continue" => leave,
        "eval" => eval,
        "." | "source" => source,
        "exec" => exec,
        "trap" => trap,
        "wait" => wait,
        "kill" => kill,
        "command" | "builtin" => |_, argv| match argv.get(1).map(String::as_str) {
            Some("-v") => Outcome::Again(argv.iter().skip(1).cloned().collect::<Vec<_>>()).which(argv),
            Some(_) => Outcome::Again(argv[1..].to_vec()),
            None => Outcome::Done(0),
        },
        "type" => |_, argv| Outcome::Done(0).which(argv),
        "umask" | "ulimit" | "alias" | "hash" | "times" => |_, _| Outcome::Done(0),
        _ => return None,
    })
}

impl Outcome {
    /// `command -v` and `type` become the program `which`.
    fn which(self, argv: &[String]) -> Self {
        let names = argv.iter().skip(1).filter(|word| *word != "-v").cloned();
        Self::Again(std::iter::once("which".to_owned()).chain(names).collect())
    }
}

fn exit(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let status = match argv.get(1) {
        None => context.task.status,
        Some(text) => match text.parse::<i64>() {
            Ok(status) => (status & 0xff) as i32,
            Err(_) => {
                context.err(&format!("sh: exit: Illegal number: {text}"));
                2
            }
        },
    };
    Outcome::Exit(status)
}

fn export(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    for word in arguments(argv).into_iter().filter(|word| !word.starts_with('-')) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        if let Some(value) = value {
            context.task.variables.insert(name.to_owned(), value.to_owned());
        }
        if argv[0] == "export" {
            context.task.exported.insert(name.to_owned());
        }
    }
    Outcome::Done(0)
}

fn unset(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    for name in arguments(argv) {
        context.task.variables.remove(name);
        context.task.exported.remove(name);
        context.task.functions.remove(name);
    }
    Outcome::Done(0)
}

fn set(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let on = word.starts_with('-');
        match word.as_str() {
            "--" => {
                context.task.arguments = words.cloned().collect();
                return Outcome::Done(0);
            }
            "-o" | "+o" => match words.next().map(String::as_str) {
                Some("errexit") => context.task.exit_on_error = on,
                Some("nounset") => context.task.fail_unset = on,
                Some("xtrace") => context.task.trace = on,
                _ => {}
            },
            flags if flags.starts_with(['-', '+']) => {
                for flag in flags.chars().skip(1) {
                    match flag {
                        'e' => context.task.exit_on_error = on,
                        'u' => context.task.fail_unset = on,
                        'x' => context.task.trace = on,
                        _ => {}
                    }
                }
            }
            _ => {
                context.task.arguments = std::iter::once(word).chain(words).cloned().collect();
                return Outcome::Done(0);
            }
        }
    }
    Outcome::Done(0)
}

fn cd(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let target = argv.get(1).cloned().unwrap_or_else(|| context.variable("HOME"));
    let path = context.path(&target);
    if context.files().is_directory(&path) {
        context.task.cwd = path;
        Outcome::Done(0)
    } else {
        context.fail(&format!("sh: cd: can't cd to {target}: No such file or directory"), 1)
    }
}

fn echo(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (mut newline, mut escapes, mut first) = (true, false, 1);
    while let Some(flags) = argv.get(first).and_then(|word| word.strip_prefix('-')) {
        if flags.is_empty() || !flags.chars().all(|c| matches!(c, 'n' | 'e' | 'E')) {
            break;
        }
        newline &= !flags.contains('n');
        escapes |= flags.contains('e');
        first += 1;
    }
    let mut text = argv[first.min(argv.len())..].join(" ");
    if escapes {
        text = unescape(&text);
    }
    if newline {
        text.push('\n');
    }
    context.out(&text);
    Outcome::Done(0)
}

fn unescape(text: &str) -> String {
    let mut shown = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            shown.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => shown.push('\n'),
            Some('t') => shown.push('\t'),
            Some('r') => shown.push('\r'),
            Some('0') => shown.push('\0'),
            Some('c') => return shown,
            Some('\\') | None => shown.push('\\'),
            Some(other) => {
                shown.push('\\');
                shown.push(other);
            }
        }
    }
    shown
}

fn printf(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let Some(format) = argv.get(1) else {
        return context.fail("printf: usage: printf FORMAT [ARG]...", 1);
    };
    let format = unescape(format);
    let mut values = argv[2..].iter();
    let mut shown = String::new();
    loop {
        let before = values.len();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                shown.push(c);
                continue;
            }
            let mut spec = String::new();
            while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+' | ' ')) {
                spec.push(c);
            }
            match chars.next() {
                Some('%') => shown.push('%'),
                Some('b') => shown.push_str(&unescape(values.next().map_or("", String::as_str))),
                Some('d' | 'i' | 'u') => {
                    let number: i64 = values.next().and_then(|v| v.parse().ok()).unwrap_or(0);
                    shown.push_str(&padded(&number.to_string(), &spec));
                }
                Some('x') => {
                    let number: i64 = values.next().and_then(|v| v.parse().ok()).unwrap_or(0);
                    shown.push_str(&padded(&format!("{number:x}"), &spec));
                }
                Some(_) => shown.push_str(&padded(values.next().map_or("", String::as_str), &spec)),
                None => shown.push('%'),
            }
        }
        // The format is used again while it eats arguments.
        if values.len() == 0 || values.len() == before || shown.len() > 1 << 16 {
            break;
        }
    }
    context.out(&shown);
    Outcome::Done(0)
}

fn padded(text: &str, spec: &str) -> String {
    let left = spec.starts_with('-');
    let digits = spec.trim_start_matches(['-', '+', ' ']);
    let (width, precision) = digits.split_once('.').unwrap_or((digits, ""));
    let zero = width.starts_with('0') && !left;
    let width: usize = width.parse::<usize>().unwrap_or(0).min(1000);
    let text: String = match precision.parse::<usize>() {
        Ok(n) if !text.bytes().all(|b| b.is_ascii_digit()) => text.chars().take(n).collect(),
        _ => text.to_owned(),
    };
    if left {
        format!("{text:<width$}")
    } else if zero {
        format!("{text:0>width$}")
    } else {
        format!("{text:>width$}")
    }
}

fn read(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let line = match take_line(context) {
        Ok(line) => line,
        Err(pipe) => return Outcome::Input(pipe),
    };
    let names: Vec<&str> = arguments(argv).into_iter().filter(|word| !word.starts_with('-')).collect();
    let text = line.clone().unwrap_or_default();
    let mut rest = text.trim();
    for (i, name) in names.iter().enumerate() {
        let value = if i + 1 == names.len() {
            std::mem::take(&mut rest)
        } else {
            let (value, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = tail.trim_start();
            value
        };
        context.task.variables.insert((*name).to_owned(), value.to_owned());
    }
    Outcome::Done(i32::from(line.is_none()))
}

/// The next line of input; none at its end.
fn take_line(context: &mut Context<'_>) -> Result<Option<String>, usize> {
    match &mut context.task.files.input {
        Input::Null => Ok(None),
        Input::Data(data, at) => {
            let rest = data.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i);
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            *at += end + 1;
            Ok(Some(line))
        }
        Input::Pipe(id) => {
            let id = *id;
            let Some(pipe) = context.shared.pipes.get_mut(&id) else { return Ok(None) };
            if let Some(end) = pipe.data.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&pipe.data[..end]).into_owned();
                pipe.data.drain(..=end);
                return Ok(Some(line));
            }
            if context.running.contains(&pipe.writer) {
                return Err(id);
            }
            let rest = std::mem::take(&mut pipe.data);
            Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()))
        }
    }
}

fn shift(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let n = argv.get(1).and_then(|n| n.parse().ok()).unwrap_or(1_usize);
    if n > context.task.arguments.len() {
        return context.fail("sh: shift: bad number", 1);
    }
    context.task.arguments.drain(..n);
    Outcome::Done(0)
}

/// `return`: unwinds to the call.
fn give_back(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let status = argv.get(1).and_then(|n| n.parse::<i32>().ok()).unwrap_or(context.task.status);
    if !context.task.frames.iter().any(|frame| matches!(frame, Frame::RestoreArguments(_))) {
        return Outcome::Exit(status);
    }
    while let Some(frame) = context.task.frames.pop() {
        match frame {
            Frame::RestoreArguments(arguments) => {
                context.task.arguments = arguments;
                break;
            }
            Frame::Restore(files) => context.task.files = *files,
            _ => {}
        }
    }
    context.task.status = status & 0xff;
    Outcome::Pending
}

/// `break` and `continue`.
fn leave(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut levels = argv.get(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(1).max(1);
    let is_loop = |frame: &Frame| matches!(frame, Frame::Loop { .. } | Frame::For { .. });
    if !context.task.frames.iter().any(is_loop) {
        return Outcome::Done(0);
    }
    context.task.status = 0;
    while let Some(frame) = context.task.frames.pop() {
        match frame {
            Frame::Restore(files) => context.task.files = *files,
            frame if is_loop(&frame) => {
                levels -= 1;
                let more = context.task.frames.iter().any(is_loop);
                if levels == 0 || !more {
                    if argv[0] == "continue" {
                        context.task.frames.push(match frame {
                            Frame::Loop { node, .. } => Frame::Loop { node, in_body: true, last: 0 },
                            other => other,
                        });
                    }
                    break;
                }
            }
            _ => {}
        }
    }
    Outcome::Pending
}

fn script(context: &mut Context<'_>, text: &str) -> Outcome {
    match crate::parse::parse(text) {
        Ok(node) => Outcome::Script(node),
        Err(message) => {
            let name = context.task.name.clone();
            context.err(&format!("{name}: {message}"));
            Outcome::Exit(2)
        }
    }
}

fn eval(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    script(context, &argv[1..].join(" "))
}

fn source(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let Some(name) = argv.get(1) else { return Outcome::Done(0) };
    let path = context.path(name);
    let read = context.files().read(&path).map(<[u8]>::to_vec);
    match read {
        Ok(data) => script(context, &String::from_utf8_lossy(&data)),
        Err(_) => {
            context.err(&format!("sh: .: can't open '{name}': No such file or directory"));
            Outcome::Exit(2)
        }
    }
}

/// The program takes the place of the shell: nothing of the script is left.
fn exec(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    if argv.len() < 2 {
        return Outcome::Done(0);
    }
    let missing = !matches!(
        context.shared.image.find(&argv[1], &context.files()),
        crate::image::Program::Known(_) | crate::image::Program::Script(_)
    );
    if missing {
        context.err(&format!("sh: exec: line 0: {}: not found", argv[1]));
        return Outcome::Exit(127);
    }
    context.task.frames.clear();
    context.task.traps.clear();
    context.task.functions.clear();
    context.task.exit_on_error = false;
    context.task.is_shell = false;
    Outcome::Again(argv[1..].to_vec())
}

fn trap(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let words = arguments(argv);
    let Some((handler, signals)) = words.split_first() else { return Outcome::Done(0) };
    let (handler, signals) = if signals.is_empty() { (&"-", words.as_slice()) } else { (handler, signals) };
    for signal in signals {
        let name = match signal.trim_start_matches("SIG") {
            "15" => "TERM",
            "2" => "INT",
            "0" => "EXIT",
            "1" => "HUP",
            name => name,
        };
        if *handler == "-" {
            context.task.traps.remove(name);
        } else {
            context.task.traps.insert(name.to_owned(), (*handler).to_owned());
        }
    }
    Outcome::Done(0)
}

fn wait(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let ids: Vec<u32> = match argv.get(1) {
        Some(_) => argv[1..].iter().filter_map(|id| id.trim_start_matches('%').parse().ok()).collect(),
        None => context.task.children.clone(),
    };
    let open: Vec<u32> =
        ids.iter().copied().filter(|id| context.task.children.contains(id) && context.running.contains(id)).collect();
    if open.is_empty() {
        let status = match argv.get(1) {
            Some(_) => ids.last().map_or(127, |id| context.finished.get(id).copied().unwrap_or(127)),
            None => 0,
        };
        context.task.children.retain(|id| !ids.contains(id));
        return Outcome::Done(status);
    }
    Outcome::Wait(open)
}

fn kill(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut signal = "TERM".to_owned();
    let mut words = argv.iter().skip(1);
    let mut targets = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("s") => signal = words.next().cloned().unwrap_or_default(),
            Some(name) if targets.is_empty() && !name.is_empty() => signal = name.to_owned(),
            _ => targets.push(word),
        }
    }
    let signal = match signal.trim_start_matches("SIG") {
        "9" => "KILL".to_owned(),
        "15" => "TERM".to_owned(),
        other => other.to_owned(),
    };
    let mut status = 0;
    for target in targets {
        match target.parse::<u32>() {
            Ok(id) if id == context.id && id != MAIN => return Outcome::Exit(143),
            Ok(id) if id == context.id => {
                if signal == "TERM" && context.task.traps.get("TERM").is_some_and(|h| !h.is_empty()) {
                    context.task.term_pending = true;
                    context.task.state = State::Ready;
                }
            }
            Ok(id) => context.shared.signals.push((id, signal.clone())),
            Err(_) => {
                context.err(&format!("sh: invalid number '{target}'"));
                status = 1;
            }
        }
    }
    Outcome::Done(status)
}
