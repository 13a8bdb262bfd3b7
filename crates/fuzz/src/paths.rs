//! Request lines, `METHOD TARGET`: what the gate judges is what is forwarded and what the server serves.

use embedded::Reading;
use gate::{Attributes, BadRequest};
use http::{Method, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), target.parse::<Uri>()) else { return };
    if let Some(read) = embedded::reading(&method, &uri) {
        assert_eq!(embedded::reading(&method, &written(&read)).as_ref(), Some(&read), "written again: {uri}");
    }
    let Ok(judged) = gate::attributes(&method, &uri) else { return };
    let Ok(forwarded) = judged.target().parse::<Uri>() else { panic!("what is forwarded is no target: {judged:?}") };
    match gate::attributes(&method, &forwarded) {
        Ok(again) => assert_eq!(again, judged, "judged twice: {uri}"),
        // One spelling of a query may be longer than another.
        Err(error) => assert_eq!(error, BadRequest::TooLong, "judged twice: {uri}"),
    }
    served_as_judged(&judged, embedded::reading(&method, &forwarded).as_ref());
}

fn served_as_judged(judged: &Attributes, served: Option<&Reading>) {
    let Some(served) = served else {
        assert!(!judged.is_resource, "not served: {judged:?}");
        return;
    };
    assert!(judged.is_resource, "served as a resource: {judged:?}");
    let Attributes { verb, group, version, resource, subresource, .. } = judged;
    assert_eq!(
        [served.verb, &served.group, &served.version, &served.resource, &served.subresource],
        [verb.as_str(), group, version, resource, subresource],
    );
    // Authorisers count a namespace as its own, and take a name also from the selector of a collection.
    let own = served.resource == "namespaces" && served.namespace.is_empty();
    assert_eq!(if own { &served.name } else { &served.namespace }, &judged.namespace, "{judged:?}");
    let collection = matches!(verb.as_str(), "list" | "watch") && served.name.is_empty();
    let pinned = collection && judged.parameter("fieldSelector").is_some();
    assert!(pinned || served.name == judged.name, "{judged:?}");
}

/// The path that says it in the plainest way.
fn written(read: &Reading) -> Uri {
    let mut path = match read.group.as_str() {
        "" => String::from("/api"),
        group => format!("/apis/{}", utf8_percent_encode(group, NON_ALPHANUMERIC)),
    };
    let mut add = |segment: &str| path.push_str(&format!("/{}", utf8_percent_encode(segment, NON_ALPHANUMERIC)));
    add(&read.version);
    if read.verb == "watch" {
        add("watch");
    }
    if !read.namespace.is_empty() {
        add("namespaces");
        add(&read.namespace);
    }
    [&read.resource, &read.name, &read.subresource]
        .into_iter()
        .filter(|part| !part.is_empty())
        .for_each(|part| add(part));
    path.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}
