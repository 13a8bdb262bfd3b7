//! Text to tree. Reads on after an error at the next top-level key, so that one bad line does not hide the others.
//! Limits: depth, number of values, and what aliases may multiply; no recursion here follows the input unbounded.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::node::{Entry, Kind, Node, Sequence};
use crate::scalar::resolve_plain;
use crate::{Diagnostic, Source};
use tabs::{Mapping, Repairs};

/// The deepest nesting of lists and mappings.
pub const MAX_DEPTH: usize = 64;
/// The most values of a document, aliases written out.
pub const MAX_NODES: usize = 200_000;
/// The most values that all aliases of a document may add.
const MAX_ALIASED: usize = 10_000;
/// After so many syntax errors the rest is not read.
const MAX_RESUMES: usize = 50;
/// After so many errors the rest is not read.
const MAX_DIAGNOSTICS: usize = 200;
/// Reading on after a syntax error compares keys with each other; only where that is little work.
const MAX_RESUMED_KEYS: usize = 1_000;

/// A document and what is wrong with it as YAML.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree; where something could not be read, [`Kind::Poison`].
    pub root: Node,
    /// Syntax errors, duplicate keys, exceeded limits.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses one document. More than one is an error.
pub fn parse(source: &Source) -> Parsed {
    let (mut roots, mut diagnostics) = parse_all(source);
    if roots.len() > 1 {
        let second = roots[1].span.clone();
        let message = "a second document starts here, but this file must be one document";
        diagnostics.push(
            Diagnostic::new("yaml::documents", source, second, message).with_help("remove the line `---` before it"),
        );
    }
    let root = if roots.is_empty() { Node { span: 0..0, kind: Kind::Null } } else { roots.swap_remove(0) };
    Parsed { root, diagnostics }
}

/// Parses a stream of documents.
pub fn parse_all(source: &Source) -> (Vec<Node>, Vec<Diagnostic>) {
    let mut repairs = Repairs::default();
    let mut repaired = source.clone();
    let mut builder = Builder::new(source, &repairs);
    builder.read();
    // Each round repairs at least one line, so this ends.
    while let Some(tab) = builder.tab {
        repairs.add(&source.text, Mapping::new(&repairs, source, &repaired.text).offset(tab));
        repaired = Source { name: source.name.clone(), text: Arc::from(repairs.apply(&source.text)) };
        builder = Builder::new(&repaired, &repairs);
        builder.read();
    }
    let (mut roots, mut diagnostics) = (builder.roots, builder.diagnostics);
    if !repairs.is_empty() {
        let mapping = Mapping::new(&repairs, source, &repaired.text);
        roots.iter_mut().for_each(|root| mapping.node(root));
        diagnostics.iter_mut().for_each(|one| mapping.diagnostic(one));
        diagnostics.extend(repairs.report(source));
    }
    (roots, diagnostics)
}

enum Frame {
    List { start: usize, anchor: usize, items: Vec<Node> },
    Map { start: usize, anchor: usize, entries: Vec<Entry>, seen: HashSet<String>, key: Option<Key> },
}

impl Frame {
    fn start(&self) -> usize {
        match self {
            Self::List { start, .. } | Self::Map { start, .. } => *start,
        }
    }
}

/// A key that waits for its value. `text` is none when the key itself was refused.
struct Key {
    text: Option<String>,
    span: Range<usize>,
}

