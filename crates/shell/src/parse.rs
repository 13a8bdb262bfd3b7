//! From script text to syntax tree: recursive descent over the grammar of POSIX, section 2.10, as far as it is served.

use std::sync::Arc;

use crate::syntax::{Node, Operator, Part, Redirect, RedirectKind, Word};

/// Nesting that is still parsed; deeper is a syntax error, so no script can exhaust the stack.
const DEPTH: u32 = 60;

/// Parses a whole script.
pub(crate) fn parse(text: &str) -> Result<Arc<Node>, String> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0, heres: Vec::new() };
    let node = parser.list(&[])?;
    parser.blanks();
    match parser.peek() {
        None => Ok(node),
        Some(c) => Err(format!("syntax error: unexpected \"{c}\"")),
    }
}

struct Here {
    delimiter: String,
    expand: bool,
    strip: bool,
}

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: u32,
    heres: Vec<Here>,
}

type Parsed<T> = Result<T, String>;

const CLOSERS: [&str; 9] = ["then", "else", "elif", "fi", "do", "done", "esac", "}", ")"];

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn ahead(&self, n: usize) -> Option<char> {
        self.text.get(self.at + n).copied()
    }

    fn looking_at(&self, token: &str) -> bool {
        token.chars().enumerate().all(|(i, c)| self.ahead(i) == Some(c))
    }

    fn take(&mut self, token: &str) -> bool {
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

    fn expect(&mut self, word: &str) -> Parsed<()> {
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
    fn list(&mut self, closers: &[&str]) -> Parsed<Arc<Node>> {
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
                if closers.contains(&word.as_str()) {
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
            if words.len() == 1 && assigns.is_empty() && self.looking_at("()") {
                if let Some([Part::Literal { text, quoted: false }]) = words.first().map(Vec::as_slice) {
                    let name = text.clone();
                    self.at += 2;
                    self.newlines();
                    return Ok(Arc::new(Node::Function(name, self.command()?)));
                }
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

    fn name(&mut self) -> String {
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

    /// A word, or none when an operator or the end comes.
    fn word(&mut self) -> Parsed<Option<Word>> {
        let mut word = Word::new();
        let mut plain = String::new();
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => {}
                        Some(c) => {
                            flush(&mut word, &mut plain);
                            word.push(literal(&c.to_string()));
                        }
                        None => plain.push('\\'),
                    }
                    self.at += 1;
                }
                '\'' => {
                    flush(&mut word, &mut plain);
                    self.at += 1;
                    let mut text = String::new();
                    loop {
                        match self.peek() {
                            Some('\'') => break,
                            Some(c) => text.push(c),
                            None => return Err("syntax error: unterminated quoted string".to_owned()),
                        }
                        self.at += 1;
                    }
                    self.at += 1;
                    word.push(literal(&text));
                }
                '"' => {
                    flush(&mut word, &mut plain);
                    self.at += 1;
                    self.double_quoted(&mut word, Some('"'))?;
                    self.at += 1;
                }
                '$' | '`' => {
                    flush(&mut word, &mut plain);
                    self.dollar(&mut word, false)?;
                }
                c => {
                    plain.push(c);
                    self.at += 1;
                }
            }
        }
        flush(&mut word, &mut plain);
        Ok(if self.at == start { None } else { Some(word) })
    }

    /// Up to the closing quote, which is not consumed; without one to the end of the text.
    fn double_quoted(&mut self, word: &mut Word, close: Option<char>) -> Parsed<()> {
        let mut text = String::new();
        let had = word.len();
        loop {
            match self.peek() {
                None if close.is_none() => break,
                None => return Err("syntax error: unterminated quoted string".to_owned()),
                Some(c) if Some(c) == close => break,
                Some('\\') => {
                    match self.ahead(1) {
                        Some(c @ ('$' | '`' | '"' | '\\')) => text.push(c),
                        Some('\n') => {}
                        Some(c) => {
                            text.push('\\');
                            text.push(c);
                        }
                        None => text.push('\\'),
                    }
                    self.at += 2;
                }
                Some('$' | '`') => {
                    if !text.is_empty() {
                        word.push(literal(&std::mem::take(&mut text)));
                    }
                    self.dollar(word, true)?;
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        if !text.is_empty() || word.len() == had {
            word.push(literal(&text));
        }
        Ok(())
    }

    /// `$x`, `${x}`, `$(...)`, `$((...))` and back quotes.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("syntax error: nested too deeply".to_owned());
        }
        if self.take("`") {
            let mut inner = String::new();
            loop {
                match self.peek() {
                    None => return Err("syntax error: unterminated back quote".to_owned()),
                    Some('`') => break,
                    Some('\\') if matches!(self.ahead(1), Some('`' | '$' | '\\')) => {
                        self.at += 1;
                        inner.extend(self.peek());
                    }
                    Some(c) => inner.push(c),
                }
                self.at += 1;
            }
            self.at += 1;
            word.push(Part::Command { body: nested(&inner, self.depth)?, quoted });
        } else if self.looking_at("$((") && self.closes_arithmetic() {
            self.at += 3;
            let inner = self.balanced(2)?;
            word.push(Part::Arithmetic { expression: quoted_word(&inner, self.depth)?, quoted });
        } else if self.take("$(") {
            let body = self.list(&[")"])?;
            self.expect(")")?;
            word.push(Part::Command { body, quoted });
        } else if self.take("${") {
            self.braced(word, quoted)?;
        } else {
            self.at += 1;
            let name = match self.peek() {
                Some(c @ ('?' | '$' | '!' | '#' | '@' | '*' | '-' | '0'..='9')) => {
                    self.at += 1;
                    c.to_string()
                }
                _ => self.name(),
            };
            word.push(if name.is_empty() {
                Part::Literal { text: "$".to_owned(), quoted }
            } else {
                Part::Variable { name, operator: None, length: false, quoted }
            });
        }
        self.depth -= 1;
        Ok(())
    }

    /// Whether `$((` is closed by `))`, else it is a command substitution that begins with a subshell.
    fn closes_arithmetic(&self) -> bool {
        let mut depth = 0;
        for (i, c) in self.text[self.at + 1..].iter().enumerate() {
            match c {
                '(' => depth += 1,
                ')' => {
                    depth -= 1;
                    if depth == 1 {
                        return self.text.get(self.at + 2 + i) == Some(&')');
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Text up to the closing parentheses, which are consumed.
    fn balanced(&mut self, close: i32) -> Parsed<String> {
        let mut depth = close;
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                text.pop();
                return Ok(text);
            }
            text.push(c);
        }
        Err("syntax error: missing \"))\"".to_owned())
    }

    fn braced(&mut self, word: &mut Word, quoted: bool) -> Parsed<()> {
        let length = self.peek() == Some('#') && self.ahead(1) != Some('}');
        if length {
            self.at += 1;
        }
        let name = match self.peek() {
            Some(c @ ('?' | '$' | '!' | '#' | '@' | '*' | '0'..='9')) => {
                self.at += 1;
                c.to_string()
            }
            _ => self.name(),
        };
        if name.is_empty() {
            return Err("syntax error: bad substitution".to_owned());
        }
        let or_empty = self.take(":");
        let operator = match self.peek() {
            Some('}') if !or_empty => None,
            Some('-') => Some(Operator::Default { or_empty }),
            Some('=') => Some(Operator::Assign { or_empty }),
            Some('+') => Some(Operator::Alternative { or_empty }),
            Some('?') => Some(Operator::Require { or_empty }),
            Some('%') => Some(Operator::TrimEnd { longest: self.ahead(1) == Some('%') }),
            Some('#') => Some(Operator::TrimStart { longest: self.ahead(1) == Some('#') }),
            _ => return Err("syntax error: bad substitution".to_owned()),
        };
        let operator = match operator {
            None => None,
            Some(operator) => {
                let doubled =
                    matches!(operator, Operator::TrimEnd { longest: true } | Operator::TrimStart { longest: true });
                self.at += if doubled { 2 } else { 1 };
                let mut argument = Word::new();
                self.double_quoted(&mut argument, Some('}'))?;
                Some((operator, argument))
            }
        };
        if !self.take("}") {
            return Err("syntax error: missing '}'".to_owned());
        }
        word.push(Part::Variable { name, operator, length, quoted });
        Ok(())
    }
}

fn literal(text: &str) -> Part {
    Part::Literal { text: text.to_owned(), quoted: true }
}

fn flush(word: &mut Word, plain: &mut String) {
    if !plain.is_empty() {
        word.push(Part::Literal { text: std::mem::take(plain), quoted: false });
    }
}

fn nested(text: &str, depth: u32) -> Parsed<Arc<Node>> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth, heres: Vec::new() };
    parser.list(&[])
}

fn quoted_word(text: &str, depth: u32) -> Parsed<Word> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth, heres: Vec::new() };
    let mut word = Word::new();
    parser.double_quoted(&mut word, None)?;
    Ok(word)
}
