package simulation

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// dice returns the chance of one question. It depends on the seed and on what
// is asked, never on who asked first: the order in which goroutines run at one
// moment of virtual time is Go's and differs from run to run.
func dice(seed uint64, what string, which ...int) *rand.Rand {
	h := fnv.New64a()
	var b [8]byte
	put := func(n uint64) {
		binary.LittleEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
	put(seed)
	h.Write([]byte(what))
	for _, n := range which {
		put(uint64(n))
	}
	x := h.Sum64()
	return rand.New(rand.NewPCG(x, x^0x9e3779b97f4a7c15))
}

// between returns a duration from lo to hi with a nanosecond's resolution, so
// that two events seldom fall on the same instant.
func between(d *rand.Rand, lo, hi time.Duration) time.Duration {
	return lo + time.Duration(d.Int64N(int64(hi-lo)))
}
