//! Programs that listen or ask others.

use std::sync::Arc;
use std::time::Duration;

use super::{Command, Context, Outcome, flags};
use crate::network::{Reply, Request};
use crate::process::Effect;
use crate::server::{Listener, Service};
use crate::task::OnTerm;

pub(super) fn find(name: &str) -> Option<Command> {
    Some(match name {
        "httpd" => httpd,
        "nginx" => nginx,
        "docker-entrypoint.sh" => |context, argv| {
            if context.shared.image.name.contains("/nginx:") {
                context.out("/docker-entrypoint.sh: Configuration complete; ready for start up\n");
            }
            if argv.len() > 1 { Outcome::Again(argv[1..].to_vec()) } else { Outcome::Done(0) }
        },
        "httpd-foreground" => |context, _| {
            let service = Service::Files {
                root: "/usr/local/apache2/htdocs".to_owned(),
                index: vec!["index.html".to_owned()],
                access_log: true,
            };
            context.err("[mpm_event:notice] AH00489: Apache/2.4.65 (Unix) configured -- resuming normal operations");
            listen(context, 80, service, Some(OnTerm::Exits(0, Duration::from_millis(50))))
        },
        "redis-server" => |context, argv| {
            let port = argv
                .iter()
                .position(|w| w == "--port")
                .and_then(|i| argv.get(i + 1))
                .and_then(|p| p.parse().ok())
                .unwrap_or(6379);
            context.out("* Ready to accept connections tcp\n");
            listen(context, port, Service::Silent, Some(OnTerm::Exits(0, Duration::from_millis(100))))
        },
        "redis-cli" => |context, _| {
            let up = context.shared.listeners.iter().any(|listener| listener.port == 6379);
            if up {
                context.out("PONG\n");
                Outcome::Done(0)
            } else {
                context.fail("Could not connect to Redis at 127.0.0.1:6379: Connection refused", 1)
            }
        },
        "python" | "python3" => python,
        "pause" => |context, _| park(context, Some(OnTerm::Exits(0, Duration::from_millis(5)))),
        "agnhost" => agnhost,
        "nc" => nc,
        "wget" => wget,
        "curl" => curl,
        "nslookup" => nslookup,
        "ping" => ping,
        _ => return None,
    })
}

/// Stays for ever; as the container's main program it takes SIGTERM as given.
fn park(context: &mut Context<'_>, on_term: Option<OnTerm>) -> Outcome {
    if let Some(on_term) = on_term.filter(|_| !context.task.is_shell) {
        context.task.on_term = on_term;
    }
    Outcome::Forever
}

fn listen(context: &mut Context<'_>, port: u16, service: Service, on_term: Option<OnTerm>) -> Outcome {
    if context.shared.listeners.iter().any(|listener| listener.port == port) {
        return context.fail(&format!("bind: Address in use: {port}"), 1);
    }
    let files = Arc::clone(&context.shared.files);
    context.shared.listeners.push(Listener::new(port, false, service, files));
    context.shared.effects.push(Effect::Listening);
    park(context, on_term)
}

fn httpd(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (mut port, mut root, mut foreground) = (80_u16, "/var/www".to_owned(), false);
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let flag: String = word.chars().take(2).collect();
        let mut value = || if word.len() > 2 { word.get(2..).map(str::to_owned) } else { words.next().cloned() };
        match flag.as_str() {
            "-p" => {
                let text = value().unwrap_or_default();
                match text.rsplit(':').next().and_then(|p| p.parse().ok()) {
                    Some(number) => port = number,
                    None => return context.fail(&format!("httpd: bad port '{text}'"), 1),
                }
            }
            "-h" => root = value().unwrap_or_default(),
            _ if word.starts_with('-') => foreground |= word.contains('f'),
            _ => {}
        }
    }
    let root = context.path(&root);
    if !context.files().is_directory(&root) {
        return context.fail(&format!("httpd: can't change directory to '{root}': No such file or directory"), 1);
    }
    let service = Service::Files { root, index: vec!["index.html".to_owned()], access_log: false };
    match listen(context, port, service, None) {
        Outcome::Forever if !foreground => Outcome::Done(0),
        outcome => outcome,
    }
}

