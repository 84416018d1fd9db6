package holdfast

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// watching is one stream of a fakeBroker: what the test puts in is sent, and an end
// ends it.
type watching struct {
	events chan *holdfastv1.WatchAccessTokenResponse
	end    chan error
}

func (b *fakeBroker) WatchAccessToken(req *holdfastv1.WatchAccessTokenRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchAccessTokenResponse]) error {
	w := &watching{make(chan *holdfastv1.WatchAccessTokenResponse), make(chan error)}
	b.mu.Lock()
	b.watches = append(b.watches, proto.CloneOf(req))
	fail := b.watchFail
	if fail == nil {
		b.stream = w
	}
	b.mu.Unlock()
	if fail != nil {
		return fail
	}
	for {
		select {
		case e := <-w.events:
			if err := stream.Send(e); err != nil {
				return err
			}
		case err := <-w.end:
			return err
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// push the present token to the stream.
func (b *fakeBroker) push() {
	b.mu.Lock()
	e := &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Token{Token: b.answer()}}
	w := b.stream
	b.mu.Unlock()
	w.events <- e
}

// unavailable tells the stream that there is no token.
func (b *fakeBroker) unavailable(e *holdfastv1.BatchError) {
	b.mu.Lock()
	w := b.stream
	b.mu.Unlock()
	w.events <- &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Unavailable{Unavailable: e}}
}

// drop ends the stream.
func (b *fakeBroker) drop(err error) {
	b.mu.Lock()
	w := b.stream
	b.mu.Unlock()
	w.end <- err
}

// streams opened so far.
func (b *fakeBroker) streams() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watches)
}
