package holdfast

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// PerRPCCredentials returns credentials that show the source's access token as
// "authorization: Bearer" with each call of a gRPC connection of your own, e.g. to a
// gateway before the product's API. They refuse a connection that is not encrypted.
// The token goes to whomever that connection leads to: nothing like Transport.Origins
// stands between. They have nothing to do with the connection to the broker.
//
// A call waits for a token as TokenSource.TokenContext does. Without one it fails with
// UNAVAILABLE if a later one may succeed, and with UNAUTHENTICATED otherwise.
func (s *TokenSource) PerRPCCredentials() credentials.PerRPCCredentials { return perRPC{s} }

type perRPC struct{ source *TokenSource }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c perRPC) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	if err := credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity); err != nil {
		return nil, fmt.Errorf("holdfast: refusing to send the token: %w", err)
	}
	t, err := c.source.get(ctx)
	switch {
	case temporary(err):
		return nil, status.Error(codes.Unavailable, err.Error())
	case ctx.Err() != nil && err != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case err != nil:
		// Not err itself: grpc-go would take the code of the call to the broker for this one's.
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return map[string]string{"authorization": "Bearer " + t.oauth.AccessToken}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: whoever reads
// a token may be its owner.
func (c perRPC) RequireTransportSecurity() bool { return true }
