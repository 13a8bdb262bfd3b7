//! What roles and bindings give, and how the server says that they do not.

use serde_json::{Value, json};

use crate::client::{call, call_as, create, get, namespace, still};

const USER: &str = "system:serviceaccount:a:robot";

async fn as_robot(cluster: &embedded::Cluster, method: &str, path: &str, body: Value) -> (u16, Value) {
    call_as(cluster, USER, method, path, body).await
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

/// Rights are given on by those who have them.
#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let own = format!("{group}/namespaces/a");
    let rules = json!([
        {"verbs": ["create", "update", "patch"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
    ]);
    create(&cluster, &format!("{own}/roles"), json!({"metadata": {"name": "writer"}, "rules": rules})).await;
    let bound = |name: &str, kind: &str, role: &str, user: &str| {
        json!({
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
        })
    };
    create(&cluster, &format!("{own}/rolebindings"), bound("writer", "Role", "writer", "eve")).await;
    let role = |name: &str, rules: Value| json!({"metadata": {"name": name}, "rules": rules});
    let eve = async |path: &str, body: Value| call_as(&cluster, "eve", "POST", &format!("{own}/{path}"), body).await;
    let less = json!([{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]},
                      {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]}]);
    assert_eq!(eve("roles", role("less", less)).await.0, 201);
    let more = json!([{"verbs": ["get", "list", "delete"], "apiGroups": [""], "resources": ["configmaps", "secrets"]}]);
    let (code, status) = eve("roles", role("more", more.clone())).await;
    let message = "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"eve\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"delete\"]}\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\" \"delete\"]}";
    assert_eq!((code, &status["message"]), (403, &json!(message)));
    assert_eq!(eve("rolebindings", bound("mine", "Role", "less", "bob")).await.0, 201);
    let (code, status) = eve("rolebindings", bound("all", "ClusterRole", "view", "eve")).await;
    assert!(code == 403 && status["message"].as_str().unwrap().contains("is attempting to grant RBAC permissions"));
    assert_eq!(eve("rolebindings", bound("none", "Role", "none", "eve")).await.0, 404);
    // The two verbs that allow it all the same.
    let exceptions = json!([{"verbs": ["escalate", "bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "clusterroles"]}]);
    create(&cluster, &format!("{own}/roles"), role("exceptions", exceptions)).await;
    create(&cluster, &format!("{own}/rolebindings"), bound("exceptions", "Role", "exceptions", "eve")).await;
    assert_eq!(eve("roles", role("more", more)).await.0, 201);
    assert_eq!(eve("rolebindings", bound("all", "ClusterRole", "view", "eve")).await.0, 201);
}

/// What every cluster has from the beginning.
#[tokio::test]
async fn the_roles_that_everybody_knows_are_there() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let group = "/apis/rbac.authorization.k8s.io/v1";
    for name in ["cluster-admin", "admin", "edit", "view", "system:basic-user", "system:discovery"] {
        assert_eq!(get(&cluster, &format!("{group}/clusterroles/{name}")).await.0, 200, "{name}");
    }
    let (_, bindings) = get(&cluster, &format!("{group}/clusterrolebindings")).await;
    assert!(bindings["items"].as_array().unwrap().iter().any(|one| one["metadata"]["name"] == "cluster-admin"));
    for (role, user) in [("view", "viewer"), ("edit", "editor"), ("admin", "owner")] {
        let binding = json!({
            "metadata": {"name": user}, "subjects": [{"kind": "User", "name": user}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        });
        create(&cluster, &format!("{group}/namespaces/a/rolebindings"), binding).await;
    }
    for (user, method, path, code) in [
        ("viewer", "GET", "/api/v1/namespaces/a/pods", 200),
        ("viewer", "GET", "/api/v1/namespaces/a/secrets", 403),
        ("viewer", "DELETE", "/api/v1/namespaces/a/configmaps/x", 403),
        ("editor", "GET", "/api/v1/namespaces/a/secrets", 200),
        ("editor", "DELETE", "/api/v1/namespaces/a/configmaps/x", 404),
        ("editor", "GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles", 403),
        ("owner", "GET", "/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles", 200),
        ("owner", "GET", "/api/v1/nodes", 403),
    ] {
        let (found, answer) = call_as(&cluster, user, method, path, Value::Null).await;
        assert_eq!(found, code, "{user} {method} {path}: {answer}");
    }
}
