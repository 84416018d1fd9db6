package broker

import "github.com/holdfast-io/holdfast/storage"

// atHand returns the newest state of a grant that this process has in memory, for
// a store whose database has lost it. It does not block.
func (b *Broker) atHand(id string) (storage.Grant, bool) {
	var newest storage.Grant
	if b.replica != nil {
		newest, _ = b.replica.kept(id)
	}
	if sl := b.hot.findID(id); sl != nil {
		if e := sl.entry.Load(); e != nil && !e.purged && e.grant.Version > newest.Version {
			newest = e.grant
		}
	}
	return newest, newest.Version > 0
}
