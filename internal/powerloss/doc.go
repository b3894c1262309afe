// Package powerloss has only tests: it cuts the power at every single operation of every command
// on a sandbox device, and again during what repairs that, and lets every operation fail, and
// checks each time that the device can be relied upon:
//
//   - whatever the bootloader may boot next is a complete image;
//   - when no deployment is left, no trial is left;
//   - the provides name what the next boot runs;
//   - status answers, and what it says should be done leads to an end, after which the next update
//     works.
//
// Whoever changes the state table, a handler, the state files or a boot environment shows here
// that it is right. What a cut may leave on the disk is the model of package faultdisk; the
// bootloader is that of package bootsim; all else is the code that runs on devices.
//
// The first tests prove that the others would find something: they break the order of writing, on
// the way to the disk, and expect to be caught.
//
//	go test ./internal/powerloss                        # two cuts in a row
//	go test ./internal/powerloss -cuts 3 -seeds 10      # by hand, for longer
//	go test ./internal/powerloss -seed 4711             # other losses at random
package powerloss
