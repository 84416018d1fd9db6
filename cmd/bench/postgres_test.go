package main

import "testing"

// Names of databases have sizes in them, such as 1M.
func TestADatabaseHasTheNameThatItWasGiven(t *testing.T) {
	s, err := startPostgres(t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	if _, err := s.database(t.TempDir(), "scale_1M"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.number("scale_1M", "SELECT 1"); err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := s.number("scale_2M", "SELECT 1"); err == nil {
		t.Error("a database that nobody made answers")
	}
}
