package main

import (
	"context"
	"errors"
	"flag"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcd serves one member until the process is asked to end.
//
// Nothing is synced to disk: a box that loses its machine is thrown away, and syncing costs every write of every test.
func etcd(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	data := flags.String("data-dir", "", "folder of the member")
	client := flags.String("listen-client-url", "http://127.0.0.1:2379", "where clients connect")
	peer := flags.String("listen-peer-url", "http://127.0.0.1:2380", "where other members would connect")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := configure(*data, *client, *peer)
	if err != nil {
		return err
	}
	member, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer member.Close()
	asked, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	select {
	case <-asked.Done():
		return nil
	case <-member.Server.StopNotify():
		return errors.New("the member stopped by itself")
	case err := <-member.Err():
		return err
	}
}

func configure(data, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, err
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Name = "box"
	config.Dir = data
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.ListenClientUrls = []url.URL{*clientURL}
	config.AdvertiseClientUrls = []url.URL{*clientURL}
	config.ListenPeerUrls = []url.URL{*peerURL}
	config.AdvertisePeerUrls = []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.TickMs = 50
	config.ElectionMs = 500
	config.AutoCompactionMode = "periodic"
	config.AutoCompactionRetention = (10 * time.Minute).String()
	config.QuotaBackendBytes = 8 << 30
	return config, config.Validate()
}
