// Command stargz-snapshotter serves stargz-snapshotter's own snapshotter on a Unix socket for containerd.
//
// Upstream's program lies in a Go module that cannot be had by itself; this does what it does, without key chains.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/pelletier/go-toml"
	"google.golang.org/grpc"
)

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: stargz-snapshotter SOCKET ROOT CONFIG"))
	}
	socket, root, path := os.Args[1], os.Args[2], os.Args[3]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	tree, err := toml.LoadFile(path)
	if err != nil {
		fail(err)
	}
	var config service.Config
	if err := tree.Unmarshal(&config); err != nil {
		fail(err)
	}
	snapshotter, err := service.NewStargzSnapshotterService(ctx, root, &config)
	if err != nil {
		fail(err)
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	listener, err := net.Listen("unix", socket)
	if err != nil {
		fail(err)
	}
	fmt.Println("serving")
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		fail(err)
	}
	if err := snapshotter.Close(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "stargz-snapshotter:", err)
	os.Exit(1)
}
