package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// lab is a device whose power is cut, again and again, with what that takes.
type lab struct {
	t       *testing.T
	b       *board
	images  []image
	factory *blob // release-1 in slot A
	updated *blob // release-2 in slot B, committed: as a device is for most of its life
	medium  string
	media   string // the directory of it
}

const releases = 3

func release(i int) string { return fmt.Sprintf("release-%d", i) }

func newLab(t *testing.T, b *board, more func(dir string)) *lab {
	t.Helper()
	binary := built(t, b)
	l := &lab{t: t, b: b, media: t.TempDir()}
	for i := range releases {
		image := system{release: release(i + 1)}.build(t, b, binary)
		for _, other := range l.images {
			image.differs(t, other)
		}
		image.artifact(t, l.media, nil)
		l.images = append(l.images, image)
	}
	if more != nil {
		more(l.media)
	}
	l.medium = media(t, l.media)
	l.factory = b.disk(t, l.images[0], nil)
	return l
}

func (l *lab) unit(content *blob) *unit {
	return &unit{t: l.t, b: l.b, disk: newDisk(content), medium: l.medium, images: l.images, console: newConsole()}
}

// next is the release to install over name.
func (l *lab) next(name string) string {
	for i := 1; i <= releases; i++ {
		if name == release(i) {
			return release(i%releases + 1)
		}
	}
	return release(1)
}

// record does what operators do, and records what is written meanwhile, under the names of phases.
func (l *lab) record() recording {
	l.t.Helper()
	u := l.unit(l.factory.clone())
	u.disk.record()
	phase := func(name string) { u.disk.setPhase(name) }
	phase("first boot")
	u.boots(u.power(), partA, release(1))
	phase("install")
	u.flipside(0, "install /media/release-2.mender")
	phase("trial boot")
	u.boots(u.reboot(), partB, release(2))
	phase("commit")
	u.flipside(0, "commit")
	u.idle(partB, release(2))
	phase("reboot")
	u.boots(u.reboot(), partB, release(2))
	l.updated = u.disk.content()
	phase("second install")
	u.flipside(0, "install /media/release-3.mender")
	phase("rollback before the reboot")
	u.flipside(0, "rollback")
	u.idle(partB, release(2))
	phase("third install")
	u.flipside(0, "install /media/release-3.mender")
	phase("second trial boot")
	u.boots(u.reboot(), partA, release(3))
	phase("rollback after the reboot")
	u.flipside(0, "rollback")
	phase("reboot after the rollback")
	u.boots(u.reboot(), partB, release(2))
	u.idle(partB, release(2))
	u.kill()
	return u.disk.recording()
}

// instant is a place where the power is cut.
type instant struct {
	event, first, last int // of the log: the event on its way, and the epoch that it is in
	phase              string
}

func (i instant) String() string {
	return fmt.Sprintf("in %q, event %d, nothing flushed from %d to %d", i.phase, i.event, i.first, i.last)
}

// pick chooses an instant: a phase, then an epoch of it, then an event, each as likely as the
// others. So the few writes that decide are met as often as the many of an image.
func (r recording) pick(random *rand.Rand) instant {
	var phases []string
	epochs := map[string][][2]int{}
	for _, e := range r.epochs() {
		phase := r.log[e[0]].phase
		if epochs[phase] == nil {
			phases = append(phases, phase)
		}
		epochs[phase] = append(epochs[phase], e)
	}
	phase := phases[random.IntN(len(phases))]
	epoch := epochs[phase][random.IntN(len(epochs[phase]))]
	return r.within(epoch, random)
}

func (r recording) within(epoch [2]int, random *rand.Rand) instant {
	return instant{
		event: epoch[0] + random.IntN(epoch[1]-epoch[0]+1),
		first: epoch[0], last: epoch[1], phase: r.log[epoch[0]].phase,
	}
}

// near are the epochs in which some parts of the disk are written, and some after each of them.
func (r recording) near(areas [][2]int64, after int) (list [][2]int) {
	left := -1
	for _, epoch := range r.epochs() {
		if slices.ContainsFunc(r.log[epoch[0]:epoch[1]], func(e event) bool { return e.touches(areas) }) {
			left = after
		} else {
			left--
		}
		if left >= 0 {
			list = append(list, epoch)
		}
	}
	return list
}

func (e event) touches(areas [][2]int64) bool {
	return !e.flush && slices.ContainsFunc(areas, func(a [2]int64) bool {
		return e.offset < a[1] && e.offset+int64(len(e.data)) > a[0]
	})
}
