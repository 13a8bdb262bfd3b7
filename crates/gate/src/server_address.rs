//! Addresses of API servers, in one spelling: grants name clusters by them.

use http::Uri;

/// The same address in its one spelling: scheme and host in lower case, no default port, no slash at the end. What is no
/// address comes back as it is, so that it equals nothing but itself.
pub fn normal_server(address: &str) -> String {
    let Ok(uri) = address.trim().parse::<Uri>() else { return address.to_owned() };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return address.to_owned() };
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let default = if scheme == "https" { 443 } else { 80 };
    let port = uri.port_u16().filter(|port| *port != default).map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{}", uri.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::normal_server;

    #[test]
    fn one_server_has_one_spelling() {
        for same in ["https://API.example:443/", "HTTPS://api.example", " https://api.example "] {
            assert_eq!(normal_server(same), "https://api.example", "{same}");
        }
        assert_eq!(normal_server("https://[2001:DB8::1]:6443/"), "https://[2001:db8::1]:6443");
        assert_eq!(normal_server("https://rancher/k8s/clusters/C-1/"), "https://rancher/k8s/clusters/C-1");
        for (one, other) in [
            ("https://a:6443", "https://a:6444"),
            ("https://a", "http://a"),
            ("https://a/x", "https://a/y"),
            ("https://a", "https://a.example"),
            ("https://user@a", "https://b"),
        ] {
            assert_ne!(normal_server(one), normal_server(other));
        }
        assert_eq!(normal_server("no address"), "no address");
    }
}
