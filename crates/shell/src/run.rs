//! The evaluation of one micro-step of one task.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::commands::{self, Context, Outcome};
use crate::expand::{Expander, substitutions, words_of};
use crate::image::Program;
use crate::network::Network;
use crate::pattern;
use crate::process::{Pipe, Process};
use crate::syntax::{Node, Redirect, Word};
use crate::task::{Descriptors, Frame, Input, Output, State, Task};

/// Levels of frames; a script that recurses deeper is ended, as a real shell would be by its stack.
const FRAMES: usize = 2_000;

impl Process {
    /// One micro-step. The task is taken out meanwhile, so that everything else can be borrowed.
    pub(crate) fn advance(&mut self, id: u32, now: Duration, network: &dyn Network) {
        let Some(mut task) = self.tasks.remove(&id) else { return };
        self.micro_step(id, &mut task, now, network);
        self.tasks.insert(id, task);
    }

    fn micro_step(&mut self, id: u32, task: &mut Task, now: Duration, network: &dyn Network) {
        task.program = None;
        if task.term_pending {
            task.term_pending = false;
            let handler = task.traps.get("TERM").cloned().unwrap_or_default();
            match crate::parse::parse(&handler) {
                Ok(node) => {
                    task.frames.push(Frame::TrapDone(task.status));
                    task.frames.push(Frame::Eval(node));
                }
                Err(message) => self.complain(task, &message),
            }
            return;
        }
        if task.frames.len() > FRAMES {
            self.complain(task, "out of memory");
            task.finish(2);
            return;
        }
        let Some(frame) = task.frames.pop() else {
            if let Some(handler) = task.traps.remove("EXIT").filter(|handler| !handler.is_empty())
                && let Ok(node) = crate::parse::parse(&handler)
            {
                task.frames.push(Frame::TrapDone(task.status));
                task.frames.push(Frame::Eval(node));
                return;
            }
            let status = task.status;
            task.finish(status);
            return;
        };
        match frame {
            Frame::Eval(node) => self.evaluate(id, task, node),
            Frame::Run(argv) => self.run(id, task, argv, now, network),
            Frame::Substitute { node, bodies, outputs, waiting } => {
                self.substitute(id, task, node, bodies, outputs, waiting)
            }
            other => self.resume(task, other),
        }
    }

    /// Control comes back to a compound command.
    fn resume(&mut self, task: &mut Task, frame: Frame) {
        match frame {
            Frame::Sequence(node, next) => {
                if let Node::Sequence(nodes) = &*node
                    && let Some(child) = nodes.get(next)
                {
                    let child = Arc::clone(child);
                    task.frames.push(Frame::Sequence(node, next + 1));
                    task.frames.push(Frame::Eval(child));
                }
            }
            Frame::AndOr(node) => {
                if let Node::AndOr { right, and, .. } = &*node
                    && (task.status == 0) == *and
                {
                    task.frames.push(Frame::Eval(Arc::clone(right)));
                }
            }
            Frame::Branch(node, index) => self.branch(task, &node, index),
            Frame::Loop { node, in_body, last } => self.turn(task, node, in_body, last),
            Frame::For { node, values, next } => {
                if let (Node::For { name, body, .. }, Some(value)) = (&*node, values.get(next)) {
                    task.variables.insert(name.clone(), value.clone());
                    let body = Arc::clone(body);
                    task.frames.push(Frame::For { node, values, next: next + 1 });
                    task.frames.push(Frame::Eval(body));
                }
            }
            Frame::Negate => task.status = i32::from(task.status == 0),
            Frame::Pipeline { ids, negated } => {
                let last = ids.last().and_then(|id| self.tasks.get(id)).map_or(0, |t| t.status);
                for id in &ids {
                    self.tasks.remove(id);
                }
                task.status = if negated { i32::from(last == 0) } else { last };
                check_error_exit(task);
            }
            Frame::Restore(files) => task.files = *files,
            Frame::RestoreVariables(saved) => {
                for (name, value, exported) in saved {
                    match value {
                        Some(value) => task.variables.insert(name.clone(), value),
                        None => task.variables.remove(&name),
                    };
                    if !exported {
                        task.exported.remove(&name);
                    }
                }
            }
            Frame::RestoreArguments(arguments) => task.arguments = arguments,
            Frame::TrapDone(status) => task.status = status,
            Frame::Eval(_) | Frame::Run(_) | Frame::Substitute { .. } => {}
        }
    }

