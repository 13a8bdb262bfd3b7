//! Programs about files.

use std::time::Duration;

use super::{Command, Context, Outcome, flags, size};
use crate::files::Entry;

pub(super) fn find(name: &str) -> Option<Command> {
    Some(match name {
        "ls" => list,
        "mkdir" => mkdir,
        "touch" => touch,
        "rm" => rm,
        "rmdir" => rm,
        "cp" | "mv" => copy,
        "ln" => copy,
        "chmod" | "chown" | "chgrp" => |context, argv| {
            let (_, rest) = flags(argv);
            match rest.iter().skip(1).find(|name| !context.files().exists(&context.path(name))) {
                Some(name) => context.fail(&format!("{}: {name}: No such file or directory", argv[0]), 1),
                None => Outcome::Done(0),
            }
        },
        "stat" => |context, argv| {
            let (_, rest) = flags(argv);
            match rest.iter().find(|name| !context.files().exists(&context.path(name))) {
                Some(name) => context.fail(&format!("stat: can't stat '{name}': No such file or directory"), 1),
                None => Outcome::Done(0),
            }
        },
        "mktemp" => |context, argv| {
            let directory = argv.iter().any(|word| word == "-d");
            context.shared.noise =
                context.shared.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let path = format!("/tmp/tmp.{:06x}", context.shared.noise >> 40);
            let mut files = context.files();
            let made = if directory { files.make_directory(&path, false) } else { files.truncate(&path) };
            drop(files);
            if made.is_ok() {
                context.out(&format!("{path}\n"));
            }
            Outcome::Done(i32::from(made.is_err()))
        },
        "dd" => dd,
        "fallocate" | "truncate" => allocate,
        _ => return None,
    })
}

fn list(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, mut rest) = flags(argv);
    if rest.is_empty() {
        rest.push(".");
    }
    let (mut status, mut text) = (0, String::new());
    let many = rest.len() > 1;
    for name in rest {
        let path = context.path(name);
        let files = context.files();
        if files.is_directory(&path) && !letters.contains('d') {
            if many {
                text.push_str(&format!("{name}:\n"));
            }
            for entry in files.list(&path) {
                if letters.contains('a') || !entry.starts_with('.') {
                    let below = format!("{}/{entry}", path.trim_end_matches('/'));
                    text.push_str(&line(files.entry(&below), files.size(&below), &entry, &letters));
                }
            }
        } else if files.exists(&path) {
            text.push_str(&line(files.entry(&path), files.size(&path), name, &letters));
        } else {
            drop(files);
            context.err(&format!("ls: {name}: No such file or directory"));
            status = 1;
        }
    }
    context.out(&text);
    Outcome::Done(status)
}

fn line(entry: Option<&Entry>, bytes: u64, name: &str, letters: &str) -> String {
    if !letters.contains('l') {
        return format!("{name}\n");
    }
    let mode = match entry {
        Some(Entry::Directory) => "drwxr-xr-x",
        Some(Entry::File { read_only: true, .. }) => "-r--r--r--",
        _ => "-rw-r--r--",
    };
    format!("{mode}    1 root     root     {bytes:9} Jan  1 00:00 {name}\n")
}

fn mkdir(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, rest) = flags(argv);
    let mut status = 0;
    for name in rest {
        let path = context.path(name);
        let made = context.files().make_directory(&path, letters.contains('p'));
        if let Err(reason) = made {
            context.err(&format!("mkdir: can't create directory '{name}': {reason}"));
            status = 1;
        }
    }
    Outcome::Done(status)
}

fn touch(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (_, rest) = flags(argv);
    let mut status = 0;
    for name in rest {
        let path = context.path(name);
        let directory = context.files().is_directory(&path);
        let touched = if directory { Ok(()) } else { context.files().append(&path, b"", 0) };
        if let Err(reason) = touched {
            context.err(&format!("touch: {name}: {reason}"));
            status = 1;
        }
    }
    Outcome::Done(status)
}

fn rm(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (letters, rest) = flags(argv);
    let recursive = letters.contains(['r', 'R']) || argv[0] == "rmdir";
    let mut status = 0;
    for name in rest {
        let path = context.path(name);
        let removed = context.files().remove(&path, recursive);
        if let Err(reason) = removed
            && !(letters.contains('f') && reason == "No such file or directory")
        {
            context.err(&format!("rm: can't remove '{name}': {reason}"));
            status = 1;
        }
    }
    Outcome::Done(status)
}

