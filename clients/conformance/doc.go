// Package conformance holds every SDK to the one behaviour that
// clients/README.md describes. Its scenarios are data, one file a situation
// below scenarios/; its tests play each of them for each language against a
// real `holdfast dev` of its own, through a relay that is the network, and with
// a runner that drives the SDK by the lines of PROTOCOL.md.
//
//	go test ./clients/conformance                                 all of them
//	go test ./clients/conformance -language python                one language
//	go test ./clients/conformance -run 'TestSDKs/go/storm$' -v    one scenario, with its course
//
// What an SDK did is judged by what the application got, and by what the broker
// has on record: how often it was asked, and until when each token was alive.
// Nothing is judged by the SDK's own word alone.
package conformance