    fn branch(&mut self, task: &mut Task, node: &Arc<Node>, index: usize) {
        let Node::If { branches, otherwise } = &**node else { return };
        if task.status == 0 {
            if let Some((_, body)) = branches.get(index) {
                task.frames.push(Frame::Eval(Arc::clone(body)));
            }
        } else if let Some((condition, _)) = branches.get(index + 1) {
            task.frames.push(Frame::Branch(Arc::clone(node), index + 1));
            task.frames.push(Frame::Eval(Arc::clone(condition)));
        } else {
            task.status = 0;
            if let Some(body) = otherwise {
                task.frames.push(Frame::Eval(Arc::clone(body)));
            }
        }
    }

    fn turn(&mut self, task: &mut Task, node: Arc<Node>, in_body: bool, last: i32) {
        let Node::While { condition, body, until } = &*node else { return };
        if in_body {
            let condition = Arc::clone(condition);
            let last = task.status;
            task.frames.push(Frame::Loop { node, in_body: false, last });
            task.frames.push(Frame::Eval(condition));
        } else if (task.status == 0) != *until {
            let body = Arc::clone(body);
            task.frames.push(Frame::Loop { node, in_body: true, last });
            task.frames.push(Frame::Eval(body));
        } else {
            task.status = last;
        }
    }

    /// Runs command substitutions one after the other, then evaluates the node with their outputs.
    fn substitute(
        &mut self,
        id: u32,
        task: &mut Task,
        node: Arc<Node>,
        mut bodies: Vec<Arc<Node>>,
        mut outputs: Vec<String>,
        waiting: Option<(u32, usize)>,
    ) {
        if let Some((child, pipe)) = waiting {
            let data = self.shared.pipes.remove(&pipe).map(|p| p.data).unwrap_or_default();
            outputs.push(String::from_utf8_lossy(&data).replace('\0', ""));
            if let Some(child) = self.tasks.remove(&child) {
                task.status = child.status;
            }
        }
        if bodies.is_empty() {
            task.outputs = outputs;
            task.substituted = true;
            task.frames.push(Frame::Eval(node));
            return;
        }
        let body = bodies.remove(0);
        let files = task.files.clone();
        let Some((child, pipe)) = self.spawn_piped(id, task, body, files.input.clone()) else { return };
        task.frames.push(Frame::Substitute { node, bodies, outputs, waiting: Some((child, pipe)) });
        task.state = State::WaitTasks(vec![child]);
    }

    /// A subshell whose output goes to a new pipe that this task reads.
    fn spawn_piped(&mut self, reader: u32, task: &mut Task, node: Arc<Node>, input: Input) -> Option<(u32, usize)> {
        if !self.room() {
            self.complain(task, "can't fork: Resource temporarily unavailable");
            task.finish(2);
            return None;
        }
        let child = self.next_id();
        let pipe = self.new_pipe(child, reader);
        let files = Descriptors { input, out: Output::Pipe(pipe), err: task.files.err.clone() };
        self.tasks.insert(child, task.fork(node, files));
        Some((child, pipe))
    }

    fn new_pipe(&mut self, writer: u32, reader: u32) -> usize {
        let pipe = self.shared.next_pipe;
        self.shared.next_pipe += 1;
        self.shared.pipes.insert(pipe, Pipe { data: Vec::new(), writer, reader });
        pipe
    }

