//! A client that speaks Kubernetes protobuf, which kubectl does only for what its generators make: posts an object that must
//! not get through, by way of `kubectl proxy`, and ends with 1 and the server's words when it was refused.
//! Usage: `post-protobuf privileged-pod|host-path-pod|privileged-deployment NAMESPACE`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};

/// Field numbers are those of Kubernetes' generated.proto, written down here once more: nothing of the harness encodes them.
mod message {
    /// A field with a length: text, or a message.
    pub(crate) fn field(number: u32, content: impl AsRef<[u8]>) -> Vec<u8> {
        let content = content.as_ref();
        let mut bytes = varint(u64::from(number) << 3 | 2);
        bytes.extend(varint(content.len() as u64));
        bytes.extend(content);
        bytes
    }

    pub(crate) fn truth(number: u32) -> Vec<u8> {
        let mut bytes = varint(u64::from(number) << 3);
        bytes.push(1);
        bytes
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }
}

use message::{field, truth};

fn privileged() -> Vec<u8> {
    let container = [field(1, "app"), field(2, "busybox:1.36"), field(15, truth(2))].concat();
    field(2, container)
}

fn host_path() -> Vec<u8> {
    let container = [field(1, "app"), field(2, "busybox:1.36")].concat();
    let volume = [field(1, "host"), field(2, field(1, field(1, "/")))].concat();
    [field(1, volume), field(2, container)].concat()
}

fn pod(spec: Vec<u8>) -> Vec<u8> {
    [field(1, field(1, "bad")), field(2, spec)].concat()
}

fn deployment(spec: Vec<u8>) -> Vec<u8> {
    let label = [field(1, "app"), field(2, "bad")].concat();
    let template = [field(1, field(11, &label)), field(2, spec)].concat();
    [field(1, field(1, "bad")), field(2, [field(2, field(1, &label)), field(3, template)].concat())].concat()
}

/// The body of a request: the prefix, and the envelope that names what is in it.
fn body(api_version: &str, kind: &str, object: Vec<u8>) -> Vec<u8> {
    let meta = [field(1, api_version), field(2, kind)].concat();
    [b"k8s\0".to_vec(), field(1, meta), field(2, object)].concat()
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, namespace] = args.as_slice() else { panic!("what, and the namespace") };
    let (path, body) = match what.as_str() {
        "privileged-pod" => ("api/v1/namespaces", body("v1", "Pod", pod(privileged()))),
        "host-path-pod" => ("api/v1/namespaces", body("v1", "Pod", pod(host_path()))),
        "privileged-deployment" => ("apis/apps/v1/namespaces", body("apps/v1", "Deployment", deployment(privileged()))),
        other => panic!("{other} is not known"),
    };
    let plural = if what.ends_with("pod") { "pods" } else { "deployments" };
    let mut proxy = Command::new("kubectl");
    let proxy = proxy.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().expect("kubectl proxy");
    let mut proxy = Proxy(proxy);
    let mut line = String::new();
    let stdout = proxy.0.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("where it listens");
    let address = line.trim().rsplit(' ').next().expect("an address").to_owned();
    let mut connection = TcpStream::connect(&address).expect("the proxy listens");
    let head = format!(
        "POST /{path}/{namespace}/{plural} HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/vnd.kubernetes.protobuf\r\nAccept: application/json\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), &body].concat()).expect("it takes the request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers");
    println!("{}", answer.split_once("\r\n\r\n").map_or(answer.as_str(), |(_, body)| body));
    if answer.starts_with("HTTP/1.1 2") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
