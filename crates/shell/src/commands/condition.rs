//! `test` and `[`.

use super::{Context, Outcome, arguments};

pub(super) fn test(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let mut words = arguments(argv);
    if argv[0] == "[" && words.pop() != Some("]") {
        return context.fail("sh: missing ]", 2);
    }
    let judged = Test { words: &words, at: 0, depth: 0, context }.any();
    match judged {
        Ok(truth) => Outcome::Done(i32::from(!truth)),
        Err(message) => context.fail(&format!("sh: {message}"), 2),
    }
}

struct Test<'a, 'b> {
    words: &'a [&'a str],
    at: usize,
    depth: u32,
    context: &'a Context<'b>,
}

impl Test<'_, '_> {
    fn next(&mut self) -> Option<&str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut truth = self.all()?;
        while self.words.get(self.at) == Some(&"-o") {
            self.at += 1;
            truth |= self.all()?;
        }
        match self.words.get(self.at) {
            None => Ok(truth),
            Some(&")") if self.depth > 0 => Ok(truth),
            Some(word) => Err(format!("{word}: unknown operand")),
        }
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut truth = self.one()?;
        while self.words.get(self.at) == Some(&"-a") {
            self.at += 1;
            truth &= self.one()?;
        }
        Ok(truth)
    }

    fn one(&mut self) -> Result<bool, String> {
        let rest = &self.words[self.at.min(self.words.len())..];
        if let [left, operator, right, ..] = rest
            && let Some(truth) = binary(left, operator, right)?
        {
            self.at += 3;
            return Ok(truth);
        }
        match rest {
            [] => Ok(false),
            ["!", _, ..] => {
                self.at += 1;
                self.one().map(|truth| !truth)
            }
            ["(", ..] if self.depth < 50 => {
                self.at += 1;
                self.depth += 1;
                let truth = self.any()?;
                self.depth -= 1;
                if self.next() == Some(")") { Ok(truth) } else { Err("closing paren expected".to_owned()) }
            }
            [operator, operand, ..] if operator.len() == 2 && operator.starts_with('-') => {
                self.at += 2;
                self.unary(operator, operand)
            }
            [word, ..] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
        }
    }

    fn unary(&self, operator: &str, operand: &str) -> Result<bool, String> {
        let path = self.context.path(operand);
        let files = self.context.files();
        Ok(match operator {
            "-z" => operand.is_empty(),
            "-n" => !operand.is_empty(),
            "-e" | "-r" | "-w" | "-x" => files.exists(&path) || is_device(&path),
            "-f" => files.read(&path).is_ok(),
            "-d" => files.is_directory(&path),
            "-s" => files.size(&path) > 0,
            "-c" => is_device(&path),
            "-h" | "-L" | "-b" | "-p" | "-S" | "-t" | "-u" | "-g" | "-k" => false,
            other => return Err(format!("{other}: unknown operand")),
        })
    }
}

fn is_device(path: &str) -> bool {
    matches!(
        path,
        "/dev/null" | "/dev/zero" | "/dev/random" | "/dev/urandom" | "/dev/stdout" | "/dev/stderr" | "/dev/stdin"
    )
}

fn binary(left: &str, operator: &str, right: &str) -> Result<Option<bool>, String> {
    let numbers = || -> Result<(i64, i64), String> {
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text}: bad number"));
        Ok((number(left)?, number(right)?))
    };
    Ok(Some(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-eq" => numbers().map(|(a, b)| a == b)?,
        "-ne" => numbers().map(|(a, b)| a != b)?,
        "-lt" => numbers().map(|(a, b)| a < b)?,
        "-le" => numbers().map(|(a, b)| a <= b)?,
        "-gt" => numbers().map(|(a, b)| a > b)?,
        "-ge" => numbers().map(|(a, b)| a >= b)?,
        _ => return Ok(None),
    }))
}
