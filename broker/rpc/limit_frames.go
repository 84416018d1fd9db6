package rpc

import "encoding/binary"

// Types and flags of HTTP/2 frames (RFC 9113 section 6) that matter here.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameRST          = 0x3
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	flagEndStream     = 0x1
	flagAck           = 0x1

	frameHead = 9
	// prefaceSize is what a client sends before its first frame (section 3.4).
	prefaceSize = 24
)

// frame is the head of one frame.
type frame struct {
	kind, flags byte
	stream      uint32
	length      int
}

func (f frame) ends() bool { return f.flags&flagEndStream != 0 }

// frames finds the heads of frames in a stream of bytes that comes in pieces.
// It believes nothing and keeps nine bytes; grpc's own reader ends a
// connection whose frames are wrong.
type frames struct {
	// skip is how many bytes come before the next head.
	skip int
	head [frameHead]byte
	have int
}

// next returns the first head that is complete in p and the bytes after it.
func (s *frames) next(p []byte) (f frame, rest []byte, ok bool) {
	if s.skip > 0 {
		n := min(s.skip, len(p))
		s.skip -= n
		p = p[n:]
	}
	if s.have == 0 && len(p) >= frameHead { // the usual case, without a copy
		return s.read(p[:frameHead]), p[frameHead:], true
	}
	n := copy(s.head[s.have:], p)
	s.have += n
	if s.have < frameHead {
		return frame{}, nil, false
	}
	s.have = 0
	return s.read(s.head[:]), p[n:], true
}

func (s *frames) read(h []byte) frame {
	length := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	s.skip = length
	return frame{kind: h[3], flags: h[4], stream: binary.BigEndian.Uint32(h[5:]) &^ (1 << 31), length: length}
}
