package door

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHalfARequestGivesWayAndAnAnswerUnderWayDoesNot(t *testing.T) {
	d, err := New(Limits{Strangers: 2, Known: 2})
	if err != nil {
		t.Fatal(err)
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	server.Listener = d.Listen(server.Listener)
	Guard(server.Config)
	server.Start()
	defer server.Close()

	answer := make(chan string, 1)
	go func() {
		res, err := http.Get(server.URL)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		answer <- string(text)
	}()
	<-begun
	for range 10 {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("the call that was under way got %q", got)
	}
	if s, _ := d.Standing(); s > 3 {
		t.Errorf("%d strangers stand at a door of two", s)
	}
	http.DefaultClient.CloseIdleConnections()
}
