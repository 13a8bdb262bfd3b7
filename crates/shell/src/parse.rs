//! From script text to syntax tree: recursive descent over the grammar of POSIX, section 2.10, as far as it is served.

use std::sync::Arc;

use crate::syntax::{Node, Part, Redirect, RedirectKind};
use crate::words::{literal, quoted_word};

/// Nesting that is still parsed; deeper is a syntax error, so no script can exhaust the stack.
pub(crate) const DEPTH: u32 = 60;

/// Parses a whole script.
pub(crate) fn parse(text: &str) -> Result<Arc<Node>, String> {
    let mut parser = Parser::new(text, 0);
    let node = parser.list(&[])?;
    parser.blanks();
    match parser.peek() {
        None => Ok(node),
        Some(c) => Err(format!("syntax error: unexpected \"{c}\"")),
    }
}

pub(crate) struct Here {
    delimiter: String,
    expand: bool,
    strip: bool,
}

pub(crate) struct Parser {
    pub(crate) text: Vec<char>,
    pub(crate) at: usize,
    pub(crate) depth: u32,
    heres: Vec<Here>,
}

pub(crate) type Parsed<T> = Result<T, String>;

const CLOSERS: [&str; 9] = ["then", "else", "elif", "fi", "do", "done", "esac", "}", ")"];

impl Parser {
    pub(crate) fn new(text: &str, depth: u32) -> Self {
        Self { text: text.chars().collect(), at: 0, depth, heres: Vec::new() }
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(crate) fn ahead(&self, n: usize) -> Option<char> {
        self.text.get(self.at + n).copied()
    }

    pub(crate) fn looking_at(&self, token: &str) -> bool {
        token.chars().enumerate().all(|(i, c)| self.ahead(i) == Some(c))
    }

    pub(crate) fn take(&mut self, token: &str) -> bool {
        let found = self.looking_at(token);
        if found {
            self.at += token.chars().count();
        }
        found
    }

    /// Blanks, line continuations and comments; not newlines.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.ahead(1) == Some('\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn newlines(&mut self) {
        loop {
            self.blanks();
            if self.peek() != Some('\n') {
                return;
            }
            self.at += 1;
        }
    }

    /// The unquoted word that begins here, without consuming it.
    fn keyword(&self) -> String {
        let rest = &self.text[self.at..];
        if rest.first() == Some(&')') {
            return ")".to_owned();
        }
        rest.iter().take_while(|c| c.is_ascii_alphabetic() || matches!(c, '{' | '}' | '!')).take(12).collect()
    }

