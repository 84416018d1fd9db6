package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"
)

//go:embed static
var staticFiles embed.FS

// The files that are served; the licence beside them is not.
var assetTypes = map[string]string{
	"pico.min.css": "text/css; charset=utf-8",
	"holdfast.css": "text/css; charset=utf-8",
	"holdfast.svg": "image/svg+xml",
}

// assets are the style sheets and the icon. The version in their path is a hash of
// their content, which is what makes "immutable" true.
type assets struct {
	version string
	files   map[string][]byte
}

func loadAssets() *assets {
	a := &assets{files: make(map[string][]byte)}
	all := sha256.New()
	for _, name := range []string{"holdfast.css", "holdfast.svg", "pico.min.css"} {
		b, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			panic(err) // embedded: it cannot be missing from a built program
		}
		a.files[name] = b
		all.Write(b)
	}
	a.version = hex.EncodeToString(all.Sum(nil))[:16]
	return a
}

// url returns the path of a file under its present version.
func (a *assets) url(name string) string { return path.Join("/static", a.version, name) }

func (s *site) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	body, ok := s.assets.files[name]
	if !ok || r.PathValue("version") != s.assets.version {
		s.problem(w, r, problemNotFound, "")
		return
	}
	w.Header().Set("Content-Type", assetTypes[name])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