fn nginx(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let read = |path: &str| {
        context.files().read(path).map(|data| String::from_utf8_lossy(data).into_owned()).unwrap_or_default()
    };
    let mut config = read("/etc/nginx/nginx.conf");
    if config.contains("conf.d/") {
        // Bound first: the guard of the files would otherwise live through the loop, which asks for it again.
        let names = context.files().list("/etc/nginx/conf.d");
        for name in names {
            if name.ends_with(".conf") {
                config.push_str(
                    &context
                        .files()
                        .read(&format!("/etc/nginx/conf.d/{name}"))
                        .map(String::from_utf8_lossy)
                        .unwrap_or_default(),
                );
            }
        }
    }
    let opened = config.matches('{').count();
    if opened != config.matches('}').count() {
        context.err("nginx: [emerg] unexpected end of file, expecting \"}\" in /etc/nginx/nginx.conf");
        return Outcome::Done(1);
    }
    if argv.iter().any(|word| word == "-t") {
        context.err("nginx: configuration file /etc/nginx/nginx.conf test is successful");
        return Outcome::Done(0);
    }
    let directive = |name: &str| -> Vec<String> {
        config
            .split([';', '{', '}'])
            .filter_map(|part| part.trim().strip_prefix(name))
            .filter(|rest| rest.starts_with(char::is_whitespace))
            .map(|rest| rest.trim().to_owned())
            .collect()
    };
    let root = directive("root").first().cloned().unwrap_or_else(|| "/usr/share/nginx/html".to_owned());
    let ports: Vec<u16> = directive("listen")
        .iter()
        .filter(|listen| !listen.starts_with('['))
        .filter_map(|listen| listen.split_whitespace().next()?.rsplit(':').next()?.parse().ok())
        .collect();
    let foreground = argv.windows(2).any(|pair| pair[0] == "-g" && pair[1].contains("daemon off"));
    let service = match directive("return").first().and_then(|text| fixed(text)) {
        Some(service) => service,
        None => Service::Files { root, index: vec!["index.html".to_owned(), "index.htm".to_owned()], access_log: true },
    };
    context.err("nginx/1.29.3: start worker processes");
    let mut outcome = park(context, None);
    for port in ports {
        outcome = listen(context, port, service.clone(), Some(OnTerm::Exits(0, Duration::from_millis(60))));
        if !matches!(outcome, Outcome::Forever) {
            return outcome;
        }
    }
    if foreground { outcome } else { Outcome::Done(0) }
}

/// `return 503 "text"` for a whole server.
fn fixed(text: &str) -> Option<Service> {
    let (status, body) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let body = body.trim().trim_matches(['"', '\'']).replace("\\n", "\n");
    Some(Service::Fixed { status: status.parse().ok()?, body })
}

fn python(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    if let Some(at) = argv.windows(2).position(|pair| pair[0] == "-m" && pair[1] == "http.server") {
        let rest = &argv[at + 2..];
        let port = rest.iter().find_map(|word| word.parse().ok()).unwrap_or(8000);
        let directory =
            rest.iter().position(|word| matches!(word.as_str(), "-d" | "--directory")).and_then(|i| rest.get(i + 1));
        let root = context.path(directory.map_or(".", String::as_str));
        let service = Service::Files { root, index: vec!["index.html".to_owned()], access_log: true };
        return listen(context, port, service, None);
    }
    match argv.get(1).map(String::as_str) {
        Some("-V" | "--version") => {
            context.out("Python 3.13.9\n");
            Outcome::Done(0)
        }
        Some("-c" | "-m") | None => Outcome::Done(0),
        Some(file) => {
            let path = context.path(file);
            if context.files().exists(&path) {
                return Outcome::Done(0);
            }
            let text = format!("python3: can't open file '{path}': [Errno 2] No such file or directory");
            context.fail(&text, 2)
        }
    }
}

