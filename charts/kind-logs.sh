# Sourced by charts/kind.sh: what there is to look at when something is wrong, under results/kind/logs-*/.
# Works as far as what it asks works: each question has a file of its own and a deadline, and a failure is written
# down and passed over. Secrets are not asked for.
# shellcheck shell=bash

DEADLINE_S=60
failures=0

# with_deadline COMMAND...: ends a command that hangs; plain on machines without coreutils' timeout.
with_deadline() {
  if command -v timeout >/dev/null; then timeout --foreground "$DEADLINE_S" "$@"; else "$@"; fi
}

# keep FILE COMMAND...: what a command says, in a file.
keep() {
  local file=$folder/$1
  shift
  mkdir -p "$(dirname "$file")"
  printf '$ %s\n' "$*" >"$file"
  if ! with_deadline "$@" >>"$file" 2>&1; then
    failures=$((failures + 1))
    printf '%s: %s\n' "${file#"$folder"/}" "$(tail -n 1 "$file")" >>"$folder/failed.txt"
  fi
}

ask() {
  local file=$1
  shift
  keep "$file" kubectl --context "$CONTEXT" --request-timeout 20s "$@"
}

# Pods that are the lab's: its own, and those of every namespace with a system in it.
lab_namespaces() {
  {
    say "$RELEASE_NAMESPACE"
    say "$SYSTEMS_NAMESPACE"
    with_deadline kubectl --context "$CONTEXT" --request-timeout 20s get namespaces \
      -l faultlab.dev/chaos=enabled -o name 2>/dev/null | sed 's,^namespace/,,'
  } | sort -u
}

pods_of() {
  with_deadline kubectl --context "$CONTEXT" --request-timeout 20s -n "$1" get pods -o name 2>/dev/null | sed 's,^pod/,,'
}

collect_logs() {
  local namespace pod
  folder=$RESULTS/logs-$CLUSTER-$(date +%Y%m%d-%H%M%S)
  mkdir -p "$folder"
  say "collecting in $folder"

  keep docker/containers.txt docker ps --all --filter "label=io.x-k8s.kind.cluster=$CLUSTER"
  keep docker/version.txt docker version
  keep docker/image.txt docker image inspect "$IMAGE"
  ask cluster/objects.txt get nodes,namespaces,pods,deployments,daemonsets,statefulsets,services,pvc,pv,pdb,leases -A -o wide
  ask cluster/events.txt get events -A --sort-by=.lastTimestamp
  ask cluster/nodes.txt describe nodes
  ask cluster/crds.txt get crds -o wide
  ask lab/objects.yaml get raftclusters,loadtests,networkpartitions,scenarios -A -o yaml
  ask lab/objects.txt get raftclusters,loadtests,networkpartitions,scenarios -A
  keep helm/status.txt helm --kube-context "$CONTEXT" -n "$RELEASE_NAMESPACE" status "$RELEASE" --show-resources
  keep helm/history.txt helm --kube-context "$CONTEXT" -n "$RELEASE_NAMESPACE" history "$RELEASE"
  keep helm/values.txt helm --kube-context "$CONTEXT" -n "$RELEASE_NAMESPACE" get values "$RELEASE" --all
  keep helm/manifest.yaml helm --kube-context "$CONTEXT" -n "$RELEASE_NAMESPACE" get manifest "$RELEASE"
  for namespace in $(lab_namespaces); do
    ask "pods/$namespace/describe.txt" -n "$namespace" describe pods
    for pod in $(pods_of "$namespace"); do
      ask "pods/$namespace/$pod.log" -n "$namespace" logs "$pod" --all-containers --timestamps
      ask "pods/$namespace/$pod.previous.log" -n "$namespace" logs "$pod" --all-containers --timestamps --previous
    done
  done
  keep kind-export.txt kind export logs "$folder/nodes" --name "$CLUSTER"

  if [ "$failures" -gt 0 ]; then
    say "$failures of the questions had no answer (a pod without a previous life is one): $folder/failed.txt"
  fi
  say "done after $SECONDS s"
}

collect_logs
