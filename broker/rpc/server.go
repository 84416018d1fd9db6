package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/holdfast-io/holdfast/broker/door"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// maxRequest in bytes: a batch of 100 requests with every field at its
	// longest is 1.4 MB.
	maxRequest = 2 << 20
	// maxHeaders in bytes, as they are counted uncompressed: a bearer token of 16
	// KiB, or one that is refused with a sentence, and all else that clients send.
	maxHeaders = 32 << 10
	// maxAnswer in bytes: a batch of 100 tokens of 64 KiB is 6.5 MB.
	maxAnswer = 16 << 20
	// maxStreams bounds the calls under way on one connection. A client that
	// wants more waits, or opens another connection.
	maxStreams = 512
	// readBuffer in bytes of a connection: a TLS record. More is never read at once.
	readBuffer = 16 << 10
	// streamWindow and connWindow in bytes are what a client may send on a stream, and
	// on a connection, before somebody reads. grpc would let both grow to 16 MiB; it
	// asks for all of a larger request as soon as it has seen its size.
	streamWindow, connWindow = 64 << 10, 1 << 20
	// handshakeTimeout bounds a connection that does not finish its handshake.
	handshakeTimeout = 10 * time.Second
	// A connection without a call for idleTimeout is closed; clients open it
	// again by themselves. One that says nothing for aliveAfter is asked, and
	// closed if no answer comes within aliveTimeout: its client is gone, or reads nothing.
	idleTimeout  = 30 * time.Minute
	aliveAfter   = time.Minute
	aliveTimeout = 20 * time.Second
	// minPing is how often a client may ping an idle connection.
	minPing = 10 * time.Second
)

// Config of a Server. Fields without a stated zero value are required.
type Config struct {
	// Tokens, Consents, Admin, Apps, Keys, Endings and Record answer the calls; usually one *broker.Broker.
	Tokens   TokenBroker
	Consents ConsentBroker
	Admin    AdminBroker
	Apps     AppsBroker
	Keys     KeysBroker
	Endings  EndingsBroker
	Record   RecordBroker
	// Access explains decisions; usually the same.
	Access AccessBroker
	// Refusals records what is refused before any of them is asked; usually the same.
	Refusals RefusalBroker

	// TLS holds the server's certificates. A zero MinVersion means TLS 1.3. A zero
	// ClientAuth means that a client without a certificate gets a readable
	// CALLER_UNAUTHENTICATED for every call; tls.RequireAndVerifyClientCert turns
	// it away in the handshake, unless Trust has issuers of tokens. No setting
	// lets a call through without an identity.
	TLS *tls.Config
	// Trust says whose identities are believed.
	Trust *identity.Trust

	// ExtAuthz serves Envoy's external authorization; the zero value: it is not served.
	ExtAuthz ExtAuthz

	// Limits of what callers may ask for; the zero value means the defaults.
	Limits Limits

	// Metrics takes the collectors; nil: they are kept, and nobody sees them.
	Metrics prometheus.Registerer
	// Log gets the cause of internal errors; nil: slog.Default().
	Log *slog.Logger
	// Now is the clock for durations and the end of identities; nil: time.Now.
	Now func() time.Time
}

// Server serves the contract, grpc.health.v1 and reflection on one listener.
type Server struct {
	edge   *edge
	grpc   *grpc.Server
	health *health.Server
	// end ends standing streams.
	end  context.CancelFunc
	door *door.Door
}

