//! Redirections: where a command's input comes from and its output goes.

use std::sync::{Arc, PoisonError};

use crate::expand::Expander;
use crate::files::normalise;
use crate::process::Process;
use crate::syntax::{Redirect, RedirectKind};
use crate::task::{Input, Output, Task};

impl Process {
    pub(crate) fn redirect(&mut self, id: u32, task: &mut Task, redirects: &[Redirect]) -> bool {
        for redirect in redirects {
            let expanded = Expander { task, pid: id }.single(&redirect.target);
            let target = match expanded {
                Ok(target) => target,
                Err(message) => {
                    self.expansion_failed(task, &message);
                    return false;
                }
            };
            if let Err(message) = self.open(task, redirect, &target) {
                self.complain(task, &message);
                return false;
            }
        }
        true
    }

    fn open(&mut self, task: &mut Task, redirect: &Redirect, target: &str) -> Result<(), String> {
        let path = normalise(&task.cwd, target);
        match redirect.kind {
            RedirectKind::Here => task.files.input = Input::Data(Arc::new(target.as_bytes().to_vec()), 0),
            RedirectKind::Read => {
                let files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
                task.files.input = match (path.as_str(), files.read(&path)) {
                    ("/dev/null" | "/dev/zero" | "/dev/urandom" | "/dev/random", _) => Input::Null,
                    (_, Ok(data)) => Input::Data(Arc::new(data.to_vec()), 0),
                    (_, Err(reason)) => {
                        return Err(format!(
                            "can't open {target}: {}",
                            reason.to_lowercase().replace("no such file or directory", "no such file")
                        ));
                    }
                };
            }
            RedirectKind::Duplicate => {
                let output = match target {
                    "1" => task.files.out.clone(),
                    "2" => task.files.err.clone(),
                    "-" => Output::Null,
                    other => return Err(format!("{other}: bad file descriptor")),
                };
                set_output(task, redirect.fd, output);
            }
            RedirectKind::Write | RedirectKind::Append => {
                let output = match path.as_str() {
                    "/dev/null" => Output::Null,
                    "/dev/stdout" | "/proc/self/fd/1" => task.files.out.clone(),
                    "/dev/stderr" | "/proc/self/fd/2" => task.files.err.clone(),
                    "/proc/1/fd/1" => Output::Stdout,
                    "/proc/1/fd/2" => Output::Stderr,
                    _ => {
                        let mut files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
                        let opened = if redirect.kind == RedirectKind::Write {
                            files.truncate(&path)
                        } else {
                            files.append(&path, b"", 0)
                        };
                        opened.map_err(|reason| match reason {
                            "No such file or directory" => format!("can't create {target}: nonexistent directory"),
                            reason => format!("can't create {target}: {reason}"),
                        })?;
                        Output::File(path)
                    }
                };
                set_output(task, redirect.fd, output);
            }
        }
        Ok(())
    }
}

fn set_output(task: &mut Task, fd: u32, output: Output) {
    match fd {
        1 => task.files.out = output,
        2 => task.files.err = output,
        12 => {
            task.files.out = output.clone();
            task.files.err = output;
        }
        _ => {}
    }
}
