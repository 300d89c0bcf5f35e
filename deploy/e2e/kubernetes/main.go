// The control plane of the cluster in a box, as one program: its first argument, or the name it was started by, says which
// part it is.
//
// One process per part: feature gates, metrics registries and signal handlers of these packages belong to the whole
// process, so they cannot share one. One program for all: they share nine tenths of their code, which is linked once.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	kubectlcli "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	// kubectl and the controller manager log by these.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

var parts = map[string]func(){
	"etcd":                    runEtcd,
	"kube-apiserver":          func() { serve(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { serve(controllers.NewControllerManagerCommand()) },
	"kubectl":                 runKubectl,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := parts[name]; !known && len(os.Args) > 1 {
		name = os.Args[1]
		// Each part reads its arguments from os.Args.
		os.Args = append([]string{name}, os.Args[2:]...)
	}
	part, known := parts[name]
	if !known {
		fmt.Fprintln(os.Stderr, "usage: etcd | kube-apiserver | kube-controller-manager | kubectl, then its arguments")
		os.Exit(2)
	}
	part()
}

func serve(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func runKubectl() {
	// cli.RunNoErrOutput leaves printing to kubectl's own error handler.
	if err := cli.RunNoErrOutput(kubectlcli.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}

func runEtcd() {
	if err := etcd(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "etcd:", err)
		os.Exit(1)
	}
}
