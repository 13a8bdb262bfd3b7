//! How a process reaches others: the node answers, from the endpoints of the simulated cluster.

use std::fmt::Debug;
use std::time::Duration;

/// One HTTP request of a process or a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// With the query.
    pub path: String,
    /// The IP address of who asks.
    pub from: String,
    /// User-Agent.
    pub agent: String,
    /// Asked over TLS.
    pub tls: bool,
    /// The Authorization header.
    pub authorization: String,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// At most a few kilobytes.
    pub body: Vec<u8>,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer.
    Answer(Response),
    /// Nothing listens on that port.
    Refused,
    /// Nobody there; ends with the caller's time-out.
    NoRoute,
    /// The name does not resolve.
    UnknownHost,
    /// Connected, but no HTTP comes back.
    Silent,
}

/// The network that a process sees.
pub trait Network {
    /// Resolves the host and answers from whoever listens there.
    fn http(&self, request: &Request) -> Reply;
    /// The addresses of a name.
    fn lookup(&self, name: &str) -> Vec<String>;
    /// How long an answer takes.
    fn latency(&self) -> Duration {
        Duration::from_millis(3)
    }
}

/// A network without anybody in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNetwork;

impl Network for NoNetwork {
    fn http(&self, _: &Request) -> Reply {
        Reply::UnknownHost
    }

    fn lookup(&self, _: &str) -> Vec<String> {
        Vec::new()
    }
}