    pub(crate) fn complain(&mut self, task: &Task, message: &str) {
        let text = format!("{}: {message}\n", task.name);
        self.shared.write(&task.files.err.clone(), text.as_bytes());
    }

    fn evaluate(&mut self, id: u32, task: &mut Task, node: Arc<Node>) {
        if !std::mem::take(&mut task.substituted) {
            let bodies = substitutions(words_of(&node).into_iter());
            if !bodies.is_empty() {
                task.frames.push(Frame::Substitute { node, bodies, outputs: Vec::new(), waiting: None });
                return;
            }
        }
        match &*node {
            Node::Simple { assigns, words, redirects } => self.simple(id, task, assigns, words, redirects),
            Node::Pipeline { stages, negated } => self.pipeline(id, task, stages, *negated),
            Node::AndOr { left, .. } => {
                let left = Arc::clone(left);
                task.frames.push(Frame::AndOr(node));
                task.frames.push(Frame::Eval(left));
            }
            Node::Sequence(nodes) => {
                if nodes.is_empty() {
                    task.status = 0;
                }
                task.frames.push(Frame::Sequence(node, 0));
            }
            Node::Background(body) => self.background(task, Arc::clone(body)),
            Node::If { branches, .. } => {
                if let Some((condition, _)) = branches.first() {
                    let condition = Arc::clone(condition);
                    task.frames.push(Frame::Branch(node, 0));
                    task.frames.push(Frame::Eval(condition));
                }
            }
            Node::While { condition, .. } => {
                let condition = Arc::clone(condition);
                task.frames.push(Frame::Loop { node, in_body: false, last: 0 });
                task.frames.push(Frame::Eval(condition));
            }
            Node::For { words, .. } => {
                let values = match words {
                    Some(words) => self.fields(id, task, words),
                    None => Some(task.arguments.clone()),
                };
                if let Some(values) = values {
                    task.status = 0;
                    task.frames.push(Frame::For { node, values, next: 0 });
                }
            }
            Node::Case { word, arms } => self.case(id, task, word, arms),
            Node::Subshell(body) => {
                let body = Arc::clone(body);
                if self.room() {
                    let child = self.next_id();
                    let files = task.files.clone();
                    self.tasks.insert(child, task.fork(body, files));
                    task.frames.push(Frame::Pipeline { ids: vec![child], negated: false });
                    task.state = State::WaitTasks(vec![child]);
                } else {
                    self.complain(task, "can't fork: Resource temporarily unavailable");
                    task.finish(2);
                }
            }
            Node::Redirected(body, redirects) => {
                let saved = task.files.clone();
                if self.redirect(id, task, redirects) {
                    task.frames.push(Frame::Restore(Box::new(saved)));
                    task.frames.push(Frame::Eval(Arc::clone(body)));
                } else {
                    task.files = saved;
                    task.status = 1;
                }
            }
            Node::Function(name, body) => {
                task.functions.insert(name.clone(), Arc::clone(body));
                task.status = 0;
            }
        }
    }

    fn background(&mut self, task: &mut Task, body: Arc<Node>) {
        if !self.room() {
            self.complain(task, "can't fork: Resource temporarily unavailable");
            task.status = 2;
            return;
        }
        let child = self.next_id();
        let files = Descriptors { input: Input::Null, ..task.files.clone() };
        let forked = task.fork(body, files);
        self.tasks.insert(child, forked);
        task.background = child;
        task.children.push(child);
        task.status = 0;
    }