fn copy(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (_, mut rest) = flags(argv);
    let Some(target) = rest.pop() else { return Outcome::Done(1) };
    let mut status = 0;
    for name in rest {
        let from = context.path(name);
        let mut to = context.path(target);
        if context.files().is_directory(&to) {
            to = format!("{}/{}", to.trim_end_matches('/'), name.rsplit('/').next().unwrap_or(name));
        }
        let data = context.files().read(&from).map(<[u8]>::to_vec);
        let copied = data.and_then(|data| {
            let mut files = context.files();
            files.truncate(&to)?;
            files.append(&to, &data, 0)?;
            if argv[0] == "mv" { files.remove(&from, false) } else { Ok(()) }
        });
        if let Err(reason) = copied {
            context.err(&format!("{}: can't stat '{name}': {reason}", argv[0]));
            status = 1;
        }
    }
    Outcome::Done(status)
}

/// Bytes a second that copying makes.
const SPEED: u64 = 2 << 30;

/// The time that so many bytes take; at least a millisecond, so that loops around it move the clock.
pub(super) fn copying(bytes: u64) -> Duration {
    Duration::from_millis((bytes / (SPEED / 1000)).clamp(1, 86_400_000))
}

fn dd(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (mut block, mut count, mut from, mut to) = (512, None, None, None);
    for word in argv.iter().skip(1) {
        let Some((key, value)) = word.split_once('=') else {
            return context.fail(&format!("dd: unrecognized operand '{word}'"), 1);
        };
        match key {
            "bs" | "ibs" => match size(value) {
                Some(n) if n > 0 => block = n,
                _ => return context.fail(&format!("dd: invalid number '{value}'"), 1),
            },
            "count" => count = size(value),
            "if" => from = Some(value),
            "of" => to = Some(context.path(value)),
            _ => {}
        }
    }
    // One buffer of a block: this is what makes `bs=200M` cost 200 megabytes.
    context.shared.allocate(block);
    let endless = matches!(from, Some("/dev/zero" | "/dev/urandom" | "/dev/random"));
    let data = match from {
        Some("/dev/zero" | "/dev/urandom" | "/dev/random" | "/dev/null") => Vec::new(),
        Some(name) => {
            let path = context.path(name);
            let read = context.files().read(&path).map(<[u8]>::to_vec);
            match read {
                Ok(data) => data,
                Err(reason) => return context.fail(&format!("dd: can't open '{name}': {reason}"), 1),
            }
        }
        None => match context.input() {
            Ok(data) => data,
            Err(pipe) => return Outcome::Input(pipe),
        },
    };
    let wanted = count.map_or(u64::MAX, |n| n.saturating_mul(block));
    let bytes = if endless { wanted } else { wanted.min(data.len() as u64) };
    if bytes == u64::MAX {
        return Outcome::Forever;
    }
    let kept = data.get(..(bytes as usize).min(data.len())).unwrap_or_default();
    match to.as_deref() {
        Some("/dev/null") => {}
        Some(path) => {
            let more = if endless { bytes } else { 0 };
            let written = {
                let mut files = context.files();
                files.truncate(path).and_then(|()| files.append(path, kept, more))
            };
            if let Err(reason) = written {
                return context.fail(&format!("dd: can't open '{path}': {reason}"), 1);
            }
            if path.starts_with("/dev/shm/") {
                context.shared.allocate(block.saturating_add(bytes));
            }
        }
        None if endless => context.out_bytes(&vec![0; bytes.min(64 * 1024) as usize]),
        None => context.out_bytes(kept),
    }
    let blocks = bytes / block;
    context.err(&format!("{blocks}+0 records in\n{blocks}+0 records out"));
    Outcome::After(copying(bytes), 0)
}

fn allocate(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut bytes = 0;
    let mut name = None;
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-l" | "-s" => bytes = words.next().and_then(|n| size(n)).unwrap_or(0),
            other => name = Some(context.path(other)),
        }
    }
    let Some(path) = name else { return Outcome::Done(1) };
    let written = {
        let mut files = context.files();
        files.truncate(&path).and_then(|()| files.append(&path, b"", bytes))
    };
    if path.starts_with("/dev/shm/") {
        context.shared.allocate(bytes);
    }
    match written {
        Ok(()) => Outcome::Done(0),
        Err(reason) => context.fail(&format!("{}: {path}: {reason}", argv[0]), 1),
    }
}
