//! A stand-in for an API server: answers GETs from a table, remembers everything that it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What is served: a path, with or without its query, to a status and a body.
pub(crate) type Table = BTreeMap<String, (u16, Value)>;

/// One request: method, path with query, body.
pub(crate) type Asked = (String, String, String);

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: String,
    table: Arc<Mutex<Table>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// `on_change` is called with the table for every request that is no GET.
    pub(crate) async fn start(table: Table, on_change: fn(&mut Table)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let server = Self { address, table: Arc::new(Mutex::new(table)), asked: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream, on_change).await });
            }
        });
        server
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("asked").clone()
    }

    async fn serve(&self, stream: TcpStream, on_change: fn(&mut Table)) -> Option<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let mut line = String::new();
            read.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
            let mut words = line.split_whitespace().map(str::to_owned);
            let (method, target) = (words.next()?, words.next()?);
            let mut length = 0;
            loop {
                let mut header = String::new();
                read.read_line(&mut header).await.ok()?;
                if header.trim().is_empty() {
                    break;
                }
                if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
            let mut body = vec![0; length];
            read.read_exact(&mut body).await.ok()?;
            let (status, answer) = self.answer(&method, &target, &body, on_change);
            let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: ");
            write.write_all(format!("{head}{}\r\n\r\n{answer}", answer.len()).as_bytes()).await.ok()?;
        }
    }

    fn answer(&self, method: &str, target: &str, body: &[u8], on_change: fn(&mut Table)) -> (u16, String) {
        let asked = (method.to_owned(), target.to_owned(), String::from_utf8_lossy(body).into_owned());
        self.asked.lock().expect("asked").push(asked);
        let mut table = self.table.lock().expect("the table");
        if method != "GET" {
            on_change(&mut table);
        }
        let path = target.split('?').next().unwrap_or_default();
        let (status, answer) =
            table.get(target).or_else(|| table.get(path)).cloned().unwrap_or_else(|| failure(404, "NotFound"));
        let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        (status, text)
    }
}

pub(crate) fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": format!("{reason} for a test")});
    (code, status)
}
