#!/usr/bin/env bash
# Renders the chart with every ci/*-values.yaml and compares with ci/golden; sees that what must be refused is refused, and
# that deploy/ringress.yaml, the alerts and the dashboard say what the chart and the binary say.
#
#   deploy/helm/test.sh            compare
#   deploy/helm/test.sh --update   write the golden files and deploy/ringress.yaml anew
#   deploy/helm/test.sh --server   the golden files, too, by a dry run of the API server that kubectl speaks to; creates
#                                  namespaces and definitions of foreign kinds there: for clusters to throw away
#
# HELM      the helm to use (on the PATH, else the one that ringress-e2e has built)
# KUBECTL   the kubectl to use (kubectl)
# RINGRESS  the binary whose flags are compared (else that is left out, and said)
set -euo pipefail
shopt -s inherit_errexit nullglob
cd "$(dirname "$0")"
# shellcheck source=SCRIPTDIR/helm.sh
source ./helm.sh

chart=ringress
golden=$chart/ci/golden
failures=0

main() {
    case ${1:-} in
        --update) update ;;
        --server) server ;;
        '') check ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    if [[ $failures -gt 0 ]]; then
        echo "$failures failed" >&2
        exit 1
    fi
}

check() {
    local values name
    for values in "$chart"/ci/*-values.yaml; do
        name=$(name_of "$values")
        check_that "$name passes lint" helm lint --strict "$chart" -f "$values"
        check_that "$name is as in $golden/$name.yaml" same "$golden/$name.yaml" render "$values"
        check_that "$name has the notes of $golden/$name.txt" same "$golden/$name.txt" notes "$values"
    done
    for values in "$chart"/ci/refused/*.yaml; do
        check_that "$(basename "$values" .yaml) is refused in so many words" refused "$values"
    done
    check_that 'no golden file is left over' no_leftovers
    check_that 'deploy/ringress.yaml is what the chart says' ../manifest.sh --check
    check_that 'kubectl ringress finds the pods of every golden file' pods_are_found
    check_that 'commonLabels are on every object and every pod' labels_are_common
    check_that 'every metric of the alerts and the dashboard exists' metrics_exist
    if [[ -n ${RINGRESS:-} ]]; then
        check_that 'the flags of the chart are those of the binary' flags_are_known
    else
        echo 'left out: the flags of the chart are those of the binary (RINGRESS names none)'
    fi
}

update() {
    local values name
    mkdir -p "$golden"
    for values in "$chart"/ci/*-values.yaml; do
        name=$(name_of "$values")
        render "$values" >"$golden/$name.yaml"
        notes "$values" >"$golden/$name.txt"
    done
    ../manifest.sh
}

# Pods on the network or on ports of their node cannot meet the strictest Pod Security standard; all others have to.
server() {
    local kubectl=${KUBECTL:-kubectl} file namespace namespaces
    "$kubectl" apply --server-side -f "$chart/ci/server/definitions.yaml"
    mapfile -t namespaces < <(sed -n 's/^  namespace: //p' "$golden"/*.yaml ../ringress.yaml | sort -u)
    for namespace in "${namespaces[@]}"; do
        "$kubectl" create namespace "$namespace" --dry-run=client -o yaml | "$kubectl" apply --server-side -f -
        "$kubectl" label --overwrite namespace "$namespace" pod-security.kubernetes.io/warn=restricted
    done
    for file in "$golden"/*.yaml ../ringress.yaml; do
        check_that "the API server takes $(basename "$file")" dry_run "$kubectl" "$file"
    done
    check_that 'a monitor without its port is refused' missed "$kubectl" port
    check_that 'an alert without its expression is refused' missed "$kubectl" expr
}

# missed KUBECTL FIELD: without a field that a foreign kind requires the API server does not take what it took before.
missed() {
    local said
    if said=$(dry_run "$1" <(without "$2" "$golden/monitoring.yaml")); then
        echo 'it is taken'
        return 1
    fi
    grep -qF "$2: Required value" <<<"$said" || { echo "$said"; return 1; }
}

# Where it stands first in an object of a foreign kind.
without() {
    awk -v field="$1" '
        /^kind: / { is_foreign = $2 == "ServiceMonitor" || $2 == "PrometheusRule" }
        is_foreign && !is_over && $0 ~ "^ *(- )?" field ": " { is_over = 1; sub(field ": .*", "") }
        { print }' "$2"
}

dry_run() {
    local said
    said=$("$1" apply --server-side --force-conflicts --dry-run=server --validate=strict -f "$2" 2>&1) || { echo "$said"; return 1; }
    # Warnings are about fields that will go, and about pods that a namespace would not take.
    said=$(sed -n '/^Warning/p' <<<"$said")
    if grep -q 'hostPort: \|hostNetwork: true' "$2"; then
        said=$(sed '/would violate PodSecurity/d' <<<"$said")
    fi
    [[ -z $said ]] || { echo "$said"; return 1; }
}

# same FILE COMMAND…: what the command prints is what the file holds.
same() {
    local file=$1
    shift
    diff -u "$file" <("$@")
}

refused() {
    local said wanted missing=0
    if said=$(helm template ringress "$chart" --namespace ringress -f "$1" 2>&1); then
        echo 'it is taken'
        return 1
    fi
    while IFS= read -r wanted; do
        if ! grep -qF -- "$wanted" <<<"$said"; then
            echo "nothing says: $wanted"
            missing=1
        fi
    done < <(sed -n 's/^# says: //p' "$1")
    [[ $missing = 0 ]] || echo "$said"
    return "$missing"
}

no_leftovers() {
    local file found=0
    for file in "$golden"/*; do
        if [[ ! -e $chart/ci/$(basename "${file%.*}")-values.yaml ]]; then
            echo "$file has no values"
            found=1
        fi
    done
    return "$found"
}

# By a label that no value changes.
pods_are_found() {
    local label file missing=0
    label=$(sed -nE 's/^pub\(crate\) const LABEL: &str = "(.*)=(.*)";$/\1: \2/p' ../../controlplane/ringress/src/ask/cluster.rs)
    [[ -n $label ]] || { echo 'the plugin names no label'; return 1; }
    for file in "$golden"/*.yaml ../ringress.yaml; do
        # Eight spaces: in the template of a Deployment or DaemonSet.
        if ! grep -qx "        $label" "$file"; then
            echo "$file has no pods with $label"
            missing=1
        fi
    done
    return "$missing"
}

# Labels of metadata stand two deep, those of a pod template six.
labels_are_common() {
    local file unlabelled=0
    for file in "$chart"/ci/*-values.yaml; do
        if ! render "$file" --set commonLabels.marked=everywhere |
            awk '
                function judge() {
                    if (kind != "" && labelled != marked) { print kind ": " labelled " with labels, " marked " with the common ones"; wrong = 1 }
                    kind = ""; labelled = 0; marked = 0
                }
                /^---/ { judge() }
                /^kind: / { kind = $2 }
                /^(  |      )labels:$/ { labelled++ }
                /^ *marked: everywhere$/ { marked++ }
                END { judge(); exit wrong }'; then
            echo "in $file"
            unlabelled=1
        fi
    done
    return "$unlabelled"
}

# Histograms and counters are exposed under longer names than they are declared with.
metrics_exist() {
    local name missing=0
    while IFS= read -r name; do
        if ! grep -rqE "\"($name|${name%_bucket}|${name%_total})\"" ../../shared/src/metric.rs ../../controlplane/controller/src/admin; then
            echo "$name is not exposed"
            missing=1
        fi
    done < <(grep -ohE '\b(ringress|process)_[a-z_]+[a-z]\b' "$chart"/files/alerts.yaml "$chart"/files/dashboard.json | sort -u)
    return "$missing"
}

flags_are_known() {
    diff <(sed -nE 's/^  - ([a-z-]+)$/\1/p; s/^  ([a-z-]+): .*/\1/p' "$chart/files/flags.yaml" | sort -u) \
        <("$RINGRESS" run --help | sed -nE 's/^ +(-[a-zA-Z], )?--([a-z-]+).*/\2/p' | grep -vx help | sort -u)
}

# check_that WHAT COMMAND…: one line where it holds; what the command printed where it does not.
check_that() {
    local what=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        echo "$said"
        failures=$((failures + 1))
    fi
}

name_of() {
    basename "$1" -values.yaml
}

main "$@"
