//! A file that a person wrote, as text with a name; offsets become lines and columns here.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::{Diagnostic, Diagnostics};

/// The longest text that is parsed, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A named text. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: a path, mostly.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

impl Source {
    /// A source of this name and text. A byte order mark at the start is left out.
    pub fn new(name: impl Into<String>, text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        Self { name: name.into(), text: Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text)) }
    }

    /// A source of bytes.
    ///
    /// # Errors
    /// More than [`MAX_BYTES`], or not UTF-8; the message says where.
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let name = name.into();
        if bytes.len() > MAX_BYTES {
            return Err(too_large(name).into());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
                let end = valid.len();
                let source = Self { name, text: Arc::from(valid) };
                let message = format!("the file is not UTF-8: byte 0x{:02x}", bytes[end]);
                let help = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                    "it looks like UTF-16: save it as UTF-8"
                } else {
                    "save the file as UTF-8"
                };
                Err(Diagnostic::new("yaml::encoding", &source, end..end, message).with_help(help).into())
            }
        }
    }

    /// Reads a file, never more than [`MAX_BYTES`] of it.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
        let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        if let Err(error) = read {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                std::io::ErrorKind::PermissionDenied => "the file may not be read".to_owned(),
                std::io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
                _ => format!("cannot read the file: {error}"),
            };
            return Err(Diagnostic::without_span("yaml::io", &Self::new(name, ""), what).into());
        }
        Self::from_bytes(name, &bytes)
    }

    /// Line and column of a byte offset, both from 1; the column counts characters.
    pub fn location(&self, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.bytes().filter(|b| *b == b'\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

fn too_large(name: String) -> Diagnostic {
    let message = format!("the file is larger than {} MiB", MAX_BYTES / 1024 / 1024);
    Diagnostic::without_span("yaml::too-large", &Source::new(name, ""), message)
        .with_help("is this the right file? nothing that people write by hand is this long")
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.as_ref().read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_count_characters_from_one() {
        let source = Source::new("x", "ab\näöü: 1\n");
        assert_eq!(source.location(0), (1, 1));
        assert_eq!(source.location(3), (2, 1));
        assert_eq!(source.location(3 + 6), (2, 4));
        assert_eq!(source.location(3 + 1), (2, 1), "inside a character: where it starts");
        assert_eq!(source.location(10_000), (3, 1));
    }

    #[test]
    fn bytes_that_are_no_text_say_where() {
        let error = Source::from_bytes("m.yaml", b"name: x\nfoo: \xff\n").expect_err("an error");
        assert_eq!(error.0[0].location(), Some((2, 6)));
        assert!(error.to_string().starts_with("m.yaml:2:6: the file is not UTF-8: byte 0xff"), "{error}");
        let utf16 = Source::from_bytes("m.yaml", b"\xff\xfen\0a\0").expect_err("an error");
        assert!(utf16.to_string().contains("UTF-16"), "{utf16}");
    }

    #[test]
    fn a_huge_file_is_refused_by_size() {
        let error = Source::from_bytes("big.yaml", &vec![b' '; MAX_BYTES + 1]).expect_err("an error");
        assert!(error.to_string().contains("larger than 4 MiB"), "{error}");
    }

    #[test]
    fn a_missing_file_says_so() {
        let error = Source::read(Path::new("/no/such/file.yaml")).expect_err("an error");
        assert_eq!(error.to_string().lines().next(), Some("/no/such/file.yaml: there is no such file"));
        assert!(Source::read(Path::new("/")).expect_err("an error").to_string().contains("directory"));
    }
}