fn agnhost(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let port = |flag: &str, default: u16| {
        argv.iter()
            .enumerate()
            .find_map(|(i, word)| {
                let rest = word.strip_prefix(flag)?;
                if rest.is_empty() { argv.get(i + 1)?.parse().ok() } else { rest.strip_prefix('=')?.parse().ok() }
            })
            .unwrap_or(default)
    };
    let on_term = Some(OnTerm::Exits(0, Duration::from_millis(20)));
    let hostname = context.shared.hostname.clone();
    match argv.get(1).map(String::as_str) {
        Some("netexec") => listen(context, port("--http-port", 8080), Service::NetExec { hostname }, on_term),
        Some("serve-hostname") => {
            listen(context, port("--port", 9376), Service::Fixed { status: 200, body: hostname }, on_term)
        }
        Some("pause") | None => {
            context.out("Paused\n");
            park(context, on_term)
        }
        Some("liveness") => listen(context, 8080, Service::Fixed { status: 200, body: "ok".to_owned() }, on_term),
        Some(other) => context.fail(&format!("Error: unknown command \"{other}\" for \"app\""), 1),
    }
}

fn nc(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let listening = argv.iter().any(|word| word.starts_with('-') && word.contains('l'));
    let ports: Vec<u16> = argv.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    if listening {
        return match ports.first() {
            Some(port) => listen(context, *port, Service::Silent, None),
            None => context.fail("nc: no port", 1),
        };
    }
    let (letters, rest) = flags(argv);
    let (Some(host), Some(port)) = (rest.iter().find(|w| w.parse::<u16>().is_err()), ports.last()) else {
        return context.fail("nc: bad usage", 1);
    };
    let request = request(context, host, *port, "/", "nc");
    match context.network.http(&request) {
        Reply::Answer(_) | Reply::Silent => Outcome::After(context.network.latency(), 0),
        Reply::Refused => context.fail(&format!("nc: {host} ({host}:{port}): Connection refused"), 1),
        Reply::UnknownHost => context.fail(&format!("nc: bad address '{host}'"), 1),
        Reply::NoRoute => {
            let limit = if letters.contains('w') { 5 } else { 127 };
            Outcome::After(Duration::from_secs(limit), 1)
        }
    }
}

fn request(context: &Context<'_>, host: &str, port: u16, path: &str, agent: &str) -> Request {
    Request {
        host: host.to_owned(),
        port,
        path: path.to_owned(),
        from: context.shared.ip.clone(),
        agent: agent.to_owned(),
        tls: false,
        authorization: String::new(),
    }
}

/// The Authorization header among those that the arguments give.
fn authorization(argv: &[String]) -> String {
    let header = |value: &str| {
        let (name, value) = value.split_once(':')?;
        name.trim().eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    };
    let apart = argv.windows(2).filter(|pair| matches!(pair[0].as_str(), "-H" | "--header")).map(|pair| &*pair[1]);
    let joined = argv.iter().filter_map(|word| word.strip_prefix("--header=").or(word.strip_prefix("-H")));
    apart.chain(joined).find_map(header).unwrap_or_default()
}

/// `http://host:port/path`.
fn split_url(url: &str) -> Option<(String, u16, String)> {
    let (rest, default) = match url.split_once("://") {
        Some(("http", rest)) => (rest, 80),
        Some(("https", rest)) => (rest, 443),
        Some(_) => return None,
        None => (url, 80),
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, default),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port, path.to_owned()))
}

