//! The `exec` subresource of pods: a command in a container, over a WebSocket as kubectl and kube's clients speak it
//! (`v5.channel.k8s.io`, `v4.channel.k8s.io`). Standard input is read to its end before the command begins; there are no
//! terminals. What the node does not serve (`attach`, `portforward`) is refused here too, with what does the same.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simulation::Exec;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::authorise::{self, Attributes};
use crate::body::Body;
use crate::cluster::Shared;
use crate::driver::{Held, Holds};
use crate::error::ApiError;
use crate::object;
use crate::podlog::container_of;
use crate::request::Call;
use crate::state::State;

/// The newest first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// What a command can be given to read.
const MAX_INPUT: usize = 4 << 20;

/// The channels of the protocol: the first byte of every message.
mod channel {
    pub(super) const INPUT: u8 = 0;
    pub(super) const OUTPUT: u8 = 1;
    pub(super) const ERROR: u8 = 2;
    pub(super) const STATUS: u8 = 3;
    /// Version 5: the channel that is named next is closed.
    pub(super) const CLOSE: u8 = 255;
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The refusal of what the node does not serve.
pub(crate) fn refused(subresource: &str) -> ApiError {
    let instead = match subresource {
        "attach" => "`kubectl logs -f` shows what the container writes",
        _ => "its containers have no sockets outside of the cluster; run `wget` or `curl` in a pod with `kubectl exec`",
    };
    let why = format!("{subresource} is not offered by the embedded cluster: {instead}");
    ApiError::new(501, "NotImplemented", why)
}

/// Answers a request for a command: with 101, after which the command runs by itself.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    state: &State,
    pod: &Value,
    call: &Call,
) -> Result<Response<Body>, ApiError> {
    // A GET runs a command too: reading is not enough.
    authorise::check(state, &call.identity, &Attributes::of_target(&call.target, "create"))?;
    let name = object::name(pod);
    let (input, output) = (call.query.flag("stdin"), call.query.flag("stdout") || call.query.flag("stderr"));
    if !input && !output {
        return Err(ApiError::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let command = call.query.all("command").to_vec();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let container = container_of(pod, name, call.query.text("container"))?;
    if object::text(pod, &["spec", "nodeName"]).is_empty() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    if call.query.flag("tty") {
        let why = "exec with a terminal is not offered by the embedded cluster: run one command at a time, without -t";
        return Err(ApiError::new(501, "NotImplemented", why));
    }
    let Some(upgrade) = &call.upgrade else { return Err(ApiError::bad_request("Upgrade request required")) };
    if !upgrade.protocol.eq_ignore_ascii_case("websocket") {
        let why = format!(
            "exec over {} is not offered by the embedded cluster: use a client that speaks {} over WebSocket (kubectl 1.31 \
             or later)",
            upgrade.protocol, PROTOCOLS[0]
        );
        return Err(ApiError::new(501, "NotImplemented", why));
    }
    let offered = |known: &&&str| upgrade.protocols.iter().any(|protocol| protocol == **known);
    let (Some(protocol), Some(connection)) = (PROTOCOLS.iter().find(offered), upgrade.connection.clone()) else {
        let why = format!("exec needs one of the WebSocket protocols {}", PROTOCOLS.join(", "));
        return Err(ApiError::bad_request(why));
    };
    if input && *protocol != PROTOCOLS[0] {
        let why = format!("standard input can't be ended with {protocol}: use {}", PROTOCOLS[0]);
        return Err(ApiError::bad_request(why));
    }
    let exec = Exec { id: 0, pod_uid: object::uid(pod).to_owned(), container, command, input: Vec::new() };
    shared.host.spawn(run(Arc::clone(shared), connection, exec, input));
    Ok(switched(protocol, &upgrade.key))
}

fn switched(protocol: &'static str, key: &str) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// From the switched connection to its end. The client's end of it ends the command.
async fn run(shared: Arc<Shared>, connection: OnUpgrade, mut exec: Exec, input: bool) {
    // Whoever looks on must not be overtaken by time.
    let _held = Held::new(&shared, Holds::External);
    let Ok(upgraded) = connection.await else { return };
    let config = WebSocketConfig::default().max_message_size(Some(MAX_INPUT));
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let status = if input {
        match read_input(&mut socket).await {
            Input::All(data) => {
                exec.input = data;
                follow(&shared, &mut socket, &mut exec).await
            }
            Input::TooMuch => Some(internal("standard input is more than the 4 MiB that a command can be given")),
            Input::Gone => None,
        }
    } else {
        follow(&shared, &mut socket, &mut exec).await
    };
    if let Some(status) = status {
        // A client that has gone has nothing to be told.
        let _ = socket.send(message(channel::STATUS, status.to_string().as_bytes())).await;
        let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let _ = socket.close(Some(normal)).await;
    }
}

enum Input {
    All(Vec<u8>),
    TooMuch,
    Gone,
}

async fn read_input(socket: &mut Socket) -> Input {
    let mut input = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => match &data[..] {
                [channel::INPUT, rest @ ..] => input.extend_from_slice(rest),
                [channel::CLOSE, channel::INPUT] => return Input::All(input),
                _ => {}
            },
            Message::Close(_) => return Input::Gone,
            _ => {}
        }
        if input.len() > MAX_INPUT {
            return Input::TooMuch;
        }
    }
    Input::Gone
}

/// Runs the command and passes on what it writes. Its status, unless the client has gone.
async fn follow(shared: &Arc<Shared>, socket: &mut Socket, exec: &mut Exec) -> Option<Value> {
    let (id, told) = shared.lock().execs.open();
    exec.id = id;
    if let Err(why) = in_turn(shared, |state| state.begin_exec(exec)) {
        shared.lock().execs.close(id);
        return Some(internal(&why));
    }
    let ended = loop {
        let news = shared.lock().execs.take(id);
        for (stderr, data) in news.chunks {
            let channel = if stderr { channel::ERROR } else { channel::OUTPUT };
            if socket.send(message(channel, &data)).await.is_err() {
                in_turn(shared, |state| state.cancel_exec(exec));
                return None;
            }
        }
        if news.overflown {
            in_turn(shared, |state| state.cancel_exec(exec));
            break Some(internal("the command was ended: it writes more than is read of it"));
        }
        if let Some(code) = news.code {
            break Some(exited(code));
        }
        tokio::select! {
            () = told.notified() => {}
            said = socket.next() => if matches!(said, None | Some(Err(_) | Ok(Message::Close(_)))) {
                in_turn(shared, |state| state.cancel_exec(exec));
                break None;
            },
        }
    };
    shared.lock().execs.close(id);
    ended
}

/// Does something to the cluster as a request does.
fn in_turn<T>(shared: &Arc<Shared>, what: impl FnOnce(&mut State) -> T) -> T {
    let mut state = shared.lock();
    state.catch_up();
    let done = what(&mut state);
    state.settle();
    drop(state);
    shared.notify.notify_one();
    done
}

fn message(channel: u8, data: &[u8]) -> Message {
    Message::Binary([&[channel], data].concat().into())
}

/// How the command ended.
fn exited(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    let message = format!("command terminated with non-zero exit code: command terminated with exit code {code}");
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message,
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// Why there was no command.
fn internal(why: &str) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {why}"), "details": {"causes": [{"message": why}]},
    })
}
