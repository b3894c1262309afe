package artifact

import "time"

// What an artifact may make us hold, in bytes unless said otherwise. Everything else streams.
// An artifact is untrusted until its end: with no keys configured anybody may have made it, and
// even with keys the entries before the signature are anybody's.
const (
	maxVersion   = 4 << 10  // {"format":"mender","version":3} has 31 bytes
	maxManifest  = 1 << 20  // a line per payload file, about 100 bytes each: room for thousands
	maxSignature = 16 << 10 // an RSA key of 16384 bits makes 2732 bytes of base64

	maxHeaderPacked = 8 << 20  // scripts make it large: room for a few programs among them
	maxHeader       = 16 << 20 // the same, unpacked: all of it is kept in memory
	maxScripts      = 256      // scripts; real artifacts have a handful
	maxJSON         = 1 << 20  // header-info, type-info and meta-data, each
	maxJSONDepth    = 64       // nested objects and lists; meta-data is free in form, but not that free

	maxName    = 255     // what Linux takes as a file name (NAME_MAX)
	maxPadding = 1 << 20 // zeros after an archive: tar pads to 10 KiB, some transports to a block

	// What mender-artifact writes is xz -9: a dictionary of 64 MiB, and none of xz's presets has more.
	maxXZDict = 64 << 20
	// What zstd itself unpacks without --long; mender-artifact's zstd_best needs 32 MiB.
	maxZstdWindow = 128 << 20
	// The smallest dictionary that the format can state, and the decoder wants.
	minXZDict = 4 << 10
	// What blocks of xz that are unpacked at the same time may take, packed and unpacked: as much as the
	// dictionary of mender-artifact. And what has to be available for that: a small device does without.
	maxXZAhead = 64 << 20
	minXZRoom  = 4 * maxXZAhead
)

// BlockSize is the size of the blocks in which a File is unpacked and verified, in bytes: large enough
// to be handed over rarely, and for flash to take it at full speed.
const BlockSize = 1 << 20

// The read-ahead between unpacking, hashing and the caller.
const (
	blocks     = 4         // one being unpacked, one being hashed, two being written; more are no faster
	pieceSize  = 256 << 10 // what WriteTo hands out at a time: the caller may be slow, and show how far it is
	readBuffer = 256 << 10 // between the source and those who read in small pieces
)

// epoch is the time of everything that Write writes: the same Spec gives the same bytes.
var epoch = time.Unix(0, 0)
