package simulation

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// wire is one connection of a replica to the provider. It knows the spends
// from the other requests by their bytes.
type wire struct {
	net.Conn
	life *life

	mu sync.Mutex // guards all below; not held while time passes
	// sent is the spend that went over this connection; nil: none yet.
	sent *sending
	// exchanges is the client whose code was sent; "": none.
	exchanges string
	fault     fault
	got       []byte // of the answer
	left      int    // bytes of the answer until the connection is lost; negative: it is not
	cut       bool
	// stopped: the process is stopped between guard and first byte, where a
	// Close cannot overtake the Write.
	stopped, closed bool
}

// sending is one refresh token on its way.
type sending struct {
	grant      *grant
	token      label
	generation uint64
	family     uint64
	at         time.Time
	kind       string
}

func (c *wire) Write(b []byte) (int, error) {
	if c.life.dead.Load() {
		return 0, syscall.EPIPE
	}
	fields := tokenRequest(b)
	if fields["refresh_token"] == "" {
		c.mu.Lock()
		c.exchanges = fields["client_id"]
		c.mu.Unlock()
		return c.Conn.Write(b)
	}
	token := labelOf(fields["refresh_token"])
	if c.life.frozen() {
		// A process that is stopped does not come here: it was stopped before the
		// guard, and by the time it goes on the connection is gone.
		_ = c.life.run()
		c.lose()
		return 0, syscall.ECONNRESET
	}
	return c.spend(b, token)
}

// spend sends the one request of a rotation.
func (c *wire) spend(b []byte, token label) (int, error) {
	w, l := c.life.world, c.life
	f := w.pick(atWire, l, w.grantOf(token))
	c.mu.Lock()
	c.fault, c.stopped = f, f.harm == windowPause
	if f.harm == answerCut || f.harm == crashMidAnswer {
		c.left = f.bytes
	}
	c.mu.Unlock()
	switch f.harm {
	case crashBefore:
		l.crash()
		return 0, syscall.EPIPE
	case windowPause:
		l.passes(f.d)
	case byProvider:
		f.provider.Family = token.Family
	}
	w.armFor(w.grantOf(token), f.provider)
	sent := w.send(l, c, token)
	c.mu.Lock()
	c.sent = sent
	c.mu.Unlock()
	if f.harm == requestCut {
		n, _ := c.Conn.Write(b[:min(f.bytes, len(b)-1)])
		c.lose()
		return n, syscall.ECONNRESET
	}
	n, err := c.Conn.Write(b)
	switch f.harm {
	case crashAfter:
		l.crash()
		return 0, syscall.EPIPE
	case freezeAfter:
		l.freeze(f.d)
	case windowPause:
		c.mu.Lock()
		c.stopped = false
		closed := c.closed
		c.mu.Unlock()
		if closed {
			c.Conn.Close()
		}
	}
	return n, err
}

// lose breaks the connection.
func (c *wire) lose() {
	c.mu.Lock()
	c.cut = true
	c.mu.Unlock()
	c.Conn.Close()
}

func (c *wire) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if rerr := c.life.run(); rerr != nil {
		return 0, syscall.ECONNRESET
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == nil || n == 0 {
		return n, err
	}
	if c.left >= 0 && n >= c.left {
		n, err, c.cut = c.left, syscall.ECONNRESET, true
		c.Conn.Close()
		if c.fault.harm == crashMidAnswer {
			c.life.world.work.Go(c.life.crash)
		}
	}
	if c.left >= 0 {
		c.left -= n
	}
	c.got = append(c.got, b[:n]...)
	return n, err
}

// Close is the end of a spend: what had arrived by then is in the broker's hands.
func (c *wire) Close() error {
	l := c.life
	l.mu.Lock()
	if l.conns != nil {
		delete(l.conns, c)
	}
	l.mu.Unlock()
	c.mu.Lock()
	sent, got, exchanges := c.sent, c.got, c.exchanges
	if c.cut || c.closed {
		got = nil
	}
	c.closed = true
	stopped := c.stopped
	pleased := sent != nil && bytes.HasPrefix(c.got, []byte("HTTP/1.1 200 "))
	c.mu.Unlock()
	if pleased {
		l.world.noteAnswer(sent.grant)
	}
	l.world.noteExchange(exchanges)
	if sent != nil {
		l.world.answered(l, c, sent, got)
	}
	if stopped {
		return nil // the Write that is under way comes first
	}
	return c.Conn.Close()
}

// label is what the simulated provider writes into the payload of a token.
type label struct {
	ID     string `json:"jti"`
	Use    string `json:"use"`
	Family string `json:"fam"`
}

func labelOf(token string) label {
	var l label
	parts := bytes.SplitN([]byte(token), []byte("."), 3)
	if len(parts) == 3 {
		if raw, err := decode64(parts[1]); err == nil {
			_ = json.Unmarshal(raw, &l)
		}
	}
	return l
}

// tokenRequest returns the fields of a request to the token endpoint; none for
// any other bytes. The request is short enough to come in one piece.
func tokenRequest(b []byte) (fields map[string]string) {
	if !bytes.HasPrefix(b, []byte("POST /oauth/token ")) {
		return nil
	}
	_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	return fields
}

// pairIn returns the refresh token of a complete answer.
func pairIn(answer []byte) (label, bool) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		return label{}, false
	}
	body, err := io.ReadAll(resp.Body)
	var fields struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err != nil || json.Unmarshal(body, &fields) != nil || fields.Access == "" || fields.Refresh == "" {
		return label{}, false
	}
	return labelOf(fields.Refresh), true
}
