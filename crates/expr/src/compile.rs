//! Text to expression. The parser of `cel` recurses with its input, so it runs on a thread with room for the longest
//! text that is let in; a panic there ends that thread and becomes an error.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::{Env, ParseErrors};

use crate::{ExprError, Expression, MAX_SOURCE, analysis};

/// Room for the deepest text of [`MAX_SOURCE`] bytes.
const STACK: usize = 256 * 1024 * 1024;

pub(crate) fn compile(source: &str, variables: Option<&[&str]>) -> Result<Expression, ExprError> {
    let whole = || 0..source.len();
    if source.trim().is_empty() {
        let help = "write a condition such as `object.status.phase == \"Running\"`".to_owned();
        return Err(ExprError { message: "the expression is empty".to_owned(), help: Some(help), range: whole() });
    }
    if source.len() > MAX_SOURCE {
        let message = format!("the expression is longer than {MAX_SOURCE} bytes");
        return Err(ExprError { message, help: None, range: whole() });
    }
    let key: Key = (source.to_owned(), variables.map(|names| names.iter().map(|&name| name.to_owned()).collect()));
    if let Some(expression) = known().get(&key) {
        return Ok(expression.clone());
    }
    let expression = std::thread::scope(|scope| {
        let work = || compile_here(source, variables);
        let spawned =
            std::thread::Builder::new().name("cel-compile".to_owned()).stack_size(STACK).spawn_scoped(scope, work);
        match spawned {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(not_understood(source))),
            Err(error) => {
                Err(ExprError { message: format!("no thread to compile on: {error}"), help: None, range: whole() })
            }
        }
    })?;
    let mut known = known();
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key, expression.clone());
    Ok(expression)
}

/// An expression, and which variables it may use.
type Key = (String, Option<Vec<String>>);

/// So many expressions are kept compiled: each case of a failure has the same.
const REMEMBERED: usize = 256;

fn known() -> MutexGuard<'static, HashMap<Key, Expression>> {
    static KNOWN: LazyLock<Mutex<HashMap<Key, Expression>>> = LazyLock::new(Mutex::default);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_understood(source: &str) -> ExprError {
    ExprError { message: "the expression is not understood".to_owned(), help: None, range: 0..source.len() }
}

fn compile_here(source: &str, variables: Option<&[&str]>) -> Result<Expression, ExprError> {
    let program = Env::stdlib().compile(source).map_err(|errors| first_error(source, &errors))?;
    let places = Places { source, info: program.source_info() };
    let root: IdedExpr = program.expression().clone();
    analysis::check(&root, variables, &places)?;
    Ok(Expression { source: source.to_owned(), uses: analysis::uses(&root), root: analysis::metered(root) })
}

/// Where nodes of the tree stand in the text.
pub(crate) struct Places<'a> {
    source: &'a str,
    info: &'a SourceInfo,
}

impl Places<'_> {
    /// The bytes of a node; the whole text where they are not known.
    pub(crate) fn of(&self, id: u64) -> Range<usize> {
        let Some((start, stop)) = self.info.offset_for(id) else { return 0..self.source.len() };
        let byte = |offset: u32| {
            let mut offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.source.len());
            while !self.source.is_char_boundary(offset) {
                offset += 1;
            }
            offset
        };
        let (start, stop) = (byte(start), byte(stop.saturating_add(1)));
        start..stop.max(start)
    }
}

fn first_error(source: &str, errors: &ParseErrors) -> ExprError {
    let Some(first) = errors.errors.first() else { return not_understood(source) };
    let (line, column) = (usize::try_from(first.pos.0).unwrap_or(1), usize::try_from(first.pos.1).unwrap_or(1));
    let line_start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = source.get(line_start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column.saturating_sub(1)).map_or(source.len(), |(i, _)| line_start + i);
    let width = source[offset..].chars().next().map_or(0, char::len_utf8);
    let (message, help) = in_words(&first.msg, source, offset);
    ExprError { message, help, range: offset..offset + width }
}

/// The parser speaks of token classes; people know the text.
fn in_words(message: &str, source: &str, offset: usize) -> (String, Option<String>) {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let before = source[..offset].trim_end();
    let at = source[offset..].chars().next();
    if at == Some('=') || before.ends_with('=') && !before.ends_with("==") && !before.ends_with("!=") {
        return ("a single `=` means nothing here".to_owned(), Some("to compare, write `==`".to_owned()));
    }
    if message.contains("<EOF>") && offset >= source.trim_end().len() {
        let opened = source.matches(['(', '[', '{']).count();
        let closed = source.matches([')', ']', '}']).count();
        let help = (opened > closed).then(|| "a bracket is not closed".to_owned());
        return ("the expression ends too early".to_owned(), help);
    }
    let short = message.split(" expecting ").next().unwrap_or(message);
    (format!("not a CEL expression: {short}"), None)
}
