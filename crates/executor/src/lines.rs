//! One output stream of a process: cut into lines, redacted, written to a file up to a cap, shown line by line, and
//! remembered at its end. Memory stays bounded whatever the process prints.

use std::collections::VecDeque;
use std::path::PathBuf;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::sync::watch;

use crate::process::{OnLine, Stream};
use crate::redact::Redactor;

/// Bytes of a line that are kept; a longer one is cut.
const MAX_LINE: usize = 1024 * 1024;
/// Bytes of a line that are shown.
const MAX_SHOWN: usize = 16 * 1024;
const CUT: &str = " [line cut]";
pub(crate) const TRUNCATED: &str = "[output truncated: the log has reached its limit]";

/// What becomes of a stream.
#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) stream: Stream,
    pub(crate) file: Option<PathBuf>,
    /// Bytes of the file, and of what is shown.
    pub(crate) cap: u64,
    /// Bytes remembered of the end.
    pub(crate) tail: usize,
    pub(crate) redactor: Redactor,
    pub(crate) on_line: OnLine,
}

/// The end of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) text: String,
    /// Something before the text is missing.
    pub(crate) cut: bool,
}

/// Reads a stream to its end, or until `stop` turns true: somebody who escaped may hold it open for ever.
pub(crate) async fn drain(
    mut source: impl AsyncRead + Unpin,
    destination: Destination,
    mut stop: watch::Receiver<bool>,
) -> Tail {
    let mut sink = LineSink::new(destination).await;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => break,
            read = source.read(&mut chunk) => read,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(n) => sink.take(&chunk[..n]).await,
        }
    }
    sink.finish().await
}

struct LineSink {
    to: Destination,
    file: Option<BufWriter<File>>,
    line: Vec<u8>,
    overlong: bool,
    written: u64,
    full: bool,
    tail: VecDeque<u8>,
    tail_cut: bool,
}

impl LineSink {
    async fn new(to: Destination) -> Self {
        let file = match &to.file {
            None => None,
            Some(path) => match File::create(path).await {
                Ok(file) => Some(BufWriter::new(file)),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "cannot write a log");
                    None
                }
            },
        };
        Self {
            to,
            file,
            line: Vec::new(),
            overlong: false,
            written: 0,
            full: false,
            tail: VecDeque::new(),
            tail_cut: false,
        }
    }

    async fn take(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.append(&rest[..end]);
            self.end_line().await;
            rest = &rest[end + 1..];
        }
        self.append(rest);
        // Someone may be following the file.
        self.flush().await;
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.overlong |= bytes.len() > room;
    }

    async fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if self.overlong {
            // The cut may have gone through a secret value.
            line.truncate(line.len().saturating_sub(self.to.redactor.longest()));
        }
        let mut line = self.to.redactor.clean(line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.overlong) {
            line.extend_from_slice(CUT.as_bytes());
        }
        self.remember(&line);
        self.publish(&line).await;
    }

    fn remember(&mut self, line: &[u8]) {
        self.tail.extend(line);
        self.tail.push_back(b'\n');
        let excess = self.tail.len().saturating_sub(self.to.tail);
        if excess > 0 {
            self.tail.drain(..excess);
            self.tail_cut = true;
        }
    }

    async fn publish(&mut self, line: &[u8]) {
        if self.full {
            return;
        }
        let size = line.len() as u64 + 1;
        if self.written + size > self.to.cap {
            self.full = true;
            self.write(TRUNCATED.as_bytes()).await;
            self.show(TRUNCATED).await;
            return;
        }
        self.written += size;
        self.write(line).await;
        let shown = String::from_utf8_lossy(&line[..line.len().min(MAX_SHOWN)]);
        let cut = if line.len() > MAX_SHOWN { CUT } else { "" };
        self.show(&format!("{shown}{cut}")).await;
    }

    /// Whoever shows lines may be slower than who writes them: then the pipe fills, and the writer waits.
    async fn show(&self, line: &str) {
        if let Some(taken) = (self.to.on_line)(self.to.stream, line) {
            taken.await;
        }
    }

    async fn write(&mut self, line: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let written = async {
            file.write_all(line).await?;
            file.write_all(b"\n").await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "a log could not be written to its end");
            self.file = None;
        }
    }

    async fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && file.flush().await.is_err()
        {
            self.file = None;
        }
    }

    async fn finish(mut self) -> Tail {
        if !self.line.is_empty() || self.overlong {
            self.end_line().await;
        }
        self.flush().await;
        let bytes: Vec<u8> = self.tail.into();
        Tail { text: String::from_utf8_lossy(&bytes).into_owned(), cut: self.tail_cut }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    async fn run(input: &[u8], cap: u64, tail: usize) -> (Vec<String>, Tail) {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let on_line: OnLine = {
            let seen = Arc::clone(&seen);
            Arc::new(move |_, line: &str| {
                seen.lock().expect("lock").push(line.to_owned());
                None
            })
        };
        let redactor = Redactor::new(["hunter22".to_owned()]);
        let destination = Destination { stream: Stream::Stdout, file: None, cap, tail, redactor, on_line };
        let (_open, stop) = watch::channel(false);
        let tail = drain(input, destination, stop).await;
        let seen = seen.lock().expect("lock").clone();
        (seen, tail)
    }

    #[tokio::test]
    async fn lines_are_cut_redacted_and_bounded() {
        let (seen, tail) = run(b"one\r\nhunter22 two\n\xff\xfe\nlast", 1000, 1000).await;
        assert_eq!(seen, ["one", "[redacted] two", "\u{fffd}\u{fffd}", "last"]);
        assert!(!tail.cut && tail.text.ends_with("last\n"));

        let long = [vec![b'x'; MAX_LINE - 4], b"hunter22".to_vec(), vec![b'y'; 10], b"\nnext\n".to_vec()].concat();
        let (seen, tail) = run(&long, 10_000_000, 10_000_000).await;
        assert_eq!(seen.last().map(String::as_str), Some("next"));
        assert!(!tail.text.contains("hunt"), "a cut must not leave a piece of a secret");

        let (seen, tail) = run(&b"0123456789\n".repeat(100), 50, 25).await;
        assert_eq!(seen.len(), 5, "four lines fit, then the mark");
        assert_eq!(seen[4], TRUNCATED);
        assert!(tail.cut && tail.text.len() == 25);
    }
}
