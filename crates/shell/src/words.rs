//! The inside of words: quotes, `$x`, `${x...}`, `$(...)`, `$((...))`, back quotes.

use std::sync::Arc;

use crate::parse::{DEPTH, Parsed, Parser};
use crate::syntax::{Node, Operator, Part, Word};

impl Parser {
    /// A word, or none when an operator or the end comes.
    pub(crate) fn word(&mut self) -> Parsed<Option<Word>> {
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

pub(crate) fn literal(text: &str) -> Part {
    Part::Literal { text: text.to_owned(), quoted: true }
}

fn flush(word: &mut Word, plain: &mut String) {
    if !plain.is_empty() {
        word.push(Part::Literal { text: std::mem::take(plain), quoted: false });
    }
}

fn nested(text: &str, depth: u32) -> Parsed<Arc<Node>> {
    let mut parser = Parser::new(text, depth);
    parser.list(&[])
}

pub(crate) fn quoted_word(text: &str, depth: u32) -> Parsed<Word> {
    let mut parser = Parser::new(text, depth);
    let mut word = Word::new();
    parser.double_quoted(&mut word, None)?;
    Ok(word)
}
