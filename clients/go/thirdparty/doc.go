// Package thirdparty holds the tests of the Go client with the libraries that people
// use, against a real `holdfast dev`: andygrunwald/go-jira, ctreminiom/go-atlassian, and
// OpenTelemetry's instrumentation of gRPC. It is a module of its own, so that neither the
// product nor the client depends on them.
package thirdparty
