package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// contender is one row of a table.
type contender struct {
	name    string
	command func(ctx context.Context) *exec.Cmd
	after   []string // a command that makes it ready for the next round
	writes  bool     // to the slot
	tar     bool     // what it writes is the image inside of a tar archive
}

// result is a row with its numbers: medians.
type result struct {
	Size        int64  `json:"size"` // bytes of the image
	Target      string `json:"target"`
	Compression string `json:"compression"`
	Name        string `json:"name"`
	cost
	Ratio float64 `json:"ratio"` // wall, to the first row in the same round
}

// measure runs one case.
func (r *rig) measure(ctx context.Context, target, compression string) ([]result, error) {
	all := r.contenders(target, compression)
	costs := make([][]cost, len(all))
	for round := range r.rounds {
		for i, c := range all {
			if c.writes {
				if err := r.fill(ctx, target); err != nil {
					return nil, err
				}
			}
			cost, err := r.run(c.command(ctx))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if round == 0 && c.writes && !c.tar {
				if err := r.holds(ctx); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if c.after != nil {
				if err := output(exec.CommandContext(ctx, c.after[0], c.after[1:]...)); err != nil {
					return nil, err
				}
			}
			costs[i] = append(costs[i], cost)
		}
	}
	return r.results(target, compression, all, costs), nil
}

func (r *rig) results(target, compression string, all []contender, costs [][]cost) []result {
	var results []result
	for i, c := range all {
		ratios := make([]float64, r.rounds)
		for round := range ratios {
			ratios[round] = costs[i][round].Wall / costs[0][round].Wall
		}
		results = append(results, result{Size: r.size, Target: target, Compression: compression, Name: c.name, Ratio: median(ratios), cost: cost{
			Wall:    median(column(costs[i], func(c cost) float64 { return c.Wall })),
			CPU:     median(column(costs[i], func(c cost) float64 { return c.CPU })),
			RSS:     median(column(costs[i], func(c cost) float64 { return c.RSS })),
			Written: median(column(costs[i], func(c cost) float64 { return c.Written })),
		}})
	}
	return results
}

func column(costs []cost, field func(cost) float64) []float64 {
	var all []float64
	for _, c := range costs {
		all = append(all, field(c))
	}
	return all
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// contenders are who runs in a case, flipside first. The stages and the shell do not care what the
// slot holds.
func (r *rig) contenders(target, compression string) []contender {
	flipside := func(name string, options ...string) contender {
		args := slices.Concat([]string{"--sandbox", r.sandbox, "--progress", "none", "install"}, options, []string{r.artifact(compression)})
		return contender{name: name, command: command(r.flipside, args...), writes: true, after: []string{r.flipside, "--sandbox", r.sandbox, "rollback"}}
	}
	first := flipside("flipside, verified while written, no read-back", "--single-pass", "--no-verify-media")
	all := []contender{
		first,
		flipside("flipside, verified while written", "--single-pass"),
		flipside("flipside, verified before too"),
		onOneProcessor(first),
	}
	if target != "fresh" {
		return append(all, r.others(compression)...)
	}
	stage := func(name string, writes bool, args ...string) contender {
		return contender{name: "stage: " + name, command: command(r.self, append([]string{"stage"}, args...)...), writes: writes}
	}
	all = append(all,
		stage("read the source", false, "source", r.artifact(compression)),
		stage("unpack", false, "decode", r.artifact(compression)),
		stage("hash", false, "hash", r.image),
		stage("write", true, "write", r.image, r.loopB),
		stage("read back", false, "read", r.image, r.loopB),
		contender{name: "shell: unpack | dd", command: command("sh", "-c", unpacker[compression]+" '"+r.payload(compression)+"' | dd of="+r.loopB+" bs=1M iflag=fullblock oflag=direct conv=fsync status=none"), writes: true, tar: true},
	)
	return append(all, r.others(compression)...)
}

func onOneProcessor(c contender) contender {
	everywhere := c.command
	c.name = "the first, on one processor"
	c.command = func(ctx context.Context) *exec.Cmd {
		return exec.CommandContext(ctx, "taskset", append([]string{"-c", "0"}, everywhere(ctx).Args...)...)
	}
	return c
}

var unpacker = map[string]string{"none": "cat", "gzip": "gzip -dc", "lzma": "xz -dc", "zstd": "zstd -dcq"}

func command(name string, args ...string) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, name, args...) }
}

func printTable(w io.Writer, target, compression string, results []result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\n%s, %s target\n", compression, target)
	fmt.Fprintln(t, "\twall s\tCPU s\tratio\twritten MiB\tpeak RSS MiB\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t\n", r.Name, r.Wall, r.CPU, r.Ratio, r.Written, r.RSS)
	}
	_ = t.Flush()
}

// machine names what was measured on.
func machine() string {
	model := runtime.GOARCH
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			model = strings.TrimLeft(strings.TrimSpace(name), ": \t")
			break
		}
	}
	return fmt.Sprintf("%d x %s, %s", runtime.NumCPU(), model, runtime.Version())
}
