#!/usr/bin/env bash
# A kind cluster with the lab in it: what `make kind-up`, `kind-load`, `kind-down` and `kind-logs` run.
#   charts/kind.sh up | load | down | logs
# From the environment:
#   KIND_CLUSTER          the cluster's name                        faultlab
#   KIND_NODE_IMAGE       the nodes' image                          the one that charts/kind.yaml names
#   FAULTLAB_PAGES_PORT   this machine's port of the lab's pages    8080 (taken when the cluster is made)
#   FAULTLAB_LOCUST_PORT  this machine's port of Locust's page      8089 (likewise)
# Needs bash 3.2 or later, docker, kind, kubectl, helm. Every step may be run again; `up` goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KIND_VERSION=v0.33.0
KUBECTL_VERSION=v1.34.11
CLUSTER=${KIND_CLUSTER:-faultlab}
CONTEXT=kind-$CLUSTER
RELEASE=faultlab
RELEASE_NAMESPACE=faultlab-system
SYSTEMS_NAMESPACE=faultlab
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
IMAGE=faultlab/faultlab:$VERSION
IMAGE_SOURCES="Dockerfile .dockerignore requirements.lock requirements-build.lock pyproject.toml README.md LICENSE
  chaos/faultlab_chaos operator/faultlab_operator workloads/faultlab"
RESULTS=results/kind
LOG=$RESULTS/$CLUSTER.log

# --- what a person sees -------------------------------------------------------------------------------------------

say() { printf '%s\n' "$@"; }

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# step TEXT COMMAND...: one line with the seconds it took; what the command says goes to the log.
step() {
  local text=$1 from=$SECONDS
  shift
  printf '%-68s' "$text"
  printf '\n== %s: %s\n' "$text" "$*" >>"$LOG"
  if "$@" >>"$LOG" 2>&1; then
    printf '%5d s\n' $((SECONDS - from))
    return 0
  fi
  printf 'failed after %d s\n' $((SECONDS - from))
  tail -n 25 "$LOG" | sed 's/^/    /' >&2
  say "  all of it: $LOG" >&2
  return 1
}

half_made=
exec 4>&2
interrupted() {
  trap '' INT TERM
  exec 2>&4 # the step that was interrupted had its output in the log
  printf '\ninterrupted\n' >&2
  if [ -n "$half_made" ]; then
    say "removing the half-made cluster $CLUSTER" >&2
    kind delete cluster --name "$CLUSTER" >>"$LOG" 2>&1 || true
  else
    say "what is done stays; make kind-up goes on, make kind-down removes all of it" >&2
  fi
  exit 130
}
trap interrupted INT TERM

# --- what it is made with -------------------------------------------------------------------------------------------

# download NAME URL: the command that gets a program.
download() {
  if [ "$(uname -s)" = Darwin ]; then
    say "brew install $1"
  else
    say "curl -fLo /tmp/$1 $2 && sudo install /tmp/$1 /usr/local/bin/$1"
  fi
}

# how_to_get PROGRAM: in the words of `faultlab doctor`.
how_to_get() {
  local system machine
  system=$(uname -s | tr '[:upper:]' '[:lower:]')
  machine=$(uname -m | sed 's/^x86_64$/amd64/;s/^aarch64$/arm64/')
  case $1 in
    docker)
      if [ "$system" = darwin ]; then
        say "brew install --cask docker"
      elif command -v dnf >/dev/null; then
        say "sudo dnf install moby-engine && sudo systemctl enable --now docker && sudo usermod -aG docker \$USER   (then log in again)"
      else
        say "sudo apt install docker.io && sudo usermod -aG docker \$USER   (then log in again)"
      fi ;;
    kind) download kind "https://kind.sigs.k8s.io/dl/$KIND_VERSION/kind-$system-$machine" ;;
    kubectl) download kubectl "https://dl.k8s.io/release/$KUBECTL_VERSION/bin/$system/$machine/kubectl" ;;
    helm)
      if [ "$system" = darwin ]; then
        say "brew install helm"
      elif command -v dnf >/dev/null; then
        say "sudo dnf install helm"
      else
        say "curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash"
      fi ;;
  esac
}

