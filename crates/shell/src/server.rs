//! Processes that listen: what they serve, and how they take SIGTERM.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::{Files, normalise};
use crate::network::Response;

/// What a listener does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// Files below a root, with a default page and an access log.
    Files { root: String, index: Vec<String>, access_log: bool },
    /// The same answer everywhere.
    Fixed { status: u16, body: String },
    /// agnhost netexec: `/hostname`, `/healthz`, `/echo?msg=`...
    NetExec { hostname: String },
    /// Accepts connections, speaks no HTTP.
    Silent,
}

/// A port that a process listens on.
#[derive(Clone)]
pub struct Listener {
    /// TCP port.
    pub port: u16,
    /// Only for the pod itself.
    pub loopback: bool,
    /// What it does.
    pub service: Service,
    files: Arc<Mutex<Files>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("port", &self.port).field("service", &self.service).finish_non_exhaustive()
    }
}

impl Listener {
    pub(crate) fn new(port: u16, loopback: bool, service: Service, files: Arc<Mutex<Files>>) -> Self {
        Self { port, loopback, service, files }
    }

    /// Answers a GET; none when it speaks no HTTP.
    pub fn respond(&self, path: &str) -> Option<Response> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match &self.service {
            Service::Silent => None,
            Service::Fixed { status, body } => Some(Response { status: *status, body: body.clone().into_bytes() }),
            Service::NetExec { hostname } => Some(net_exec(hostname, path, query)),
            Service::Files { root, index, .. } => Some(self.file(root, index, path)),
        }
    }

    /// What the server writes to its log about a request.
    pub fn access_line(&self, from: &str, path: &str, agent: &str, answer: &Response) -> Option<String> {
        match &self.service {
            Service::Files { access_log: true, .. } => Some(format!(
                "{from} - - \"GET {path} HTTP/1.1\" {} {} \"-\" \"{agent}\" \"-\"",
                answer.status,
                answer.body.len()
            )),
            _ => None,
        }
    }

    fn file(&self, root: &str, index: &[String], path: &str) -> Response {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let target = normalise(root, path.trim_start_matches('/'));
        let mut candidates = vec![target.clone()];
        if files.is_directory(&target) {
            candidates = index.iter().map(|name| normalise(&target, name)).collect();
        }
        for candidate in candidates {
            if let Ok(body) = files.read(&candidate) {
                return Response { status: 200, body: body.to_vec() };
            }
        }
        Response { status: 404, body: b"<html><head><title>404 Not Found</title></head></html>\n".to_vec() }
    }
}

fn net_exec(hostname: &str, path: &str, query: &str) -> Response {
    let text = |status, body: String| Response { status, body: body.into_bytes() };
    match path {
        "/" | "/healthz" | "/readyz" => text(200, "NOW: up\n".to_owned()),
        "/hostname" | "/hostName" => text(200, hostname.to_owned()),
        "/echo" => {
            let message = query.split('&').find_map(|pair| pair.strip_prefix("msg=")).unwrap_or_default();
            let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).and_then(|c| c.parse().ok());
            text(code.unwrap_or(200), message.to_owned())
        }
        _ => text(404, "404 page not found\n".to_owned()),
    }
}