    fn pipeline(&mut self, id: u32, task: &mut Task, stages: &[Arc<Node>], negated: bool) {
        if let [only] = stages {
            if negated {
                task.frames.push(Frame::Negate);
            }
            task.frames.push(Frame::Eval(Arc::clone(only)));
            return;
        }
        if self.tasks.len() + stages.len() > 60 {
            self.complain(task, "can't fork: Resource temporarily unavailable");
            task.finish(2);
            return;
        }
        let ids: Vec<u32> = stages.iter().map(|_| self.next_id()).collect();
        let mut input = task.files.input.clone();
        for (i, stage) in stages.iter().enumerate() {
            let out = match ids.get(i + 1) {
                Some(reader) => Output::Pipe(self.new_pipe(ids[i], *reader)),
                None => task.files.out.clone(),
            };
            let next = match &out {
                Output::Pipe(pipe) if i + 1 < ids.len() => Input::Pipe(*pipe),
                _ => Input::Null,
            };
            let files = Descriptors { input: std::mem::replace(&mut input, next), out, err: task.files.err.clone() };
            self.tasks.insert(ids[i], task.fork(Arc::clone(stage), files));
        }
        let _ = id;
        task.state = State::WaitTasks(ids.clone());
        task.frames.push(Frame::Pipeline { ids, negated });
    }

    fn case(&mut self, id: u32, task: &mut Task, word: &Word, arms: &[(Vec<Word>, Arc<Node>)]) {
        let expanded = Expander { task, pid: id }.single(word);
        let value = match expanded {
            Ok(value) => value,
            Err(message) => return self.expansion_failed(task, &message),
        };
        task.status = 0;
        for (patterns, body) in arms {
            for pattern in patterns {
                let expanded = Expander { task, pid: id }.pattern(pattern);
                match expanded {
                    Ok(pattern) if pattern::matches(&pattern, &value) => {
                        task.frames.push(Frame::Eval(Arc::clone(body)));
                        return;
                    }
                    Ok(_) => {}
                    Err(message) => return self.expansion_failed(task, &message),
                }
            }
        }
    }

    pub(crate) fn expansion_failed(&mut self, task: &mut Task, message: &str) {
        self.complain(task, message);
        task.finish(2);
    }

    fn fields(&mut self, id: u32, task: &mut Task, words: &[Word]) -> Option<Vec<String>> {
        let expanded = {
            let files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
            Expander { task, pid: id }.fields(words, &files)
        };
        match expanded {
            Ok(fields) => Some(fields),
            Err(message) => {
                self.expansion_failed(task, &message);
                None
            }
        }
    }

    fn simple(&mut self, id: u32, task: &mut Task, assigns: &[(String, Word)], words: &[Word], redirects: &[Redirect]) {
        let substituted = assigns.iter().any(|(_, word)| !substitutions(std::iter::once(word)).is_empty());
        let mut values = Vec::new();
        for (name, word) in assigns {
            let expanded = Expander { task, pid: id }.single(word);
            match expanded {
                Ok(value) => values.push((name.clone(), value)),
                Err(message) => return self.expansion_failed(task, &message),
            }
        }
        let Some(argv) = self.fields(id, task, words) else { return };
        let saved = task.files.clone();
        if !self.redirect(id, task, redirects) {
            task.files = saved;
            task.status = 1;
            check_error_exit(task);
            return;
        }
        if argv.is_empty() {
            task.files = saved;
            task.variables.extend(values);
            if !substituted {
                task.status = 0;
            }
            check_error_exit(task);
            return;
        }
        if task.trace {
            let text = format!("+ {}\n", argv.join(" "));
            self.shared.write(&task.files.err.clone(), text.as_bytes());
        }
        // `exec` keeps its redirections for good.
        if argv[0] != "exec" && !redirects.is_empty() {
            task.frames.push(Frame::Restore(Box::new(saved)));
        }
        if !values.is_empty() {
            let before = values
                .iter()
                .map(|(name, _)| (name.clone(), task.variables.get(name).cloned(), task.exported.contains(name)))
                .collect();
            task.frames.push(Frame::RestoreVariables(before));
            for (name, value) in values {
                task.exported.insert(name.clone());
                task.variables.insert(name, value);
            }
        }
        task.frames.push(Frame::Run(argv));
    }