// NewServer returns a server that does not listen yet. Its health is NOT_SERVING
// until SetServing.
func NewServer(c Config) (*Server, error) {
	if c.Tokens == nil || c.Consents == nil || c.Admin == nil || c.Apps == nil || c.Keys == nil || c.Endings == nil || c.Record == nil || c.TLS == nil || c.Trust == nil {
		return nil, errors.New("rpc: Tokens, Consents, Admin, Apps, Keys, Endings, Record, TLS and Trust are required")
	}
	if c.Access == nil || c.Refusals == nil {
		return nil, errors.New("rpc: Access and Refusals are required")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if err := errors.Join(c.Limits.applyDefaults(), c.ExtAuthz.validate()); err != nil {
		return nil, err
	}
	validator, err := newValidator()
	if err != nil {
		return nil, err
	}
	entrance, err := door.New(door.Limits{Strangers: c.Limits.Strangers, Known: c.Limits.Connections, KnownByName: c.Limits.ConnectionsPerCaller})
	if err != nil {
		return nil, err
	}
	flow := newInflow(allBytes)
	metrics, err := newMetrics(c.Metrics)
	standing, watching := newWatches(c.Limits, c.Metrics)
	if err = errors.Join(err, watching, registerConnections(c.Metrics, entrance, flow)); err != nil {
		return nil, fmt.Errorf("registering rpc metrics: %w", err)
	}
	ending, end := context.WithCancel(context.Background())
	e := &edge{log: c.Log, now: c.Now, validator: validator, ending: ending, limiter: newLimiter(c.Limits, c.Now(), c.Log, metrics.limited),
		trust: c.Trust, refusals: c.Refusals, recheck: identity.NewBroadcast(), watches: standing}
	s := &Server{edge: e, grpc: grpc.NewServer(options(c, e, flow)...), health: health.NewServer(), end: end, door: entrance}
	holdfastv1.RegisterTokenServiceServer(s.grpc, &tokenService{broker: c.Tokens, edge: e})
	holdfastv1.RegisterConsentServiceServer(s.grpc, &consentService{broker: c.Consents})
	holdfastv1.RegisterAdminServiceServer(s.grpc, &adminService{broker: c.Admin, apps: c.Apps, keys: c.Keys, endings: c.Endings, record: c.Record, access: c.Access})
	if c.ExtAuthz.Broker != nil {
		s.grpc.RegisterService(&authzDesc, &authzService{ExtAuthz: c.ExtAuthz, edge: e})
	}
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	e.methods = metrics.methods(s.grpc.GetServiceInfo())
	s.SetServing(false)
	return s, nil
}

// streamWorkers are kept between calls, so that a call does not begin by growing
// a fresh goroutine's stack, which is an eighth of a hot call's CPU time. When
// all are busy, with waiting refreshes for example, grpc starts a goroutine as
// it does without them.
const streamWorkers = 64

func options(c Config, e *edge, flow *inflow) []grpc.ServerOption {
	var tokens []grpc.ServerOption
	if c.Trust.Tokens() {
		tokens = append(tokens, grpc.InTapHandle(e.header))
	}
	unary := e.unary
	if c.ExtAuthz.Broker != nil {
		unary = e.answering
	}
	return append(tokens,
		grpc.Creds(newHandshaker(c.TLS, c.Trust, flow, func(p identifier, w *wire) error { return e.takePlace(p, w, c.Now()) })),
		grpc.UnaryInterceptor(unary),
		grpc.StreamInterceptor(e.stream),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.RPCDecompressor(unpacker{}), //nolint:staticcheck // what replaces it is one for the whole process, exporters' connections included
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxSendMsgSize(maxAnswer),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: aliveAfter, Timeout: aliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)
}

// SetServing sets what grpc.health.v1 answers for the server as a whole and for
// each of its services.
func (s *Server) SetServing(ready bool) {
	status := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		status = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
	for name := range s.grpc.GetServiceInfo() {
		if isOurs(name) {
			s.health.SetServingStatus(name, status)
		}
	}
}

// Serve accepts connections on lis until Stop, and closes lis. It blocks; it
// returns nil after Stop.
func (s *Server) Serve(lis net.Listener) error {
	err := s.grpc.Serve(s.door.Listen(lis))
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Stop ends the server: no new call is taken, health turns NOT_SERVING and its
// watches end, calls under way may finish until ctx ends, then they are canceled and Stop returns the context's error. It
// returns only when no handler runs any more.
func (s *Server) Stop(ctx context.Context) error {
	s.health.Shutdown()
	s.end()
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
		return ctx.Err()
	}
}
