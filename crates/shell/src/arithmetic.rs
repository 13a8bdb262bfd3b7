//! `$((...))`: 64-bit integer arithmetic with the C operators that scripts use.

/// Evaluates; names are looked up with `lookup`, and assignments go to `assign`.
pub(crate) fn evaluate(
    text: &str,
    lookup: &dyn Fn(&str) -> String,
    assign: &mut dyn FnMut(&str, i64),
) -> Result<i64, String> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0, lookup, assign };
    let value = parser.ternary()?;
    parser.blanks();
    if parser.at < parser.text.len() { Err("arithmetic syntax error".to_owned()) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: u32,
    lookup: &'a dyn Fn(&str) -> String,
    assign: &'a mut dyn FnMut(&str, i64),
}

/// Binary operators, loosest first.
const LEVELS: [&[&str]; 9] =
    [&["||"], &["&&"], &["|"], &["^"], &["&"], &["==", "!="], &["<=", ">=", "<", ">"], &["+", "-"], &["*", "/", "%"]];

impl Parser<'_> {
    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(token.as_bytes());
        if found {
            self.at += token.len();
        }
        found
    }

    fn ternary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("arithmetic expression too deep".to_owned());
        }
        let condition = self.binary(0)?;
        let value = if self.eat("?") {
            let yes = self.ternary()?;
            if !self.eat(":") {
                return Err("arithmetic syntax error".to_owned());
            }
            let no = self.ternary()?;
            if condition != 0 { yes } else { no }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(value)
    }

    fn binary(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        loop {
            self.blanks();
            let rest = &self.text[self.at..];
            let Some(operator) = operators.iter().find(|op| rest.starts_with(op.as_bytes())) else { return Ok(left) };
            // `|` must not take the first half of `||`, nor `<` that of `<<`.
            let doubled = operator.len() == 1 && rest.get(1) == rest.first() && "|&<>".contains(*operator);
            if doubled {
                return Ok(left);
            }
            self.at += operator.len();
            let right = self.binary(level + 1)?;
            left = apply(operator, left, right)?;
        }
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("arithmetic expression too deep".to_owned());
        }
        self.blanks();
        let value = match self.text.get(self.at) {
            Some(b'!') => {
                self.at += 1;
                i64::from(self.unary()? == 0)
            }
            Some(b'-') => {
                self.at += 1;
                self.unary()?.wrapping_neg()
            }
            Some(b'+') => {
                self.at += 1;
                self.unary()?
            }
            Some(b'~') => {
                self.at += 1;
                !self.unary()?
            }
            Some(b'(') => {
                self.at += 1;
                let value = self.ternary()?;
                if !self.eat(")") {
                    return Err("arithmetic syntax error".to_owned());
                }
                value
            }
            Some(c) if c.is_ascii_digit() => self.number()?,
            Some(c) if c.is_ascii_alphabetic() || *c == b'_' => self.name()?,
            Some(_) => return Err("arithmetic syntax error".to_owned()),
            None => 0,
        };
        self.depth -= 1;
        Ok(value)
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    fn number(&mut self) -> Result<i64, String> {
        number(&self.word()).ok_or_else(|| "arithmetic syntax error".to_owned())
    }

    fn name(&mut self) -> Result<i64, String> {
        let name = self.word();
        self.blanks();
        let rest = &self.text[self.at..];
        if rest.starts_with(b"=") && !rest.starts_with(b"==") {
            self.at += 1;
            let value = self.ternary()?;
            (self.assign)(&name, value);
            return Ok(value);
        }
        for operator in ["+", "-", "*", "/", "%"] {
            if rest.starts_with(format!("{operator}=").as_bytes()) {
                self.at += 2;
                let right = self.ternary()?;
                let value = apply(operator, number(&(self.lookup)(&name)).unwrap_or(0), right)?;
                (self.assign)(&name, value);
                return Ok(value);
            }
        }
        let text = (self.lookup)(&name);
        let text = text.trim();
        Ok(if text.is_empty() { 0 } else { number(text).unwrap_or(0) })
    }
}

fn number(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => i64::from_str_radix(&digits[1..], 8).ok()?,
        None => digits.parse().ok()?,
    };
    Some(sign * value)
}

fn apply(operator: &str, a: i64, b: i64) -> Result<i64, String> {
    Ok(match operator {
        "||" => i64::from(a != 0 || b != 0),
        "&&" => i64::from(a != 0 && b != 0),
        "|" => a | b,
        "^" => a ^ b,
        "&" => a & b,
        "==" => i64::from(a == b),
        "!=" => i64::from(a != b),
        "<=" => i64::from(a <= b),
        ">=" => i64::from(a >= b),
        "<" => i64::from(a < b),
        ">" => i64::from(a > b),
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" | "%" if b == 0 => return Err("divide by zero".to_owned()),
        "/" => a.wrapping_div(b),
        _ => a.wrapping_rem(b),
    })
}