    fn at_keyword(&self, word: &str) -> bool {
        let end = self.ahead(word.chars().count());
        self.looking_at(word)
            && end.is_none_or(|c| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>'))
    }

    pub(crate) fn expect(&mut self, word: &str) -> Parsed<()> {
        self.newlines();
        if self.at_keyword(word) || (word == ")" && self.peek() == Some(')')) {
            self.at += word.chars().count();
            return Ok(());
        }
        match self.peek() {
            None => Err(format!("syntax error: unexpected end of file (expecting \"{word}\")")),
            Some(c) => Err(format!("syntax error: unexpected \"{c}\" (expecting \"{word}\")")),
        }
    }

    /// Commands up to one of the closing words, which is not consumed.
    pub(crate) fn list(&mut self, closers: &[&str]) -> Parsed<Arc<Node>> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("syntax error: nested too deeply".to_owned());
        }
        let mut nodes = Vec::new();
        loop {
            self.newlines();
            if self.peek().is_none() || (self.looking_at(";;") && !closers.is_empty()) {
                break;
            }
            let word = self.keyword();
            if CLOSERS.contains(&word.as_str()) && (word == ")" || self.at_keyword(&word)) {
                // Only substitutions and the arms of a case may be empty.
                let empty = nodes.is_empty() && !matches!(word.as_str(), ")" | "esac");
                if closers.contains(&word.as_str()) && !empty {
                    break;
                }
                return Err(format!("syntax error: unexpected \"{word}\""));
            }
            let node = self.and_or()?;
            self.blanks();
            if self.peek() == Some('&') {
                self.at += 1;
                nodes.push(Arc::new(Node::Background(node)));
            } else {
                nodes.push(node);
                match self.peek() {
                    Some(';') if self.ahead(1) != Some(';') => self.at += 1,
                    Some('\n') => {
                        self.at += 1;
                        self.here_documents(&mut nodes)?;
                    }
                    _ => {}
                }
            }
        }
        self.depth -= 1;
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Arc::new(Node::Sequence(nodes)) })
    }

    /// Reads the bodies of the here documents that the line asked for and wraps the line in them.
    fn here_documents(&mut self, nodes: &mut [Arc<Node>]) -> Parsed<()> {
        for here in std::mem::take(&mut self.heres) {
            let mut body = String::new();
            loop {
                if self.peek().is_none() {
                    break;
                }
                let mut line = String::new();
                while let Some(c) = self.peek() {
                    self.at += 1;
                    if c == '\n' {
                        break;
                    }
                    line.push(c);
                }
                let shown = if here.strip { line.trim_start_matches('\t') } else { &line };
                if shown == here.delimiter {
                    break;
                }
                body.push_str(shown);
                body.push('\n');
            }
            let target = if here.expand { quoted_word(&body, self.depth)? } else { vec![literal(&body)] };
            if let Some(last) = nodes.last_mut() {
                let redirect = Redirect { fd: 0, kind: RedirectKind::Here, target };
                *last = Arc::new(Node::Redirected(Arc::clone(last), vec![redirect]));
            }
        }
        Ok(())
    }

    fn and_or(&mut self) -> Parsed<Arc<Node>> {
        let mut left = self.pipeline()?;
        loop {
            self.blanks();
            let and = self.looking_at("&&");
            if !and && !self.looking_at("||") {
                return Ok(left);
            }
            self.at += 2;
            self.newlines();
            let right = self.pipeline()?;
            left = Arc::new(Node::AndOr { left, right, and });
        }
    }

    fn pipeline(&mut self) -> Parsed<Arc<Node>> {
        self.blanks();
        let mut negated = false;
        while self.at_keyword("!") {
            self.at += 1;
            negated = !negated;
            self.blanks();
        }
        let mut stages = vec![self.command()?];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.ahead(1) == Some('|') {
                break;
            }
            self.at += 1;
            self.newlines();
            stages.push(self.command()?);
        }
        Ok(match stages.len() {
            1 if !negated => stages.remove(0),
            _ => Arc::new(Node::Pipeline { stages, negated }),
        })
    }

    fn command(&mut self) -> Parsed<Arc<Node>> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("syntax error: nested too deeply".to_owned());
        }
        let node = self.compound();
        self.depth -= 1;
        let node = match node? {
            Some(node) => node,
            None => return self.simple(),
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => break,
            }
        }
        Ok(if redirects.is_empty() { node } else { Arc::new(Node::Redirected(node, redirects)) })
    }

    fn compound(&mut self) -> Parsed<Option<Arc<Node>>> {
        self.blanks();
        if self.peek() == Some('(') {
            self.at += 1;
            let body = self.list(&[")"])?;
            self.expect(")")?;
            return Ok(Some(Arc::new(Node::Subshell(body))));
        }
        let word = self.keyword();
        if !self.at_keyword(&word) {
            return Ok(None);
        }
        Ok(Some(match word.as_str() {
            "{" => {
                self.at += 1;
                let body = self.list(&["}"])?;
                self.expect("}")?;
                body
            }
            "if" => self.conditional()?,
            "while" | "until" => {
                self.at += 5;
                let condition = self.list(&["do"])?;
                let body = self.do_group()?;
                Arc::new(Node::While { condition, body, until: word == "until" })
            }
            "for" => self.for_loop()?,
            "case" => self.case()?,
            _ => return Ok(None),
        }))
    }

    fn do_group(&mut self) -> Parsed<Arc<Node>> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn conditional(&mut self) -> Parsed<Arc<Node>> {
        self.at += 2;
        let mut branches = Vec::new();
        let condition = self.list(&["then"])?;
        self.expect("then")?;
        branches.push((condition, self.list(&["else", "elif", "fi"])?));
        loop {
            self.newlines();
            if self.at_keyword("elif") {
                self.at += 4;
                let condition = self.list(&["then"])?;
                self.expect("then")?;
                branches.push((condition, self.list(&["else", "elif", "fi"])?));
            } else {
                break;
            }
        }
        let otherwise = if self.at_keyword("else") {
            self.at += 4;
            Some(self.list(&["fi"])?)
        } else {
            None
        };
        self.expect("fi")?;
        Ok(Arc::new(Node::If { branches, otherwise }))
    }

    fn for_loop(&mut self) -> Parsed<Arc<Node>> {
        self.at += 3;
        self.blanks();
        let name = self.name();
        if name.is_empty() {
            return Err("syntax error: bad for loop variable".to_owned());
        }
        self.newlines();
        let words = if self.at_keyword("in") {
            self.at += 2;
            let mut words = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => words.push(word),
                    None => break,
                }
            }
            Some(words)
        } else {
            None
        };
        self.blanks();
        self.take(";");
        let body = self.do_group()?;
        Ok(Arc::new(Node::For { name, words, body }))
    }

    fn case(&mut self) -> Parsed<Arc<Node>> {
        self.at += 4;
        self.blanks();
        let word = self.word()?.ok_or("syntax error: expecting word")?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines();
            if self.at_keyword("esac") {
                self.at += 4;
                return Ok(Arc::new(Node::Case { word, arms }));
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or("syntax error: unexpected end of file (expecting \"esac\")")?);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            self.expect(")")?;
            let body = self.list(&["esac"])?;
            self.newlines();
            self.take(";;");
            arms.push((patterns, body));
        }
    }

    fn simple(&mut self) -> Parsed<Arc<Node>> {
        let (mut assigns, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            if words.is_empty()
                && let Some(name) = self.assignment()
            {
                assigns.push((name, self.word()?.unwrap_or_default()));
                continue;
            }
            match self.word()? {
                Some(word) => words.push(word),
                None => break,
            }
            if words.len() == 1
                && assigns.is_empty()
                && self.looking_at("()")
                && let Some([Part::Literal { text, quoted: false }]) = words.first().map(Vec::as_slice)
            {
                let name = text.clone();
                self.at += 2;
                self.newlines();
                return Ok(Arc::new(Node::Function(name, self.command()?)));
            }
        }
        if assigns.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(match self.peek() {
                None => "syntax error: unexpected end of file".to_owned(),
                Some('\n') => "syntax error: unexpected newline".to_owned(),
                Some(c) => format!("syntax error: unexpected \"{c}\""),
            });
        }
        Ok(Arc::new(Node::Simple { assigns, words, redirects }))
    }

    pub(crate) fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            if name.is_empty() && c.is_ascii_digit() {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }

    /// `NAME=`, consumed.
    fn assignment(&mut self) -> Option<String> {
        let start = self.at;
        let name = self.name();
        if !name.is_empty() && self.peek() == Some('=') {
            self.at += 1;
            return Some(name);
        }
        self.at = start;
        None
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        let start = self.at;
        let mut fd = None;
        if let Some(digit) = self.peek().and_then(|c| c.to_digit(10))
            && matches!(self.ahead(1), Some('<' | '>'))
        {
            fd = Some(digit);
            self.at += 1;
        }
        let both = self.looking_at("&>");
        if both {
            self.at += 1;
        }
        let (kind, default) = if self.take("<<<") {
            (RedirectKind::Here, 0)
        } else if self.looking_at("<<") {
            self.at += 2;
            self.here_start()?;
            return self.redirect();
        } else if self.take(">>") {
            (RedirectKind::Append, 1)
        } else if self.take(">&") || self.take("<&") {
            (RedirectKind::Duplicate, 1)
        } else if self.take(">|") || self.take(">") {
            (RedirectKind::Write, 1)
        } else if self.take("<") {
            (RedirectKind::Read, 0)
        } else {
            self.at = start;
            return Ok(None);
        };
        self.blanks();
        let mut target = self.word()?.ok_or("syntax error: unexpected redirection")?;
        if kind == RedirectKind::Here {
            target.push(literal("\n"));
        }
        Ok(Some(Redirect { fd: if both { 12 } else { fd.unwrap_or(default) }, kind, target }))
    }

    fn here_start(&mut self) -> Parsed<()> {
        let strip = self.take("-");
        self.blanks();
        let word = self.word()?.ok_or("syntax error: unexpected redirection")?;
        let mut delimiter = String::new();
        let mut expand = true;
        for part in word {
            if let Part::Literal { text, quoted } = part {
                expand &= !quoted;
                delimiter.push_str(&text);
            }
        }
        self.heres.push(Here { delimiter, expand, strip });
        self.blanks();
        Ok(())
    }
}
