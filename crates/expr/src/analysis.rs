//! What the tree of an expression says before it is run: unknown names, size, and where its work is metered.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};

use crate::ExprError;
use crate::budget::{GROWN, RANGE};
use crate::compile::Places;

/// The most nodes of a tree, macros expanded.
const MAX_NODES: usize = 2_000;
/// The deepest tree: evaluation recurses on the caller's stack.
const MAX_DEPTH: usize = 160;

const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "timestamp",
    "duration",
    "dyn",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "quantity",
    "value",
    "hasValue",
    "orValue",
    "or",
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
    "of",
    "none",
];
const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "map", "filter"];
const TYPES: &[&str] = &[
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional",
    "optional_type",
];

/// Checks names and size; reports the first thing that is wrong.
pub(crate) fn check(root: &IdedExpr, variables: Option<&[&str]>, places: &Places<'_>) -> Result<(), ExprError> {
    let mut check = Check { variables, places, bound: Vec::new(), nodes: 0 };
    check.node(root, 0)
}

struct Check<'a> {
    variables: Option<&'a [&'a str]>,
    places: &'a Places<'a>,
    /// Variables of the macros around the node.
    bound: Vec<String>,
    nodes: usize,
}

impl Check<'_> {
    fn node(&mut self, node: &IdedExpr, depth: usize) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            let what = if depth > MAX_DEPTH { "nested too deeply" } else { "too large" };
            let help = Some("split it into several checks".to_owned());
            return Err(ExprError {
                message: format!("the expression is {what}"),
                help,
                range: self.places.of(node.id),
            });
        }
        let next = depth + 1;
        match &node.expr {
            Expr::Ident(name) => self.variable(name, node.id),
            Expr::Call(call) => {
                self.function(&call.func_name, node.id)?;
                // `optional.of(x)`: the target names a package, not a variable.
                let package = call.target.as_ref().is_some_and(|t| t.expr == Expr::Ident("optional".to_owned()));
                if let Some(target) = call.target.as_ref().filter(|_| !package) {
                    self.node(target, next)?;
                }
                call.args.iter().try_for_each(|arg| self.node(arg, next))
            }
            Expr::Select(select) => self.node(&select.operand, next),
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.node(item, next)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr, next)),
            Expr::Struct(_) => Err(ExprError {
                message: "messages (`Name{…}`) are not available here".to_owned(),
                help: Some("write a map: `{\"key\": value}`".to_owned()),
                range: self.places.of(node.id),
            }),
            Expr::Comprehension(inner) => {
                self.node(&inner.iter_range, next)?;
                self.node(&inner.accu_init, next)?;
                let names = [Some(&inner.iter_var), inner.iter_var2.as_ref(), Some(&inner.accu_var)];
                let before = self.bound.len();
                self.bound.extend(names.into_iter().flatten().cloned());
                let parts = [&inner.loop_cond, &inner.loop_step, &inner.result];
                let checked = parts.into_iter().try_for_each(|part| self.node(part, next));
                self.bound.truncate(before);
                checked
            }
            Expr::Literal(_) => Ok(()),
            Expr::Unspecified => Err(ExprError {
                message: "the expression is not understood".to_owned(),
                help: None,
                range: self.places.of(node.id),
            }),
        }
    }

    fn entry(&mut self, entry: &EntryExpr, depth: usize) -> Result<(), ExprError> {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.node(&entry.key, depth)?;
                self.node(&entry.value, depth)
            }
            EntryExpr::StructField(field) => self.node(&field.value, depth),
        }
    }

    fn variable(&self, name: &str, id: u64) -> Result<(), ExprError> {
        let Some(variables) = self.variables else { return Ok(()) };
        let known = variables.contains(&name) || TYPES.contains(&name) || self.bound.iter().any(|bound| bound == name);
        if known {
            return Ok(());
        }
        let all: Vec<String> = variables.iter().map(|v| format!("`{v}`")).collect();
        let help = format!("the variables here are {}", all.join(", "));
        Err(ExprError { message: format!("unknown variable `{name}`"), help: Some(help), range: self.places.of(id) })
    }

    fn function(&self, name: &str, id: u64) -> Result<(), ExprError> {
        let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let help = match name {
            name if MACROS.contains(&name) => format!("`{name}` takes other arguments, as in {}", macro_example(name)),
            "length" | "len" | "count" => "did you mean `size`?".to_owned(),
            "startswith" | "endswith" => "did you mean `startsWith` or `endsWith`?".to_owned(),
            _ => "there are the CEL standard functions and macros, and `quantity()`".to_owned(),
        };
        Err(ExprError { message: format!("unknown function `{name}`"), help: Some(help), range: self.places.of(id) })
    }
}

