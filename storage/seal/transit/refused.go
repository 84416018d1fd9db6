package transit

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// unreachable says why there was no answer, without the request's URL twice.
func (k *KEK) unreachable(err error) error {
	var wrong *url.Error
	if errors.As(err, &wrong) {
		err = wrong.Err
	}
	return fmt.Errorf("%w: no answer from Vault at %s: %w; start it, or correct address and ca_file", seal.ErrUnavailable, k.base.Redacted(), err)
}

// refused says what to do about an answer that is none of use. Its body is left
// out: nobody knows what is in it. The codes are those of Vault's API
// documentation, "HTTP status codes".
func (k *KEK) refused(operation string, code int, wrapped string) error {
	path := strings.Trim(k.c.Mount, "/") + "/" + operation + "/" + k.c.Key
	where := fmt.Sprintf("Vault at %s answered %s with HTTP %d", k.base.Redacted(), path, code)
	switch {
	case code == 400 && operation == "decrypt":
		return fmt.Errorf("%s: the key is not the one that wrapped this store's root key, was deleted, or its min_decryption_version was raised above %s",
			where, version(wrapped))
	case code == 400:
		return fmt.Errorf("%s: make the key first: vault write -f %s/keys/%s; or correct its name", where, strings.Trim(k.c.Mount, "/"), k.c.Key)
	case code == 403:
		return fmt.Errorf("%w: %s: the token in %s has expired, or its policy does not allow update on %s; renew it, or add that",
			seal.ErrUnavailable, where, k.c.TokenFile, path)
	case code == 404, code == 405:
		return fmt.Errorf("%s: no transit engine is mounted there, or it is in another namespace: correct mount and namespace", where)
	case code >= 300 && code < 400:
		return fmt.Errorf("%s, a redirect: give the address of the active node, since the token is sent nowhere else", where)
	case code == 429, code == 412, code == 472, code == 473:
		return fmt.Errorf("%w: %s: it limits its rate, or is a standby node that does not forward; it is asked again", seal.ErrUnavailable, where)
	case code == 503:
		return fmt.Errorf("%w: %s: it is sealed or down for maintenance; unseal it", seal.ErrUnavailable, where)
	case code >= 500:
		return fmt.Errorf("%w: %s: it has a problem of its own; its log says which", seal.ErrUnavailable, where)
	}
	return fmt.Errorf("%s, which no transit engine does: correct the address", where)
}

// version is the beginning of a ciphertext: "vault:v1".
func version(wrapped string) string {
	parts := strings.SplitN(wrapped, ":", 3)
	return strings.Join(parts[:min(2, len(parts))], ":")
}
