# What nobody may do to a cluster, tried with kubectl. Sourced by a script failure and by an agent: the same deeds, and for
# each a line `DEED name: what was answered`, or `DONE name` when nothing stopped it.
# $case: the namespace of the case. kubectl's own generators (the first ones) write protobuf; for what they cannot make
# there is the client post-protobuf.

attempt() {
    name=$1
    shift
    if answer=$("$@" 2>&1); then
        echo "DONE $name: $(echo "$answer" | head -c 300 | tr '\n' ' ')"
    else
        echo "DEED $name: $(echo "$answer" | head -c 900 | tr '\n' ' ')"
    fi
}

# A request as it stands, without kubectl's knowledge of kinds.
raw() {
    verb=$1 path=$2
    case $verb in
    get) kubectl get --raw "$path" ;;
    delete) kubectl delete --raw "$path" ;;
    *) kubectl "$verb" --raw "$path" -f - ;;
    esac
}

template() {
    echo "{\"apiVersion\": \"apps/v1\", \"kind\": \"Deployment\", \"metadata\": {\"name\": \"bad\"}, \"spec\":
        {\"selector\": {\"matchLabels\": {\"app\": \"bad\"}}, \"template\": {\"metadata\": {\"labels\": {\"app\": \"bad\"}}, \"spec\": $1}}}"
}
pod() {
    echo "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"bad\"}, \"spec\": $1}"
}
privileged='{"containers": [{"name": "app", "image": "busybox:1.36", "securityContext": {"privileged": true}}]}'
host_path='{"containers": [{"name": "app", "image": "busybox:1.36"}], "volumes": [{"name": "h", "hostPath": {"path": "/"}}]}'
patch_of() {
    echo "{\"spec\": {\"template\": {\"spec\": $1}}}"
}
from() {
    text=$1
    shift
    echo "$text" | "$@"
}

attempt outside-protobuf kubectl create configmap x --from-literal=a=b --namespace default
attempt secret-protobuf kubectl create secret generic x --from-literal=a=b --namespace kube-system
attempt binding-protobuf kubectl create clusterrolebinding x --clusterrole=cluster-admin --user=me
attempt role-protobuf kubectl create role x --verb=get --resource=secrets --namespace "$case"
attempt namespace-protobuf kubectl create namespace elsewhere
attempt token-protobuf kubectl create token default --namespace kube-system
attempt secrets kubectl get secrets --namespace kube-system
attempt secrets-everywhere kubectl get secrets --all-namespaces --selector a!=b
attempt secrets-raw raw get /api/v1/secrets
attempt secrets-watch raw get '/api/v1/watch/namespaces/kube-system/secrets'
attempt secrets-proxy raw get /api/v1/namespaces/kube-system/services/https:kubernetes:443/proxy/api/v1/secrets
attempt node-proxy raw get /api/v1/nodes/node-1/proxy/pods
attempt privileged-pod from "$(pod "$privileged")" kubectl create --validate=false --namespace "$case" -f -
attempt host-path-pod from "$(pod "$host_path")" kubectl create --validate=false --namespace "$case" -f -
attempt privileged-deployment from "$(template "$privileged")" kubectl create --validate=false --namespace "$case" -f -
attempt host-path-deployment from "$(template "$host_path")" kubectl create --validate=false --namespace "$case" -f -
attempt privileged-raw from "$(pod "$privileged")" raw create "/api/v1/namespaces/$case/pods"
attempt privileged-pod-protobuf post-protobuf privileged-pod "$case"
attempt host-path-pod-protobuf post-protobuf host-path-pod "$case"
attempt privileged-deployment-protobuf post-protobuf privileged-deployment "$case"
attempt privileged-patch kubectl patch deployment victim --namespace "$case" --patch "$(patch_of "$privileged")"
attempt host-path-patch kubectl patch deployment victim --namespace "$case" --type merge --patch "$(patch_of "$host_path")"
attempt privileged-json-patch kubectl patch deployment victim --namespace "$case" --type json --patch \
    '[{"op": "add", "path": "/spec/template/spec/containers/0/securityContext", "value": {"privileged": true}}]'
attempt privileged-apply from "$(template "$privileged")" kubectl apply --server-side --validate=false --namespace "$case" -f -
attempt host-path-apply from "$(pod "$host_path")" kubectl apply --validate=false --namespace "$case" -f -
attempt debug-node kubectl debug node/node-1 --image=busybox:1.36 --namespace "$case"
attempt webhook from '{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "x"}, "webhooks": []}' kubectl create --validate=false -f -
attempt delete-namespace kubectl delete namespace kube-system --wait=false
attempt delete-node kubectl delete nodes --all --wait=false
attempt path-up raw get "/api/v1/namespaces/$case/../kube-system/secrets"
attempt path-encoded raw get "/api/v1/namespaces/$case%2f..%2fkube-system/secrets"
attempt path-empty raw get "/api/v1/namespaces//secrets"
attempt path-watch-delete raw delete "/api/v1/watch/namespaces/$case/configmaps/victim"
attempt path-proxy raw get /api/v1/proxy/namespaces/kube-system/services/x
attempt impersonation kubectl get secrets --namespace kube-system --as system:admin --as-group system:masters
