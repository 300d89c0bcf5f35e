#!/usr/bin/env bash
# Writes deploy/ringress.yaml from the chart; with --check compares instead.
#
#   deploy/manifest.sh [--check]
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/helm"
# shellcheck source=SCRIPTDIR/helm/helm.sh
source ./helm.sh

main() {
    case ${1:-} in
        '') manifest >../ringress.yaml.new && mv ../ringress.yaml.new ../ringress.yaml ;;
        --check) diff -u ../ringress.yaml <(manifest) ;;
        *) echo 'usage: deploy/manifest.sh [--check]' >&2; exit 2 ;;
    esac
}

manifest() {
    cat <<'HEADER'
# ringress, for kubectl apply -f. Made by deploy/manifest.sh from deploy/helm/ringress and its
# ci/manifest-values.yaml: change those, and run it again.
---
apiVersion: v1
kind: Namespace
metadata:
  name: ringress
  labels:
    app.kubernetes.io/name: ringress
    app.kubernetes.io/instance: ringress
    pod-security.kubernetes.io/enforce: restricted
HEADER
    # helm does not manage what kubectl applies, and nobody runs its hooks.
    render ringress/ci/manifest-values.yaml --no-hooks | sed -e '/^# Source: /d' -e '/helm\.sh\/chart: /d' -e '/app\.kubernetes\.io\/managed-by: Helm/d'
}

main "$@"