# need PROGRAM...: all of them are there and docker's engine answers; else every one that is missing is named.
need() {
  local program missing='' said fix
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    missing=1
    printf 'missing: %s\n  get it:  %s\n' "$program" "$(how_to_get "$program")" >&2
  done
  [ -z "$missing" ] || exit 1
  if ! said=$(docker version --format '{{.Server.Version}}' 2>&1); then
    case $said in
      *[Pp]ermission\ denied*) fix="sudo usermod -aG docker \$USER   (then log in again)" ;;
      *) if [ "$(uname -s)" = Darwin ]; then fix="start Docker Desktop"; else fix="sudo systemctl enable --now docker"; fi ;;
    esac
    fail "docker's engine does not answer: $(printf '%s' "$said" | tail -n 1)" "  mend it:  $fix"
  fi
}

# --- the cluster ----------------------------------------------------------------------------------------------------

cluster_exists() { kind get clusters 2>/dev/null | grep -Fxq "$CLUSTER"; }

cluster_answers() { kubectl --context "$CONTEXT" --request-timeout 5s get --raw /readyz >/dev/null 2>&1; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port PORT WHAT VARIABLE
free_port() {
  case $1 in '' | *[!0-9]*) fail "$3=$1: expected a port's number" ;; esac
  if listens "$1"; then
    fail "port $1 of this machine is taken, and the cluster wants it for $2" \
      "  free it, or take another one:  make kind-up $3=$(($1 + 10000))"
  fi
}

kind_configuration() {
  sed -e "s/hostPort: 8080/hostPort: $1/" -e "s/hostPort: 8089/hostPort: $2/" charts/kind.yaml
}

create_cluster() {
  kind_configuration "$1" "$2" |
    kind create cluster --name "$CLUSTER" --config - ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --wait 120s
}

# The cluster, new or as it was. A kubeconfig that does not know it yet is told.
ensure_cluster() {
  local pages=${FAULTLAB_PAGES_PORT:-8080} locust=${FAULTLAB_LOCUST_PORT:-8089}
  if ! cluster_exists; then
    free_port "$pages" "the lab's pages" FAULTLAB_PAGES_PORT
    free_port "$locust" "Locust's page" FAULTLAB_LOCUST_PORT
    half_made=1
    step "making the cluster $CLUSTER" create_cluster "$pages" "$locust"
    half_made=
    return
  fi
  cluster_answers || kind export kubeconfig --name "$CLUSTER" >>"$LOG" 2>&1 || true
  cluster_answers || fail "the cluster $CLUSTER is there, but its API does not answer (half made, or the machine was restarted)" \
    "  make it anew:  make kind-down kind-up"
  say "cluster $CLUSTER is there: upgrading what is in it"
}

nodes_ready() { kubectl --context "$CONTEXT" wait --for=condition=Ready nodes --all --timeout=180s; }

# kind's own wait is for the control plane alone. What keeps the others from being ready is mostly the kernel's
# bound for one user's watches of files, which all nodes share.
explain_unready_nodes() {
  local limit
  {
    kubectl --context "$CONTEXT" --request-timeout 10s get nodes
    kubectl --context "$CONTEXT" --request-timeout 10s -n kube-system get pods --field-selector status.phase!=Succeeded
  } 2>&1 | sed 's/^/    /' >&2
  limit=$(cat /proc/sys/fs/inotify/max_user_instances 2>/dev/null || say 8192)
  if [ "$limit" -lt 512 ]; then
    say "  fs.inotify.max_user_instances is $limit here, little for a cluster of four nodes (\"too many open files\"):" \
      "    sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288" \
      "    make kind-down kind-up" >&2
  fi
  fail "  more:  make kind-logs"
}

# host_url NODE_PORT: where this machine's browsers reach a node port, as the cluster was made; empty if nowhere.
host_url() {
  local port
  port=$(docker port "$CLUSTER-control-plane" "$1/tcp" 2>/dev/null | sed -n '1s/.*://p')
  [ -z "$port" ] || say "http://localhost:$port"
}

# --- the image ------------------------------------------------------------------------------------------------------

# The last commit that changed what is in the image, so that other commits do not make a new image.
revision() {
  local commit
  # shellcheck disable=SC2086  # a list of paths
  if commit=$(git log -1 --format=%H -- $IMAGE_SOURCES 2>/dev/null) && [ -n "$commit" ]; then
    git diff --quiet HEAD -- $IMAGE_SOURCES || commit=$commit-dirty
    say "$commit"
  else
    say unknown
  fi
}

