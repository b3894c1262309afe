package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
)

// options are the command line.
type options struct {
	sizes        []int64 // bytes of the images
	size         int64   // of them, the one at work
	rounds       int
	compressions []string
	targets      []string
	peers        bool
	json         string
	dir          string
	flipside     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 2 && os.Args[1] == "stage" {
		err = stage(os.Args[2], os.Args[3:])
	} else {
		err = bench(ctx, parse())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse() options {
	var o options
	sizes := flag.String("size", "512", "size of the image in `MiB`; a list shows how cost grows: 64,512,4096")
	compressions := flag.String("compressions", "none,gzip,zstd,lzma", "which to measure")
	targets := flag.String("targets", "fresh,identical,changed", "what the slot holds before")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything runs")
	flag.BoolVar(&o.peers, "peers", true, "measure other updaters too")
	flag.StringVar(&o.json, "json", "", "write the results to `FILE` too")
	flag.StringVar(&o.flipside, "flipside", "", "the `BINARY` to measure")
	flag.StringVar(&o.dir, "dir", "", "`DIRECTORY` on the disk to measure on; images and artifacts stay there for the next time")
	flag.Parse()
	for mib := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.ParseInt(mib, 10, 32)
		if err != nil || n < 1 {
			fmt.Fprintln(os.Stderr, "bench: no size:", mib)
			os.Exit(2)
		}
		o.sizes = append(o.sizes, n<<20)
	}
	o.compressions, o.targets = strings.Split(*compressions, ","), strings.Split(*targets, ",")
	return o
}

func bench(ctx context.Context, o options) (err error) {
	if o.flipside == "" || o.dir == "" || flag.NArg() > 0 {
		return errors.New("usage: .ci/bench [-size MIB,...] [-rounds N] [-compressions LIST] [-targets LIST] [-peers=false] [-json FILE]")
	}
	if o.flipside, err = filepath.Abs(o.flipside); err != nil {
		return err
	}
	var all []result
	for _, o.size = range o.sizes {
		results, err := benchSize(ctx, o)
		if err != nil {
			return err
		}
		all = append(all, results...)
	}
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(map[string]any{"machine": machine(), "rounds": o.rounds, "results": all}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o644)
}

// benchSize measures all cases with images of one size.
func benchSize(ctx context.Context, o options) ([]result, error) {
	m, err := makeMaterial(ctx, o)
	if err != nil {
		return nil, err
	}
	r, err := newRig(ctx, o, m)
	if err != nil {
		return nil, err
	}
	defer r.close()
	fmt.Printf("%s, image of %d MiB, medians of %d rounds\n", machine(), o.size>>20, o.rounds)
	var all []result
	for _, target := range o.targets {
		for _, c := range o.compressions {
			results, err := r.measure(ctx, target, c)
			if err != nil {
				return nil, err
			}
			printTable(os.Stdout, target, c, results)
			all = append(all, results...)
		}
	}
	return all, nil
}
