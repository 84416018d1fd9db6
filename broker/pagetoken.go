package broker

import (
	"fmt"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// A page token is the id of the last row that was read, sealed: that row may be a
// grant that the caller may not know of, and whoever guesses addresses could
// compare their ids with it. All tokens have one length, and each is good for the
// caller, the method and the filters that it was made for, and for nobody else.

// pageOf is what the tokens of one listing are bound to.
func pageOf(caller Caller, method string, f *GrantFilter) []byte {
	return fmt.Appendf(nil, "holdfast page %q %q %q %q %q %d", method, caller.Kind, caller.Name, f.Tenant, f.Product, f.Phase)
}

// pageToken seals the id of the last row that was read; "" after the last page.
func (b *Broker) pageToken(of []byte, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	sealed, err := seal.SealWith(b.store.PageKey(), []byte(id), of)
	if err != nil {
		return "", internal("sealing a page token", err)
	}
	return b64.EncodeToString(sealed), nil
}

// openPageToken returns the id that a token holds; "" for no token.
func (b *Broker) openPageToken(of []byte, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	bad := invalid("page_token", "page_token is not one that this broker gave for this listing: leave it out for the first page, "+
		"then pass next_page_token on as it is, with the same filters")
	raw, err := b64.DecodeString(text)
	if err != nil {
		return "", bad
	}
	id, err := seal.OpenWith(b.store.PageKey(), raw, of)
	if err != nil {
		return "", bad
	}
	return string(id), nil
}
