#!/usr/bin/env bash
# run-live-test.sh <agent> <test-type> [--debug] [--json]
#
# One live test, by itself: induces the failure <test-type> on the cluster that KUBECONFIG leads to, lets <agent> look for
# it, stops it, and prints a report. It is the harness's default executor (`live-test`), and needs no harness to be run.
#
#   failure   failures/<test-type>/induce.sh start|stop, or tests/failures/…; where it has none,
#             `harness-cli failures run <test-type> --kubeconfig … --hold …`
#   agent     agents/<agent>/run.sh, which finds KUBECONFIG, TEST_NAMESPACE and HARNESS_ANSWER in its environment; or
#             the preset agents/<agent>.yaml, by `harness-cli agents run`
#
# Environment: KUBECONFIG; TEST_NAMESPACE and TEST_POD_NAME, where somebody else has prepared the namespace; LIVE_TEST_TIMEOUT,
# seconds for the agent (600; `TIMEOUT=<seconds>` of induce.sh goes before it); HARNESS_CLI, the program (else
# target/release/harness-cli, else from PATH); HARNESS_GRANTS, the operator's grants, which must name a cluster that
# harness-cli is to touch.
#
# Status: PASS the agent detected it; NO_DETECTION it found nothing wrong; AGENT_FAILED it ended without an answer;
# INCOMPLETE time was up; FAILED the test's surroundings; UNKNOWN anything else. Exit code 0 for PASS, else 1; 2 for usage.

set -u

usage() { echo "usage: run-live-test.sh <agent> <test-type> [--debug] [--json]" >&2; exit 2; }

agent='' test_type='' debug='' json=''
for argument in "$@"; do
    case $argument in
    --debug) debug=1 ;;
    --json) json=1 ;;
    -*) usage ;;
    *) if [ -z "$agent" ]; then agent=$argument; elif [ -z "$test_type" ]; then test_type=$argument; else usage; fi ;;
    esac
done
[ -n "$test_type" ] || usage
case "$agent$test_type" in *[!a-z0-9-]*) usage ;; esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
harness=${HARNESS_CLI:-$root/target/release/harness-cli}
[ -x "$harness" ] || harness=$(command -v harness-cli || true)
work=$(mktemp -d) || exit 1
answer=$work/answer.json
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
test_id="$agent-$test_type-$(date -u +%Y%m%dT%H%M%SZ)-$$"
seconds=${LIVE_TEST_TIMEOUT:-600}
status=UNKNOWN because='' hold='' own_namespace='' induce='' child=''
failure_induced=false incident_detected=false agent_started=false agent_completed=false
grants=()
[ -z "${HARNESS_GRANTS:-}" ] || grants=(--grants "$HARNESS_GRANTS")

say() { [ -z "$debug" ] || echo "$(date -u +%H:%M:%S) $*" >&2; }

# Runs it in the background, so that a signal is heard while it goes on.
attend() { "$@" & child=$!; wait "$child"; local code=$?; child=''; return $code; }

# A text as a JSON string: its last 4000 bytes, control characters left out.
quoted() {
    tail -c 4000 "$1" 2>/dev/null | LC_ALL=C tr -d '\000-\010\013-\037\177-\377' |
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' | awk 'BEGIN{printf "\""} {printf "%s%s", (NR > 1 ? "\\n" : ""), $0} END{printf "\""}'
}

stop_failure() {
    if [ -n "$hold" ]; then
        say "ending the hold"
        kill -TERM "$hold" 2>/dev/null
        wait "$hold"
        hold=''
    fi
    if [ -n "$induce" ]; then
        say "induce.sh stop"
        "$induce" stop >>"$work/failure.log" 2>&1 || echo "induce.sh stop did not succeed" >&2
        induce=''
    fi
    if [ -n "$own_namespace" ]; then
        kubectl delete namespace "$own_namespace" --wait=false >>"$work/failure.log" 2>&1
        own_namespace=''
    fi
}

report() {
    local end
    end=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    if [ -n "$json" ]; then
        cat <<END
{
  "test_id": "$test_id",
  "agent": "$agent",
  "test_type": "$test_type",
  "start_time": "$started",
  "end_time": "$end",
  "status": "$status",
  "message": "$because",
  "events": {
    "failure_induced": $failure_induced,
    "incident_detected": $incident_detected,
    "agent_started": $agent_started,
    "agent_completed": $agent_completed
  },
  "logs": {
    "failure": $(quoted "$work/failure.log"),
    "agent": $(quoted "$work/agent.log"),
    "answer": $(quoted "$answer")
  }
}
END
    else
        cat <<END

Live test $test_id
  Agent:             $agent
  Test type:         $test_type
  Started:           $started
  Ended:             $end
  Failure induced:   $failure_induced
  Incident detected: $incident_detected
  Agent started:     $agent_started
  Agent completed:   $agent_completed
Status: $status${because:+ ($because)}
END
        [ "$status" = PASS ] || tail -n 20 "$work/failure.log" "$work/agent.log" 2>/dev/null
    fi
}

finish() {
    trap '' INT TERM HUP
    status=$1 because=${2:-}
    stop_failure
    report
    rm -rf "$work"
    [ "$status" = PASS ]
    exit $?
}

