//! The syntax tree of a script.

use std::sync::Arc;

/// A command of any kind.
#[derive(Debug)]
pub(crate) enum Node {
    Simple { assigns: Vec<(String, Word)>, words: Vec<Word>, redirects: Vec<Redirect> },
    Pipeline { stages: Vec<Arc<Node>>, negated: bool },
    AndOr { left: Arc<Node>, right: Arc<Node>, and: bool },
    Sequence(Vec<Arc<Node>>),
    Background(Arc<Node>),
    If { branches: Vec<(Arc<Node>, Arc<Node>)>, otherwise: Option<Arc<Node>> },
    While { condition: Arc<Node>, body: Arc<Node>, until: bool },
    For { name: String, words: Option<Vec<Word>>, body: Arc<Node> },
    Case { word: Word, arms: Vec<(Vec<Word>, Arc<Node>)> },
    Subshell(Arc<Node>),
    Redirected(Arc<Node>, Vec<Redirect>),
    Function(String, Arc<Node>),
}

/// A word before expansion.
pub(crate) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Literal { text: String, quoted: bool },
    Variable { name: String, operator: Option<(Operator, Word)>, length: bool, quoted: bool },
    Command { body: Arc<Node>, quoted: bool },
    Arithmetic { expression: Word, quoted: bool },
}

/// What follows the name in `${name...}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
    /// `:-` and `-`.
    Default { or_empty: bool },
    /// `:=`, `=`.
    Assign { or_empty: bool },
    /// `:+`, `+`.
    Alternative { or_empty: bool },
    /// `:?`, `?`.
    Require { or_empty: bool },
    /// `%`, `%%`.
    TrimEnd { longest: bool },
    /// `#`, `##`.
    TrimStart { longest: bool },
}

/// `2>file` and its like.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    pub(crate) fd: u32,
    pub(crate) kind: RedirectKind,
    pub(crate) target: Word,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RedirectKind {
    Read,
    Write,
    Append,
    /// `>&`.
    Duplicate,
    /// Here document or here string: the target is the text.
    Here,
}