    /// Runs a command whose words are known.
    fn run(&mut self, id: u32, task: &mut Task, argv: Vec<String>, now: Duration, network: &dyn Network) {
        let Some(name) = argv.first().cloned() else { return };
        if let Some(body) = task.functions.get(&name).cloned() {
            let arguments = std::mem::replace(&mut task.arguments, argv[1..].to_vec());
            task.frames.push(Frame::RestoreArguments(arguments));
            task.frames.push(Frame::Eval(body));
            return;
        }
        let mut program = name.clone();
        if !commands::is_builtin(&name) || !task.is_shell && name != "exit" {
            let found = {
                let files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
                self.shared.image.find(&name, &files)
            };
            match found {
                Program::Known(known) => program = known,
                Program::Script(path) => {
                    let script = vec!["sh".to_owned(), path];
                    task.frames.push(Frame::Run(script.into_iter().chain(argv[1..].iter().cloned()).collect()));
                    return;
                }
                Program::NotExecutable => {
                    self.complain(task, &format!("{name}: Permission denied"));
                    task.status = 126;
                    return check_error_exit(task);
                }
                Program::Missing => {
                    self.complain(task, &format!("{name}: not found"));
                    task.status = 127;
                    return check_error_exit(task);
                }
            }
        }
        let waits = self.tasks.iter().filter(|(_, t)| t.state == State::Done).map(|(id, t)| (*id, t.status)).collect();
        let running = self.tasks.iter().filter(|(_, t)| t.state != State::Done).map(|(id, _)| *id).collect();
        let mut context = Context { id, task, shared: &mut self.shared, network, now, finished: waits, running };
        let outcome = commands::run(&mut context, &program, &argv);
        self.settle(task, argv, program, outcome, now);
    }

    fn settle(&mut self, task: &mut Task, argv: Vec<String>, program: String, outcome: Outcome, now: Duration) {
        match outcome {
            Outcome::Done(status) => {
                task.status = status & 0xff;
                check_error_exit(task);
            }
            Outcome::After(pause, status) => {
                task.status = status;
                task.state = State::Until(now.saturating_add(pause));
                task.program = Some(program);
            }
            Outcome::Forever => {
                task.state = State::Forever;
                task.program = Some(program);
            }
            Outcome::Input(pipe) => {
                task.frames.push(Frame::Run(argv));
                task.state = State::WaitPipe(pipe);
                task.program = Some(program);
            }
            Outcome::Wait(ids) => {
                if let [only] = ids.as_slice() {
                    task.status = self.tasks.get(only).map_or(task.status, |t| t.status);
                    task.frames.push(Frame::Run(vec!["wait".to_owned(), only.to_string()]));
                }
                task.state = State::WaitTasks(ids);
                task.program = Some(program);
            }
            Outcome::Exit(status) => {
                if let Some(handler) = task.traps.remove("EXIT").filter(|handler| !handler.is_empty())
                    && let Ok(node) = crate::parse::parse(&handler)
                {
                    task.frames.clear();
                    task.frames.push(Frame::Run(vec!["exit".to_owned(), status.to_string()]));
                    task.frames.push(Frame::Eval(node));
                } else {
                    task.finish(status);
                }
            }
            Outcome::Script(node) => task.frames.push(Frame::Eval(node)),
            Outcome::Again(argv) => task.frames.push(Frame::Run(argv)),
            Outcome::Pending => {}
        }
    }
}

/// `set -e`: a failure ends the shell unless something asks for the status.
fn check_error_exit(task: &mut Task) {
    if task.status == 0 || !task.exit_on_error {
        return;
    }
    let asked = task.frames.iter().any(|frame| {
        matches!(frame, Frame::AndOr(_) | Frame::Branch(..) | Frame::Loop { in_body: false, .. } | Frame::Negate)
    });
    if !asked {
        let status = task.status;
        task.finish(status);
    }
}
