package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
)

// digest chains the lines.
type digest [sha256.Size]byte

var digestText = base64.RawURLEncoding

func (d digest) String() string { return digestText.EncodeToString(d[:]) }

// The fixed parts of a line.
const (
	linePrefix = `{"seq":`
	hashPrefix = `,"hash":"`
	hashLen    = 43 // of a digest in unpadded base64
	lineSuffix = `"}`
	// tailLen is what follows the hashed part of a line, without the newline.
	tailLen = len(hashPrefix) + hashLen + len(lineSuffix)
)

// chain is where the next line goes on: after line seq, whose hash is prev. The
// zero value is an empty chain.
type chain struct {
	seq  uint64
	prev digest
	// scratch holds what is hashed, kept between lines.
	scratch []byte
}

// append adds the line of body to out and moves the chain on.
func (c *chain) append(out, body []byte) []byte {
	start := len(out)
	out = append(out, linePrefix...)
	out = strconv.AppendUint(out, c.seq+1, 10)
	out = append(out, ',')
	out = append(out, body...)
	c.scratch = append(append(c.scratch[:0], c.prev[:]...), out[start:]...)
	c.prev = sha256.Sum256(c.scratch)
	c.seq++
	out = append(out, hashPrefix...)
	out = digestText.AppendEncode(out, c.prev[:])
	return append(out, lineSuffix+"\n"...)
}

// link is a parsed line of a chain.
type link struct {
	seq uint64
	// hashed is the part of the line that the hash is over, hash what the line
	// says that it is.
	hashed []byte
	hash   digest
}

// parseLink parses a line without its newline; false: it is none of a chain,
// because it was torn, damaged, or written before there were chains.
func parseLink(line []byte) (link, bool) {
	var l link
	rest, ok := bytes.CutPrefix(line, []byte(linePrefix))
	if !ok || len(line) < len(linePrefix)+tailLen {
		return l, false
	}
	number, _, ok := bytes.Cut(rest, []byte(","))
	if !ok || len(number) == 0 || number[0] < '1' || number[0] > '9' {
		return l, false
	}
	var err error
	if l.seq, err = strconv.ParseUint(string(number), 10, 64); err != nil {
		return l, false
	}
	tail := line[len(line)-tailLen:]
	if !bytes.HasPrefix(tail, []byte(hashPrefix)) || !bytes.HasSuffix(tail, []byte(lineSuffix)) {
		return l, false
	}
	var text [hashLen]byte
	copy(text[:], tail[len(hashPrefix):])
	if n, err := digestText.Strict().Decode(l.hash[:], text[:]); err != nil || n != len(l.hash) {
		return l, false
	}
	l.hashed = line[:len(line)-tailLen]
	return l, true
}

// follows reports whether the line's hash is right after prev. buf is reused.
func (l *link) follows(prev digest, buf []byte) (bool, []byte) {
	buf = append(append(buf[:0], prev[:]...), l.hashed...)
	return sha256.Sum256(buf) == l.hash, buf
}
