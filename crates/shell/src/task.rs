//! One thread of execution of a process: its stack of frames, variables and open files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::syntax::Node;

/// Where input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Null,
    Pipe(usize),
    Data(Arc<Vec<u8>>, usize),
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    Null,
    Pipe(usize),
    File(String),
    /// To whoever attached this command; true: as its standard error.
    Attached(u32, bool),
}

/// The three descriptors.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    pub(crate) input: Input,
    pub(crate) out: Output,
    pub(crate) err: Output,
}

/// What is to be done when control comes back to this level.
#[derive(Debug)]
pub(crate) enum Frame {
    Eval(Arc<Node>),
    Sequence(Arc<Node>, usize),
    AndOr(Arc<Node>),
    Branch(Arc<Node>, usize),
    Loop {
        node: Arc<Node>,
        in_body: bool,
        last: i32,
    },
    For {
        node: Arc<Node>,
        values: Vec<String>,
        next: usize,
    },
    Negate,
    Pipeline {
        ids: Vec<u32>,
        negated: bool,
    },
    /// Command substitutions still to run before the node can be expanded.
    Substitute {
        node: Arc<Node>,
        bodies: Vec<Arc<Node>>,
        outputs: Vec<String>,
        waiting: Option<(u32, usize)>,
    },
    /// A command whose words are expanded already; runs (again) when its input is there.
    Run(Vec<String>),
    Restore(Box<Descriptors>),
    RestoreVariables(Vec<(String, Option<String>, bool)>),
    RestoreArguments(Vec<String>),
    /// After a trap handler: the status and state that it interrupted.
    TrapDone(i32),
}

/// Whether it can go on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    Ready,
    Until(Duration),
    /// Listens, or sleeps for ever.
    Forever,
    WaitTasks(Vec<u32>),
    WaitPipe(usize),
    Done,
}

/// What SIGTERM does to a program that is not a shell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OnTerm {
    /// No handler: fatal, but ignored as process 1.
    Default,
    /// Ends with this code after this time.
    Exits(i32, Duration),
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) frames: Vec<Frame>,
    pub(crate) state: State,
    pub(crate) status: i32,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) exported: BTreeSet<String>,
    pub(crate) functions: BTreeMap<String, Arc<Node>>,
    pub(crate) arguments: Vec<String>,
    pub(crate) name: String,
    pub(crate) cwd: String,
    pub(crate) files: Descriptors,
    pub(crate) traps: BTreeMap<String, String>,
    pub(crate) background: u32,
    pub(crate) children: Vec<u32>,
    pub(crate) exit_on_error: bool,
    pub(crate) fail_unset: bool,
    pub(crate) trace: bool,
    pub(crate) term_pending: bool,
    /// False once a program has taken the place of the shell.
    pub(crate) is_shell: bool,
    /// A foreground program is running in this task.
    pub(crate) program: Option<String>,
    pub(crate) on_term: OnTerm,
    /// Outputs of command substitutions for the node that is evaluated next.
    pub(crate) outputs: Vec<String>,
    pub(crate) substituted: bool,
}

impl Task {
    pub(crate) fn new(name: &str, variables: BTreeMap<String, String>, cwd: String, files: Descriptors) -> Self {
        Self {
            frames: Vec::new(),
            state: State::Ready,
            status: 0,
            exported: variables.keys().cloned().collect(),
            variables,
            functions: BTreeMap::new(),
            arguments: Vec::new(),
            name: name.to_owned(),
            cwd,
            files,
            traps: BTreeMap::new(),
            background: 0,
            children: Vec::new(),
            exit_on_error: false,
            fail_unset: false,
            trace: false,
            term_pending: false,
            is_shell: true,
            program: None,
            on_term: OnTerm::Default,
            outputs: Vec::new(),
            substituted: false,
        }
    }

    /// A subshell that runs this.
    pub(crate) fn fork(&self, node: Arc<Node>, files: Descriptors) -> Self {
        let mut child = Self::new(&self.name, self.variables.clone(), self.cwd.clone(), files);
        child.exported = self.exported.clone();
        child.functions = self.functions.clone();
        child.arguments = self.arguments.clone();
        child.exit_on_error = self.exit_on_error;
        child.fail_unset = self.fail_unset;
        child.status = self.status;
        child.frames.push(Frame::Eval(node));
        child
    }

    /// Ends with this status.
    pub(crate) fn finish(&mut self, status: i32) {
        self.frames.clear();
        self.status = status & 0xff;
        self.state = State::Done;
        self.program = None;
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        self.exported
            .iter()
            .filter_map(|name| self.variables.get(name).map(|value| (name.clone(), value.clone())))
            .collect()
    }
}
