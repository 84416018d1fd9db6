package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each row spoils one file of a good set.
func TestFilesThatAreNamedAreRead(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(in func(string) string) error
		want  string
	}{
		{"no KEK", text("kek", "hunter2"), ":6: keys.kek_file: KEK file "},
		{"a KEK for all to read", mode("kek", 0o644), ":6: keys.kek_file: KEK file "},
		{"a key of another certificate", text("tls.key", "x"), ":15: tls.cert_file: loading certificate "},
		{"a CA without certificates", text("ca.crt", "x"), ":17: tls.client_ca_file: "},
		{"an egress CA without certificates", text("ca.crt", "x"), ":21: provider.ca_file: "},
		{"a secret of blanks", text("secret", " \n"), ":32: apps[0].client_secret_files[0]: "},
		{"an audit file that is a directory", func(in func(string) string) error { return os.Mkdir(in("../audit.log"), 0o700) }, ":42: audit.file: "},
		{"a store that is a file", text("../store", "x"), ":4: store.dir: "},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := dir(t)
			if err := row.spoil(func(name string) string { return filepath.Join(d, "files", name) }); err != nil {
				t.Fatal(err)
			}
			_, _, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(whole))
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("want %q, got\n%v", row.want, err)
			}
		})
	}
}

func text(name, content string) func(func(string) string) error {
	return func(in func(string) string) error { return os.WriteFile(in(name), []byte(content), 0o600) }
}

func mode(name string, m os.FileMode) func(func(string) string) error {
	return func(in func(string) string) error { return os.Chmod(in(name), m) }
}

func TestProblemsOfFormProfileAndFilesComeTogether(t *testing.T) {
	d := dir(t)
	err := errors.Join(
		os.WriteFile(filepath.Join(d, "files", "ca.crt"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(d, "files", "kek"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(d, "proxy"), []byte("no URL"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.NewReplacer("dir: store", "dir: files/kek/below", "profile: atlassian", "profile: bitbucket", "lease: 45s", "leese: 45s",
		"proxy_url: http://proxy.example.com:3128", "proxy_url_file: proxy", "file: audit.log", "file: nowhere/audit.log").Replace(whole)
	_, _, err = Parse(filepath.Join(d, "holdfast.yaml"), []byte(wrong))
	for _, want := range []string{
		":4: store.dir: ", ":6: keys.kek_file: KEK file ", ":17: tls.client_ca_file: ", ":19: provider.profile: ",
		":20: provider.proxy_url_file: ", ":21: provider.ca_file: ", ":23: provider.leese: unknown key", ":42: audit.file: the directory ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestSecretsThatOthersCanReadAreWarnedAbout(t *testing.T) {
	d := dir(t)
	for _, f := range []string{"tls.key", "secret"} {
		if err := os.Chmod(filepath.Join(d, "files", f), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	_, warnings, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(whole))
	if err != nil || len(warnings) != 2 {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	for i, want := range []string{":16: tls.key_file: ", ":32: apps[0].client_secret_files[0]: "} {
		if text := warnings[i].String(); !strings.Contains(text, want) || !strings.Contains(text, "has mode 0640") || !strings.Contains(text, "run chmod 600 ") {
			t.Errorf("want a warning with %q, got %s", want, text)
		}
	}
}

func TestTheStoreAloneNeedsNothingElse(t *testing.T) {
	d := dir(t)
	path := filepath.Join(d, "holdfast.yaml")
	write(t, path, "environment: production\npublic_url: http://127.0.0.1:1\nstore: {dir: store}\nkeys: {kek_file: files/kek}\n")
	c, warnings, err := LoadStore(path)
	if err != nil || len(warnings) != 0 || c.Provider.Resolved.Name == "" || c.Store.Dir != filepath.Join(d, "store") {
		t.Fatalf("%+v, warnings %v, error %v", c, warnings, err)
	}
	write(t, path, "environment: production\nstore: {dir: store}\nkeys: {kek_file: nowhere}\nprovider: {profile: bitbucket}\n")
	if _, _, err = LoadStore(path); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Fatalf("want two problems, got\n%v", err)
	}
}