build_image() {
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --tag "$IMAGE" \
    --build-arg VERSION="$VERSION" --build-arg REVISION="$(revision)" .
}

# Nodes that have this very image are left alone (kind compares the ids).
load_image() { kind load docker-image "$IMAGE" --name "$CLUSTER"; }

image_id() { docker image inspect --format '{{.Id}}' "$IMAGE"; }

# --- the lab --------------------------------------------------------------------------------------------------------

# The image's id stands in the pods' annotations: a new image under the same tag still rolls them.
install_chart() {
  local id
  id=$(image_id)
  helm upgrade --install "$RELEASE" charts/faultlab --kube-context "$CONTEXT" \
    --namespace "$RELEASE_NAMESPACE" --create-namespace --values charts/kind-values.yaml \
    --set-string "pages.url=$(host_url 30080),pages.locustURL=$(host_url 30089)" \
    --set-string "operator.podAnnotations.faultlab\.dev/image-id=$id" \
    --set-string "agent.podAnnotations.faultlab\.dev/image-id=$id" \
    --wait --timeout 3m || return 1
  # To helm, a DaemonSet with one pod missing is ready.
  kubectl --context "$CONTEXT" --namespace "$RELEASE_NAMESPACE" rollout status daemonset/faultlab-agent --timeout 60s
}

explain_failed_install() {
  local kube="kubectl --context $CONTEXT --request-timeout 10s -n $RELEASE_NAMESPACE"
  {
    $kube get pods
    $kube get events --field-selector type=Warning --sort-by=.lastTimestamp | tail -n 8
    $kube logs deployment/faultlab-operator --tail 15
  } 2>&1 | sed 's/^/    /' >&2
  if tail -n 5 "$LOG" | grep -q 'another operation'; then
    say "  a helm that was killed still holds the release; if none is running any more:" \
      "  kubectl --context $CONTEXT -n $RELEASE_NAMESPACE delete secret -l 'owner=helm,name=$RELEASE,status in (pending-install,pending-upgrade,pending-rollback)'" >&2
  fi
  fail "  what its pods say:  make kind-logs"
}

what_next() {
  local pages locust
  pages=$(host_url 30080) locust=$(host_url 30089)
  cat <<END

The lab is in the cluster $CLUSTER (context $CONTEXT, namespace $SYSTEMS_NAMESPACE). Next:
  kubectl apply -f chaos/scenarios/raft-leader-partition.yaml
  kubectl get scenarios -w
or, after \`make install\`, with the live view; and what any run left behind:
  .venv/bin/faultlab run chaos/scenarios/raft-leader-partition.yaml --context $CONTEXT
  .venv/bin/faultlab report raft-leader-partition --context $CONTEXT
Runs and reports: ${pages:-not mapped to this machine}   Locust: ${locust:-not mapped to this machine}
make kind-logs collects what to look at when something is wrong; make kind-down removes the cluster.
END
}

# --- the commands ---------------------------------------------------------------------------------------------------

up() {
  need docker kind kubectl helm
  ensure_cluster
  step "building $IMAGE" build_image || exit 1
  step "waiting until all nodes are ready" nodes_ready || explain_unready_nodes
  step "loading it into the nodes" load_image || exit 1
  step "installing the chart, waiting until all is ready" install_chart || explain_failed_install
  kubectl config set-context "$CONTEXT" --namespace "$SYSTEMS_NAMESPACE" >>"$LOG"
  say "ready after $SECONDS s"
  what_next
}

load() {
  need docker kind
  cluster_exists || fail "there is no cluster $CLUSTER; make it first:  make kind-up"
  step "building $IMAGE" build_image || exit 1
  step "loading it into the nodes" load_image || exit 1
}

down() {
  need docker kind
  if cluster_exists; then
    step "deleting the cluster $CLUSTER" kind delete cluster --name "$CLUSTER"
  else
    say "there is no cluster $CLUSTER"
  fi
}

mkdir -p "$RESULTS"
case ${1:-} in
  up | load | down)
    : >"$LOG"
    "$1"
    ;;
  logs) . charts/kind-logs.sh ;;
  *) fail "usage: charts/kind.sh up|load|down|logs" ;;
esac
