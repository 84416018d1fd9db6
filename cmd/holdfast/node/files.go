package node

// fitFiles lowers the limits of connections to what the process may open, if
// that is less than they need: a connection that cannot be opened for want of a
// file keeps everybody out, the store's own files included. most is 0 if it is
// not known. Go has raised the soft limit to the hard one by now.
func (n *Node) fitFiles(most uint64) {
	l := &n.o.Config.Limits
	need := l.Files()
	if most == 0 || uint64(need) <= most {
		return
	}
	share := func(field *int) {
		*field = max(int(float64(*field)*float64(most)/float64(need)), 10)
	}
	share(&l.Connections)
	share(&l.ConnectionsPerCaller)
	share(&l.Strangers)
	share(&l.HTTPConnections)
	n.log.Warn("the process may open too few files for the connections of limits, and takes fewer: raise the hard limit (ulimit -Hn, LimitNOFILE= of a unit), or lower the limits",
		"files", most, "needed", need, "connections", l.Connections, "strangers", l.Strangers, "http_connections", l.HTTPConnections)
}
