package command

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"flipside/install"
	"flipside/internal/doctor"
	"flipside/internal/report"
	"flipside/internal/source"
)

// questions are the commands that only look.
func (f *flipside) questions() []*cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	keys := &cli.StringSliceFlag{Name: "key", Usage: "verify the signature with the public key in `FILE` too"}
	return []*cli.Command{
		{Name: "status", Usage: "tell where the device stands and what to do now", Flags: []cli.Flag{asJSON, followFlag()}, Action: f.status},
		{
			Name: "doctor", Usage: "examine how flipside is integrated on this device, and say how to mend what is wrong", Action: f.doctor,
			Flags: []cli.Flag{asJSON, &cli.BoolFlag{Name: "write-test", Usage: "also write, read back and remove a variable of the boot environment"}},
		},
		{Name: "show-artifact", Usage: "print the name of the installed artifact", Action: f.showArtifact},
		{Name: "show-provides", Usage: "print what the device provides", Action: f.showProvides},
		{Name: "inspect", ArgsUsage: "FILE", Usage: "print all that an artifact contains", Flags: sourceFlags(asJSON), Action: f.inspect},
		{Name: "verify", ArgsUsage: "FILE", Usage: "check an artifact completely, and whether it fits, writing nothing", Flags: sourceFlags(keys), Action: f.verify},
	}
}

func (f *flipside) status(c *cli.Context) error {
	d, err := f.openAlone(c)
	if err != nil {
		return err
	}
	if c.Bool("follow") {
		return f.follow(c, d)
	}
	s := d.Status(c.Context)
	if f.json {
		return f.document(s)
	}
	return report.Status(os.Stdout, s)
}

// errUnhealthy says that the doctor has told what is wrong.
var errUnhealthy = errors.New("the device is not well")

// doctor must work above all where the device cannot be opened.
func (f *flipside) doctor(c *cli.Context) error {
	if err := noArgument(c); err != nil {
		return err
	}
	o, err := f.deviceOptions(c)
	if err != nil {
		return err
	}
	diagnosis := doctor.Examine(c.Context, o, doctor.Options{WriteTest: c.Bool("write-test"), Built: f.built})
	if f.json {
		err = f.document(diagnosis)
	} else {
		err = diagnosis.Print(os.Stdout)
	}
	if err == nil && !diagnosis.Healthy() {
		f.more = func(r *report.Result) { r.Cause = errUnhealthy.Error() }
		return errUnhealthy
	}
	return err
}

func (f *flipside) showArtifact(c *cli.Context) error {
	d, err := f.openAlone(c)
	if err != nil {
		return err
	}
	f.print(d.ArtifactName())
	return nil
}

func (f *flipside) showProvides(c *cli.Context) error {
	d, err := f.openAlone(c)
	if err != nil {
		return err
	}
	provides := d.Provides()
	f.more = func(r *report.Result) { r.Provides = &provides }
	for _, key := range slices.Sorted(maps.Keys(provides)) {
		f.print(key + "=" + provides[key])
	}
	return nil
}

// inspect reads the artifact to its end, so that what it prints is what is there; it needs no
// device and no keys, but to choose in a directory.
func (f *flipside) inspect(c *cli.Context) error {
	uri, o, err := f.sourceArguments(c)
	if err != nil {
		return err
	}
	if o, err = f.sourceAnywhere(c, uri, o); err != nil {
		return err
	}
	src, err := source.Open(c.Context, uri, o)
	if err != nil {
		return err
	}
	defer src.Close()
	contents, err := report.Inspect(src)
	if err != nil {
		return err
	}
	if f.json {
		return f.document(contents)
	}
	return contents.Print(os.Stdout)
}

func (f *flipside) verify(c *cli.Context) error {
	uri, o, err := f.sourceArguments(c)
	if err != nil {
		return err
	}
	d, err := f.open(c)
	if err != nil {
		return err
	}
	src, err := source.Open(c.Context, uri, f.sourceOf(d, o))
	if err != nil {
		return err
	}
	defer src.Close()
	verdict, err := install.Verify(c.Context, d, src)
	if err != nil {
		return err
	}
	f.print(verdict)
	return nil
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
