#!/bin/sh
# induce.sh start|stop: breaks the command of the Deployment `checkout` in TEST_NAMESPACE, and puts it back.
set -eu

: "${TEST_NAMESPACE:?the namespace of the test}"

patch() {
    kubectl --namespace "$TEST_NAMESPACE" patch deployment checkout --type strategic --patch "$1"
}

case "${1:-}" in
start)
    patch '{"spec": {"template": {"spec": {"containers": [{"name": "app",
        "command": ["sh", "-c", "echo starting; sleep 1; echo \"error: unknown option --max-inflight\" >&2; exit 1"]}]}}}}'
    echo "TIMEOUT=300"
    ;;
stop)
    if [ -z "$(kubectl --namespace "$TEST_NAMESPACE" get deployment checkout --ignore-not-found --output name)" ]; then
        echo "there is no deployment to put back"
        exit 0
    fi
    patch '{"spec": {"template": {"spec": {"containers": [{"name": "app",
        "command": ["sh", "-c", "echo ready; while true; do sleep 5; done"]}]}}}}'
    ;;
*)
    echo "usage: induce.sh start|stop" >&2
    exit 2
    ;;
esac
