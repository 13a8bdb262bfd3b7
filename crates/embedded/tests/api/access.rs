//! What roles and bindings give, and how the server says that they do not.

use serde_json::{Value, json};

use crate::client::{call, create, namespace, send, still, text};

const USER: &str = "system:serviceaccount:a:robot";

async fn as_robot(cluster: &embedded::Cluster, method: &str, path: &str, body: Value) -> (u16, Value) {
    let headers = [("content-type", "application/json"), ("impersonate-user", USER)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (code, text) = text(send(cluster, method, path, &headers, &body).await).await;
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn grant(cluster: &embedded::Cluster) {
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/a";
    let rule = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]});
    create(cluster, &format!("{roles}/roles"), json!({"metadata": {"name": "reader"}, "rules": [rule]})).await;
    let binding = json!({
        "metadata": {"name": "robot"}, "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "a"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
    });
    create(cluster, &format!("{roles}/rolebindings"), binding).await;
}

#[tokio::test]
async fn accounts_may_do_what_roles_give_them() {
    let cluster = still();
    for name in ["a", "b"] {
        namespace(&cluster, name).await;
    }
    let maps = "/api/v1/namespaces/a/configmaps";
    let (code, refused) = as_robot(&cluster, "GET", maps, Value::Null).await;
    let message = "configmaps is forbidden: User \"system:serviceaccount:a:robot\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"a\"";
    assert_eq!((code, &refused["message"]), (403, &json!(message)));
    grant(&cluster).await;
    assert_eq!(as_robot(&cluster, "GET", maps, Value::Null).await.0, 200);
    for (method, path, message) in [
        (
            "GET",
            "/api/v1/namespaces/b/configmaps",
            "cannot list resource \"configmaps\" in API group \"\" in the namespace \"b\"",
        ),
        ("POST", maps, "cannot create resource \"configmaps\""),
        (
            "DELETE",
            "/api/v1/namespaces/a/configmaps/x",
            "configmaps \"x\" is forbidden: User \"system:serviceaccount:a:robot\" cannot delete",
        ),
        ("GET", "/api/v1/nodes", "cannot list resource \"nodes\" in API group \"\" at the cluster scope"),
        ("GET", "/api/v1/namespaces/a/pods/p/log", "cannot get resource \"pods/log\""),
        ("GET", "/metrics", "forbidden: User \"system:serviceaccount:a:robot\" cannot get path \"/metrics\""),
    ] {
        let (code, refused) = as_robot(&cluster, method, path, json!({})).await;
        assert!(code == 403 && refused["message"].as_str().unwrap().contains(message), "{path}: {code} {refused}");
    }
    assert_eq!(as_robot(&cluster, "GET", "/apis", Value::Null).await.0, 200, "discovery is for everybody");
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles/reader";
    assert_eq!(call(&cluster, "DELETE", path, Value::Null).await.0, 200);
    let (code, refused) = as_robot(&cluster, "GET", maps, Value::Null).await;
    let end = "in the namespace \"a\": RBAC: role.rbac.authorization.k8s.io \"reader\" not found";
    assert!(code == 403 && refused["message"].as_str().unwrap().ends_with(end), "{refused}");
}

#[tokio::test]
async fn reviews_tell_what_is_allowed_and_why() {
    let cluster = still();
    namespace(&cluster, "a").await;
    grant(&cluster).await;
    let review = |verb: &str| json!({"spec": {"user": USER, "resourceAttributes": {"namespace": "a", "verb": verb, "resource": "configmaps"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let made = create(&cluster, path, review("list")).await;
    let reason = "RBAC: allowed by RoleBinding \"robot/a\" of Role \"reader\" to ServiceAccount \"robot/a\"";
    assert_eq!(made["status"], json!({"allowed": true, "reason": reason}));
    assert_eq!(create(&cluster, path, review("delete")).await["status"], json!({"allowed": false}));
    let own = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let (code, rules) = as_robot(&cluster, "POST", own, json!({"spec": {"namespace": "a"}})).await;
    let expected = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]});
    assert_eq!(code, 201);
    assert_eq!(rules["status"]["resourceRules"].as_array().unwrap().last(), Some(&expected));
}

#[tokio::test]
async fn a_token_is_its_account_until_that_goes() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let accounts = "/api/v1/namespaces/a/serviceaccounts";
    create(&cluster, accounts, json!({"metadata": {"name": "robot"}})).await;
    let token = create(&cluster, &format!("{accounts}/robot/token"), json!({"spec": {}})).await;
    let review = json!({"spec": {"token": token["status"]["token"]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let known = create(&cluster, path, review.clone()).await;
    assert_eq!(known["status"]["user"]["username"], USER, "{known}");
    let mut changed = token["status"]["token"].as_str().unwrap().to_owned();
    changed.insert(30, 'x');
    let forged = create(&cluster, path, json!({"spec": {"token": changed}})).await;
    assert_eq!(forged["status"]["error"], "invalid bearer token");
    assert_eq!(call(&cluster, "DELETE", &format!("{accounts}/robot"), Value::Null).await.0, 200);
    assert_ne!(create(&cluster, path, review).await["status"]["authenticated"], true);
}
