# shellcheck shell=bash
# Sourced by the scripts around the chart: helm, and what it says of a chart.

helm_binary=${HELM:-$(command -v helm || true)}
if [[ -z $helm_binary ]]; then
    # The one that ringress-e2e has built; the newest where there are several.
    helm_binary=$(find "${XDG_CACHE_HOME:-$HOME/.cache}/ringress/helm" -name helm -type f -printf '%T@ %p\n' 2>/dev/null | sort -rn | head -n 1 | cut -d ' ' -f 2-)
fi
if [[ ! -x $helm_binary ]]; then
    echo 'no helm: set HELM, put it on the PATH, or let "cargo run -p ringress-e2e -- up" build it' >&2
    exit 3
fi

# Without the configuration and the cluster of whoever calls.
helm() {
    KUBECONFIG=/dev/null HELM_NAMESPACE=ringress "$helm_binary" "$@"
}

# render VALUES [FLAG…]
render() {
    helm template ringress ringress --namespace ringress -f "$@"
}

# notes VALUES
notes() {
    helm install ringress ringress --namespace ringress -f "$1" --dry-run=client 2>/dev/null | sed -n '/^NOTES:/,$p'
}