interrupted() {
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
    finish INCOMPLETE "interrupted"
}
trap interrupted INT TERM HUP
: >"$work/failure.log"
: >"$work/agent.log"

# A namespace of its own, with the healthy workload of the failure in it, unless somebody else has prepared one.
prepare() {
    [ -z "${TEST_NAMESPACE:-}" ] || return 0
    TEST_NAMESPACE="live-$(printf '%05x' $((RANDOM * 32 + $$ % 32)))"
    kubectl create namespace "$TEST_NAMESPACE" >>"$work/failure.log" 2>&1 || return 1
    own_namespace=$TEST_NAMESPACE
    [ -f "$1/workload.yaml" ] || return 0
    kubectl --namespace "$TEST_NAMESPACE" apply --filename "$1/workload.yaml" >>"$work/failure.log" 2>&1 || return 1
    local deployment
    for deployment in $(kubectl --namespace "$TEST_NAMESPACE" get deployments --output name); do
        kubectl --namespace "$TEST_NAMESPACE" rollout status "$deployment" --timeout=120s >>"$work/failure.log" 2>&1 || return 1
    done
}

induce_by_hold() {
    [ -n "$harness" ] || finish FAILED "there is no failures/$test_type/induce.sh, and no harness-cli; set HARNESS_CLI"
    mkfifo "$work/ready"
    # In a folder of its own: nothing of it is to stay here.
    (cd "$root" && exec "$harness" --results-dir "$work/results" failures run "$test_type" --kubeconfig "$KUBECONFIG" \
        ${grants[@]+"${grants[@]}"} --hold "$((seconds + 120))s" >"$work/ready" 2>>"$work/failure.log") &
    hold=$!
    local line=''
    read -r line <"$work/ready" || true
    case $line in
    KUBECONFIG=*) ;;
    *)
        wait "$hold"
        hold=''
        finish FAILED "the failure did not take hold"
        ;;
    esac
    TEST_NAMESPACE=$(sed -n 's/^ *namespace: *//p' "${line#KUBECONFIG=}" | head -n 1)
}

[ -n "${KUBECONFIG:-}" ] || finish FAILED "KUBECONFIG is not set"
folder=''
for candidate in "$root/failures/$test_type" "$root/tests/failures/$test_type"; do
    [ ! -f "$candidate/induce.sh" ] || folder=$candidate
done
say "inducing $test_type"
if [ -n "$folder" ]; then
    command -v kubectl >/dev/null || finish FAILED "kubectl is not on PATH"
    prepare "$folder" || finish FAILED "the workload of $test_type could not be made healthy"
    export TEST_NAMESPACE TEST_POD_NAME="${TEST_POD_NAME:-live-test-pod}"
    induce=$folder/induce.sh
    attend "$induce" start >"$work/induced" 2>>"$work/failure.log" || finish FAILED "induce.sh start did not succeed"
    cat "$work/induced" >>"$work/failure.log"
    given=$(sed -n 's/^TIMEOUT=\([0-9][0-9]*\)$/\1/p' "$work/induced" | tail -n 1)
    seconds=${given:-$seconds}
else
    induce_by_hold
fi
failure_induced=true
export TEST_NAMESPACE HARNESS_NAMESPACE=$TEST_NAMESPACE HARNESS_ANSWER=$answer

say "running $agent in $TEST_NAMESPACE for at most $seconds s"
agent_started=true
if [ -x "$root/agents/$agent/run.sh" ]; then
    attend timeout -k 10 "$seconds" "$root/agents/$agent/run.sh" >>"$work/agent.log" 2>&1
    code=$?
    [ "$code" != 124 ] || finish INCOMPLETE "the agent's time was up"
    [ "$code" = 0 ] || [ -s "$answer" ] || finish AGENT_FAILED "it exited with code $code and left no answer"
elif [ -n "$harness" ]; then
    attend "$harness" --agents-dir "$root/agents" agents run "$agent" --kubeconfig "$KUBECONFIG" --namespace "$TEST_NAMESPACE" \
        ${grants[@]+"${grants[@]}"} --timeout-per-test "${seconds}s" --answer "$answer" >>"$work/agent.log" 2>&1
    code=$?
    case $code in
    0) ;;
    10) grep -q '^The agent ended: time was up' "$work/agent.log" && finish INCOMPLETE "the agent's time was up"
        finish AGENT_FAILED "it left no answer that can be read" ;;
    *) agent_started=false
        finish FAILED "the agent could not be run" ;;
    esac
else
    agent_started=false
    finish FAILED "there is no agents/$agent/run.sh, and no harness-cli; set HARNESS_CLI"
fi
agent_completed=true

if grep -Eq '"fault_present"[[:space:]]*:[[:space:]]*true' "$answer" 2>/dev/null; then
    incident_detected=true
    finish PASS
elif grep -Eq '"fault_present"[[:space:]]*:[[:space:]]*false' "$answer" 2>/dev/null; then
    finish NO_DETECTION "it found nothing wrong"
fi
finish AGENT_FAILED "it left no answer that can be read"