fn macro_example(name: &str) -> &'static str {
    match name {
        "has" => "`has(object.status.phase)`",
        "map" => "`list.map(x, x.name)`",
        _ => "`list.exists(x, x.name == \"a\")`",
    }
}

/// What of a value an expression looks at: all of it, or what lies at these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// All of it, or what cannot be told.
    pub(crate) whole: bool,
    /// By field.
    pub(crate) fields: BTreeMap<String, Uses>,
}

/// What the expression looks at, by variable.
pub(crate) fn uses(root: &IdedExpr) -> BTreeMap<String, Uses> {
    let mut uses = Uses::default();
    uses.collect(root);
    uses.fields
}

impl Uses {
    fn collect(&mut self, node: &IdedExpr) {
        if let Some(used) = self.at(node) {
            used.whole = true;
            return;
        }
        match &node.expr {
            Expr::Select(select) => self.collect(&select.operand),
            Expr::Call(call) => {
                call.target.iter().map(AsRef::as_ref).chain(&call.args).for_each(|part| self.collect(part))
            }
            Expr::List(list) => list.elements.iter().for_each(|item| self.collect(item)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.collect(&entry.key);
                        self.collect(&entry.value);
                    }
                }
            }
            Expr::Comprehension(inner) => {
                let parts = [&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result];
                parts.into_iter().for_each(|part| self.collect(part));
            }
            // Messages are refused.
            Expr::Ident(_) | Expr::Struct(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    /// The place of `variable.field.field`; none for any other expression.
    fn at(&mut self, node: &IdedExpr) -> Option<&mut Uses> {
        let (within, name) = match &node.expr {
            Expr::Ident(name) => (self, name),
            Expr::Select(select) => (self.at(&select.operand)?, &select.field),
            _ => return None,
        };
        Some(within.fields.entry(name.clone()).or_default())
    }
}

/// The same tree with its work metered: every list or map that a macro walks passes through [`RANGE`], and every `+`
/// through [`GROWN`], but for the one with which a macro appends to its own result.
pub(crate) fn metered(mut root: IdedExpr) -> IdedExpr {
    meter(&mut root, None);
    root
}

fn meter(node: &mut IdedExpr, accumulator: Option<&str>) {
    let mut grows = false;
    match &mut node.expr {
        Expr::Call(call) => {
            let appends = matches!(
                (call.args.first().map(|arg| &arg.expr), accumulator),
                (Some(Expr::Ident(name)), Some(accumulator)) if name == accumulator
            );
            grows = call.func_name == operators::ADD && !appends;
            if let Some(target) = &mut call.target {
                meter(target, accumulator);
            }
            call.args.iter_mut().for_each(|arg| meter(arg, accumulator));
        }
        Expr::Select(select) => meter(&mut select.operand, accumulator),
        Expr::List(list) => list.elements.iter_mut().for_each(|item| meter(item, accumulator)),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    meter(&mut entry.key, accumulator);
                    meter(&mut entry.value, accumulator);
                }
            }
        }
        Expr::Comprehension(inner) => {
            meter(&mut inner.iter_range, accumulator);
            wrap(&mut inner.iter_range, RANGE);
            let own = inner.accu_var.clone();
            meter(&mut inner.loop_step, Some(&own));
            meter(&mut inner.result, Some(&own));
        }
        _ => {}
    }
    if grows {
        wrap(node, GROWN);
    }
}

fn wrap(node: &mut IdedExpr, function: &str) {
    let inner = std::mem::take(node);
    let id = inner.id;
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] };
    *node = IdedExpr { id, expr: Expr::Call(call) };
}
