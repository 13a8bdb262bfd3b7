#!/bin/sh
# induce.sh start|stop: gives the Deployment `web` in TEST_NAMESPACE an image that does not exist, and puts it back.
set -eu

: "${TEST_NAMESPACE:?the namespace of the test}"

set_image() {
    kubectl --namespace "$TEST_NAMESPACE" patch deployment web --type strategic --patch \
        "{\"spec\": {\"template\": {\"spec\": {\"containers\": [{\"name\": \"app\", \"image\": \"$1\"}]}}}}"
}

case "${1:-}" in
start)
    set_image nginx:1.72
    echo "TIMEOUT=300" # how many seconds the agent may take
    ;;
stop)
    # Stopping twice, or after the namespace has gone, is no error.
    if [ -n "$(kubectl --namespace "$TEST_NAMESPACE" get deployment web --ignore-not-found --output name)" ]; then
        set_image nginx:1.27
    fi
    ;;
*)
    echo "usage: induce.sh start|stop" >&2
    exit 2
    ;;
esac