fn wget(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let (mut quiet, mut spider, mut output, mut timeout, mut url) = (false, false, None, 900, None);
    let mut words = argv.iter().skip(1).map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-O" => output = words.next(),
            "-T" | "-t" => {
                let value = words.next().and_then(|n| n.parse().ok()).unwrap_or(900);
                if word == "-T" {
                    timeout = value;
                }
            }
            "--spider" => spider = true,
            "--header" => drop(words.next()),
            "-q" => quiet = true,
            flag if flag.starts_with("--timeout=") => timeout = flag[10..].parse().unwrap_or(900),
            flag if flag.starts_with("-T") => timeout = flag[2..].parse().unwrap_or(900),
            flag if flag.starts_with('-') && !flag.starts_with("--") => {
                quiet |= flag.contains('q');
                if flag.ends_with('O') {
                    output = words.next();
                } else if let Some(at) = flag.find('O') {
                    output = flag.get(at + 1..);
                }
            }
            flag if flag.starts_with("--") => {}
            other => url = Some(other),
        }
    }
    let Some((host, port, path)) = url.and_then(split_url) else {
        return context.fail("wget: not an http or ftp url", 1);
    };
    if !quiet {
        context.err(&format!("Connecting to {host}:{port}"));
    }
    let mut asked = request(context, &host, port, &path, "Wget");
    asked.tls = url.is_some_and(|url| url.starts_with("https://"));
    asked.authorization = authorization(argv);
    if asked.tls && !argv.iter().any(|word| word == "--no-check-certificate") {
        context.err("wget: note: TLS certificate validation not implemented");
    }
    let soon = context.network.latency();
    match context.network.http(&asked) {
        Reply::Answer(answer) if answer.status < 400 => {
            if spider {
                return Outcome::After(soon, 0);
            }
            match output {
                Some("-") => context.out_bytes(&answer.body),
                Some("/dev/null") => {}
                other => {
                    let name = other
                        .unwrap_or_else(|| path.rsplit('/').next().filter(|n| !n.is_empty()).unwrap_or("index.html"));
                    let target = context.path(name);
                    let written = {
                        let mut files = context.files();
                        files.truncate(&target).and_then(|()| files.append(&target, &answer.body, 0))
                    };
                    if let Err(reason) = written {
                        return context.fail(&format!("wget: can't open '{name}': {reason}"), 1);
                    }
                }
            }
            Outcome::After(soon, 0)
        }
        Reply::Answer(answer) => {
            context.err(&format!("wget: server returned error: HTTP/1.1 {} {}", answer.status, phrase(answer.status)));
            Outcome::After(soon, 1)
        }
        Reply::Refused => {
            context.err(&format!("wget: can't connect to remote host ({host}): Connection refused"));
            Outcome::After(soon, 1)
        }
        Reply::UnknownHost => {
            context.err(&format!(
                "wget: bad address '{host}{}'",
                if port == 80 { String::new() } else { format!(":{port}") }
            ));
            Outcome::After(soon, 1)
        }
        Reply::NoRoute | Reply::Silent => {
            context.err("wget: download timed out");
            Outcome::After(Duration::from_secs(timeout.min(130)), 1)
        }
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

fn curl(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let fail = argv
        .iter()
        .any(|word| word == "--fail" || (word.starts_with('-') && !word.starts_with("--") && word.contains('f')));
    let url = argv.iter().skip(1).rev().find_map(|word| if word.starts_with('-') { None } else { split_url(word) });
    let Some((host, port, path)) = url else { return context.fail("curl: try 'curl --help' for more information", 2) };
    let mut asked = request(context, &host, port, &path, "curl/8.14.1");
    asked.tls = argv.iter().any(|word| word.starts_with("https://"));
    asked.authorization = authorization(argv);
    let soon = context.network.latency();
    match context.network.http(&asked) {
        Reply::Answer(answer) if fail && answer.status >= 400 => {
            context.err(&format!("curl: (22) The requested URL returned error: {}", answer.status));
            Outcome::After(soon, 22)
        }
        Reply::Answer(answer) => {
            context.out_bytes(&answer.body);
            Outcome::After(soon, 0)
        }
        Reply::Refused => {
            context.err(&format!(
                "curl: (7) Failed to connect to {host} port {port} after 0 ms: Could not connect to server"
            ));
            Outcome::After(soon, 7)
        }
        Reply::UnknownHost => {
            context.err(&format!("curl: (6) Could not resolve host: {host}"));
            Outcome::After(soon, 6)
        }
        Reply::NoRoute | Reply::Silent => Outcome::After(Duration::from_secs(130), 28),
    }
}

fn nslookup(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let Some(name) = argv.iter().skip(1).find(|word| !word.starts_with('-')) else { return Outcome::Done(1) };
    let found = context.network.lookup(name);
    context.out("Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n");
    if found.is_empty() {
        context.out(&format!("** server can't find {name}: NXDOMAIN\n\n"));
        return Outcome::Done(1);
    }
    for address in found {
        context.out(&format!("Name:\t{name}\nAddress: {address}\n\n"));
    }
    Outcome::Done(0)
}

fn ping(context: &mut Context<'_>, argv: &[String]) -> Outcome {
    let Some(name) = argv.last().filter(|word| !word.starts_with('-')) else { return Outcome::Done(1) };
    let found = context.network.lookup(name);
    if found.is_empty() {
        return context.fail(&format!("ping: bad address '{name}'"), 1);
    }
    Outcome::After(Duration::from_secs(1), 0)
}