struct Builder<'s> {
    source: &'s Source,
    /// Lines of it that are not as they were written.
    repairs: &'s Repairs,
    /// A line is indented with a tab, here: it is to be repaired, and all read anew.
    tab: Option<usize>,
    /// Where in the source the parser that runs now began.
    base: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    roots: Vec<Node>,
    diagnostics: Vec<Diagnostic>,
    nodes: usize,
    aliased: usize,
    /// Where the last event ended: what an error is about starts behind it.
    last_end: usize,
    /// A syntax error was met.
    damaged: bool,
    /// Read what follows into the last root instead of a new one.
    merge: bool,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source, repairs: &'s Repairs) -> Self {
        Self {
            source,
            repairs,
            tab: None,
            base: 0,
            stack: Vec::new(),
            anchors: HashMap::new(),
            roots: Vec::new(),
            diagnostics: Vec::new(),
            nodes: 0,
            aliased: 0,
            last_end: 0,
            damaged: false,
            merge: false,
        }
    }

    fn read(&mut self) {
        let mut resume_at = Some(0);
        for _ in 0..MAX_RESUMES {
            let Some(offset) = resume_at else { break };
            resume_at = self.run(offset);
        }
        if self.damaged && self.is_resumable() {
            self.poison_lost_keys();
        }
    }

    /// Parses from `offset` to the end or the first syntax error; returns where to go on after one.
    fn run(&mut self, offset: usize) -> Option<usize> {
        self.base = offset;
        self.last_end = offset;
        self.anchors.clear();
        let text: &'s str = &self.source.text[offset..];
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = MAX_DEPTH;
        options.block_nesting_limit = MAX_DEPTH;
        // After an error, anchors of the part that was skipped are unknown through no fault of their own.
        options.emit_unresolved_aliases = true;
        for event in Parser::new_from_str_with_options(text, options) {
            match event {
                Ok((event, span)) => {
                    let span = self.range(&span);
                    self.last_end = self.last_end.max(span.end);
                    self.event(event, span);
                    if self.is_hopeless() {
                        self.unwind(self.source.text.len());
                        return None;
                    }
                }
                Err(error) => {
                    let at = self.syntax_error(&error)?;
                    self.unwind(at);
                    self.damaged = true;
                    self.merge = true;
                    return self.next_section(at, offset);
                }
            }
        }
        None
    }

    /// Whether a limit was met that ends the reading.
    fn is_hopeless(&mut self) -> bool {
        if self.nodes > MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values");
            self.diagnostics.push(Diagnostic::without_span("yaml::too-large", self.source, message));
        }
        self.nodes > MAX_NODES || self.diagnostics.len() > MAX_DIAGNOSTICS
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let end_of_text = self.source.text.len();
        let place = |offset: Option<usize>| (self.base + offset.unwrap_or(0)).min(end_of_text);
        let start = place(span.start.byte_offset());
        start..place(span.end.byte_offset()).max(start)
    }

    fn event(&mut self, event: Event<'_>, span: Range<usize>) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span);
                self.complete(node, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &["seq"], &span);
                self.stack.push(Frame::List { start: span.start, anchor, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &["map"], &span);
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.stack.push(Frame::Map { start: span.start, anchor, entries, seen, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end, false),
            Event::Alias(id) => {
                let node = self.alias(id, span);
                self.complete(node, 0);
            }
            Event::UnresolvedAlias(name) => {
                if !self.damaged {
                    let message = format!("there is no anchor `&{name}` before this alias");
                    self.report("yaml::alias", span.clone(), message);
                }
                self.complete(Node::poison(span), 0);
            }
            _ => {}
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Range<usize>) -> Node {
        let core = tag.and_then(Tag::core_suffix);
        let known = self.check_tag(tag, &["str", "int", "float", "bool", "null"], &span);
        let kind = match (style, core) {
            _ if !known => Some(Kind::Poison),
            (_, Some("str")) => Some(Kind::Text(text.to_owned())),
            (ScalarStyle::Plain, _) => resolve_plain(text),
            (_, Some(_)) => resolve_plain(text),
            _ => Some(Kind::Text(text.to_owned())),
        };
        let kind = kind.unwrap_or_else(|| {
            let help = "write a finite number, or put it in quotes to make it text";
            let message = format!("`{text}` is not a number that can be used here");
            self.diagnostics.push(Diagnostic::new("yaml::number", self.source, span.clone(), message).with_help(help));
            Kind::Poison
        });
        Node { span, kind }
    }

    fn check_tag(&mut self, tag: Option<&Tag>, known: &[&str], span: &Range<usize>) -> bool {
        let Some(tag) = tag else { return true };
        if tag.core_suffix().is_some_and(|suffix| known.contains(&suffix)) {
            return true;
        }
        let message = format!("the tag `{}` is not supported here", tag.original());
        self.diagnostics
            .push(Diagnostic::new("yaml::tag", self.source, span.clone(), message).with_help("leave the tag out"));
        false
    }

    fn alias(&mut self, id: usize, span: Range<usize>) -> Node {
        let Some(target) = self.anchors.get(&id) else {
            self.report("yaml::alias", span.clone(), "this alias stands inside the value that it refers to");
            return Node::poison(span);
        };
        self.aliased += target.weight();
        if self.aliased > MAX_ALIASED {
            if self.diagnostics.iter().all(|d| d.code != "yaml::alias-bomb") {
                let message = "the aliases of this document multiply its values beyond any use (an alias bomb)";
                let help = format!("aliases may add {MAX_ALIASED} values in all; write the values out");
                self.diagnostics
                    .push(Diagnostic::new("yaml::alias-bomb", self.source, span.clone(), message).with_help(help));
            }
            return Node::poison(span);
        }
        if self.stack.len() + target.height() > MAX_DEPTH {
            self.report("yaml::too-deep", span.clone(), too_deep());
            return Node::poison(span);
        }
        self.nodes += target.weight();
        target.clone()
    }

    /// Puts a node that is complete into what it belongs to.
    fn complete(&mut self, node: Node, anchor: usize) {
        self.nodes += 1;
        if anchor != 0 {
            // The copy counts, so that anchors in anchors cannot multiply memory.
            self.nodes += node.weight();
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.add_root(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { key, .. }) if key.is_none() => {
                let accepted = self.key(node);
                if let Some(Frame::Map { key, .. }) = self.stack.last_mut() {
                    *key = Some(accepted);
                }
            }
            Some(Frame::Map { entries, key, .. }) => {
                if let Some(Key { text: Some(text), span }) = key.take() {
                    entries.push(Entry { key: text, key_span: span, value: node });
                }
            }
        }
    }

    fn key(&mut self, node: Node) -> Key {
        let span = node.span;
        let text = match node.kind {
            Kind::Text(text) => text,
            // The source has the spelling of keys such as `8080` or `true`.
            Kind::Number(_) | Kind::Bool(_) => self.source.text[span.clone()].to_owned(),
            Kind::Poison => return Key { text: None, span },
            _ => {
                let help = "if this is a template such as `{{ x }}`, put it in quotes";
                let message = "a key must be one word or text, not nothing, a list or a mapping";
                self.diagnostics.push(Diagnostic::new("yaml::key", self.source, span.clone(), message).with_help(help));
                return Key { text: None, span };
            }
        };
        if text == "<<" {
            let message = "merge keys (`<<`) are not supported";
            self.diagnostics.push(
                Diagnostic::new("yaml::merge-key", self.source, span.clone(), message)
                    .with_help("write the keys out here"),
            );
            return Key { text: None, span };
        }
        let Some(Frame::Map { seen, entries, .. }) = self.stack.last_mut() else { return Key { text: None, span } };
        if seen.insert(text.clone()) {
            return Key { text: Some(text), span };
        }
        let first = entries.iter().find(|entry| entry.key == text).map(|entry| entry.key_span.start);
        self.duplicate(&text, &span, first);
        Key { text: None, span }
    }

    fn duplicate(&mut self, key: &str, span: &Range<usize>, first: Option<usize>) {
        let mut one =
            Diagnostic::new("yaml::duplicate-key", self.source, span.clone(), format!("the key `{key}` is here twice"));
        if let Some(first) = first {
            one = one.with_help(format!("it is first on line {}; keep one of the two", self.source.location(first).0));
        }
        self.diagnostics.push(one);
    }

    fn close(&mut self, end: usize, partial: bool) {
        let (node, anchor) = match self.stack.pop() {
            None => return,
            Some(Frame::List { start, anchor, items }) => {
                (Node { span: start..end.max(start), kind: Kind::List(Sequence { items, partial }) }, anchor)
            }
            Some(Frame::Map { start, anchor, mut entries, key, .. }) => {
                if let Some(Key { text: Some(text), span }) = key {
                    let value = Node::poison(span.clone());
                    entries.push(Entry { key: text, key_span: span, value });
                }
                (Node { span: start..end.max(start), kind: Kind::Map(crate::Mapping { entries, partial }) }, anchor)
            }
        };
        self.complete(node, anchor);
    }

    /// Closes what is open, as far as it was read.
    fn unwind(&mut self, end: usize) {
        while !self.stack.is_empty() {
            self.close(end, true);
        }
    }

    fn add_root(&mut self, node: Node) {
        let mut repeated = Vec::new();
        let Some(last) = self.roots.last_mut().filter(|_| self.merge) else {
            return self.roots.push(node);
        };
        match (&mut last.kind, node.kind) {
            (Kind::Map(old), Kind::Map(new)) => {
                last.span.end = node.span.end;
                for entry in new.entries {
                    let first = old.get(&entry.key).map(|e| e.key_span.start);
                    match first {
                        None => old.entries.push(entry),
                        Some(first) => repeated.push((entry, first)),
                    }
                }
            }
            (Kind::Null | Kind::Poison, kind) => {
                last.kind = kind;
                last.span = node.span;
            }
            _ => {}
        }
        for (entry, first) in repeated {
            self.duplicate(&entry.key, &entry.key_span, Some(first));
        }
    }

    fn report(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::new(code, self.source, span, message));
    }
}

fn too_deep() -> String {
    format!("lists and mappings lie more than {MAX_DEPTH} deep in each other here")
}

mod recovery;
mod tabs;
